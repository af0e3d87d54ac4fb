"""How many microbatches the stages of a pipeline hold at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.pipelining.memory import device_memory

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.simulator import PipelineTimeline


def alternating_in_flight(stages: int, chunks: int, microbatches: int) -> tuple[int, ...]:
    """Per stage, microbatches between F and B where devices do both in turn without a pause.

    Between them lie a forward and a backward pass of every stage from there on, while each device
    does as many of each as it has chunks for a microbatch: ``p - s`` for one chunk, as in 1F1B.
    """
    return tuple(min(microbatches, -(-(stages - stage) // chunks)) for stage in range(stages))


def microbatches_in_flight(problem: PipelineProblem, timeline: PipelineTimeline) -> tuple[int, ...]:
    """Per stage, how many microbatches' activations its peak amounts to, rounded up."""
    counts = []
    for stage, costs in enumerate(problem.stages):
        alone = replace(
            problem,
            stages=tuple(
                costs if other == stage else replace(held, activation_bytes=0, kept_bytes=0)
                for other, held in enumerate(problem.stages)
            ),
            vocabulary=None
            if problem.vocabulary is None
            else replace(problem.vocabulary, activation_bytes=0),
        )
        peak = device_memory(alone, timeline)[problem.device_of[stage]].peak
        counts.append(max(1, -(-peak // max(costs.activation_bytes, 1))))
    return tuple(counts)
