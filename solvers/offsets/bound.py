"""A proven lower bound on the height of every placement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers import _native
from solvers.offsets.arrays import native_instance

if TYPE_CHECKING:
    from planner.problem import OffsetProblem


def lower_bound(problem: OffsetProblem) -> int:
    """Return the most bytes in use at once, in O(n log n), or where the highest buffer must end.

    Sizes count rounded up to the greatest common divisor of all alignments, because the bytes
    behind a buffer up to the next multiple of it can never start another one. Only the topmost of
    the buffers alive at a time may go without its padding, so the largest padding is taken off.
    Bytes that a pair rule lets two buffers share are taken off as well.

    Raises
    ------
    ValueError
        As for `solvers.offsets.arrays.checked_arrays`.
    """
    return _native.offsets_lower_bound(native_instance(problem))
