"""Interleaved chunks, taken in groups of microbatches."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import TYPE_CHECKING

from planner.pipelining.schedule import Pass, PassKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.pipelining.problem import PipelineProblem

FORWARD, BACKWARD, WEIGHT = PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT


def grouped_order(
    problem: PipelineProblem, group: int, warm_up: Sequence[int]
) -> tuple[tuple[Pass, ...], ...]:
    """Return per device an order that takes ``group`` microbatches through one chunk at a time.

    Every device runs ``warm_up[device]`` forward passes, or all if there are fewer, then one
    forward and one backward pass in turn, then the rest of the backward passes. The gradient of the
    weights follows that of the input at once. A last group may be smaller. On a looped placement
    with a warm-up of ``group (v - 1) + p - 1 - device``, groups of at least all devices cannot
    deadlock; smaller ones may, the more so a small last one.
    """
    return tuple(
        _device_order(
            grouped_passes(problem, device, group, FORWARD),
            grouped_passes(problem, device, group, BACKWARD),
            warm_up[device],
        )
        for device in range(problem.devices)
    )


def grouped_passes(
    problem: PipelineProblem, device: int, group: int, kind: PassKind
) -> Iterator[Pass]:
    """Yield a device's forward or backward passes in groups of microbatches, chunk by chunk."""
    stages = problem.stages_of[device]
    if kind is not FORWARD:
        stages = stages[::-1]
    bounds = (*range(0, problem.microbatches, group), problem.microbatches)
    for begin, end in pairwise(bounds):
        for stage in stages:
            for microbatch in range(begin, end):
                yield Pass(kind, stage, microbatch)


def _device_order(
    forward: Iterator[Pass], backward: Iterator[Pass], warm_up: int
) -> tuple[Pass, ...]:
    order = list(islice(forward, warm_up))
    for item in backward:
        order.extend(islice(forward, 1))
        order.append(item)
        order.append(item._replace(kind=WEIGHT))
    return tuple(order)
