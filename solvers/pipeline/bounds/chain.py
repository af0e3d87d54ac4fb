"""The chain bound: what one device waits for, at its first B and at its last F.

Generalises the two windows of one stage among equal ones to unequal stages, unequal links, several
chunks per device (their first window alone) and vocabulary passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from solvers.pipeline.bounds.paths import path
from solvers.pipeline.bounds.room import most_ticks, room

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem


class ChainBound(NamedTuple):
    """Least ticks of the longest stage and of the makespan."""

    longest_stage: int
    makespan: int


def chain_bound(problem: PipelineProblem) -> ChainBound:
    """Return the most that any device's windows prove.

    A device with first stage f runs its passes between a start of F(f) and, W apart, an end of
    B(f); each device whose first stage comes earlier was at work before and will be after, for as
    long as the path between the two takes. So the time that one device needs up to its last B
    bounds the span of every such device, and, with what drains to the first stage, the makespan.
    """
    ways = path(problem)
    stages = problem.stages
    first = [own[0] for own in problem.stages_of]
    longest = makespan = 0
    for device in range(problem.devices):
        idle = _head(problem, device)
        if len(problem.stages_of[device]) == 1:
            tail = _tail(problem, device)
            idle = idle + tail if _windows_are_disjoint(problem, device) else max(idle, tail)
        span = problem.busy_ticks(device) + idle
        mine = first[device]
        to_last_backward = span - _pending(problem, device)
        end_of_backward = ways.backward[mine] + stages[mine].backward
        longest = max(longest, span)
        for earlier in first:
            if earlier <= mine:
                there = ways.forward[mine] - ways.forward[earlier]
                back = ways.backward[earlier] + stages[earlier].backward - end_of_backward
                after = stages[earlier].weight
                longest = max(longest, there + to_last_backward + back + after)
        makespan = max(
            makespan,
            ways.forward[mine] + max(span, to_last_backward + ways.drain[mine]),
        )
    return ChainBound(longest, max(longest, makespan))


def _head(problem: PipelineProblem, device: int) -> int:
    """Return the least idle ticks before the device's first B.

    The first B of a device is of its last stage, and up to then no memory is given back. Its
    microbatch has been on the way since F of the device's first stage. A microbatch with S or T
    done holds activations of all chunks of the device.
    """
    ways, own = path(problem), problem.stages_of[device]
    stages, m, free = problem.stages, problem.microbatches, room(problem, device)
    window = ways.backward[own[-1]] - ways.forward[own[0]]
    items = [(stages[s].forward, stages[s].activation_bytes, m) for s in own]
    work = most_ticks(items, free)
    layer = problem.vocabulary
    if layer is not None:
        size = sum(stages[s].activation_bytes for s in own)
        work += most_ticks([(layer.forward + layer.backward, size, m)], free)
    return max(0, window - work)


def _tail(problem: PipelineProblem, device: int) -> int:
    """Return the least idle ticks from the start of a device's last F to the B that follows it.

    The device has one stage. With ``live`` microbatches in flight, that of the last F included, it
    can run that F, the B and W of the others, and W of those whose B is done, as many as memory
    holds at the start of the last F.
    """
    ways, (index,) = path(problem), problem.stages_of[device]
    stage, m, free = problem.stages[index], problem.microbatches, room(problem, device)
    window = ways.backward[index] - ways.forward[index]
    layer = problem.vocabulary
    most = 0
    for live in range(1, _in_flight(problem, device) + 1):
        pending = m - live
        if free is not None and stage.kept_bytes:
            left = max(0, free - live * stage.activation_bytes)
            pending = min(pending, left // stage.kept_bytes)
        work = stage.forward + (live - 1) * (stage.backward + stage.weight)
        work += pending * stage.weight
        if layer is not None:
            work += live * layer.forward + m * layer.backward
        most = max(most, work)
    return max(0, window - most)


def _in_flight(problem: PipelineProblem, device: int) -> int:
    """Return how many microbatches a device of one stage can hold between F and B, at least 1."""
    (index,) = problem.stages_of[device]
    size, free = problem.stages[index].activation_bytes, room(problem, device)
    if free is None or not size:
        return problem.microbatches
    return max(1, min(problem.microbatches, free // size))


def _windows_are_disjoint(problem: PipelineProblem, device: int) -> bool:
    """Return whether the last F needs memory that an earlier B gives back."""
    return _in_flight(problem, device) < problem.microbatches


def _pending(problem: PipelineProblem, device: int) -> int:
    """Return the most ticks of work that a device can leave for after its last B.

    That B is of its first stage. While it runs, its own activations are held, and all that the
    pending W keep; S and T are over, but for T where B does not wait for it.
    """
    stages, m, free = problem.stages, problem.microbatches, room(problem, device)
    first, *others = problem.stages_of[device]
    if free is not None and stages[first].backward:
        free -= stages[first].activation_bytes
    items = [(stages[s].weight, stages[s].kept_bytes, m) for s in others]
    items.append((stages[first].weight, stages[first].kept_bytes, m - 1))
    ticks = stages[first].weight + most_ticks(items, free)
    layer = problem.vocabulary
    if layer is not None and layer.barriers == 1:
        ticks += m * layer.backward
    return ticks
