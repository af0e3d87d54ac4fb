"""How many microbatches the stages of a pipeline hold at once."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from planner.pipelining.schedule import PassKind

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.simulator import PipelineTimeline

_OF_NO_STAGE = (PassKind.VOCABULARY_FORWARD, PassKind.VOCABULARY_BACKWARD)


def alternating_in_flight(stages: int, chunks: int, microbatches: int) -> tuple[int, ...]:
    """Per stage, microbatches between F and B where devices do both in turn without a pause.

    Between them lie a forward and a backward pass of every stage from there on, while each device
    does as many of each as it has chunks for a microbatch: ``p - s`` for one chunk, as in 1F1B.
    """
    return tuple(min(microbatches, -(-(stages - stage) // chunks)) for stage in range(stages))


def microbatches_in_flight(problem: PipelineProblem, timeline: PipelineTimeline) -> tuple[int, ...]:
    """Per stage, how many microbatches' activations its peak amounts to, rounded up."""
    changes: list[list[tuple[int, int]]] = [[] for _ in problem.stages]
    for passes, spans in zip(timeline.schedule.passes, timeline.passes, strict=True):
        for item, span in zip(passes, spans, strict=True):
            if item.kind in _OF_NO_STAGE:
                continue
            costs = problem.stages[item.stage]
            if item.kind is PassKind.FORWARD:
                change = (span.start, costs.activation_bytes)
            elif item.kind is PassKind.BACKWARD:
                change = (span.end, costs.kept_bytes - costs.activation_bytes)
            elif item.kind is PassKind.WEIGHT:
                change = (span.end, -costs.kept_bytes)
            else:
                change = (span.end, -costs.activation_bytes)
            changes[item.stage].append(change)
    counts = []
    for costs, own in zip(problem.stages, changes, strict=True):
        # What is given back at a tick is gone before anything is taken at it.
        peak = max(accumulate(change for _, change in sorted(own)), default=0)
        counts.append(max(1, -(-peak // max(costs.activation_bytes, 1))))
    return tuple(counts)
