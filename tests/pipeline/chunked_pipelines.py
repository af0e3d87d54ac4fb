"""Pipelines with one or several stages per device, and what their schedules must keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from planner.pipelining.memory import device_memory, host_memory
from planner.pipelining.placements import placement
from planner.pipelining.problem import PipelineProblem, StageCosts
from planner.pipelining.schedule import Pass, PassKind
from planner.pipelining.simulator import simulate_pipeline

if TYPE_CHECKING:
    from planner.pipelining.schedule import PipelineSchedule
    from planner.pipelining.simulator import PipelineTimeline


def equal_pipeline(
    devices: int,
    microbatches: int,
    where: str = "v",
    chunks: int = 2,
    *,
    costs: StageCosts | None = None,
    limit: int | None = None,
) -> PipelineProblem:
    """All stages alike: by default every pass takes one tick, and activations are one byte."""
    costs = costs or StageCosts(1, 1, 1, 1, 1)
    return PipelineProblem(
        (costs,) * (devices * chunks),
        placement(where, devices, chunks),
        microbatches,
        (limit,) * devices,
    )


@st.composite
def unequal_pipelines(
    draw: st.DrawFn,
    wheres: tuple[tuple[str, int], ...] = (("linear", 1), ("v", 2), ("looped", 2), ("looped", 3)),
    *,
    limited: bool = True,
) -> PipelineProblem:
    """Unequal stages, fewer or more microbatches than devices, limits that fit one microbatch."""
    where, chunks = draw(st.sampled_from(wheres))
    devices = draw(st.integers(1, 5))
    ticks = st.integers(0, 9)
    stages = []
    for _ in range(devices * chunks):
        size = draw(st.integers(0, 12))
        times = [draw(ticks) for _ in range(4)]
        stages.append(StageCosts(*times[:3], size, draw(st.integers(0, size)), times[3]))
    device_of = placement(where, devices, chunks)
    limits: list[int | None] = [None] * devices
    if limited:
        for device in range(devices):
            sizes = [
                stage.activation_bytes
                for stage, place in zip(stages, device_of, strict=True)
                if place == device
            ]
            limits[device] = draw(st.one_of(st.none(), st.integers(sum(sizes), 3 * sum(sizes))))
    return PipelineProblem(tuple(stages), device_of, draw(st.integers(1, 9)), tuple(limits))


def run(problem: PipelineProblem, schedule: PipelineSchedule) -> PipelineTimeline:
    """Simulate the schedule and check that it has every pass once, in its place, within limits."""
    timeline = simulate_pipeline(problem, schedule)
    kinds = (PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT)
    for own, stages, device in zip(
        schedule.passes, problem.stages_of, range(problem.devices), strict=True
    ):
        expected = [
            Pass(kind, stage, microbatch)
            for kind in kinds
            for stage in stages
            for microbatch in range(problem.microbatches)
        ]
        if problem.vocabulary is not None:
            expected += [
                Pass(kind, device, microbatch)
                for kind in (PassKind.VOCABULARY_FORWARD, PassKind.VOCABULARY_BACKWARD)
                for microbatch in range(problem.microbatches)
            ]
        assert sorted(own) == sorted(expected)
    for limit, held in zip(problem.limits, device_memory(problem, timeline), strict=True):
        assert min(held.held, default=0) >= 0
        assert limit is None or held.peak <= limit
    for held in host_memory(problem, timeline):
        assert min(held.held, default=0) >= 0
    return timeline


def peak(problem: PipelineProblem, schedule: PipelineSchedule) -> int:
    """Return the most bytes that any device holds."""
    timeline = simulate_pipeline(problem, schedule)
    return max(held.peak for held in device_memory(problem, timeline))
