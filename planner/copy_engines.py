"""Copy engines, one per link, and how the links share the time of the memories behind them.

A link that is **first in, first out** has up to ``channels`` copies in flight, which share what it
moves equally; the others wait in the order in which they were handed over. On any other link all
copies handed over are in flight: the most urgent of those that are set up moves its bytes, and
gives way whenever a more urgent one is set up. Set-ups take none of the link's bandwidth, and none
of a memory's time.

A copy is **more urgent** than another if it has to be finished at an earlier boundary; at the same
boundary copies out of the nearest memory go before moves and copies between farther memories, and
those before copies into the nearest; then the order of the plan decides.

A copy that reads a memory at rate ``r`` takes ``r / read_bandwidth`` of its time, and one that
writes it ``r / write_bandwidth``. The nearest memory and memories without that bandwidth limit no
copies. Links take of the time that is left, each as much as it can use, the one with the most
urgent copy in motion first; no link exceeds its own bandwidth.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from planner.target import Link, Target

# Of a copy's bytes, and of a memory's time: less than that is left by rounding alone.
_ROUNDING = 1e-9


class Copy(NamedTuple):
    """A transfer of the plan; the more urgent of two copies is the lesser.

    Attributes
    ----------
    end : int
        Boundary at which it has to be finished.
    rank : int
        `planner.plans.boundary_rank`.
    transfer : int
        Its place in the plan.
    size_bytes : int
    """

    end: int
    rank: int
    transfer: int
    size_bytes: int


class Finished(NamedTuple):
    """A copy that is finished, and when it began."""

    copy: Copy
    start_s: float


class CopyEngine(Protocol):
    """Serves the copies of one link.

    Between two events it moves bytes at a constant rate, which `link_rates` gives: bytes per second
    of the link as a whole.
    """

    link: Link

    @property
    def busy(self) -> bool:
        """Whether copies are in flight."""
        ...

    @property
    def most_urgent(self) -> Copy | None:
        """The most urgent of the copies that are set up; None if there is none."""
        ...

    def hand_over(self, copy: Copy, now_s: float) -> None:
        """Take a copy."""
        ...

    def next_event_s(self, now_s: float, rate: float) -> float:
        """Seconds until a set-up or a copy ends; infinite if none does."""
        ...

    def advance(self, now_s: float, elapsed_s: float, rate: float) -> list[Finished]:
        """Let time pass, no further than the next event; return the copies that are finished."""
        ...


def copy_engine(link: Link) -> CopyEngine:
    """Return the engine of a link; moves inside the nearest memory are made one by one in order."""
    if link.source == link.destination:
        return _FirstInFirstOut(link, 1)
    return _FirstInFirstOut(link, link.channels) if link.fifo else _MostUrgentFirst(link)


class _InFlight:
    """A copy in flight: what is left of its set-up and of its bytes."""

    __slots__ = ("bytes_left", "copy", "setup_left_s", "start_s")

    def __init__(self, copy: Copy, setup_s: float, start_s: float) -> None:
        self.copy = copy
        self.bytes_left = float(copy.size_bytes)
        self.setup_left_s = setup_s
        self.start_s = start_s


class _FirstInFirstOut:
    """Up to ``channels`` copies in flight share the rate; they begin in the order of arrival."""

    def __init__(self, link: Link, channels: int) -> None:
        self.link = link
        self.channels = channels
        self.waiting: deque[Copy] = deque()
        self.active: list[_InFlight] = []

    @property
    def busy(self) -> bool:
        return bool(self.active)

    @property
    def most_urgent(self) -> Copy | None:
        return min((held.copy for held in self.active if held.setup_left_s <= 0), default=None)

    def hand_over(self, copy: Copy, now_s: float) -> None:
        self.waiting.append(copy)
        self._admit(now_s)

    def _admit(self, now_s: float) -> None:
        while self.waiting and len(self.active) < self.channels:
            self.active.append(_InFlight(self.waiting.popleft(), self.link.setup_s, now_s))

    def _moving(self) -> int:
        return sum(held.setup_left_s <= 0 for held in self.active)

    def next_event_s(self, now_s: float, rate: float) -> float:
        moving = self._moving()
        return min((_remaining_s(held, rate, moving) for held in self.active), default=math.inf)

    def advance(self, now_s: float, elapsed_s: float, rate: float) -> list[Finished]:
        moving = self._moving()
        done, active = [], []
        for held in self.active:
            ends = _remaining_s(held, rate, moving) <= elapsed_s
            if held.setup_left_s > 0:
                held.setup_left_s = 0.0 if ends else held.setup_left_s - elapsed_s
                ends = ends and not held.copy.size_bytes
            elif not ends:
                held.bytes_left -= elapsed_s * rate / moving
                ends = held.bytes_left <= _ROUNDING * held.copy.size_bytes
            if ends:
                done.append(Finished(held.copy, held.start_s))
            else:
                active.append(held)
        self.active = active
        self._admit(now_s + elapsed_s)
        return done


def _remaining_s(held: _InFlight, rate: float, moving: int) -> float:
    """Seconds until its set-up ends, or until its last byte if it is one of those that move."""
    if held.setup_left_s > 0:
        return held.setup_left_s
    if not held.bytes_left:
        return 0.0
    return held.bytes_left * moving / rate if rate else math.inf


class _MostUrgentFirst:
    """All copies are in flight; the most urgent that is set up has the whole rate.

    A copy begins with its first byte.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        # Same set-up for all: first come, first set up.
        self.setting_up: deque[tuple[float, Copy]] = deque()
        self.ready: list[Copy] = []
        self.bytes_left: dict[int, float] = {}
        self.start_s: dict[int, float] = {}

    @property
    def busy(self) -> bool:
        return bool(self.ready or self.setting_up)

    @property
    def most_urgent(self) -> Copy | None:
        return self.ready[0] if self.ready else None

    def hand_over(self, copy: Copy, now_s: float) -> None:
        self.setting_up.append((now_s + self.link.setup_s, copy))

    def next_event_s(self, now_s: float, rate: float) -> float:
        setup_s = max(0.0, self.setting_up[0][0] - now_s) if self.setting_up else math.inf
        return min(setup_s, self._remaining_s(rate))

    def _remaining_s(self, rate: float) -> float:
        if not self.ready or not rate:
            return math.inf
        return self.bytes_left[self.ready[0].transfer] / rate

    def advance(self, now_s: float, elapsed_s: float, rate: float) -> list[Finished]:
        done = []
        if self.ready and rate:
            copy = self.ready[0]
            start_s = self.start_s.setdefault(copy.transfer, now_s)
            ends = self._remaining_s(rate) <= elapsed_s
            self.bytes_left[copy.transfer] -= elapsed_s * rate
            if ends or self.bytes_left[copy.transfer] <= _ROUNDING * copy.size_bytes:
                heapq.heappop(self.ready)
                done.append(Finished(copy, start_s))
        while self.setting_up and self.setting_up[0][0] - now_s <= elapsed_s:
            ready_s, copy = self.setting_up.popleft()
            if copy.size_bytes:
                heapq.heappush(self.ready, copy)
                self.bytes_left[copy.transfer] = float(copy.size_bytes)
            else:
                done.append(Finished(copy, ready_s))
        return done


class MemoryUse(NamedTuple):
    """A memory whose time the copies of a link take, and the bandwidth at which they use it."""

    memory: str
    bandwidth: float


def memory_uses(target: Target, link: Link) -> tuple[MemoryUse, ...]:
    """Memories whose time the copies of a link take."""
    source, destination = target.memory(link.source), target.memory(link.destination)
    ends = ((source, source.read_bandwidth), (destination, destination.write_bandwidth))
    return tuple(
        MemoryUse(memory.name, bandwidth)
        for memory, bandwidth in ends
        if bandwidth and memory.name != target.nearest.name
    )


def link_rates(
    engines: Sequence[CopyEngine],
    uses: Sequence[Sequence[MemoryUse]],
    taken: Mapping[str, float],
) -> list[float]:
    """Bytes per second of each link as they are now.

    Parameters
    ----------
    engines : sequence of CopyEngine
    uses : sequence of sequence of MemoryUse
        Of each engine's link.
    taken : mapping of memory name to float
        Fraction of its time that the operator takes; 0 for the others.
    """
    rates = [0.0] * len(engines)
    left: dict[str, float] = {}
    moving = [(engine.most_urgent, at) for at, engine in enumerate(engines)]
    for _, at in sorted((copy, at) for copy, at in moving if copy is not None):
        rate = engines[at].link.bandwidth
        for memory, bandwidth in uses[at]:
            rate = min(rate, left.setdefault(memory, _rest(1 - taken.get(memory, 0.0))) * bandwidth)
        for memory, bandwidth in uses[at]:
            left[memory] = _rest(left[memory] - rate / bandwidth)
        rates[at] = rate
    return rates


def _rest(fraction: float) -> float:
    return fraction if fraction > _ROUNDING else 0.0
