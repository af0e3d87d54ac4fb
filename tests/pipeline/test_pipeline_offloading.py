"""Offloading: PipeOffload's schedules, and copies that make any schedule fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.pipelining.memory import device_memory, host_memory
from planner.pipelining.problem import Offloading, PipelineProblem, StageCosts
from planner.pipelining.schedule import CopyKind, PipelineSchedule
from planner.pipelining.simulator import simulate_pipeline
from solvers.pipeline.constructors.catalogue import InapplicableError
from solvers.pipeline.constructors.grouped_order import grouped_order
from solvers.pipeline.constructors.offloaded import offloaded
from solvers.pipeline.constructors.pipeoffload import po_full, po_half
from solvers.pipeline.constructors.v_min import v_min
from solvers.pipeline.offload_ratio import offload_ratio
from solvers.pipeline.offloading import with_offloading

from .chunked_pipelines import equal_pipeline, peak, run, unequal_pipelines
from .constructions import NO_HURRY


def linked(problem: PipelineProblem, ticks: int, streams: int = 2) -> PipelineProblem:
    stages = len(problem.stages)
    return replace(problem, offloading=Offloading((ticks,) * stages, (ticks,) * stages, streams))


def grouped(problem: PipelineProblem, group: int) -> PipelineSchedule:
    warm_up = [
        group * (len(own) - 1) + problem.devices - 1 - device
        for device, own in enumerate(problem.stages_of)
    ]
    return PipelineSchedule("grouped", problem.device_of, grouped_order(problem, group, warm_up))


@pytest.mark.parametrize(
    ("devices", "chunks", "microbatches", "group", "ticks", "most"),
    [
        (4, 2, 8, 4, 54, 8),
        (8, 2, 32, 8, 206, 16),
        (8, 4, 32, 8, 398, 32),
        (4, 2, 8, 2, 56, 6),
        (8, 2, 32, 4, 210, 12),
        (8, 4, 32, 4, 410, 20),
    ],
)
def test_grouped_orders_have_the_bubbles_and_peaks_of_gis_and_gis_h(
    devices, chunks, microbatches, group, ticks, most
) -> None:
    problem = equal_pipeline(devices, microbatches, "looped", chunks)
    schedule = grouped(problem, group)
    assert run(problem, schedule).longest_stage == ticks
    assert peak(problem, schedule) == most


@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 14), st.integers(0, 3))
@settings(deadline=None, max_examples=150)
def test_groups_of_all_devices_or_more_never_deadlock(devices, chunks, microbatches, more) -> None:
    problem = equal_pipeline(devices, microbatches, "looped", chunks)
    run(problem, grouped(problem, devices + more))


def test_the_published_offload_ratio() -> None:
    assert round(offload_ratio(5120, 4096, 220e12, 15e9), 3) == 1.404


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize(("devices", "chunks", "microbatches"), [(8, 2, 32), (8, 4, 32)])
def test_a_fast_link_takes_everything_at_no_time(devices, chunks, microbatches, streams) -> None:
    costs = StageCosts(10, 10, 10, 1, 1, 1)
    problem = linked(equal_pipeline(devices, microbatches, "looped", chunks, costs=costs), 10)
    problem = replace(problem, offloading=replace(problem.offloading, streams=streams))
    schedule = po_full(problem)
    plain = replace(schedule, copies=())
    assert run(problem, schedule).longest_stage == run(problem, plain).longest_stage
    # Of p v microbatches in 1F1B's units, a handful stays, however many devices there are.
    assert peak(problem, plain) == devices * chunks
    assert peak(problem, schedule) <= 3


def test_half_offloads_half_and_the_long_lived_stages() -> None:
    costs = StageCosts(10, 10, 10, 1, 1, 1)
    problem = linked(equal_pipeline(8, 32, "looped", 4, costs=costs), 10)
    schedule = po_half(problem)
    for device, copies in enumerate(schedule.copies):
        out = [copy for copy in copies if copy.kind is CopyKind.OFFLOAD]
        stages = {copy.stage for copy in out}
        assert len(out) == 2 * 32
        assert stages == {device, device + 8}
    assert peak(problem, schedule) <= 8 * 4 * 0.32
    assert (
        run(problem, schedule).longest_stage
        == run(problem, replace(schedule, copies=())).longest_stage
    )


def test_offloads_shorter_than_their_way_are_skipped() -> None:
    problem = linked(equal_pipeline(2, 2, "looped", 2), 1000)
    with pytest.raises(InapplicableError, match="way out and back"):
        po_full(problem)
    with pytest.raises(InapplicableError, match="no link"):
        po_half(replace(problem, offloading=None))


@given(
    unequal_pipelines((("looped", 2), ("looped", 3), ("linear", 1)), limited=False),
    st.integers(0, 12),
    st.sampled_from([1, 2]),
    st.sampled_from([po_half, po_full]),
)
@settings(deadline=None, max_examples=100)
def test_pipeoffload_at_unequal_costs_is_legal_and_never_needs_more(
    problem, ticks, streams, build
) -> None:
    problem = linked(problem, ticks, streams)
    try:
        schedule = build(problem)
    except InapplicableError:
        return
    timeline = run(problem, schedule)
    plain = simulate_pipeline(problem, replace(schedule, copies=()))
    assert timeline.longest_stage <= plain.longest_stage
    for held, before in zip(
        device_memory(problem, timeline), device_memory(problem, plain), strict=True
    ):
        assert held.peak <= before.peak


@given(
    unequal_pipelines((("v", 2), ("looped", 2), ("linear", 1))),
    st.integers(0, 12),
    st.sampled_from([1, 2]),
    st.sampled_from([None, 20, 60]),
)
@settings(deadline=None, max_examples=200)
def test_added_copies_keep_the_limits_of_device_and_host(problem, ticks, streams, host) -> None:
    problem = linked(problem, ticks, streams)
    problem = replace(problem, offloading=replace(problem.offloading, host_bytes=host))
    free = replace(problem, limits=(None,) * problem.devices)
    is_v = problem.device_of[-1] == 0 and len(problem.stages) == 2 * problem.devices
    plain = v_min(free) if is_v else grouped(free, problem.devices)
    schedule = with_offloading(problem, plain)
    if schedule is None:
        return
    timeline = run(problem, schedule)
    for held in host_memory(problem, timeline):
        assert host is None or held.peak <= host


def test_a_link_makes_room_below_any_schedule_without_one() -> None:
    costs = StageCosts(10, 10, 10, 100, 40, 1)
    problem = linked(equal_pipeline(4, 12, "looped", 2, costs=costs, limit=300), 10)
    schedule = with_offloading(problem, grouped(problem, 4))
    assert schedule is not None
    run(problem, schedule)
    assert any(schedule.copies)


def test_no_copies_where_everything_fits_and_none_where_nothing_would_help() -> None:
    problem = linked(equal_pipeline(4, 8, "looped", 2, limit=8), 1)
    assert with_offloading(problem, grouped(problem, 4)) == grouped(problem, 4)
    tight = replace(problem, limits=(1,) * 4)
    assert with_offloading(tight, grouped(problem, 4)) is None
    assert with_offloading(replace(problem, offloading=None), grouped(problem, 4)) is None


@pytest.mark.parametrize(("where", "chunks"), [("linear", 1), ("v", 2), ("looped", 3)])
@pytest.mark.parametrize("ticks", [5, 60])
def test_any_limit_of_a_few_microbatches_is_kept_with_a_link(where, chunks, ticks) -> None:
    costs = StageCosts(10, 10, 10, 100, 40, 1)
    problem = linked(equal_pipeline(8, 16, where, chunks, costs=costs, limit=300), ticks)
    schedule = offloaded(problem, NO_HURRY)
    run(problem, schedule)
    assert any(schedule.copies)
    with pytest.raises(InapplicableError):
        offloaded(replace(problem, offloading=None), NO_HURRY)
