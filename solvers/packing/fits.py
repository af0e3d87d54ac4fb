"""Whether groups fit into a memory together, remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from planner.packing.problem import LIMIT
from planner.problem import Status
from solvers.offsets import pack
from solvers.packing.lowering import offset_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from planner.packing.problem import PackingProblem
    from solvers.packing.groups import Group
    from solvers.protocol import Deadline


class Fit(NamedTuple):
    """Offsets of ``buffer``, None if none were found; and whether there are provably none."""

    buffer: NDArray[np.int64]
    offset: NDArray[np.int64] | None
    impossible: bool


class Fits:
    """Packs groups into memories within their capacities."""

    def __init__(self, problem: PackingProblem, groups: Sequence[Group]) -> None:
        self._problem = problem
        self._groups = groups
        self._known: dict[tuple[int, tuple[int, ...]], Fit] = {}

    def fit(self, memory: int, members: Sequence[int], deadline: Deadline) -> Fit:
        """Pack groups (ascending) into a memory.

        What could not be decided in time is tried again when asked again. Where there is no
        capacity, only fixed offsets can be in each other's way.
        """
        key = (memory, tuple(members))
        known = self._known.get(key)
        if known is not None:
            return known
        lowered = offset_problem(self._problem, self._groups, members, memory)
        rows = lowered.problem
        if rows.capacity is None:
            # Any height will do; without a capacity the packer would look for the lowest.
            rows = replace(rows, capacity=LIMIT - 1)
        outcome = pack(rows, deadline)
        offsets = None
        if outcome.solution is not None:
            offsets = lowered.buffer_offsets(outcome.solution.offsets)
        fit = Fit(lowered.buffer, offsets, outcome.status is Status.INFEASIBLE)
        if fit.impossible or fit.offset is not None:
            self._known[key] = fit
        return fit
