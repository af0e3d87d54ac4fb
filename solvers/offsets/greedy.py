"""Greedy offset assignment by a portfolio of orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.offsets.kernel import run_packer
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import OffsetProblem, OffsetSolution, Outcome
    from solvers.protocol import Deadline


class GreedyOffsets:
    """Places buffers one by one in several orders, by first and best fit; the lowest packing wins.

    The orders are those of memory planners in use: by size (TensorFlow Lite), by lifetime (XLA), by
    number of conflicts (TVM's unified static memory planner), by area, by start, and others. Free
    bytes are found in a segment tree, without a conflict graph. Fixed buffers are placed before all
    others. What pair rules allow beyond the uses is used for up to a few thousand buffers.
    """

    name = "greedy"

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
        """Return the lowest packing found. Nothing in it is random, so the seed is not used.

        Raises
        ------
        ValueError
            As for `solvers.offsets.kernel.run_packer`.
        """
        return run_packer(problem, search=False, deadline=deadline, incumbent=incumbent)
