"""1F1B: a backward pass after each forward pass as soon as there is one to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.pipelining.schedule import PipelineSchedule
from solvers.pipeline.constructors.words import (
    FORWARD,
    FUSED,
    expect_one_chunk,
    numbered,
)

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem


def one_f_one_b(problem: PipelineProblem) -> PipelineSchedule:
    """Return 1F1B with both gradients in one pass: device ``i`` holds ``p - i`` microbatches.

    Raises
    ------
    InapplicableError
        Unless there is one stage per device.
    """
    expect_one_chunk(problem)
    passes = []
    for stage in range(problem.devices):
        ahead = min(problem.microbatches, problem.devices - 1 - stage)
        steady = problem.microbatches - ahead
        kinds = [FORWARD] * ahead + [FORWARD, FUSED] * steady + [FUSED] * ahead
        passes.append(numbered(stage, kinds))
    return PipelineSchedule("1f1b", problem.device_of, tuple(passes))
