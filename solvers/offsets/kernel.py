"""The native packer as a solver: one call of it, and what its numbers prove."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from planner.problem import OffsetSolution, Outcome, Status
from solvers import _native
from solvers.offsets.arrays import LIMIT, native_instance
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import OffsetProblem
    from solvers import SharedBest
    from solvers.protocol import Deadline


def run_packer(
    problem: OffsetProblem,
    *,
    search: bool,
    deadline: Deadline,
    incumbent: OffsetSolution | None,
    shared: SharedBest | None = None,
    call_limit: int = 0,
) -> Outcome[OffsetSolution]:
    """Pack greedily and, with ``search``, go on to the branch and bound.

    Optimal means that the height equals a proven bound; infeasible, that the bound exceeds the
    capacity, or that the fixed offsets of two buffers exclude each other, which are then named in
    ``statistics["clash"]``. A packing above the capacity is no solution; its height and offsets
    are in ``statistics["lowest_height"]`` and ``["lowest_offsets"]``.
    What is found is published in ``shared``, and what others publish there is gone on from. A
    positive ``call_limit`` ends the search after as many steps on every machine.

    Raises
    ------
    ValueError
        As for `solvers.offsets.arrays.checked_arrays`, and when the incumbent has not one offset
        for each buffer.
    """
    started_s = time.thread_time()
    instance = native_instance(problem)
    hint = np.empty(0, dtype=np.int64)
    if incumbent is not None:
        hint = np.ascontiguousarray(incumbent.offsets, dtype=np.int64)
        if hint.shape != np.shape(problem.size):
            raise ValueError(
                f"the incumbent has {hint.size:,} offsets for {len(problem.size):,} buffers"
            )
    offsets, height, bound, order, components, nodes, searches, clash = _native.offsets_pack(
        instance,
        hint=hint,
        # Nothing valid reaches the limit, so larger capacities mean the same.
        capacity=-1 if problem.capacity is None else min(int(problem.capacity), LIMIT),
        search=search,
        time_limit_s=deadline.remaining_s(),
        cancel=deadline.cancel,
        shared=shared,
        call_limit=call_limit,
    )
    fits = clash is None and (problem.capacity is None or height <= problem.capacity)
    if clash is not None or (problem.capacity is not None and bound > problem.capacity):
        status = Status.INFEASIBLE
    elif height == bound:
        status = Status.OPTIMAL
    else:
        status = Status.FEASIBLE if fits else Status.UNKNOWN
    statistics = {
        "cpu_s": time.thread_time() - started_s,
        "order": order,
        "components": components,
        "nodes": nodes,
        "searches": searches,
    }
    if clash is None:
        statistics["lowest_height"] = height
        if not fits:
            statistics["lowest_offsets"] = offsets
    else:
        statistics["clash"] = clash
    return Outcome(
        status,
        OffsetSolution(offsets, height) if fits else None,
        lower_bound=bound,
        statistics=statistics,
    )


class NativePacker:
    """What solvers ``greedy`` and ``exact`` have in common."""

    name: str
    _search: bool

    def available(self) -> Availability:
        """Return that it always is: the kernel is part of the project."""
        return Availability(True)

    def unsupported(self, problem: OffsetProblem) -> str:
        """Return that it can solve every problem: nothing is said against it."""
        return ""

    def solve(
        self,
        problem: OffsetProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: OffsetSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
        shared: SharedBest | None = None,
    ) -> Outcome[OffsetSolution]:
        """Return the lowest packing found. Nothing in it is random, so the seed is not used.

        Raises
        ------
        ValueError
            As for `run_packer`.
        """
        return run_packer(
            problem, search=self._search, deadline=deadline, incumbent=incumbent, shared=shared
        )
