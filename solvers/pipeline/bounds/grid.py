"""Points in time at which the pair bound looks at a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_GROWTH = 1.25


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


def grid_around(
    base: int, *, from_start: Iterable[int], from_end: Iterable[int], step: int, even: int
) -> Grid:
    """Return a grid that has given points, and others as far apart as makes sense.

    Parameters
    ----------
    base : int
        At least 1.
    from_start, from_end : iterable of int
        Where something begins or must be over: what happens between these and the next point would
        be lost to rounding. Those beyond the middle are left out.
    step : int
        Ticks between other points, at least 1, up to ``even`` ticks from either end, and further
        apart towards the middle.
    even : int
    """
    regular = _growing(base // 2, step, even)
    head = _merged(base // 2, from_start, regular, step)
    tail = _merged(base // 2, from_end, regular, step)
    return Grid(base, head, tail[::-1])


def _growing(middle: int, step: int, even: int) -> list[int]:
    ticks, length = [0], float(step)
    while ticks[-1] + int(length) < middle:
        ticks.append(ticks[-1] + int(length))
        if ticks[-1] >= even:
            length *= _GROWTH
    return ticks


def _merged(middle: int, given: Iterable[int], regular: list[int], step: int) -> tuple[int, ...]:
    """Return the given points, and the regular ones that are not close to one of them."""
    kept = sorted({0, *(tick for tick in given if 0 <= tick < middle)})
    points, after = list(kept), 0
    for tick in regular:
        while after < len(kept) and kept[after] < tick:
            after += 1
        near = [abs(tick - other) for other in kept[max(0, after - 1) : after + 1]]
        if min(near) * 5 >= step * 2:
            points.append(tick)
    return tuple(sorted(points))
