"""The checker accepts what the simulator makes, and nothing that was tampered with."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InvalidPlanError
from planner.pipelining.checking.checker import check_pipeline
from planner.pipelining.checking.violation import PipelineViolationKind as Kind
from planner.pipelining.delayed_starts import delay_first_passes
from planner.pipelining.memory import device_memory, host_memory
from planner.pipelining.problem import Offloading, PipelineProblem, StageCosts
from planner.pipelining.schedule import CopyKind, Pass, PassKind, PipelineSchedule
from planner.pipelining.simulator import PipelineTimeline, Span, simulate_pipeline
from solvers.pipeline.constructors.sequential import sequential

from .pipelines import offloaded, one_f_one_b, problem, sharded, split_vocabulary
from .random_orders import schedules, with_copies

if TYPE_CHECKING:
    from collections.abc import Callable

FORWARD, BACKWARD, WEIGHT, FUSED, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind
Made = tuple[PipelineProblem, PipelineTimeline]


def plain() -> Made:
    pipeline = problem(devices=3, microbatches=4)
    return pipeline, one_f_one_b(pipeline)


def with_fused() -> Made:
    pipeline = problem(devices=3, microbatches=4)
    return pipeline, one_f_one_b(pipeline, fused=True)


def limited() -> Made:
    pipeline, timeline = plain()
    peaks = tuple(profile.peak for profile in device_memory(pipeline, timeline))
    return replace(pipeline, limits=peaks), timeline


def one_stream() -> Made:
    return offloaded(streams=1)


def two_barriers() -> Made:
    return split_vocabulary(barriers=2)


def tight_host() -> Made:
    return offloaded(host_bytes=1000)


LEGAL: list[Callable[[], Made]] = [
    plain,
    with_fused,
    limited,
    offloaded,
    one_stream,
    tight_host,
    split_vocabulary,
    two_barriers,
    sharded,
]


@pytest.mark.parametrize("make", LEGAL, ids=lambda make: make.__name__)
def test_what_the_simulator_makes_is_legal(make: Callable[[], Made]) -> None:
    pipeline, timeline = make()
    assert check_pipeline(pipeline, timeline) == []
    later = delay_first_passes(pipeline, timeline.schedule)
    memory = {Kind.MEMORY, Kind.HOST}
    assert {v.kind for v in check_pipeline(pipeline, later)} <= memory


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


def test_a_host_that_is_too_small_is_named() -> None:
    pipeline, timeline = offloaded(host_bytes=999)
    (violation,) = check_pipeline(pipeline, timeline)
    assert violation.kind is Kind.HOST
    assert "1,000" in violation.message
    assert "999" in violation.message


def test_a_limit_between_instants_is_found_at_the_worst_one() -> None:
    pipeline, timeline = limited()
    for device, peak in enumerate(pipeline.limits):
        assert peak is not None
        short = (*pipeline.limits[:device], peak - 1, *pipeline.limits[device + 1 :])
        (violation,) = check_pipeline(replace(pipeline, limits=short), timeline)
        assert (violation.kind, violation.device) == (Kind.MEMORY, device)
        assert f"{peak:,}" in violation.message


def test_passes_without_duration_hold_memory_in_their_order() -> None:
    """All at one instant: F takes before W gives back, and two are never held at once."""
    stage = StageCosts(0, 0, 0, 8, 8)
    pipeline = PipelineProblem((stage,), (0,), 2, (8,))
    together = sequential(pipeline)
    assert check_pipeline(pipeline, simulate_pipeline(pipeline, together)) == []
    both = tuple(Pass(kind, 0, j) for kind in (FORWARD, BACKWARD, WEIGHT) for j in range(2))
    apart = PipelineSchedule("apart", (0,), (both,))
    (violation,) = check_pipeline(pipeline, simulate_pipeline(pipeline, apart))
    assert violation.kind is Kind.MEMORY
    assert "holds 16 B" in violation.message


@settings(max_examples=150, deadline=None)
@given(schedules(), st.integers(0, 10**9))
def test_profiles_and_checker_agree_on_passes_without_duration(
    drawn: tuple[PipelineSchedule, int], seed: int
) -> None:
    """The order on a device counts, for copies of no length too."""
    draw = random.Random(seed)
    schedule, microbatches = drawn
    stages = tuple(
        StageCosts(*(draw.choice((0, 0, 1)) for _ in range(3)), 4, draw.choice((0, 2, 4)))
        for _ in schedule.device_of
    )
    link = None
    if draw.random() < 0.5:
        schedule = with_copies(draw, schedule)
        link = Offloading(*(tuple(draw.choice((0, 2)) for _ in stages) for _ in range(2)))
    devices = len(schedule.passes)
    pipeline = PipelineProblem(
        stages, schedule.device_of, microbatches, (None,) * devices, offloading=link
    )
    try:
        timeline = simulate_pipeline(pipeline, schedule)
    except InvalidPlanError:  # copies may wait for each other
        return
    peaks = tuple(profile.peak for profile in device_memory(pipeline, timeline))
    assert check_pipeline(replace(pipeline, limits=peaks), timeline) == []
    for device, peak in enumerate(peaks):
        short = (*peaks[:device], peak - 1, *peaks[device + 1 :])
        (violation,) = check_pipeline(replace(pipeline, limits=short), timeline)
        assert (violation.kind, violation.device) == (Kind.MEMORY, device)


def test_orders_that_wait_for_each_other_are_named() -> None:
    """The times are made up: each rule on times alone could be met by passes of no length."""
    stages = (StageCosts(0, 0, 0, 1, 0), StageCosts(0, 0, 0, 1, 0))
    pipeline = PipelineProblem(stages, (0, 1), 1, (None, None))
    orders = (
        (Pass(BACKWARD, 0, 0), Pass(FORWARD, 0, 0), Pass(WEIGHT, 0, 0)),
        (Pass(FORWARD, 1, 0), Pass(BACKWARD, 1, 0), Pass(WEIGHT, 1, 0)),
    )
    schedule = PipelineSchedule("circle", (0, 1), orders)
    nothing = ((Span(0, 0),) * 3,) * 2
    timeline = PipelineTimeline(schedule, nothing, ((), ()), ((), ()), ((), ()))
    kinds = {violation.kind for violation in check_pipeline(pipeline, timeline)}
    assert kinds == {Kind.DEADLOCK}
    with pytest.raises(InvalidPlanError, match="deadlock"):
        simulate_pipeline(pipeline, schedule)


def test_a_copy_that_waits_for_who_waits_for_it_is_a_deadlock() -> None:
    pipeline, timeline = offloaded()
    circle = copied(timeline, 1, after=4, before=4)
    assert Kind.DEADLOCK in {violation.kind for violation in check_pipeline(pipeline, circle)}


def test_no_more_than_a_thousand_are_listed() -> None:
    pipeline = problem(devices=2, microbatches=400)
    timeline = one_f_one_b(pipeline)
    late = tuple(tuple(Span(s.start, s.end + 1) for s in spans) for spans in timeline.passes)
    assert len(check_pipeline(pipeline, changed(timeline, passes=late))) == 1000


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_shifting_any_pass_of_a_tight_schedule_is_caught(seed: int) -> None:
    """Where every start is a longest path, no pass can start earlier."""
    draw = random.Random(seed)
    make = draw.choice([plain, with_fused, offloaded, split_vocabulary, two_barriers, sharded])
    pipeline, timeline = make()
    device = draw.randrange(pipeline.devices)
    index = draw.randrange(len(timeline.passes[device]))
    span = timeline.passes[device][index]
    if span.start == 0:
        return
    early = Span(span.start - 1, span.end - 1)
    assert check_pipeline(
        pipeline, changed(timeline, passes=put(timeline.passes, device, index, early))
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_the_sweep_agrees_with_the_memory_profiles(seed: int) -> None:
    """Limits at the profiles' peaks are kept, and one byte less is not."""
    draw = random.Random(seed)
    make = draw.choice([plain, with_fused, offloaded, one_stream, split_vocabulary, sharded])
    pipeline, timeline = make()
    peaks = tuple(profile.peak for profile in device_memory(pipeline, timeline))
    assert check_pipeline(replace(pipeline, limits=peaks), timeline) == []
    device = draw.randrange(pipeline.devices)
    short = (*peaks[:device], peaks[device] - 1, *peaks[device + 1 :])
    (violation,) = check_pipeline(replace(pipeline, limits=short), timeline)
    assert violation.kind is Kind.MEMORY
    if pipeline.offloading is not None:
        (host,) = (profile.peak for profile in host_memory(pipeline, timeline))
        tight = replace(pipeline.offloading, host_bytes=host)
        assert check_pipeline(replace(pipeline, limits=peaks, offloading=tight), timeline) == []
