"""Pipelines with everything that a problem can say, and legal timelines of them."""

from __future__ import annotations

from dataclasses import replace

from planner.pipelining.memory import device_memory
from planner.pipelining.placements import placement
from planner.pipelining.problem import (
    Offloading,
    PipelineProblem,
    ShardedParameters,
    StageCosts,
    VocabularyLayer,
)
from planner.pipelining.schedule import (
    Copy,
    CopyKind,
    Pass,
    PassKind,
    PipelineSchedule,
    WeightUnit,
)
from planner.pipelining.simulator import PipelineTimeline, simulate_pipeline
from solvers.pipeline.constructors.sequential import sequential

FORWARD, BACKWARD, WEIGHT, FUSED, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind


def costs(stages: int) -> tuple[StageCosts, ...]:
    """Unequal ones, so that no two numbers agree by chance."""
    return tuple(
        StageCosts(20 + 3 * s, 31 + 2 * s, 13 + s, 1000 + 70 * s, 400 + 30 * s, 5 + s)
        for s in range(stages)
    )


def problem(
    devices: int = 2, microbatches: int = 3, chunks: int = 1, where: str = "", **others: object
) -> PipelineProblem:
    """Return a pipeline without limits, or with those of ``others``."""
    name = where or ("linear" if chunks == 1 else "looped")
    settings: dict[str, object] = {"limits": (None,) * devices, **others}
    return PipelineProblem(
        costs(devices * chunks),
        placement(name, devices, chunks),
        microbatches,
        **settings,  # type: ignore[arg-type]
    )


def one_f_one_b(pipeline: PipelineProblem, *, fused: bool = False) -> PipelineTimeline:
    """1F1B, one stage per device; each W follows its B at once."""
    orders = []
    for device in range(pipeline.devices):
        order: list[Pass] = []
        early = min(pipeline.microbatches, pipeline.devices - 1 - device)
        forwards = [Pass(FORWARD, device, j) for j in range(pipeline.microbatches)]
        gradients = [
            [Pass(FUSED, device, j)]
            if fused
            else [Pass(BACKWARD, device, j), Pass(WEIGHT, device, j)]
            for j in range(pipeline.microbatches)
        ]
        order += forwards[:early]
        for forward in forwards[early:]:
            order.append(forward)
            order += gradients.pop(0)
        for rest in gradients:
            order += rest
        orders.append(tuple(order))
    schedule = PipelineSchedule("1f1b", pipeline.device_of, tuple(orders))
    return simulate_pipeline(pipeline, schedule)


def offloaded(
    streams: int = 2, host_bytes: int | None = None
) -> tuple[PipelineProblem, PipelineTimeline]:
    """Device 0 runs two microbatches forward, and the first is away meanwhile."""
    pipeline = problem(
        devices=1,
        microbatches=2,
        limits=(2000,),
        offloading=Offloading((4,), (6,), streams, host_bytes),
    )
    order = tuple(
        Pass(kind, 0, j)
        for kind, j in (
            (FORWARD, 0),
            (FORWARD, 1),
            (BACKWARD, 1),
            (WEIGHT, 1),
            (BACKWARD, 0),
            (WEIGHT, 0),
        )
    )
    copies = (Copy(CopyKind.OFFLOAD, 0, 0, 0, 1), Copy(CopyKind.RELOAD, 0, 0, 3, 4))
    schedule = PipelineSchedule("offloaded", (0,), (order,), copies=(copies,))
    return pipeline, simulate_pipeline(pipeline, schedule)


def split_vocabulary(barriers: int = 1) -> tuple[PipelineProblem, PipelineTimeline]:
    """Two devices, one microbatch after the other."""
    layer = VocabularyLayer(7, 9, broadcast=3, barrier=2, barriers=barriers, activation_bytes=50)
    pipeline = problem(vocabulary=layer)
    return pipeline, simulate_pipeline(pipeline, sequential(pipeline))


def sharded() -> tuple[PipelineProblem, PipelineTimeline]:
    """One device with two stages whose weights are gathered for each run of passes."""
    weights = ShardedParameters((3, 4), (5, 6), (100, 110), (200, 210))
    pipeline = problem(devices=1, microbatches=2, chunks=2, sharding=weights)
    order = tuple(
        Pass(kind, stage, j)
        for kind, stage in (
            (FORWARD, 0),
            (FORWARD, 1),
            (BACKWARD, 1),
            (WEIGHT, 1),
            (BACKWARD, 0),
            (WEIGHT, 0),
        )
        for j in range(2)
    )
    units = (
        WeightUnit(0, -1, 0, 1, False),
        WeightUnit(1, 1, 2, 7, True),
        WeightUnit(0, 6, 8, 11, True),
    )
    schedule = PipelineSchedule("sharded", (0, 0), (order,), units=(units,))
    return pipeline, simulate_pipeline(pipeline, schedule)


def plain() -> tuple[PipelineProblem, PipelineTimeline]:
    """1F1B on three devices."""
    pipeline = problem(devices=3, microbatches=4)
    return pipeline, one_f_one_b(pipeline)


def with_fused() -> tuple[PipelineProblem, PipelineTimeline]:
    """1F1B whose B and W are one pass."""
    pipeline = problem(devices=3, microbatches=4)
    return pipeline, one_f_one_b(pipeline, fused=True)


def limited() -> tuple[PipelineProblem, PipelineTimeline]:
    """1F1B under limits of just what it needs."""
    pipeline, timeline = plain()
    peaks = tuple(profile.peak for profile in device_memory(pipeline, timeline))
    return replace(pipeline, limits=peaks), timeline


def one_stream() -> tuple[PipelineProblem, PipelineTimeline]:
    """Copies in both directions wait for each other."""
    return offloaded(streams=1)


def two_barriers() -> tuple[PipelineProblem, PipelineTimeline]:
    """The gradient of the operand of the output layer waits for T."""
    return split_vocabulary(barriers=2)


def tight_host() -> tuple[PipelineProblem, PipelineTimeline]:
    """The host has room for one microbatch."""
    return offloaded(host_bytes=1000)
