"""The native form of an ordering problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from solvers import _native

if TYPE_CHECKING:
    from planner.graph import RaggedArray
    from planner.problem import OrderProblem


def native_model(problem: OrderProblem) -> _native.OrderModel:
    """Check the problem and hand it to the kernels.

    Raises
    ------
    ValueError
        If an index is out of range, a size negative or their sum above 2**62, the default order
        not topological, a starter no user of its storage, or an in-place operand not used by its
        operator.
    """

    def offsets(rows: RaggedArray) -> np.ndarray:
        return np.ascontiguousarray(rows.offsets, dtype=np.int64)

    def values(rows: RaggedArray) -> np.ndarray:
        return np.ascontiguousarray(rows.values, dtype=np.int32)

    return _native.order_model(
        operators=problem.operators,
        size=np.ascontiguousarray(problem.size, dtype=np.int64),
        predecessor_offsets=offsets(problem.predecessors),
        predecessors=values(problem.predecessors),
        starter_offsets=offsets(problem.starters),
        starters=values(problem.starters),
        user_offsets=offsets(problem.users),
        users=values(problem.users),
        kept=np.ascontiguousarray(problem.kept, dtype=np.bool_),
        in_place_offsets=offsets(problem.in_place),
        in_place=values(problem.in_place),
    )
