"""Exact offset assignment: greedy first, then branch and bound until proven or out of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.offsets.kernel import NativePacker, run_packer

if TYPE_CHECKING:
    from planner.problem import OffsetProblem, OffsetSolution, Outcome
    from solvers.protocol import Deadline


def pack(
    problem: OffsetProblem,
    deadline: Deadline,
    incumbent: OffsetSolution | None = None,
    *,
    call_limit: int = 0,
) -> Outcome[OffsetSolution]:
    """Assign offsets: lower bound, greedy portfolio, then search; stops as soon as all is proven.

    A positive ``call_limit`` ends the search after as many steps, whatever the machine.

    Raises
    ------
    ValueError
        As for `solvers.offsets.arrays.checked_arrays`.
    """
    return run_packer(
        problem, search=True, deadline=deadline, incumbent=incumbent, call_limit=call_limit
    )


class ExactOffsets(NativePacker):
    """Greedy portfolio, then a place-or-raise branch and bound at a schedule of capacities.

    Canonical placements, section bounds, decomposition and the round robin over orders follow
    MiniMalloc ("MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine
    Learning", ASPLOS 2023); bounds carry explanations, by which the search jumps back.

    Gaps, fixed offsets, separations and overlaps are searched with proof. Not so where one of two
    buffers in use at the same time may lie between bytes of the other: there it looks for packings
    with one entirely above the other, and proves no more than the lower bound. Of overwrites alone
    (`solvers.offsets.overwrites`) it searches the choices, each as a problem without rules; if
    there are few, with proof.
    """

    name = "exact"
    _search = True
