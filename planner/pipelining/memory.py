"""What a timeline holds on each device, and on the host, over time."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from planner.pipelining.schedule import CopyKind, PassKind
from planner.pipelining.simulator import Span

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem, ShardedParameters
    from planner.pipelining.simulator import PipelineTimeline

FORWARD, BACKWARD, WEIGHT, FUSED, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind


class MemoryProfile(NamedTuple):
    """Bytes over time: from ``ticks[i]`` on, ``held[i]`` bytes, until the next.

    Bytes are taken when their event starts and given back when it ends. What ends at a tick is
    gone before anything is taken at it; what takes no time takes and gives back in the order of
    its device, and if that is more than what is held at the end of the tick, the tick is there
    twice.
    """

    ticks: tuple[int, ...]
    held: tuple[int, ...]

    @property
    def peak(self) -> int:
        """The most bytes held at once."""
        return max(self.held, default=0)


class _Change(NamedTuple):
    """Bytes taken or given back; in the order of these fields.

    Attributes
    ----------
    tick : int
    within : bool
        Whether it is not the end of something that began at an earlier tick.
    position : float
        In the order of the device's passes.
    change : int
    """

    tick: int
    within: bool
    position: float
    change: int


def device_memory(
    problem: PipelineProblem, timeline: PipelineTimeline, *, keep_until_weight: bool = False
) -> tuple[MemoryProfile, ...]:
    """Return what each device holds over time.

    Parameters
    ----------
    problem, timeline
    keep_until_weight : bool
        Count all of the activations until the gradient of the weights is computed, as the papers
        on V-shaped schedules do, instead of the bytes that this gradient needs.
    """
    return tuple(
        _profile(_changes(problem, timeline, device, keep_until_weight))
        for device in range(problem.devices)
    )


def host_memory(problem: PipelineProblem, timeline: PipelineTimeline) -> tuple[MemoryProfile, ...]:
    """Return what the host holds of each device's activations over time.

    Host bytes are taken when an offload starts and given back when the reload ends.
    """
    profiles = []
    for device in range(problem.devices):
        changes: list[_Change] = []
        copies = timeline.schedule.copies[device] if timeline.schedule.copies else ()
        for position, (copy, span) in enumerate(zip(copies, timeline.copies[device], strict=True)):
            size = problem.stages[copy.stage].activation_bytes
            if copy.kind is CopyKind.OFFLOAD:
                changes.append(_Change(span.start, True, position, size))
            else:
                changes.append(_given_back(span, position, size))
        profiles.append(_profile(changes))
    return tuple(profiles)


def _given_back(span: Span, position: float, size: int) -> _Change:
    return _Change(span.end, span.start == span.end, position, -size)


def _changes(
    problem: PipelineProblem, timeline: PipelineTimeline, device: int, keep_until_weight: bool
) -> list[_Change]:
    changes: list[_Change] = []
    passes = timeline.passes[device]
    for position, (item, span) in enumerate(
        zip(timeline.schedule.passes[device], passes, strict=True)
    ):
        kind = item.kind
        if kind in (VOCABULARY_FORWARD, VOCABULARY_BACKWARD):
            size = problem.vocabulary.activation_bytes if problem.vocabulary else 0
            takes = kind is VOCABULARY_FORWARD
        else:
            costs = problem.stages[item.stage]
            kept = costs.activation_bytes if keep_until_weight else costs.kept_bytes
            takes, size = kind is FORWARD, costs.activation_bytes
            if kind is BACKWARD:
                size -= kept
            elif kind is WEIGHT:
                size = kept
        if takes:
            changes.append(_Change(span.start, True, position, size))
        else:
            changes.append(_given_back(span, position, size))
    if timeline.schedule.copies:
        changes += _copy_changes(problem, timeline, device)
    if timeline.schedule.units and problem.sharding is not None:
        changes += _unit_changes(problem.sharding, timeline, device)
    return changes


def _copy_changes(
    problem: PipelineProblem, timeline: PipelineTimeline, device: int
) -> list[_Change]:
    """Return those of copies; at a tick they come behind the passes that they wait for."""
    changes: list[_Change] = []
    passes = timeline.passes[device]
    forward_at = {
        item[1:]: position
        for position, item in enumerate(timeline.schedule.passes[device])
        if item.kind is FORWARD
    }
    for copy, span in zip(timeline.schedule.copies[device], timeline.copies[device], strict=True):
        size = problem.stages[copy.stage].activation_bytes
        waits_for = [copy.after] if copy.after >= 0 else []
        if copy.kind is CopyKind.OFFLOAD:
            waits_for.append(forward_at[copy.stage, copy.microbatch])
        behind = [position for position in waits_for if passes[position].start == span.start]
        position = max(behind, default=-1) + 0.5
        if copy.kind is CopyKind.OFFLOAD:
            changes.append(_given_back(span, position, size))
        else:
            changes.append(_Change(span.start, True, position, size))
    return changes


def _unit_changes(
    sharding: ShardedParameters, timeline: PipelineTimeline, device: int
) -> list[_Change]:
    """Return those of gathered weights, and of gradients from the unit's first pass on."""
    changes: list[_Change] = []
    passes = timeline.passes[device]
    for unit, gather, reduction in zip(
        timeline.schedule.units[device],
        timeline.gathers[device],
        timeline.reductions[device],
        strict=True,
    ):
        weights = sharding.parameter_bytes[unit.stage]
        ended = passes[unit.last].end
        changes.append(_Change(gather.start, True, unit.first - 0.5, weights))
        changes.append(_given_back(Span(gather.start, ended), unit.last + 0.25, weights))
        if reduction is not None:
            gradient, began = sharding.gradient_bytes[unit.stage], passes[unit.first].start
            changes.append(_Change(began, True, unit.first - 0.25, gradient))
            changes.append(_given_back(Span(began, reduction.end), unit.last + 0.375, gradient))
    return changes


def _profile(changes: list[_Change]) -> MemoryProfile:
    ticks: list[int] = []
    held: list[int] = []
    now = 0
    for tick, own in groupby(sorted(changes), key=attrgetter("tick")):
        most = -1
        for change in own:
            now += change.change
            if change.within:
                most = max(most, now)
        if most > now:
            ticks.append(tick)
            held.append(most)
        ticks.append(tick)
        held.append(now)
    return MemoryProfile(tuple(ticks), tuple(held))
