"""Which capacities a sweep plans for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_POINTS = 9
MOST_POINTS = 256

# Points between the ends are rounded to this share of themselves, so that they are round numbers.
_FINENESS = 64


class CapacityRange(NamedTuple):
    """Capacities from ``low`` to ``high`` bytes, both included.

    Attributes
    ----------
    low, high : int
    points : int or None
        How many, in equal ratios; None: 9.
    step : int or None
        Bytes between two capacities, instead of ``points``.
    """

    low: int
    high: int
    points: int | None = None
    step: int | None = None

    def __str__(self) -> str:
        """Return the range as the command line takes it."""
        third = f":{self.points}" if self.points is not None else ""
        third = f":{self.step}B" if self.step is not None else third
        return f"{self.low}:{self.high}{third}"


def swept_capacities(
    capacities: CapacityRange | Sequence[int], alignment_bytes: int = 1
) -> tuple[int, ...]:
    """Return the capacities of a range, or the listed ones, ascending and distinct.

    Parameters
    ----------
    capacities : CapacityRange or sequence of int
    alignment_bytes : int
        What lies between the ends of a range in equal ratios is rounded to multiples of it.

    Raises
    ------
    UsageError
        If there are none or too many, a range runs backwards or is a single capacity, or a number
        is not positive.
    """
    if isinstance(capacities, CapacityRange):
        return _range(capacities, alignment_bytes)
    listed = sorted(set(capacities))
    if not listed:
        raise UsageError("no capacities to sweep. Give at least one, or a range.")
    if any(isinstance(c, bool) or not isinstance(c, int) or c < 1 for c in listed):
        raise UsageError(f"capacities {list(capacities)!r}: give whole numbers of bytes above 0.")
    _require_few(len(listed), "capacities")
    return tuple(listed)


def _range(given: CapacityRange, alignment_bytes: int) -> tuple[int, ...]:
    low, high, points, step = given
    where = f"range {given}"
    if any(isinstance(n, bool) or not isinstance(n, int) for n in given if n is not None):
        raise UsageError(f"{where}: give whole numbers.")
    if low < 1:
        raise UsageError(f"{where}: begins at {low}. A capacity must be above 0.")
    if low > high:
        raise UsageError(f"{where}: begins at {low:,} bytes, above its end of {high:,}.")
    if low == high:
        raise UsageError(f"{where}: is a single capacity. Give it alone, without the colon.")
    if step is not None:
        if points is not None:
            raise UsageError(f"{where}: has a number of points and a step. Give one of them.")
        if step < 1:
            raise UsageError(f"{where}: a step must be above 0.")
        _require_few((high - low) // step + 2, where)
        return tuple(dict.fromkeys([*range(low, high, step), high]))
    count = DEFAULT_POINTS if points is None else points
    if count < 2:
        raise UsageError(f"{where}: {count} points. A range has two ends at least.")
    _require_few(count, where)
    inner = (low * (high / low) ** (i / (count - 1)) for i in range(1, count - 1))
    rounded = (_round(value, alignment_bytes) for value in inner)
    return tuple(sorted({low, high, *(value for value in rounded if low < value < high)}))


def _round(value: float, alignment_bytes: int) -> int:
    grain = max(2 ** max(math.floor(math.log2(value / _FINENESS)), 0), alignment_bytes)
    return round(value / grain) * grain


def _require_few(count: int, where: str) -> None:
    if count > MOST_POINTS:
        raise UsageError(
            f"{where}: {count:,} points; at most {MOST_POINTS:,}. Each of them is a race of its "
            "own: take a larger step or fewer points."
        )
