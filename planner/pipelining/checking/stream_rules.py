"""The checker's rules on what runs beside the passes: copies to the host, gathered weights."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from planner.pipelining.checking.violation import (
    PipelineViolation,
    PipelineViolationKind,
    item_name,
    when,
)
from planner.pipelining.schedule import CopyKind, PassKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.pipelining.checking.pass_rules import Placed
    from planner.pipelining.problem import PipelineProblem, ShardedParameters
    from planner.pipelining.schedule import Copy, WeightUnit
    from planner.pipelining.simulator import PipelineTimeline, Span

FORWARD, BACKWARD, WEIGHT, FUSED = (PassKind(letter) for letter in "FBWD")
_OF_A_STAGE = frozenset({FORWARD, BACKWARD, WEIGHT, FUSED})


def copy_violations(
    problem: PipelineProblem, timeline: PipelineTimeline, placed: Placed
) -> Iterator[PipelineViolation]:
    """Yield the offences of copies to the host and back."""
    copies = timeline.schedule.copies
    if problem.offloading is None or not copies:
        return
    ticks = {
        CopyKind.OFFLOAD: problem.offloading.offload,
        CopyKind.RELOAD: problem.offloading.reload,
    }
    found: dict[tuple[CopyKind, int, int], Span] = {}
    for device, items in enumerate(copies):
        spans, passes = timeline.copies[device], timeline.passes[device]
        for copy, span in zip(items, spans, strict=True):
            key = (copy.kind, copy.stage, copy.microbatch)
            if key in found:
                yield _copy_fault(device, copy, "is there twice")
            found[key] = span
            if problem.device_of[copy.stage] != device:
                yield PipelineViolation(
                    PipelineViolationKind.DEVICE,
                    f"device {device}: {item_name(copy)} belongs on device "
                    f"{problem.device_of[copy.stage]}",
                    device,
                )
            if span.end - span.start != ticks[copy.kind][copy.stage]:
                yield PipelineViolation(
                    PipelineViolationKind.DURATION,
                    f"device {device}: {item_name(copy)} runs {when(span)}, "
                    f"{span.end - span.start:,} ticks; it takes {ticks[copy.kind][copy.stage]:,}",
                    device,
                )
            if copy.after >= 0 and span.start < passes[copy.after].start:
                yield _copy_fault(
                    device,
                    copy,
                    f"{when(span)} starts before pass {copy.after:,} of the device, which starts "
                    f"at {passes[copy.after].start:,}",
                )
            if copy.before < len(passes) and span.end > passes[copy.before].start:
                yield _copy_fault(
                    device,
                    copy,
                    f"{when(span)} ends after pass {copy.before:,} of the device, which waits for "
                    f"it, starts at {passes[copy.before].start:,}",
                )
        yield from _copy_streams(device, items, spans, problem.offloading.streams)
    for (kind, stage, microbatch), span in found.items():
        yield from _copy_dependencies(problem, found, placed, kind, stage, microbatch, span)


def _copy_fault(device: int, copy: Copy, text: str) -> PipelineViolation:
    return PipelineViolation(
        PipelineViolationKind.COPY, f"device {device}: {item_name(copy)} {text}", device
    )


def _copy_streams(
    device: int, items: Sequence[Copy], spans: Sequence[Span], streams: int
) -> Iterator[PipelineViolation]:
    together = [list(CopyKind)] if streams == 1 else [[kind] for kind in CopyKind]
    for kinds in together:
        own = [(c, s) for c, s in zip(items, spans, strict=True) if c.kind in kinds]
        for (first, before), (second, span) in pairwise(own):
            if span.start < before.end:
                yield PipelineViolation(
                    PipelineViolationKind.OVERLAP,
                    f"device {device}: {item_name(second)} {when(span)} starts before "
                    f"{item_name(first)} {when(before)} on the same copy stream ends",
                    device,
                )


def _copy_dependencies(
    problem: PipelineProblem,
    found: dict[tuple[CopyKind, int, int], Span],
    placed: Placed,
    kind: CopyKind,
    stage: int,
    microbatch: int,
    span: Span,
) -> Iterator[PipelineViolation]:
    device = problem.device_of[stage]
    name = f"device {device}: {kind} {stage}.{microbatch} {when(span)}"
    violation = PipelineViolationKind.COPY
    if kind is CopyKind.OFFLOAD:
        forward = placed.get((FORWARD, stage, microbatch))
        if forward is not None and span.start < forward.span.end:
            yield PipelineViolation(
                violation, f"{name} starts before F ends at {forward.span.end:,}", device
            )
        if (CopyKind.RELOAD, stage, microbatch) not in found:
            yield PipelineViolation(violation, f"{name} is never followed by a reload", device)
        return
    offload = found.get((CopyKind.OFFLOAD, stage, microbatch))
    if offload is None:
        yield PipelineViolation(violation, f"{name} reloads what was never offloaded", device)
    elif span.start < offload.end:
        yield PipelineViolation(
            violation, f"{name} starts before the offload ends at {offload.end:,}", device
        )
    for gradient in (BACKWARD, FUSED):
        own = placed.get((gradient, stage, microbatch))
        if own is not None and own.span.start < span.end:
            yield PipelineViolation(
                violation,
                f"{name} has not ended when {gradient} {stage}.{microbatch} starts at "
                f"{own.span.start:,}",
                device,
            )


def unit_violations(
    problem: PipelineProblem, timeline: PipelineTimeline
) -> Iterator[PipelineViolation]:
    """Yield the offences of gathered weights and reduced gradients."""
    sharding = problem.sharding
    if sharding is None:
        return
    for device, passes in enumerate(timeline.schedule.passes):
        units = timeline.schedule.units[device] if timeline.schedule.units else ()
        for index, unit in enumerate(units):
            yield from _unit_times(problem, timeline, sharding, device, index, unit)
            if index and unit.after < units[index - 1].after:
                yield _unit_fault(
                    device, unit, f"gathers at pass {unit.after:,}, after one that gathers later"
                )
        covered: dict[int, list[WeightUnit]] = {}
        for unit in units:
            for index in range(unit.first, unit.last + 1):
                covered.setdefault(index, []).append(unit)
        for index, item in enumerate(passes):
            if item.kind not in _OF_A_STAGE:
                continue
            around = [unit for unit in covered.get(index, ()) if unit.stage == item.stage]
            if not around:
                yield PipelineViolation(
                    PipelineViolationKind.UNIT,
                    f"device {device}: {item_name(item)} lies in no unit, so the weights of stage "
                    f"{item.stage} are not there",
                    device,
                )
            elif item.kind in (WEIGHT, FUSED) and not any(unit.reduces for unit in around):
                yield PipelineViolation(
                    PipelineViolationKind.UNIT,
                    f"device {device}: the gradient of {item_name(item)} is lost: its unit does "
                    "not reduce",
                    device,
                )
        yield from _collectives(timeline, device)


def _unit_fault(device: int, unit: WeightUnit, text: str) -> PipelineViolation:
    return PipelineViolation(
        PipelineViolationKind.UNIT,
        f"device {device}: the unit of stage {unit.stage}, passes {unit.first:,} to "
        f"{unit.last:,}, {text}",
        device,
    )


def _unit_times(
    problem: PipelineProblem,
    timeline: PipelineTimeline,
    sharding: ShardedParameters,
    device: int,
    index: int,
    unit: WeightUnit,
) -> Iterator[PipelineViolation]:
    passes = timeline.passes[device]
    gather, reduction = timeline.gathers[device][index], timeline.reductions[device][index]
    if problem.device_of[unit.stage] != device:
        yield PipelineViolation(
            PipelineViolationKind.DEVICE,
            f"device {device}: a unit of stage {unit.stage} belongs on device "
            f"{problem.device_of[unit.stage]}",
            device,
        )
    if gather.end - gather.start != sharding.gather[unit.stage]:
        ticks = sharding.gather[unit.stage]
        yield _unit_fault(device, unit, f"gathers {when(gather)}; that takes {ticks:,} ticks")
    if unit.after >= 0 and gather.start < passes[unit.after].start:
        yield _unit_fault(
            device,
            unit,
            f"gathers {when(gather)}, before pass {unit.after:,} starts at "
            f"{passes[unit.after].start:,}",
        )
    if gather.end > passes[unit.first].start:
        yield _unit_fault(
            device,
            unit,
            f"gathers {when(gather)}, but its first pass starts at {passes[unit.first].start:,}",
        )
    if unit.reduces != (reduction is not None):
        yield _unit_fault(device, unit, "has a reduction without reducing, or the reverse")
    if reduction is None:
        return
    if reduction.end - reduction.start != sharding.reduce[unit.stage]:
        ticks = sharding.reduce[unit.stage]
        yield _unit_fault(device, unit, f"reduces {when(reduction)}; that takes {ticks:,} ticks")
    if reduction.start < passes[unit.last].end:
        yield _unit_fault(
            device,
            unit,
            f"reduces {when(reduction)}, but its last pass ends at {passes[unit.last].end:,}",
        )


def _collectives(timeline: PipelineTimeline, device: int) -> Iterator[PipelineViolation]:
    """One collective at a time, a reduction before the gathers that come behind its unit."""
    units = timeline.schedule.units[device] if timeline.schedule.units else ()
    stream: list[tuple[int, int, str, Span]] = []
    for unit, gather, reduction in zip(
        units, timeline.gathers[device], timeline.reductions[device], strict=True
    ):
        stream.append((unit.after, 1, f"the gather of stage {unit.stage}", gather))
        if reduction is not None:
            stream.append((unit.last + 1, 0, f"the reduction of stage {unit.stage}", reduction))
    stream.sort(key=lambda entry: entry[:2])
    for (_, _, first, before), (_, _, second, span) in pairwise(stream):
        if span.start < before.end:
            yield PipelineViolation(
                PipelineViolationKind.OVERLAP,
                f"device {device}: {second} {when(span)} starts before {first} {when(before)}, "
                "which comes before it, ends",
                device,
            )
