"""Offsets for residencies that were chosen by the bytes of each row alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.mapping_problem import MappingSolution
from planner.problem import OffsetProblem
from solvers.offsets.exact import pack

if TYPE_CHECKING:
    from planner.mapping_problem import MappingProblem
    from solvers.protocol import Deadline


class Packed(NamedTuple):
    """The same residencies at other offsets, and whether they are legal.

    If not, those that would exceed the memory have the offset -1.
    """

    solution: MappingSolution
    fits: bool


def with_offsets(
    problem: MappingProblem, solution: MappingSolution, deadline: Deadline, *, call_limit: int = 0
) -> Packed:
    """Give the residencies of a solution offsets, by the exact allocator.

    Parameters
    ----------
    call_limit : int
        Steps of its search, if positive: then the answer does not depend on the machine, unless the
        deadline comes first.

    """
    stays = solution.residencies
    if not stays:
        return Packed(solution, fits=True)
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
    fits = outcome.solution is not None
    if outcome.solution is not None:
        found = outcome.solution.offsets
    else:
        found = outcome.statistics.get("lowest_offsets", np.full(len(stays), -1, dtype=np.int64))
    inside = found + problem.size[columns[0]] <= problem.capacity
    offsets = np.where(inside, found, -1).tolist()
    placed = (stay._replace(offset=offset) for stay, offset in zip(stays, offsets, strict=True))
    return Packed(MappingSolution(tuple(placed), solution.latency), fits)
