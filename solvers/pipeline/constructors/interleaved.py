"""Interleaved 1F1B: several chunks per device shorten the pipeline's ramps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.pipeline.constructors.catalogue import InapplicableError
from solvers.pipeline.constructors.looped import (
    LoopedOrder,
    groups_of_at_least,
    looped_schedule,
)
from solvers.pipeline.constructors.words import expect_looped

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule


def interleaved_one_f_one_b(problem: PipelineProblem) -> PipelineSchedule:
    """Return interleaved 1F1B ("Efficient Large-Scale Language Model Training", 2104.04473).

    It is published for microbatches in groups of ``p``. Where they are no multiple of ``p``, the
    groups are larger, as even as can be: one smaller than ``p`` can deadlock.

    Raises
    ------
    InapplicableError
        Unless the placement is looped.
    """
    return looped_schedule("interleaved-1f1b", problem, _order(problem, 0))


def interleaved_with_early_start(problem: PipelineProblem) -> PipelineSchedule:
    """Return interleaved 1F1B whose first wait for a round trip is filled with forward passes.

    After the first group's first chunk, a device waits until its second chunk's first microbatch
    has been around: here it starts as many microbatches of the second group as fill that wait.
    Idle time is then that of the closed form behind "1F1B-I" in "Zero Bubble Pipeline Parallelism"
    (arXiv 2401.10241), table 5, at the price of so many more activations.

    Raises
    ------
    InapplicableError
        Unless the placement is looped with several chunks, and where there is no such wait, or no
        second group.
    """
    chunks = expect_looped(problem)
    groups = groups_of_at_least(problem.devices, problem.microbatches)
    around = sum(problem.hops[: problem.devices])
    if chunks < 2 or not around:
        raise InapplicableError("no device waits for a microbatch to come round: nothing to fill")
    if len(groups) < 2:
        raise InapplicableError(
            f"{problem.microbatches} microbatches are one group of at least {problem.devices}: "
            "there is no second group to start early"
        )
    forward = max(1, max(stage.forward for stage in problem.stages[: problem.devices]))
    early = min(-(-around // forward), groups[1], problem.devices)
    return looped_schedule("interleaved-1f1b-early", problem, _order(problem, early))


def _order(problem: PipelineProblem, early: int) -> LoopedOrder:
    chunks, devices = expect_looped(problem), problem.devices
    groups = groups_of_at_least(devices, problem.microbatches)
    ahead = tuple(
        (chunks - 1) * groups[0] + 2 * (devices - 1 - device) + early for device in range(devices)
    )
    return LoopedOrder(groups, ahead, fused=True, early=early)
