"""Points in time at which the pair bound looks at a schedule."""

from __future__ import annotations

from typing import NamedTuple


class Grid(NamedTuple):
    """Points counted from the first start, and points counted from the end.

    For a schedule that takes ``base + more`` ticks, ``more >= 0``, the points of the head lie at
    ``head[i]`` and those of the tail at ``base + more - tail[i]``; only the cell between the two
    grows with ``more``.

    Attributes
    ----------
    base : int
    head : tuple of int
        Ascending, from 0.
    tail : tuple of int
        Descending, to 0; ``head[-1] < base - tail[0]``.
    """

    base: int
    head: tuple[int, ...]
    tail: tuple[int, ...]

    @property
    def points(self) -> tuple[int, ...]:
        """Ticks of all points if the schedule takes ``base``."""
        return (*self.head, *(self.base - distance for distance in self.tail))


def even_and_growing(base: int, step: int, even: int, growth: float = 1.25) -> Grid:
    """Return a grid with cells of ``step`` ticks at both ends and longer ones towards the middle.

    Parameters
    ----------
    base : int
        At least 2.
    step : int
        Ticks of a cell, at least 1.
    even : int
        Ticks at each end with cells of that length.
    growth : float
        How much longer each further cell is than the one before.
    """
    middle = base // 2
    ticks, length = [0], float(step)
    while True:
        following = ticks[-1] + max(step, int(length))
        if following >= middle:
            break
        ticks.append(following)
        if following >= even:
            length *= growth
    return Grid(base, tuple(ticks), tuple(reversed(ticks)))
