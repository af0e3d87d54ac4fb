"""Solver ``local``: guided local search on overlaps, from a packing down, for the last per cent."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.problem import Outcome, Status
from solvers import _native
from solvers.offsets.arrays import LIMIT, native_instance
from solvers.offsets.bound import lower_bound
from solvers.offsets.incumbent import Incumbent
from solvers.offsets.overwrites import only_overwrites
from solvers.offsets.pairs import conflicting_pairs, count_overlaps
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import OffsetProblem, OffsetSolution
    from solvers import SharedBest
    from solvers.protocol import Deadline

# The kernel's own limits: memory is in proportion to pairs, a step's time to units.
MOST_PAIRS = 500_000
MOST_UNITS = 8_192


class LocalOffsets:
    """Squeezes a packing: buffers may overlap for a while, and are moved until none does.

    Below the height of a packing, guided local search moves one overlapping buffer at a time to
    where it overlaps least; overlaps that stay weigh more and more. The first aim is a few per cent
    above the bound, then each packing found is lowered by a unit. Several runs take turns, the
    lowest most of them. That is Egeblad, Nielsen and Odgaard, "Fast neighborhood search for two-
    and three-dimensional nesting problems" (EJOR 183, 2007), in one dimension.

    Buffers of which one may overwrite the other do not overlap where they lie at one offset.
    """

    name = "local"

    def available(self) -> Availability:
        """Return that it always is: the kernel is part of the project."""
        return Availability(True)

    def unsupported(self, problem: OffsetProblem) -> str:
        """Say which constraint it does not know or what is too large, or nothing."""
        if problem.fixed is not None and (count := int((problem.fixed >= 0).sum())):
            return f"{count:,} offsets are fixed; local search moves all buffers"
        if problem.uses is not None or not only_overwrites(problem):
            return (
                "some buffers do not use all of their bytes all the time, or have rules for pairs; "
                "local search takes lifetimes and sizes, and overwrites in place, alone"
            )
        overlaps = count_overlaps(problem)
        if overlaps > MOST_PAIRS:
            return f"{overlaps:,} pairs of buffers conflict; local search takes {MOST_PAIRS:,}"
        unit, alignment = _unit(problem), math.lcm(*map(int, set(problem.alignment.tolist())))
        if unit % alignment:
            return (
                f"sizes are multiples of {unit:,} bytes only, not of all alignments "
                f"({alignment:,}), as local search needs them"
            )
        units = lower_bound(problem) // unit
        if units > MOST_UNITS:
            return (
                f"the bound on the height is {units:,} units of {unit:,} bytes; local search "
                f"takes {MOST_UNITS:,}"
            )
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
        """Lower the incumbent, or else a greedy packing, until the bound, capacity or deadline.

        Alone, the same problem and seed give the same packing, unless the deadline cut in.

        Raises
        ------
        ValueError
            As for `solvers.offsets.arrays.checked_arrays`, and when the incumbent has not one
            offset for each buffer.
        """
        reason = self.unsupported(problem)
        if reason:
            return Outcome(Status.UNKNOWN, None, statistics={"stopped": reason})
        started_s = time.thread_time()
        best = Incumbent(self.name, problem, conflicting_pairs(problem), shared, on_progress)
        best.begin(incumbent, deadline)
        steps = 0
        if best.offsets is not None and not best.is_settled():
            offsets, _, steps = _native.offsets_squeeze(
                # All offsets are free here, whether or not the problem says so one by one.
                native_instance(replace(problem, fixed=None)),
                start_offsets=best.offsets,
                goal=best.bound if problem.capacity is None else min(problem.capacity, LIMIT),
                seed=seed % 2**64,
                time_limit_s=deadline.remaining_s(),
                cancel=deadline.cancel,
                shared=shared,
            )
            best.offer(offsets)
            best.exchange()
        return best.outcome(steps=steps, cpu_s=time.thread_time() - started_s)


def _unit(problem: OffsetProblem) -> int:
    """Return the bytes that all sizes, rounded up as the bound counts them, are multiples of."""
    granule = math.gcd(*problem.alignment.tolist()) or 1
    return math.gcd(*(-(-problem.size // granule) * granule).tolist()) or granule
