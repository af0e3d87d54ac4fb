"""The area bound: bytes times ticks that the microbatches need, against what a device offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.pipeline.bounds.chain import ChainBound
from solvers.pipeline.bounds.paths import path
from solvers.pipeline.bounds.room import room

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem


def area_of_microbatch(problem: PipelineProblem, device: int) -> int:
    """Return the least byte-ticks of one microbatch on a device.

    Of each stage: its activations from the start of F to the end of B, and what is kept from the
    end of B to the end of W.
    """
    ways, area = path(problem), 0
    for index in problem.stages_of[device]:
        stage = problem.stages[index]
        alive = ways.backward[index] + stage.backward - ways.forward[index]
        area += stage.activation_bytes * alive + stage.kept_bytes * stage.weight
    return area


def area_bound(problem: PipelineProblem) -> ChainBound:
    """Return what the memory of any single device proves; 0 where no limit binds."""
    ways = path(problem)
    longest = makespan = 0
    for device in range(problem.devices):
        free = room(problem, device)
        if free:
            span = -(-problem.microbatches * area_of_microbatch(problem, device) // free)
            longest = max(longest, span)
            makespan = max(makespan, ways.forward[problem.stages_of[device][0]] + span)
    return ChainBound(longest, makespan)
