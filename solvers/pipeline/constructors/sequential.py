"""One microbatch after the other: the schedule that needs the least memory, and the most time."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from planner.pipelining.schedule import (
    Copy,
    CopyKind,
    Pass,
    PassKind,
    PipelineSchedule,
    WeightUnit,
)

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem

FORWARD, BACKWARD, WEIGHT, _, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind


def sequential(problem: PipelineProblem) -> PipelineSchedule:
    """Return the schedule in which a device has one microbatch at a time.

    Of a microbatch, a device holds all of its stages at once before the first gradient, whatever
    the schedule; so without offloading none fits a limit that this one exceeds. With offloading,
    where a limit asks for it, every stage but a device's last goes to the host in between.
    """
    orders = tuple(_order(problem, device) for device in range(problem.devices))
    return PipelineSchedule(
        "sequential",
        problem.device_of,
        orders,
        copies=_copies(problem, orders),
        units=() if problem.sharding is None else tuple(map(_units, orders)),
    )


def _order(problem: PipelineProblem, device: int) -> tuple[Pass, ...]:
    stages = problem.stages_of[device]
    passes: list[Pass] = []
    for microbatch in range(problem.microbatches):
        passes += [Pass(FORWARD, stage, microbatch) for stage in stages]
        if problem.vocabulary is not None:
            passes.append(Pass(VOCABULARY_FORWARD, device, microbatch))
            passes.append(Pass(VOCABULARY_BACKWARD, device, microbatch))
        for stage in reversed(stages):
            passes.append(Pass(BACKWARD, stage, microbatch))
            passes.append(Pass(WEIGHT, stage, microbatch))
    return tuple(passes)


def _copies(
    problem: PipelineProblem, orders: tuple[tuple[Pass, ...], ...]
) -> tuple[tuple[Copy, ...], ...]:
    if problem.offloading is None:
        return ()
    copies = []
    for device, order in enumerate(orders):
        stages = problem.stages_of[device]
        held = sum(problem.stages[stage].activation_bytes for stage in stages)
        limit = problem.limits[device]
        if limit is None or held <= limit:
            copies.append(())
            continue
        at = {item: index for index, item in enumerate(order)}
        moves: list[Copy] = []
        for microbatch in range(problem.microbatches):
            away = stages[:-1]
            for stage in away:
                # The next pass waits, so that never two stages are held.
                forward = at[Pass(FORWARD, stage, microbatch)]
                moves.append(Copy(CopyKind.OFFLOAD, stage, microbatch, forward, forward + 1))
            for stage in reversed(away):
                gradient = at[Pass(BACKWARD, stage, microbatch)]
                # During the pass before, which computes a gradient of weights: no earlier anchor
                # holds less, and its own gradient cannot be one.
                moves.append(Copy(CopyKind.RELOAD, stage, microbatch, gradient - 1, gradient))
        copies.append(tuple(moves))
    return tuple(copies) if any(copies) else ()


def _units(order: tuple[Pass, ...]) -> tuple[WeightUnit, ...]:
    units = []
    at = 0
    for stage, run in groupby(order, key=_sharded_stage):
        passes = list(run)
        last = at + len(passes) - 1
        if stage >= 0:
            reduces = any(item.kind is WEIGHT for item in passes)
            units.append(WeightUnit(stage, at - 1, at, last, reduces))
        at = last + 1
    return tuple(units)


def _sharded_stage(item: Pass) -> int:
    """Return the stage whose weights a pass uses; -1 for none."""
    vocabulary = item.kind in (VOCABULARY_FORWARD, VOCABULARY_BACKWARD)
    return -1 if vocabulary else item.stage
