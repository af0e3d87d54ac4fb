"""Exact offset assignment: greedy first, then branch and bound until proven or out of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.offsets.kernel import run_packer
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import OffsetProblem, OffsetSolution, Outcome
    from solvers.protocol import Deadline


def pack(problem: OffsetProblem, deadline: Deadline) -> Outcome[OffsetSolution]:
    """Assign offsets: lower bound, greedy portfolio, then search; stops as soon as all is proven.

    Raises
    ------
    ValueError
        As for `solvers.offsets.arrays.checked_arrays`.
    """
    return run_packer(problem, search=True, deadline=deadline, incumbent=None)


class ExactOffsets:
    """Greedy portfolio, then a place-or-raise branch and bound at a schedule of capacities.

    Canonical placements, section bounds, decomposition and the round robin over orders follow
    MiniMalloc ("MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine
    Learning", ASPLOS 2023); bounds carry explanations, by which the search jumps back.

    Gaps, fixed offsets, separations and overlaps are searched with proof. Not so where one of two
    buffers in use at the same time may lie between bytes of the other: there it looks for packings
    with one entirely above the other, and proves no more than the lower bound.
    """

    name = "exact"

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
    ) -> Outcome[OffsetSolution]:
        """Solve, see `pack`. Nothing in it is random, so the seed is not used.

        Raises
        ------
        ValueError
            As for `solvers.offsets.kernel.run_packer`.
        """
        return run_packer(problem, search=True, deadline=deadline, incumbent=incumbent)
