"""The native form of a problem of order and residency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from solvers import _native

if TYPE_CHECKING:
    from planner.graph import RaggedArray
    from planner.joint_problem import JointProblem


def native_model(problem: JointProblem) -> _native.JointModel:
    """Check the problem and hand it to the kernels.

    Raises
    ------
    ValueError
        As for `solvers.order.model.native_model`; or if a writer is no user of its storage, or the
        capacity no multiple of the alignment.
    """

    def offsets(rows: RaggedArray) -> np.ndarray:
        return np.ascontiguousarray(rows.offsets, dtype=np.int64)

    def values(rows: RaggedArray) -> np.ndarray:
        return np.ascontiguousarray(rows.values, dtype=np.int32)

    return _native.joint_model(
        operators=problem.operators,
        capacity=problem.capacity,
        alignment=problem.alignment,
        size=np.ascontiguousarray(problem.size, dtype=np.int64),
        has_copy=np.ascontiguousarray(problem.has_copy, dtype=np.bool_),
        kept=np.ascontiguousarray(problem.kept, dtype=np.bool_),
        predecessor_offsets=offsets(problem.predecessors),
        predecessors=values(problem.predecessors),
        starter_offsets=offsets(problem.starters),
        starters=values(problem.starters),
        user_offsets=offsets(problem.users),
        users=values(problem.users),
        writer_offsets=offsets(problem.writers),
        writers=values(problem.writers),
        in_place_offsets=offsets(problem.in_place),
        in_place=values(problem.in_place),
    )
