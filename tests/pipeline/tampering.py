"""Timelines changed in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.pipelining.schedule import Pass
from planner.pipelining.simulator import Span

if TYPE_CHECKING:
    from planner.pipelining.schedule import PassKind
    from planner.pipelining.simulator import PipelineTimeline


def changed(timeline: PipelineTimeline, **streams: object) -> PipelineTimeline:
    return replace(timeline, **streams)  # type: ignore[arg-type]


def put(rows: tuple, device: int, index: int, value: object) -> tuple:
    row = (*rows[device][:index], value, *rows[device][index + 1 :])
    return (*rows[:device], row, *rows[device + 1 :])


def drop(rows: tuple, device: int, index: int) -> tuple:
    row = (*rows[device][:index], *rows[device][index + 1 :])
    return (*rows[:device], row, *rows[device + 1 :])


def at(timeline: PipelineTimeline, kind: PassKind, stage: int, microbatch: int) -> tuple[int, int]:
    for device, order in enumerate(timeline.schedule.passes):
        if (kind, stage, microbatch) in order:
            return device, order.index(Pass(kind, stage, microbatch))
    raise LookupError


def moved(
    timeline: PipelineTimeline, kind: PassKind, stage: int, microbatch: int, by: int
) -> PipelineTimeline:
    device, index = at(timeline, kind, stage, microbatch)
    span = timeline.passes[device][index]
    return changed(
        timeline,
        passes=put(timeline.passes, device, index, Span(span.start + by, span.end + by)),
    )


def renamed(timeline: PipelineTimeline, device: int, index: int, item: Pass) -> PipelineTimeline:
    schedule = timeline.schedule
    return changed(
        timeline, schedule=replace(schedule, passes=put(schedule.passes, device, index, item))
    )


def dropped(timeline: PipelineTimeline, kind: PassKind, stage: int, j: int) -> PipelineTimeline:
    device, index = at(timeline, kind, stage, j)
    schedule = timeline.schedule
    return changed(
        timeline,
        passes=drop(timeline.passes, device, index),
        schedule=replace(schedule, passes=drop(schedule.passes, device, index)),
    )


def copied(timeline: PipelineTimeline, index: int, **fields: object) -> PipelineTimeline:
    schedule = timeline.schedule
    copy = schedule.copies[0][index]._replace(**fields)
    return changed(
        timeline, schedule=replace(schedule, copies=put(schedule.copies, 0, index, copy))
    )


def copy_moved(timeline: PipelineTimeline, index: int, by: int) -> PipelineTimeline:
    span = timeline.copies[0][index]
    return changed(
        timeline, copies=put(timeline.copies, 0, index, Span(span.start + by, span.end + by))
    )


def stream_moved(timeline: PipelineTimeline, name: str, index: int, by: int) -> PipelineTimeline:
    rows = getattr(timeline, name)
    span = rows[0][index]
    return changed(timeline, **{name: put(rows, 0, index, Span(span.start + by, span.end + by))})


def unit_with(timeline: PipelineTimeline, index: int, **fields: object) -> PipelineTimeline:
    schedule = timeline.schedule
    unit = schedule.units[0][index]._replace(**fields)
    return changed(timeline, schedule=replace(schedule, units=put(schedule.units, 0, index, unit)))


def without_copies(timeline: PipelineTimeline, index: int) -> PipelineTimeline:
    schedule = timeline.schedule
    return changed(
        timeline,
        copies=drop(timeline.copies, 0, index),
        schedule=replace(schedule, copies=drop(schedule.copies, 0, index)),
    )
