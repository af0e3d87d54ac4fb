"""The checker accepts what the simulator makes and agrees with it on bytes and on deadlocks."""

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
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from planner.pipelining.simulator import PipelineTimeline, Span, simulate_pipeline
from solvers.pipeline.constructors.sequential import sequential

from .pipelines import (
    limited,
    offloaded,
    one_f_one_b,
    one_stream,
    plain,
    problem,
    sharded,
    split_vocabulary,
    tight_host,
    two_barriers,
    with_fused,
)
from .random_orders import schedules, with_copies
from .tampering import changed, copied, put

if TYPE_CHECKING:
    from collections.abc import Callable

    Made = tuple[PipelineProblem, PipelineTimeline]

FORWARD, BACKWARD, WEIGHT = PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT

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
