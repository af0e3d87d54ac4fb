"""The checker's rule on memory: at no instant more than the limit, on no device.

Instants are ordered more finely than ticks: what ends at a tick has given back its bytes before
anything that starts there takes some, and passes without duration take and give back in the order
of their device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.pipelining.checking.violation import (
    PipelineViolation,
    PipelineViolationKind,
    item_name,
)
from planner.pipelining.schedule import CopyKind, PassKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import Pass
    from planner.pipelining.simulator import PipelineTimeline, Span

FORWARD, BACKWARD, WEIGHT, FUSED, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind

# Tick, whether it is no return of bytes taken before the tick, position on the device, bytes, name.
_Change = tuple[int, int, float, int, str]


def memory_violations(
    problem: PipelineProblem, timeline: PipelineTimeline
) -> Iterator[PipelineViolation]:
    """Yield where a device, or the host for it, holds most beyond its limit."""
    for device, limit in enumerate(problem.limits):
        if limit is not None:
            yield from _beyond(
                _device_changes(problem, timeline, device),
                limit,
                PipelineViolationKind.MEMORY,
                f"device {device}",
                device,
            )
    offloading = problem.offloading
    if offloading is None or offloading.host_bytes is None or not timeline.schedule.copies:
        return
    for device in range(problem.devices):
        changes: list[_Change] = []
        for copy, span in zip(
            timeline.schedule.copies[device], timeline.copies[device], strict=True
        ):
            size = problem.stages[copy.stage].activation_bytes
            if copy.kind is CopyKind.OFFLOAD:
                changes.append((span.start, 1, 0, size, item_name(copy)))
            else:
                changes.append(_end(span, 0, -size, item_name(copy)))
        yield from _beyond(
            changes,
            offloading.host_bytes,
            PipelineViolationKind.HOST,
            f"the host, of device {device},",
            device,
        )


def _beyond(
    changes: list[_Change], limit: int, kind: PipelineViolationKind, who: str, device: int
) -> Iterator[PipelineViolation]:
    """Yield one violation: the worst instant."""
    held, worst, tick, name = 0, limit, 0, ""
    for at, _, _, change, taker in sorted(changes, key=lambda entry: entry[:3]):
        held += change
        if held > worst:
            worst, tick, name = held, at, taker
    if worst > limit:
        yield PipelineViolation(
            kind,
            f"{who} holds {worst:,} B when {name} starts at {tick:,}; its limit is {limit:,}, "
            f"{worst - limit:,} less",
            device,
        )


def _end(span: Span, position: float, change: int, name: str) -> _Change:
    """What ends gives back; before all that starts at the tick, unless it started there too."""
    return (span.end, int(span.start == span.end), position, change, name)


def _device_changes(
    problem: PipelineProblem, timeline: PipelineTimeline, device: int
) -> list[_Change]:
    changes: list[_Change] = []
    passes = timeline.passes[device]
    at_forward: dict[tuple[int, int], int] = {}
    for index, (item, span) in enumerate(
        zip(timeline.schedule.passes[device], passes, strict=True)
    ):
        taken, returned = _bytes(problem, item)
        if item.kind is FORWARD:
            at_forward[item.stage, item.microbatch] = index
        if taken:
            changes.append((span.start, 1, index, taken, item_name(item)))
        if returned:
            changes.append(_end(span, index + 0.25, -returned, item_name(item)))
    if timeline.schedule.copies:
        for copy, span in zip(
            timeline.schedule.copies[device], timeline.copies[device], strict=True
        ):
            size = problem.stages[copy.stage].activation_bytes
            # Behind the passes of the same tick that it waits for.
            behind = [-1.0]
            if copy.after >= 0 and passes[copy.after].start == span.start:
                behind.append(copy.after + 0.5)
            if copy.kind is CopyKind.RELOAD:
                changes.append((span.start, 1, max(behind), size, item_name(copy)))
                continue
            forward = at_forward.get((copy.stage, copy.microbatch))
            if forward is not None and passes[forward].start == span.end:
                behind.append(forward + 0.5)
            changes.append(_end(span, max(behind), -size, item_name(copy)))
    if timeline.schedule.units:
        changes += _unit_changes(problem, timeline, device)
    return changes


def _bytes(problem: PipelineProblem, item: Pass) -> tuple[int, int]:
    """Return what a pass takes when it starts, and what it gives back when it ends."""
    if item.kind in (VOCABULARY_FORWARD, VOCABULARY_BACKWARD):
        size = problem.vocabulary.activation_bytes if problem.vocabulary else 0
        return (size, 0) if item.kind is VOCABULARY_FORWARD else (0, size)
    if not 0 <= item.stage < len(problem.stages):  # said not to exist already
        return 0, 0
    costs = problem.stages[item.stage]
    if item.kind is FORWARD:
        return costs.activation_bytes, 0
    if item.kind is BACKWARD:
        return 0, costs.activation_bytes - costs.kept_bytes
    return 0, costs.kept_bytes if item.kind is WEIGHT else costs.activation_bytes


def _unit_changes(
    problem: PipelineProblem, timeline: PipelineTimeline, device: int
) -> list[_Change]:
    sharding = problem.sharding
    if sharding is None:
        return []
    changes: list[_Change] = []
    passes = timeline.passes[device]
    for unit, gather, reduction in zip(
        timeline.schedule.units[device],
        timeline.gathers[device],
        timeline.reductions[device],
        strict=True,
    ):
        weights, gradient = (
            sharding.parameter_bytes[unit.stage],
            sharding.gradient_bytes[unit.stage],
        )
        name = f"the gather of stage {unit.stage}"
        first, last = passes[unit.first], passes[unit.last]
        changes.append((gather.start, 1, unit.first - 0.5, weights, name))
        zero = int(gather.start == last.end)
        changes.append((last.end, zero, unit.last + 0.3, -weights, name))
        if reduction is not None:
            changes.append((first.start, 1, unit.first - 0.25, gradient, f"unit {unit.stage}"))
            zero = int(first.start == reduction.end)
            changes.append((reduction.end, zero, unit.last + 0.4, -gradient, name))
    return changes
