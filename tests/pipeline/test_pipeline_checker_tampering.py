"""The checker accepts nothing that was tampered with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from planner.pipelining.checking.checker import check_pipeline
from planner.pipelining.checking.violation import PipelineViolationKind as Kind
from planner.pipelining.schedule import CopyKind, Pass, PassKind
from planner.pipelining.simulator import Span

from .pipelines import (
    limited,
    offloaded,
    one_stream,
    plain,
    sharded,
    split_vocabulary,
    two_barriers,
    with_fused,
)
from .tampering import (
    changed,
    copied,
    copy_moved,
    drop,
    dropped,
    moved,
    put,
    renamed,
    stream_moved,
    unit_with,
    without_copies,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.simulator import PipelineTimeline

    Made = tuple[PipelineProblem, PipelineTimeline]

FORWARD, BACKWARD, WEIGHT, FUSED, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind

MUTATIONS: dict[
    str, tuple[Callable[[], Made], Callable[[PipelineTimeline], PipelineTimeline], Kind]
] = {
    "F missing": (plain, lambda t: dropped(t, FORWARD, 1, 2), Kind.PASS),
    "B missing": (plain, lambda t: dropped(t, BACKWARD, 2, 0), Kind.PASS),
    "W missing": (plain, lambda t: dropped(t, WEIGHT, 0, 3), Kind.PASS),
    "D missing": (with_fused, lambda t: dropped(t, FUSED, 1, 1), Kind.PASS),
    "a pass twice": (plain, lambda t: renamed(t, 0, 1, Pass(FORWARD, 0, 0)), Kind.PASS),
    "D beside B and W": (plain, lambda t: renamed(t, 2, 0, Pass(FUSED, 2, 0)), Kind.PASS),
    "a microbatch too many": (plain, lambda t: renamed(t, 0, 0, Pass(FORWARD, 0, 4)), Kind.PASS),
    "a stage too many": (plain, lambda t: renamed(t, 0, 0, Pass(FORWARD, 3, 0)), Kind.PASS),
    "a vocabulary pass without the layer": (
        plain,
        lambda t: renamed(t, 0, 0, Pass(VOCABULARY_FORWARD, 0, 0)),
        Kind.PASS,
    ),
    "a pass of another device": (
        plain,
        lambda t: renamed(t, 0, 0, Pass(FORWARD, 1, 0)),
        Kind.DEVICE,
    ),
    "other placement": (
        plain,
        lambda t: changed(t, schedule=replace(t.schedule, device_of=(0, 2, 1))),
        Kind.ENTRIES,
    ),
    "a time missing": (
        plain,
        lambda t: changed(t, passes=drop(t.passes, 0, 0)),
        Kind.ENTRIES,
    ),
    "a device missing": (
        plain,
        lambda t: changed(
            t, passes=t.passes[:2], schedule=replace(t.schedule, passes=t.schedule.passes[:2])
        ),
        Kind.ENTRIES,
    ),
    "too short": (
        plain,
        lambda t: changed(t, passes=put(t.passes, 0, 0, Span(0, t.passes[0][0].end - 1))),
        Kind.DURATION,
    ),
    "too long": (
        with_fused,
        lambda t: changed(
            t, passes=put(t.passes, 0, -1 % len(t.passes[0]), Span(t.passes[0][-1].start, 10**6))
        ),
        Kind.DURATION,
    ),
    "two at once": (plain, lambda t: moved(t, FORWARD, 0, 1, -1), Kind.OVERLAP),
    "out of order": (plain, lambda t: moved(t, FORWARD, 0, 0, 10**5), Kind.OVERLAP),
    "F before the F upstream": (plain, lambda t: moved(t, FORWARD, 1, 0, -1), Kind.DEPENDENCY),
    "B before the B downstream": (plain, lambda t: moved(t, BACKWARD, 1, 0, -1), Kind.DEPENDENCY),
    "D before the D downstream": (
        with_fused,
        lambda t: moved(t, FUSED, 1, 0, -1),
        Kind.DEPENDENCY,
    ),
    "B before its F": (plain, lambda t: moved(t, BACKWARD, 2, 0, -1000), Kind.DEPENDENCY),
    "W before its B": (plain, lambda t: moved(t, WEIGHT, 0, 3, -1), Kind.DEPENDENCY),
    "S before the last F": (
        split_vocabulary,
        lambda t: moved(t, VOCABULARY_FORWARD, 1, 0, -1),
        Kind.DEPENDENCY,
    ),
    "S before the broadcast": (
        split_vocabulary,
        lambda t: moved(t, VOCABULARY_FORWARD, 0, 0, -1),
        Kind.DEPENDENCY,
    ),
    "S missing": (split_vocabulary, lambda t: dropped(t, VOCABULARY_FORWARD, 0, 1), Kind.PASS),
    "T missing": (split_vocabulary, lambda t: dropped(t, VOCABULARY_BACKWARD, 1, 1), Kind.PASS),
    "T before the barrier": (
        split_vocabulary,
        lambda t: moved(t, VOCABULARY_BACKWARD, 0, 0, -1),
        Kind.BARRIER,
    ),
    "B before the second barrier": (
        two_barriers,
        lambda t: moved(t, BACKWARD, 1, 0, -1),
        Kind.BARRIER,
    ),
    "offload before F ends": (offloaded, lambda t: copy_moved(t, 0, -1), Kind.COPY),
    "offload after who waits for it": (offloaded, lambda t: copy_moved(t, 0, 1), Kind.COPY),
    "reload before its anchor": (offloaded, lambda t: copy_moved(t, 1, -1), Kind.COPY),
    "reload after B": (offloaded, lambda t: copy_moved(t, 1, 1000), Kind.COPY),
    "never reloaded": (offloaded, lambda t: without_copies(t, 1), Kind.COPY),
    "never offloaded": (offloaded, lambda t: without_copies(t, 0), Kind.COPY),
    "offloaded twice": (
        offloaded,
        lambda t: copied(t, 1, kind=CopyKind.OFFLOAD),
        Kind.COPY,
    ),
    "a copy too fast": (
        offloaded,
        lambda t: changed(
            t, copies=put(t.copies, 0, 0, Span(t.copies[0][0].start, t.copies[0][0].start + 3))
        ),
        Kind.DURATION,
    ),
    "two copies at once on one stream": (
        one_stream,
        lambda t: changed(
            t, copies=put(t.copies, 0, 1, Span(t.copies[0][0].start, t.copies[0][0].start + 6))
        ),
        Kind.OVERLAP,
    ),
    "a copy tied to no pass": (offloaded, lambda t: copied(t, 0, after=7), Kind.ENTRIES),
    "a copy of no microbatch": (offloaded, lambda t: copied(t, 0, microbatch=2), Kind.ENTRIES),
    "a gather too early": (sharded, lambda t: stream_moved(t, "gathers", 1, -1), Kind.UNIT),
    "a gather too late": (sharded, lambda t: stream_moved(t, "gathers", 0, 1), Kind.UNIT),
    "a reduction too early": (sharded, lambda t: stream_moved(t, "reductions", 2, -1), Kind.UNIT),
    "two collectives at once": (
        sharded,
        lambda t: changed(
            t,
            reductions=put(
                t.reductions, 0, 1, Span(t.gathers[0][2].start - 1, t.gathers[0][2].start + 5)
            ),
        ),
        Kind.OVERLAP,
    ),
    "a gradient lost": (
        sharded,
        lambda t: changed(unit_with(t, 2, reduces=False), reductions=put(t.reductions, 0, 2, None)),
        Kind.UNIT,
    ),
    "a reduction that is not asked for": (
        sharded,
        lambda t: unit_with(t, 2, reduces=False),
        Kind.UNIT,
    ),
    "passes without weights": (sharded, lambda t: unit_with(t, 2, last=10), Kind.UNIT),
    "weights of another stage": (sharded, lambda t: unit_with(t, 0, stage=1), Kind.UNIT),
    "a unit of no passes": (sharded, lambda t: unit_with(t, 0, last=12), Kind.ENTRIES),
    "more than the limit": (
        limited,
        lambda t: moved(t, BACKWARD, 0, 0, 0),
        Kind.MEMORY,
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_way_to_tamper_is_caught(name: str) -> None:
    make, tamper, kind = MUTATIONS[name]
    pipeline, timeline = make()
    if kind is Kind.MEMORY:
        limits = (pipeline.limits[0] - 1, *pipeline.limits[1:])  # type: ignore[operator]
        pipeline = replace(pipeline, limits=limits)
    found = check_pipeline(pipeline, tamper(timeline))
    assert kind in {violation.kind for violation in found}, found
    assert all(violation.message for violation in found)
