"""What a timeline holds on each device, and on the host, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.pipelining.schedule import CopyKind, PassKind

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.simulator import PipelineTimeline

FORWARD, BACKWARD, WEIGHT, FUSED, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind


class MemoryProfile(NamedTuple):
    """Bytes over time: from ``ticks[i]`` on, ``held[i]`` bytes, until the next.

    Bytes are taken when their event starts and given back when it ends; what is given back at a
    tick is gone before anything is taken at it.
    """

    ticks: tuple[int, ...]
    held: tuple[int, ...]

    @property
    def peak(self) -> int:
        """The most bytes held at once."""
        return max(self.held, default=0)


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
        changes: list[tuple[int, int]] = []
        copies = timeline.schedule.copies[device] if timeline.schedule.copies else ()
        for copy, span in zip(copies, timeline.copies[device], strict=True):
            size = problem.stages[copy.stage].activation_bytes
            out = copy.kind is CopyKind.OFFLOAD
            changes.append((span.start, size) if out else (span.end, -size))
        profiles.append(_profile(changes))
    return tuple(profiles)


def _changes(
    problem: PipelineProblem, timeline: PipelineTimeline, device: int, keep_until_weight: bool
) -> list[tuple[int, int]]:
    changes: list[tuple[int, int]] = []
    for item, span in zip(timeline.schedule.passes[device], timeline.passes[device], strict=True):
        kind = item.kind
        if kind in (VOCABULARY_FORWARD, VOCABULARY_BACKWARD):
            size = problem.vocabulary.activation_bytes if problem.vocabulary else 0
            start = kind is VOCABULARY_FORWARD
            changes.append((span.start, size) if start else (span.end, -size))
            continue
        costs = problem.stages[item.stage]
        kept = costs.activation_bytes if keep_until_weight else costs.kept_bytes
        if kind is FORWARD:
            changes.append((span.start, costs.activation_bytes))
        elif kind is FUSED:
            changes.append((span.end, -costs.activation_bytes))
        else:
            size = costs.activation_bytes - kept if kind is BACKWARD else kept
            changes.append((span.end, -size))
    if timeline.schedule.copies:
        for copy, span in zip(
            timeline.schedule.copies[device], timeline.copies[device], strict=True
        ):
            size = problem.stages[copy.stage].activation_bytes
            out = copy.kind is CopyKind.OFFLOAD
            changes.append((span.end, -size) if out else (span.start, size))
    if timeline.schedule.units and problem.sharding is not None:
        sharding, passes = problem.sharding, timeline.passes[device]
        for unit, gather, reduction in zip(
            timeline.schedule.units[device],
            timeline.gathers[device],
            timeline.reductions[device],
            strict=True,
        ):
            changes.append((gather.start, sharding.parameter_bytes[unit.stage]))
            changes.append((passes[unit.last].end, -sharding.parameter_bytes[unit.stage]))
            if reduction is not None:
                changes.append((passes[unit.first].start, sharding.gradient_bytes[unit.stage]))
                changes.append((reduction.end, -sharding.gradient_bytes[unit.stage]))
    return changes


def _profile(changes: list[tuple[int, int]]) -> MemoryProfile:
    ticks, held = [], []
    now = 0
    for tick, change in sorted(changes):
        now += change
        if ticks and ticks[-1] == tick:
            held[-1] = now
        else:
            ticks.append(tick)
            held.append(now)
    return MemoryProfile(tuple(ticks), tuple(held))
