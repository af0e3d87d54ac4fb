"""The best building block at true costs and within memory (arXiv 2405.15362)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.pipeline.block_search import block_schedules
from solvers.pipeline.constructors.catalogue import OUT_OF_TIME, InapplicableError
from solvers.pipeline.constructors.words import expect_within_kernels

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from solvers.protocol import Deadline


def v_blocks(problem: PipelineProblem, deadline: Deadline) -> PipelineSchedule:
    """Return the cheapest schedule that repeats one block of a V placement.

    Raises
    ------
    InapplicableError
        If no block fits into the limits, or none was found by the deadline.
    """
    expect_within_kernels(problem)
    found = block_schedules(problem, deadline, most=1)
    if not found:
        out_of_time = deadline.expired()
        raise InapplicableError(
            OUT_OF_TIME if out_of_time else "no building block fits into the limits"
        )
    return found[0]
