"""Grouped interleaving: interleaved schedules with the memory of 1F1B, or about half of it.

"PipeOffload: Improving Scalability of Pipeline Parallelism with Memory Optimization"
(arXiv 2503.01328): GIS with groups of ``p`` microbatches, GIS-H with half of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.pipeline.constructors.catalogue import InapplicableError
from solvers.pipeline.constructors.looped import (
    LoopedOrder,
    groups_of_at_least,
    groups_of_at_most,
    looped_schedule,
)
from solvers.pipeline.constructors.words import expect_looped, over_limit, peak_bytes

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule


def gis(problem: PipelineProblem) -> PipelineSchedule:
    """Return GIS: with equal stages no device holds more than ``v p`` chunks, as in 1F1B.

    Raises
    ------
    InapplicableError
        Unless the placement is looped.
    """
    return grouped_interleaving("gis", problem, problem.devices)


def gis_h(problem: PipelineProblem) -> PipelineSchedule:
    """Return GIS-H: groups half as large, and ``(v + 1) p / 2`` chunks for even ``p``.

    Raises
    ------
    InapplicableError
        Unless the placement is looped.
    """
    return grouped_interleaving("gis-h", problem, -(-problem.devices // 2))


def gis_within_limits(problem: PipelineProblem) -> PipelineSchedule:
    """Return grouped interleaving with the largest group, from half of ``p`` to ``p``, that fits.

    Raises
    ------
    InapplicableError
        Unless the placement is looped, and where not even the smallest group fits.
    """
    over = ""
    for group in range(problem.devices, (problem.devices - 1) // 2, -1):
        schedule = grouped_interleaving("gis-group", problem, group)
        over = over_limit(problem, peak_bytes(problem, schedule))
        if not over:
            return schedule
    raise InapplicableError(f"even with the smallest groups of microbatches {over}")


def grouped_interleaving(name: str, problem: PipelineProblem, group: int) -> PipelineSchedule:
    """Return grouped interleaving with at most ``group`` microbatches in a group.

    Device ``i`` runs ``(v - 1) group + p - 1 - i`` forward passes before the first pair. Where the
    microbatches are no multiple of ``group``, the groups are as even as can be. Two groups of less
    than half of ``p`` can deadlock: then there are fewer and larger ones.

    Raises
    ------
    InapplicableError
        Unless the placement is looped.
    """
    chunks, devices = expect_looped(problem), problem.devices
    groups = groups_of_at_most(group, problem.microbatches)
    if 2 * groups[-1] < devices:
        groups = groups_of_at_least(group, problem.microbatches)
    ahead = tuple((chunks - 1) * groups[0] + devices - 1 - device for device in range(devices))
    return looped_schedule(name, problem, LoopedOrder(groups, ahead, fused=False))
