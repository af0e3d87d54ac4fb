"""Offsets for residencies that were chosen by the bytes of each row alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from planner.mapping_problem import MappingSolution
from planner.problem import OffsetProblem
from solvers.offsets.exact import pack

if TYPE_CHECKING:
    from planner.mapping_problem import MappingProblem
    from solvers.protocol import Deadline


def with_offsets(
    problem: MappingProblem, solution: MappingSolution, deadline: Deadline, *, call_limit: int = 0
) -> MappingSolution | None:
    """Give the residencies of a solution offsets, by the exact allocator.

    Parameters
    ----------
    call_limit : int
        Steps of its search, if positive: then the answer does not depend on the machine, unless the
        deadline comes first.

    Returns
    -------
    MappingSolution or None
        The same residencies at other offsets; None where no offsets were found.
    """
    stays = solution.residencies
    if not stays:
        return solution
    columns = np.array(stays, dtype=np.int64).T
    outcome = pack(
        OffsetProblem(
            lower=np.ascontiguousarray(columns[3]),
            upper=np.ascontiguousarray(columns[4]),
            size=problem.size[columns[0]],
            alignment=np.full(len(stays), problem.alignment, dtype=np.int64),
            capacity=problem.capacity,
        ),
        deadline,
        call_limit=call_limit,
    )
    if outcome.solution is None:
        return None
    offsets = outcome.solution.offsets.tolist()
    placed = (stay._replace(offset=offset) for stay, offset in zip(stays, offsets, strict=True))
    return MappingSolution(tuple(placed), solution.latency)
