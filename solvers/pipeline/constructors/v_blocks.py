"""The best building block at true costs and within memory (arXiv 2405.15362)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.pipeline.block_search import block_schedules
from solvers.pipeline.constructors.catalogue import InapplicableError

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule


def v_blocks(problem: PipelineProblem) -> PipelineSchedule:
    """Return the cheapest schedule that repeats one block of a V placement.

    Raises
    ------
    InapplicableError
        If no block fits into the limits.
    """
    found = block_schedules(problem, most=1)
    if not found:
        raise InapplicableError("no building block fits into the limits")
    return found[0]
