"""Breadth-first pipelines: all microbatches on one chunk, then all on the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.pipeline.constructors.looped import LoopedOrder, looped_schedule
from solvers.pipeline.constructors.words import expect_looped

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule


def breadth_first(problem: PipelineProblem) -> PipelineSchedule:
    """Return the looped schedule that runs all F before the first D (arXiv 2211.05953).

    Raises
    ------
    InapplicableError
        Unless the placement is looped.
    """
    chunks = expect_looped(problem)
    everything = (chunks * problem.microbatches,) * problem.devices
    order = LoopedOrder((problem.microbatches,), everything, fused=True)
    return looped_schedule("breadth-first", problem, order)
