"""The tick that the times of a pipeline are counted in."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from planner.pipelining.problem import most_ticks

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORTEST_TICK_S = Fraction(1, 10**15)
# A copy is rounded up to whole ticks: by a thousandth of the shortest at most.
_COPY_RESOLUTION = 1000


def common_tick(times: Iterable[Fraction]) -> Fraction:
    """Return the longest tick in which all times are whole numbers; 1 s if all are 0."""
    present = {time for time in times if time}
    if not present:
        return Fraction(1)
    denominator = math.lcm(*(time.denominator for time in present))
    return Fraction(
        math.gcd(*(time.numerator * (denominator // time.denominator) for time in present)),
        denominator,
    )


class Clock(NamedTuple):
    """The tick that times are counted in.

    Attributes
    ----------
    tick : Fraction
        In seconds.
    exact : bool
        Whether all times are whole numbers of ticks.
    """

    tick: Fraction
    exact: bool

    def ticks(self, time: Fraction) -> int:
        """Return the nearest number of ticks; 1 at least for what is not 0."""
        return max(int(time > 0), round(time / self.tick))

    def ticks_to_copy(self, time: Fraction) -> int:
        """Return the ticks of a copy: rounded up."""
        return math.ceil(time / self.tick)


def clock(
    times: Iterable[Fraction], copies: Iterable[Fraction], total: Fraction, devices: int
) -> Clock:
    """Choose a tick for times of passes, which are whole if that can be, and of copies.

    Times as a profile prints them, with 17 digits, have no common unit in which they could be
    counted. They are rounded to a power of ten: the shortest in which sums stay exact.

    Parameters
    ----------
    times, copies : iterable of Fraction
        Seconds. The tick is short enough to round copies by little.
    total : Fraction
        Seconds of all passes and copies one after the other.
    devices : int
    """
    tick, shortest = common_tick(times), _shortest_tick(total, devices)
    exact = tick >= shortest
    if not exact:
        tick = shortest
    if moved := [time for time in copies if time]:
        wanted = min(moved) / _COPY_RESOLUTION
        while tick > wanted and tick / 10 >= shortest:
            tick /= 10
    return Clock(tick, exact)


def _shortest_tick(total: Fraction, devices: int) -> Fraction:
    """Return the least power of ten of which there are not too many in so many seconds."""
    least = total / (most_ticks(devices) >> 2)
    if least <= _SHORTEST_TICK_S:
        return _SHORTEST_TICK_S
    digits = len(str(least.numerator)) - len(str(least.denominator)) - 1
    tick = Fraction(10) ** digits
    while tick < least:
        tick *= 10
    return tick
