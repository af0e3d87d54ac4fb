"""The checker's rules on compute passes: each once, in time, in turn, after what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.pipelining.checking.violation import (
    PipelineViolation,
    PipelineViolationKind,
    item_name,
    when,
)
from planner.pipelining.schedule import Pass, PassKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from planner.pipelining.problem import PipelineProblem, VocabularyLayer
    from planner.pipelining.simulator import PipelineTimeline, Span

FORWARD, BACKWARD, WEIGHT, FUSED, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind
_VOCABULARY = (VOCABULARY_FORWARD, VOCABULARY_BACKWARD)


class PlacedPass(NamedTuple):
    """Where and when a pass runs."""

    device: int
    span: Span


Placed = dict[tuple[PassKind, int, int], PlacedPass]


def placed_passes(problem: PipelineProblem, timeline: PipelineTimeline) -> Placed:
    """Return every pass that exists, the first of its kind where there are several."""
    placed: Placed = {}
    for device, items in enumerate(timeline.schedule.passes):
        for item, span in zip(items, timeline.passes[device], strict=True):
            if _exists(problem, item):
                key = (item.kind, item.stage, item.microbatch)
                placed.setdefault(key, PlacedPass(device, span))
    return placed


def pass_violations(
    problem: PipelineProblem, timeline: PipelineTimeline, placed: Placed
) -> Iterator[PipelineViolation]:
    """Yield the offences of compute passes."""
    yield from _each_pass(problem, timeline)
    yield from _missing(problem, placed)
    yield from _one_at_a_time(timeline)
    yield from _dependencies(problem, placed)
    if problem.vocabulary is not None:
        yield from _barriers(problem, problem.vocabulary, placed)


def _exists(problem: PipelineProblem, item: Pass) -> bool:
    if not 0 <= item.microbatch < problem.microbatches:
        return False
    if item.kind in _VOCABULARY:
        return problem.vocabulary is not None and 0 <= item.stage < problem.devices
    return 0 <= item.stage < len(problem.stages)


def _ticks(problem: PipelineProblem, item: Pass) -> int:
    if item.kind in _VOCABULARY:
        assert problem.vocabulary is not None, "looked at before"
        layer = problem.vocabulary
        return layer.forward if item.kind is VOCABULARY_FORWARD else layer.backward
    costs = problem.stages[item.stage]
    return {
        FORWARD: costs.forward,
        BACKWARD: costs.backward,
        WEIGHT: costs.weight,
        FUSED: costs.backward + costs.weight,
    }[item.kind]


def _each_pass(problem: PipelineProblem, timeline: PipelineTimeline) -> Iterator[PipelineViolation]:
    """Judge every pass by itself."""
    seen: set[Pass] = set()
    for device, items in enumerate(timeline.schedule.passes):
        for item, span in zip(items, timeline.passes[device], strict=True):
            name = f"device {device}: {item_name(item)}"
            if not _exists(problem, item):
                yield PipelineViolation(
                    PipelineViolationKind.PASS,
                    f"{name} does not exist: there are {len(problem.stages):,} stages, "
                    f"{problem.devices:,} devices and {problem.microbatches:,} microbatches"
                    + ("" if problem.vocabulary else ", and no vocabulary layer"),
                    device,
                )
                continue
            if item in seen:
                yield PipelineViolation(
                    PipelineViolationKind.PASS, f"{name} is there twice", device
                )
            seen.add(item)
            own = item.stage if item.kind in _VOCABULARY else problem.device_of[item.stage]
            if own != device:
                yield PipelineViolation(
                    PipelineViolationKind.DEVICE, f"{name} belongs on device {own}", device
                )
            ticks = _ticks(problem, item)
            if span.end - span.start != ticks:
                yield PipelineViolation(
                    PipelineViolationKind.DURATION,
                    f"{name} runs {when(span)}, {span.end - span.start:,} ticks; it takes "
                    f"{ticks:,}",
                    device,
                )


def _missing(problem: PipelineProblem, placed: Placed) -> Iterator[PipelineViolation]:
    kind = PipelineViolationKind.PASS
    for microbatch in range(problem.microbatches):
        for stage, device in enumerate(problem.device_of):
            have = {
                k for k in (FORWARD, BACKWARD, WEIGHT, FUSED) if (k, stage, microbatch) in placed
            }
            name = f"device {device}: {{}} {stage}.{microbatch}"
            if FORWARD not in have:
                yield PipelineViolation(kind, f"{name.format('F')} is missing", device)
            if FUSED in have and have & {BACKWARD, WEIGHT}:
                also = " and ".join(sorted(have & {BACKWARD, WEIGHT}))
                yield PipelineViolation(
                    kind, f"{name.format('D')} is there, which is B and W, and {also} too", device
                )
            elif FUSED not in have:
                for one in (BACKWARD, WEIGHT):
                    if one not in have:
                        yield PipelineViolation(kind, f"{name.format(one)} is missing", device)
        if problem.vocabulary is None:
            continue
        for device in range(problem.devices):
            for one in _VOCABULARY:
                if (one, device, microbatch) not in placed:
                    yield PipelineViolation(
                        kind,
                        f"device {device}: {one} of microbatch {microbatch} is missing",
                        device,
                    )


def _one_at_a_time(timeline: PipelineTimeline) -> Iterator[PipelineViolation]:
    for device, items in enumerate(timeline.schedule.passes):
        spans = timeline.passes[device]
        for index in range(1, len(items)):
            before, span = spans[index - 1], spans[index]
            if span.start < before.end:
                yield PipelineViolation(
                    PipelineViolationKind.OVERLAP,
                    f"device {device}: {item_name(items[index])} {when(span)} starts before "
                    f"{item_name(items[index - 1])} {when(before)}, which the order has before it, "
                    "ends",
                    device,
                )


def _dependencies(problem: PipelineProblem, placed: Placed) -> Iterator[PipelineViolation]:
    last = len(problem.stages) - 1
    for (kind, stage, microbatch), own in placed.items():
        needed: list[tuple[tuple[PassKind, int, int], int]] = []
        if kind is FORWARD and stage > 0:
            needed.append(((FORWARD, stage - 1, microbatch), _hop(problem, stage - 1)))
        elif kind is WEIGHT:
            needed.append(((BACKWARD, stage, microbatch), 0))
        elif kind in (BACKWARD, FUSED):
            needed.append(((FORWARD, stage, microbatch), 0))
            if stage < last:
                one = FUSED if (FUSED, stage + 1, microbatch) in placed else BACKWARD
                needed.append(((one, stage + 1, microbatch), _hop(problem, stage)))
        elif kind is VOCABULARY_FORWARD and problem.vocabulary is not None:
            far = problem.device_of[last] != stage
            broadcast = problem.vocabulary.broadcast if far else 0
            needed.append(((FORWARD, last, microbatch), broadcast))
        for key, ticks in needed:
            other = placed.get(key)
            if other is None:  # said to be missing already
                continue
            if own.span.start < other.span.end + ticks:
                after = f" and {ticks:,} ticks to come here" if ticks else ""
                yield PipelineViolation(
                    PipelineViolationKind.DEPENDENCY,
                    f"device {own.device}: {kind} {stage}.{microbatch} {when(own.span)} needs "
                    f"{key[0]} {key[1]}.{key[2]}, which ends at {other.span.end:,} on device "
                    f"{other.device}{after}",
                    own.device,
                )


def _hop(problem: PipelineProblem, stage: int) -> int:
    """Ticks between a stage and the next."""
    here, there = problem.device_of[stage], problem.device_of[stage + 1]
    return 0 if here == there else problem.stages[stage].communication


def _barriers(
    problem: PipelineProblem, layer: VocabularyLayer, placed: Mapping[tuple, PlacedPass]
) -> Iterator[PipelineViolation]:
    last = len(problem.stages) - 1
    for microbatch in range(problem.microbatches):
        ends: list[int | None] = []
        for kind in _VOCABULARY:
            parts = [placed.get((kind, d, microbatch)) for d in range(problem.devices)]
            present = [part.span.end for part in parts if part is not None]
            ends.append(max(present) + layer.barrier if present else None)
        waiting = [(VOCABULARY_BACKWARD, d, 0) for d in range(problem.devices)]
        waiting += [(kind, last, layer.barriers - 1) for kind in (BACKWARD, FUSED)]
        for kind, stage, barrier in waiting:
            own, end = placed.get((kind, stage, microbatch)), ends[barrier]
            if own is not None and end is not None and own.span.start < end:
                yield PipelineViolation(
                    PipelineViolationKind.BARRIER,
                    f"device {own.device}: {kind} {stage}.{microbatch} {when(own.span)} starts "
                    f"before the barrier after {_VOCABULARY[barrier]} of all devices ends at "
                    f"{end:,}",
                    own.device,
                )
