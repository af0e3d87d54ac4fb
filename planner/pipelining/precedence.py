"""Which pass waits for which: a schedule as a graph of least differences between starts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import InvalidPlanError
from planner.pipelining.schedule import CopyKind, Pass, PassKind

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem, VocabularyLayer
    from planner.pipelining.schedule import PipelineSchedule

FORWARD, BACKWARD, WEIGHT, FUSED, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind


class Event(NamedTuple):
    """One thing that takes time: a pass, a copy, a gather, a reduction or a barrier.

    Attributes
    ----------
    device : int
        -1 for a barrier.
    name : str
        For people, as in ``F 3.1``: stage 3, microbatch 1.
    ticks : int
    """

    device: int
    name: str
    ticks: int


@dataclass(frozen=True, slots=True)
class Precedence:
    """Events, and how much later than others each may start at the earliest.

    Attributes
    ----------
    events : tuple of Event
        Passes first, device by device; then copies, gathers, reductions and barriers.
    waits_for : list of list of (int, int)
        Per event, pairs of another event and the least ticks from its start to this start.
    passes, copies, gathers : tuple of range
        Per device, its events in the order of the schedule.
    reductions : tuple of tuple of int
        Per device and unit, its event, or -1 where the unit does not reduce.
    order : list of int
        All events, each after those it waits for.
    """

    events: tuple[Event, ...]
    waits_for: list[list[tuple[int, int]]]
    passes: tuple[range, ...]
    copies: tuple[range, ...]
    gathers: tuple[range, ...]
    reductions: tuple[tuple[int, ...], ...]
    order: list[int]


def pass_ticks(problem: PipelineProblem, item: Pass) -> int:
    """Ticks of one compute pass."""
    kind = item.kind
    if kind in (VOCABULARY_FORWARD, VOCABULARY_BACKWARD):
        layer = vocabulary_layer(problem)
        return layer.forward if kind is VOCABULARY_FORWARD else layer.backward
    costs = problem.stages[item.stage]
    if kind is FORWARD:
        return costs.forward
    if kind is BACKWARD:
        return costs.backward
    return costs.weight if kind is WEIGHT else costs.backward + costs.weight


def vocabulary_layer(problem: PipelineProblem) -> VocabularyLayer:
    """Return the vocabulary layer of a problem that a schedule assumes to have one."""
    if problem.vocabulary is None:
        raise InvalidPlanError("the schedule has vocabulary passes, but the costs do not")
    return problem.vocabulary


def precedence(problem: PipelineProblem, schedule: PipelineSchedule) -> Precedence:
    """Return what waits for what.

    Raises
    ------
    planner.errors.InvalidPlanError
        If a pass waits for one that is nowhere, or passes wait for each other in a circle; the
        message names them.
    """
    return _Builder(problem, schedule).build()


class _Builder:
    def __init__(self, problem: PipelineProblem, schedule: PipelineSchedule) -> None:
        self.problem = problem
        self.schedule = schedule
        self.events: list[Event] = []
        self.waits_for: list[list[tuple[int, int]]] = []
        self.at: dict[tuple[str, int, int], int] = {}

    def build(self) -> Precedence:
        passes = tuple(self._add_passes(d) for d in range(self.problem.devices))
        copies = tuple(self._add_copies(d, passes[d]) for d in range(self.problem.devices))
        gathers, reductions = [], []
        for device in range(self.problem.devices):
            mine, reduced = self._add_units(device, passes[device])
            gathers.append(mine)
            reductions.append(reduced)
        if self.problem.vocabulary is not None:
            self._add_barriers(self.problem.vocabulary)
        for device, items in enumerate(self.schedule.passes):
            for index, item in zip(passes[device], items, strict=True):
                self._depend(index, device, item)
        events = tuple(self.events)
        order = _topological(events, self.waits_for)
        return Precedence(
            events, self.waits_for, passes, copies, tuple(gathers), tuple(reductions), order
        )

    def _add(self, device: int, name: str, ticks: int) -> int:
        self.events.append(Event(device, name, ticks))
        self.waits_for.append([])
        return len(self.events) - 1

    def _after_end(self, index: int, other: int, ticks: int = 0) -> None:
        self.waits_for[index].append((other, self.events[other].ticks + ticks))

    def _add_passes(self, device: int) -> range:
        begin = len(self.events)
        for item in self.schedule.passes[device]:
            kind, stage, microbatch = item
            name = f"{kind} {stage}.{microbatch}"
            index = self._add(device, name, pass_ticks(self.problem, item))
            if index > begin:
                self._after_end(index, index - 1)
            if (kind, stage, microbatch) in self.at:
                raise InvalidPlanError(f"device {device}: {name} is there twice")
            self.at[kind, stage, microbatch] = index
        return range(begin, len(self.events))

    def _add_copies(self, device: int, passes: range) -> range:
        begin = len(self.events)
        if not self.schedule.copies:
            return range(begin, begin)
        offloading = self.problem.offloading
        if offloading is None:
            raise InvalidPlanError("the schedule copies to the host, but the costs have no link")
        last: dict[str, int] = {}
        for kind, stage, microbatch, after, before in self.schedule.copies[device]:
            out = kind is CopyKind.OFFLOAD
            ticks = (offloading.offload if out else offloading.reload)[stage]
            index = self._add(device, f"{kind} {stage}.{microbatch}", ticks)
            self.at[kind, stage, microbatch] = index
            stream = kind if offloading.streams == 2 else "both"
            if stream in last:
                self._after_end(index, last[stream])
            last[stream] = index
            if after >= 0:
                self.waits_for[index].append((passes[after], 0))
            if before < len(passes):
                self._after_end(passes[before], index)
            self._after_end(
                index, self._find(FORWARD if out else CopyKind.OFFLOAD, stage, microbatch, index)
            )
        return range(begin, len(self.events))

    def _add_units(self, device: int, passes: range) -> tuple[range, tuple[int, ...]]:
        begin = len(self.events)
        units = self.schedule.units[device] if self.schedule.units else ()
        if not units:
            return range(begin, begin), ()
        sharding = self.problem.sharding
        if sharding is None:
            raise InvalidPlanError("the schedule gathers weights, but the costs have none sharded")
        stream: list[tuple[int, int, int]] = []
        for unit in units:
            index = self._add(device, f"gather of stage {unit.stage}", sharding.gather[unit.stage])
            if unit.after >= 0:
                self.waits_for[index].append((passes[unit.after], 0))
            self._after_end(passes[unit.first], index)
            stream.append((unit.after, 1, index))
        gathers, reductions = range(begin, len(self.events)), []
        for unit in units:
            if not unit.reduces:
                reductions.append(-1)
                continue
            name = f"reduction of stage {unit.stage}"
            index = self._add(device, name, sharding.reduce[unit.stage])
            self._after_end(index, passes[unit.last])
            stream.append((unit.last + 1, 0, index))
            reductions.append(index)
        stream.sort()
        for (_, _, one), (_, _, other) in pairwise(stream):
            self._after_end(other, one)
        return gathers, tuple(reductions)

    def _add_barriers(self, layer: VocabularyLayer) -> None:
        first_kinds = (VOCABULARY_FORWARD, VOCABULARY_BACKWARD)[: layer.barriers]
        for microbatch in range(self.problem.microbatches):
            for kind in first_kinds:
                index = self._add(-1, f"barrier after {kind} of {microbatch}", 0)
                for device in range(self.problem.devices):
                    other = self._find(kind, device, microbatch, index)
                    self._after_end(index, other, layer.barrier)
                self.at["barrier " + kind, 0, microbatch] = index

    def _find(self, kind: str, stage: int, microbatch: int, waiting: int) -> int:
        found = self.at.get((kind, stage, microbatch))
        if found is None:
            event = self.events[waiting]
            place = f"device {event.device}: " if event.device >= 0 else ""
            raise InvalidPlanError(
                f"{place}{event.name} waits for {kind} {stage}.{microbatch}, which is missing"
            )
        return found

    def _gradient(self, stage: int, microbatch: int, waiting: int) -> int:
        fused = self.at.get((FUSED, stage, microbatch))
        return fused if fused is not None else self._find(BACKWARD, stage, microbatch, waiting)

    def _depend(self, index: int, device: int, item: Pass) -> None:
        kind, stage, microbatch = item
        problem, last = self.problem, len(self.problem.stages) - 1
        layer = problem.vocabulary
        if kind is FORWARD:
            if stage:
                other = self._find(FORWARD, stage - 1, microbatch, index)
                self._after_end(index, other, problem.hops[stage - 1])
        elif kind is WEIGHT:
            self._after_end(index, self._find(BACKWARD, stage, microbatch, index))
        elif kind in (BACKWARD, FUSED):
            self._after_end(index, self._find(FORWARD, stage, microbatch, index))
            if stage < last:
                other = self._gradient(stage + 1, microbatch, index)
                self._after_end(index, other, problem.hops[stage])
            elif layer is not None:
                waits = VOCABULARY_FORWARD if layer.barriers == 1 else VOCABULARY_BACKWARD
                self._after_end(index, self.at["barrier " + waits, 0, microbatch])
            reload = self.at.get((CopyKind.RELOAD, stage, microbatch))
            if reload is not None:
                self._after_end(index, reload)
            elif (CopyKind.OFFLOAD, stage, microbatch) in self.at:
                raise InvalidPlanError(
                    f"device {device}: the activations of {kind} {stage}.{microbatch} are "
                    "offloaded and never reloaded"
                )
        elif kind is VOCABULARY_FORWARD:
            broadcast = (
                0 if device == problem.device_of[last] else vocabulary_layer(problem).broadcast
            )
            self._after_end(index, self._find(FORWARD, last, microbatch, index), broadcast)
        else:
            self._after_end(index, self.at["barrier " + VOCABULARY_FORWARD, 0, microbatch])


def _topological(events: tuple[Event, ...], waits_for: list[list[tuple[int, int]]]) -> list[int]:
    followers: list[list[int]] = [[] for _ in events]
    missing = [len(others) for others in waits_for]
    for index, others in enumerate(waits_for):
        for other, _ in others:
            followers[other].append(index)
    order = [index for index, count in enumerate(missing) if not count]
    for index in order:
        for follower in followers[index]:
            missing[follower] -= 1
            if not missing[follower]:
                order.append(follower)
    if len(order) < len(events):
        raise InvalidPlanError(_circle(events, waits_for, missing))
    return order


def _circle(
    events: tuple[Event, ...], waits_for: list[list[tuple[int, int]]], missing: list[int]
) -> str:
    index = next(i for i, count in enumerate(missing) if count)
    path: list[int] = []
    seen: dict[int, int] = {}
    while index not in seen:
        seen[index] = len(path)
        path.append(index)
        index = next(other for other, _ in waits_for[index] if missing[other])
    circle = [*path[seen[index] :], index]
    shown = circle if len(circle) <= 8 else [*circle[:7], circle[-1]]
    names = [
        f"{events[i].name}" + (f" on device {events[i].device}" if events[i].device >= 0 else "")
        for i in shown
    ]
    if len(circle) > 8:
        names.insert(7, f"... ({len(circle) - 8} more)")
    return "deadlock: " + " waits for ".join(names)
