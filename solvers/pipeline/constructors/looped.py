"""Schedules of the looped placement: a group of microbatches chunk by chunk, then the next group.

Interleaved 1F1B, breadth-first and grouped interleaving are one family. Its members differ in the
sizes of the groups, in how far forward passes run ahead of backward passes, and in whether both
gradients are one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from solvers.pipeline.constructors.words import BACKWARD, FORWARD, FUSED, WEIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.pipelining.problem import PipelineProblem


@dataclass(frozen=True, slots=True)
class LoopedOrder:
    """A member of the family.

    Attributes
    ----------
    groups : tuple of int
        Microbatches of each group, which a device runs on one chunk before it turns to the next.
    ahead : tuple of int
        Per device, forward passes over all its chunks before its first pair of one forward and
        one backward pass.
    fused : bool
        One pass D instead of B and, at once, W.
    early : int
        Microbatches of the second group that run their first chunk right after the first group's.
    """

    groups: tuple[int, ...]
    ahead: tuple[int, ...]
    fused: bool
    early: int = 0


def looped_schedule(name: str, problem: PipelineProblem, order: LoopedOrder) -> PipelineSchedule:
    """Return the schedule of that order for a problem in looped placement."""
    gradients = (FUSED,) if order.fused else (BACKWARD, WEIGHT)
    passes = []
    for device, stages in enumerate(problem.stages_of):
        forward = _in_groups(stages, order.groups)
        backward = _in_groups(stages[::-1], order.groups)
        _advance(forward, order)
        ahead = min(order.ahead[device], len(forward))
        own = [Pass(FORWARD, *one) for one in forward[:ahead]]
        for one, other in zip(forward[ahead:], backward, strict=False):
            own += [Pass(FORWARD, *one), *_passes(gradients, other)]
        for other in backward[len(forward) - ahead :]:
            own += _passes(gradients, other)
        passes.append(tuple(own))
    return PipelineSchedule(name, problem.device_of, tuple(passes))


def groups_of_at_least(size: int, microbatches: int) -> tuple[int, ...]:
    """Return as many groups as can have ``size`` microbatches, as even as can be; at least one."""
    return _even(max(1, microbatches // size), microbatches)


def groups_of_at_most(size: int, microbatches: int) -> tuple[int, ...]:
    """Return as few groups as have no more than ``size`` microbatches, as even as can be."""
    return _even(-(-microbatches // size), microbatches)


def _even(count: int, microbatches: int) -> tuple[int, ...]:
    size, larger = divmod(microbatches, count)
    return (size + 1,) * larger + (size,) * (count - larger)


def _in_groups(stages: Sequence[int], groups: Sequence[int]) -> list[tuple[int, int]]:
    passes = []
    begin = 0
    for size in groups:
        passes += [(stage, begin + index) for stage in stages for index in range(size)]
        begin += size
    return passes


def _advance(forward: list[tuple[int, int]], order: LoopedOrder) -> None:
    if order.early:
        stage, first = forward[0][0], order.groups[0]
        early = [(stage, first + index) for index in range(order.early)]
        for one in early:
            forward.remove(one)
        forward[first:first] = early


def _passes(kinds: tuple[PassKind, ...], of: tuple[int, int]) -> list[Pass]:
    return [Pass(kind, *of) for kind in kinds]
