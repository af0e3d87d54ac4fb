"""Sets of saved storages that go by way of the host, and when, so that the computation waits least.

Given a set of storages, times follow: everything is copied as soon as the forward half has read it
last, freed as late as the budget allows in the order in which the copies end, and fetched in the
order in which it is read again. A search over sets judges each by the event simulator.
"""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.training.memory import memory_profile
from planner.training.schedule import Offload
from planner.training.simulator import RoundTrip, copy_times

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from solvers.protocol import Deadline

_EXCHANGES = 300
"""Sets tried beyond the constructed ones."""


class _Candidate(NamedTuple):
    """A saved storage that could be away from the device.

    Attributes
    ----------
    copied_after : int
        Its last step of the forward half.
    read_before : int
        First step of the backward half that reads it; the half's length if only its end does.
    back_by : int
        Step of the backward half at which it has to be on the device at the latest.
    """

    storage: int
    size: int
    copied_after: int
    read_before: int
    back_by: int
    to_host_ps: int
    to_device_ps: int


class Found(NamedTuple):
    """Offloads that keep a schedule to its budget.

    Attributes
    ----------
    offloads : tuple of Offload
    stall_ps : int
        The computation waits for their copies.
    moved_bytes : int
        Copied to the host, and back.
    """

    offloads: tuple[Offload, ...]
    stall_ps: int
    moved_bytes: int

    def cost(self) -> tuple[int, int]:
        """Stall, then bytes."""
        return self.stall_ps, self.moved_bytes


class Offloading:
    """Sets of offloads of one schedule under one budget."""

    def __init__(
        self, problem: TrainingProblem, schedule: TrainingSchedule, budget_bytes: int
    ) -> None:
        self.schedule = schedule
        self.budget = budget_bytes
        self.live = memory_profile(problem, replace(schedule, offloads=())).live_bytes
        self.middle = len(schedule.forward)
        self.forward_ps = problem.duration_ps[list(schedule.forward)].tolist()
        self.backward_ps = problem.duration_ps[list(schedule.backward)].tolist()
        self.backward_start = np.array([0, *accumulate(self.backward_ps)], dtype=np.int64)
        self.tight = np.flatnonzero(self.live[: self.middle + 1] > budget_bytes).tolist()
        self.capacity = problem.host.capacity_bytes if problem.host is not None else 0
        self.candidates = _candidates(problem, schedule)

    def search(self, deadline: Deadline) -> Found | None:
        """Return the best of the constructed sets and of exchanges from there."""
        best = self.constructed()
        if best is None or not best.offloads:
            return best
        best = self._without_each(best, deadline)
        chance = random.Random(0)
        everything = range(len(self.candidates))
        numbers = {c.storage: i for i, c in enumerate(self.candidates)}
        for _ in range(_EXCHANGES):
            if deadline.expired() or not best.stall_ps:
                break
            chosen = {numbers[offload.storage] for offload in best.offloads}
            others = [i for i in everything if i not in chosen]
            leave = chance.sample(sorted(chosen), min(len(chosen), chance.choice((0, 1, 1, 2))))
            enter = chance.sample(others, min(len(others), chance.choice((0, 1, 1, 2))))
            best = self._better(best, chosen.difference(leave).union(enter))
        return best

    def constructed(self) -> Found | None:
        """Return the best of a few sets, or the first that stalls nothing.

        Each is made by freeing in one order of preference.
        """
        if int(self.live.max()) <= self.budget:
            return Found((), 0, 0)
        numbers = range(len(self.candidates))
        best: Found | None = None
        for preference in _PREFERENCES:
            order = sorted(numbers, key=lambda i: preference(self.candidates[i]))
            for chosen in (self._cover(order), order):
                for found in self._timed(chosen):
                    if best is None or found.cost() < best.cost():
                        best = found
                    if not best.stall_ps:
                        return best
        return best

    def _without_each(self, best: Found, deadline: Deadline) -> Found:
        numbers = {c.storage: i for i, c in enumerate(self.candidates)}
        members = [numbers[offload.storage] for offload in best.offloads]
        for member in sorted(members, key=lambda i: (self.candidates[i].size, i)):
            if deadline.expired():
                break
            chosen = {numbers[offload.storage] for offload in best.offloads} - {member}
            best = self._better(best, chosen)
        return best

    def _better(self, best: Found, chosen: Iterable[int]) -> Found:
        return min((best, *self._timed(chosen)), key=Found.cost)

    def _cover(self, order: Sequence[int]) -> list[int]:
        """Return the first candidates of the order that keep each step to the budget, if all do."""
        excess = self.live - self.budget
        chosen = []
        room = self.capacity
        for number in order:
            candidate = self.candidates[number]
            away = excess[candidate.copied_after + 1 : self.middle + 1 + candidate.back_by]
            if candidate.size <= room and bool((away > 0).any()):
                chosen.append(number)
                away -= candidate.size
                room -= candidate.size
        return chosen

    def _timed(self, chosen: Iterable[int]) -> Iterator[Found]:
        """Yield ways to time a set, if it meets the budget; who need not leave, stays."""
        queue = sorted(
            (self.candidates[i] for i in chosen),
            key=lambda c: (c.copied_after, -c.read_before, c.storage),
        )
        freed = self._freed(queue)
        if freed is None:
            return
        away = sorted(freed, key=lambda c: (c.read_before, c.storage))
        live = self.live[self.middle + 1 :].copy()
        for candidate in away:
            live[: candidate.back_by] -= candidate.size
        for earliest in (self._just_in_time(away), [0] * len(away)):
            yield self._judged(away, freed, self._fetched(away, live, earliest))

    def _freed(self, queue: Sequence[_Candidate]) -> dict[_Candidate, int] | None:
        """Return after which step each of those leaves that have to; None above the budget."""
        freed: dict[_Candidate, int] = {}
        gone = first = 0
        room = self.capacity
        for step in self.tight:
            while self.live[step] - gone > self.budget:
                if first == len(queue) or queue[first].copied_after >= step:
                    return None
                candidate = queue[first]
                first += 1
                if candidate.size <= room:
                    freed[candidate] = step - 1
                    gone += candidate.size
                    room -= candidate.size
        live = self.live[self.middle + 1 :].copy()
        for candidate in freed:
            live[: candidate.back_by] -= candidate.size
        for candidate in queue:
            above = np.flatnonzero(live > self.budget)
            if not len(above):
                break
            if candidate not in freed and above[0] < candidate.back_by and candidate.size <= room:
                freed[candidate] = self.middle
                live[: candidate.back_by] -= candidate.size
                room -= candidate.size
        return freed if not len(live) or live.max() <= self.budget else None

    def _just_in_time(self, away: Sequence[_Candidate]) -> list[int]:
        """Return the last steps at which copies back can be issued that nobody waits for."""
        steps = [0] * len(away)
        end = int(self.backward_start[-1])
        for i in range(len(away) - 1, -1, -1):
            end = min(end, int(self.backward_start[away[i].read_before])) - away[i].to_device_ps
            steps[i] = max(0, int(np.searchsorted(self.backward_start, end, side="right")) - 1)
        return steps

    def _fetched(
        self, away: Sequence[_Candidate], live: NDArray[np.int64], earliest: Sequence[int]
    ) -> list[int]:
        """Return the steps at which bytes are taken again: the first with room to stay."""
        live = live.copy()
        steps = []
        for candidate, first in zip(away, earliest, strict=True):
            full = np.flatnonzero(live[: candidate.back_by] > self.budget - candidate.size)
            step = min(max(first, int(full[-1]) + 1 if len(full) else 0), candidate.back_by)
            live[step : candidate.back_by] += candidate.size
            steps.append(step)
        return steps

    def _judged(
        self, away: Sequence[_Candidate], freed: dict[_Candidate, int], fetched: Sequence[int]
    ) -> Found:
        offloads, trips = [], []
        moved = 0
        for candidate, step in zip(away, fetched, strict=True):
            if freed[candidate] == self.middle and step == 0:
                continue
            times = candidate.copied_after, freed[candidate], step
            offloads.append(Offload(candidate.storage, *times))
            trips.append(
                RoundTrip(
                    *times, candidate.read_before, candidate.to_host_ps, candidate.to_device_ps
                )
            )
            moved += candidate.size
        stall = copy_times(self.forward_ps, self.backward_ps, trips).stall_ps
        return Found(tuple(offloads), stall, moved)


_PREFERENCES = (
    # Copied first, so waited for least, and in a stack of layers needed last.
    lambda c: (c.copied_after, -c.read_before, c.storage),
    lambda c: (-c.read_before, c.copied_after, c.storage),
    # Fewest copies.
    lambda c: (-c.size, c.copied_after, c.storage),
)


def _candidates(problem: TrainingProblem, schedule: TrainingSchedule) -> list[_Candidate]:
    host, steps = problem.host, len(schedule.backward)
    if host is None or not steps:
        return []
    last = dict[int, int]()
    for step, operator in enumerate(schedule.forward):
        for storage in (*problem.reads.row(operator), *problem.writes.row(operator)):
            last[int(storage)] = step
    reads = dict.fromkeys(problem.gradients.tolist(), steps)
    for step in range(steps - 1, -1, -1):
        operator = schedule.backward[step]
        for storage in problem.writes.row(operator).tolist():
            reads.pop(storage, None)
        for storage in problem.reads.row(operator).tolist():
            reads[storage] = step
    found = []
    for storage in schedule.saved:
        size = int(problem.size_bytes[storage])
        if storage not in reads or not size:
            continue
        copies = host.to_host_ps(size), host.to_device_ps(size)
        back_by = min(reads[storage], steps - 1)
        found.append(_Candidate(storage, size, last[storage], reads[storage], back_by, *copies))
    return found
