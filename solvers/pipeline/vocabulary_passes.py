"""Vocabulary passes put into a schedule that has none."""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import InvalidPlanError
from planner.pipelining.precedence import pass_ticks, vocabulary_layer
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem

FORWARD, BACKWARD, WEIGHT, FUSED, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind


class Urgency(NamedTuple):
    """Microbatches of S and of T that a device lets wait for a gap before they go first."""

    waiting_forward: int
    waiting_backward: int


def with_vocabulary_passes(
    problem: PipelineProblem, schedule: PipelineSchedule, urgency: Urgency
) -> PipelineSchedule:
    """Return the schedule with S and T of every microbatch on every device.

    The other passes keep their orders. A device runs S or T that is ready where the next pass of
    its order is not ready before it would end, or when more microbatches of it wait than the
    urgency allows.

    Raises
    ------
    planner.errors.InvalidPlanError
        If the schedule is no schedule without them either, or the costs have no vocabulary layer.
    """
    return _Insertion(problem, schedule, urgency).run()


class _Insertion:
    def __init__(
        self, problem: PipelineProblem, schedule: PipelineSchedule, urgency: Urgency
    ) -> None:
        devices, microbatches = problem.devices, problem.microbatches
        self.problem = problem
        self.schedule = schedule
        self.urgency = urgency
        self.layer = vocabulary_layer(problem)
        self.last = len(problem.stages) - 1
        self.ends: dict[tuple[PassKind, int, int], int] = {}
        self.place = [0] * devices
        self.free_at = [0] * devices
        self.order: list[list[Pass]] = [[] for _ in range(devices)]
        # Per kind and device, how many have run; per kind and microbatch, how many devices ran it,
        # and the latest end.
        self.done = {kind: [0] * devices for kind in (VOCABULARY_FORWARD, VOCABULARY_BACKWARD)}
        self.ran = {kind: [0] * microbatches for kind in self.done}
        self.latest = {kind: [0] * microbatches for kind in self.done}
        self.wakes = [(0, device) for device in range(devices)]

    def run(self) -> PipelineSchedule:
        problem = self.problem
        left = sum(map(len, self.schedule.passes)) + 2 * problem.devices * problem.microbatches
        while self.wakes:
            now, device = heappop(self.wakes)
            if self.free_at[device] <= now:
                item = self._next(device, now)
                if item is not None:
                    self._start(device, item, now)
                    left -= 1
        if left:
            raise InvalidPlanError("the schedule gets stuck, with or without vocabulary passes")
        return replace(self.schedule, passes=tuple(map(tuple, self.order)))

    def _next(self, device: int, now: int) -> Pass | None:
        own, place = self.schedule.passes[device], self.place[device]
        head = own[place] if place < len(own) else None
        ready = None if head is None else self._ready(device, head)
        for kind, waiting in zip(self.done, self.urgency, strict=True):
            item = Pass(kind, device, self.done[kind][device])
            if not self._is_ready(device, item, now):
                continue
            ahead = item._replace(microbatch=item.microbatch + waiting)
            fits = ready is None or now + pass_ticks(self.problem, item) <= ready
            if fits or self._is_ready(device, ahead, now):
                return item
        if head is not None and ready is not None and ready <= now:
            self.place[device] += 1
            return head
        return None

    def _is_ready(self, device: int, item: Pass, now: int) -> bool:
        if item.microbatch >= self.problem.microbatches:
            return False
        ready = self._ready(device, item)
        return ready is not None and ready <= now

    def _ready(self, device: int, item: Pass) -> int | None:
        """Return when a pass can start; None while that is unknown."""
        kind, stage, microbatch = item
        ends, hops = self.ends, self.problem.hops
        if kind is FORWARD:
            return (
                0
                if not stage
                else _later(ends.get((FORWARD, stage - 1, microbatch)), hops[stage - 1])
            )
        if kind is WEIGHT:
            return ends.get((BACKWARD, stage, microbatch))
        if kind is VOCABULARY_FORWARD:
            home = self.problem.device_of[self.last] == device
            end = ends.get((FORWARD, self.last, microbatch))
            return _later(end, 0 if home else self.layer.broadcast)
        if kind is VOCABULARY_BACKWARD:
            return self._barrier(VOCABULARY_FORWARD, microbatch)
        here = ends.get((FORWARD, stage, microbatch))
        if stage == self.last:
            first = VOCABULARY_FORWARD if self.layer.barriers == 1 else VOCABULARY_BACKWARD
            other = self._barrier(first, microbatch)
        else:
            other = _later(ends.get((BACKWARD, stage + 1, microbatch)), hops[stage])
        return None if here is None or other is None else max(here, other)

    def _barrier(self, kind: PassKind, microbatch: int) -> int | None:
        if self.ran[kind][microbatch] < self.problem.devices:
            return None
        return self.latest[kind][microbatch] + self.layer.barrier

    def _start(self, device: int, item: Pass, now: int) -> None:
        kind, stage, microbatch = item
        end = now + pass_ticks(self.problem, item)
        self.order[device].append(item)
        self.free_at[device] = end
        heappush(self.wakes, (end, device))
        if kind in self.done:
            self.done[kind][device] += 1
            self.ran[kind][microbatch] += 1
            self.latest[kind][microbatch] = max(self.latest[kind][microbatch], end)
            if self.ran[kind][microbatch] == self.problem.devices:
                self._wake_all(self.latest[kind][microbatch] + self.layer.barrier)
            return
        self.ends[BACKWARD if kind is FUSED else kind, stage, microbatch] = end
        device_of, hops = self.problem.device_of, self.problem.hops
        if kind is FORWARD and stage < self.last:
            heappush(self.wakes, (end + hops[stage], device_of[stage + 1]))
        elif kind is FORWARD:
            self._wake_all(end)
            self._wake_all(end + self.layer.broadcast)
        elif kind is not WEIGHT and stage:
            heappush(self.wakes, (end + hops[stage - 1], device_of[stage - 1]))

    def _wake_all(self, tick: int) -> None:
        for device in range(self.problem.devices):
            heappush(self.wakes, (tick, device))


def _later(end: int | None, ticks: int) -> int | None:
    return None if end is None else end + ticks
