"""Starting devices later where that shortens the longest stage."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from planner.pipelining.precedence import Precedence, precedence
from planner.pipelining.problem import PipelineObjective
from planner.pipelining.simulator import (
    PipelineTimeline,
    earliest_starts,
    simulate_pipeline,
    timeline_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule

_NEVER = -(1 << 60)


def delay_first_passes(problem: PipelineProblem, schedule: PipelineSchedule) -> PipelineTimeline:
    """Return the timeline of the least longest stage that the schedule's orders allow.

    A device that starts its first pass later, because it is busy with the iteration before, ends
    later only as far as others wait for it. The least longest stage is that of iterations that
    follow each other without a barrier: the greatest mean weight of a cycle among the longest paths
    from one device's first pass to another's last, rounded up to whole ticks.

    Raises
    ------
    planner.errors.InvalidPlanError
        As ``simulate_pipeline``.
    """
    graph = precedence(problem, schedule)
    paths = _longest_paths(graph)
    weight, length = _greatest_cycle_mean(paths)
    target = -(-weight // length)
    earliest = earliest_starts(graph)
    first = np.array([earliest[own[0]] if own else 0 for own in graph.passes], dtype=np.int64)
    for _ in paths:
        later = np.maximum(first, (first[:, None] + paths).max(axis=0) - target)
        if (later == first).all():
            break
        first = later
    starts = earliest_starts(graph, [int(tick) for tick in first])
    return timeline_of(schedule, graph, starts)


def best_timeline(problem: PipelineProblem, schedule: PipelineSchedule) -> PipelineTimeline:
    """Return the timeline that the schedule's cost under the problem's objective is read off.

    Raises
    ------
    planner.errors.InvalidPlanError
        As ``simulate_pipeline``.
    """
    if problem.objective is PipelineObjective.MAKESPAN:
        return simulate_pipeline(problem, schedule)
    return delay_first_passes(problem, schedule)


def cost_ticks(problem: PipelineProblem, timeline: PipelineTimeline) -> int:
    """Return what the problem's objective counts of a timeline."""
    if problem.objective is PipelineObjective.MAKESPAN:
        return timeline.makespan
    return timeline.longest_stage


def _longest_paths(graph: Precedence) -> NDArray[np.int64]:
    devices = len(graph.passes)
    reach = np.full((len(graph.events), devices), _NEVER, dtype=np.int64)
    for device, own in enumerate(graph.passes):
        if own:
            reach[own[0], device] = 0
    for index in graph.order:
        row = reach[index]
        for other, least in graph.waits_for[index]:
            np.maximum(row, reach[other] + least, out=row)
    paths = np.full((devices, devices), _NEVER, dtype=np.int64)
    for device, own in enumerate(graph.passes):
        if own:
            paths[:, device] = reach[own[-1]] + graph.events[own[-1]].ticks
    return np.where(paths < 0, _NEVER, paths)


def _greatest_cycle_mean(paths: NDArray[np.int64]) -> tuple[int, int]:
    """Return weight and length of the cycle of the greatest mean (Karp 1978)."""
    devices = len(paths)
    walks = np.full((devices + 1, devices), _NEVER, dtype=np.int64)
    walks[0] = 0
    for length in range(devices):
        walks[length + 1] = np.maximum((walks[length][:, None] + paths).max(axis=0), _NEVER)
    best: tuple[int, int] | None = None
    for device in range(devices):
        end = int(walks[devices, device])
        if end < 0:
            continue
        least = min(
            ((end - int(walks[length, device]), devices - length) for length in range(devices)),
            key=lambda mean: Fraction(*mean),
        )
        if best is None or least[0] * best[1] > best[0] * least[1]:
            best = least
    return best if best is not None else (0, 1)
