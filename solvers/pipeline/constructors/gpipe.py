"""GPipe: all forward passes, then all backward passes."""

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


def gpipe(problem: PipelineProblem) -> PipelineSchedule:
    """Return all F, then all D, on every device; every microbatch is live at once.

    Raises
    ------
    InapplicableError
        Unless there is one stage per device.
    """
    expect_one_chunk(problem)
    kinds = [FORWARD] * problem.microbatches + [FUSED] * problem.microbatches
    passes = tuple(numbered(stage, kinds) for stage in range(problem.devices))
    return PipelineSchedule("gpipe", problem.device_of, passes)
