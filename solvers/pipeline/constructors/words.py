"""Orders written as kinds of passes alone: the microbatches follow from counting."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from planner.pipelining.placements import linear_placement, looped_placement
from planner.pipelining.schedule import Pass, PassKind
from solvers.pipeline.constructors.catalogue import InapplicableError
from solvers.pipeline.native_orders import within_kernels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule

FORWARD, BACKWARD, WEIGHT, FUSED = (
    PassKind.FORWARD,
    PassKind.BACKWARD,
    PassKind.WEIGHT,
    PassKind.FUSED,
)


def numbered(stage: int, kinds: Iterable[PassKind]) -> tuple[Pass, ...]:
    """Return one stage's passes: the n-th of a kind is that of microbatch n, counted from 0."""
    counters = {kind: count() for kind in PassKind}
    return tuple(Pass(kind, stage, next(counters[kind])) for kind in kinds)


def expect_one_chunk(problem: PipelineProblem) -> None:
    """Refuse problems other than one stage per device, in order.

    Raises
    ------
    InapplicableError
    """
    _expect_plain_stages(problem)
    if problem.device_of != linear_placement(problem.devices):
        raise InapplicableError("it is made for one stage per device, in the order of the devices")


def expect_looped(problem: PipelineProblem) -> int:
    """Refuse problems other than stage ``s`` on device ``s mod p``; return chunks per device.

    Raises
    ------
    InapplicableError
    """
    _expect_plain_stages(problem)
    chunks = len(problem.stages) // problem.devices
    if problem.device_of != looped_placement(problem.devices, chunks):
        raise InapplicableError(
            "it is made for as many stages on each device, stage s on device s mod "
            f"{problem.devices}"
        )
    return chunks


def expect_within_kernels(problem: PipelineProblem) -> None:
    """Refuse problems whose numbers are too large for the native kernels.

    Raises
    ------
    InapplicableError
    """
    if not within_kernels(problem):
        raise InapplicableError("its ticks or bytes are too many for 64 bits: use larger units")


def _expect_plain_stages(problem: PipelineProblem) -> None:
    if problem.vocabulary is not None:
        raise InapplicableError("it has no passes for a vocabulary layer split over all devices")
    if problem.sharding is not None:
        raise InapplicableError("it does not say when to gather sharded weights")


def over_limit(problem: PipelineProblem, peaks: Sequence[int]) -> str:
    """Return which device holds more than its limit at these peaks; empty if none does."""
    for device, (peak, limit) in enumerate(zip(peaks, problem.limits, strict=True)):
        if limit is not None and peak > limit:
            return f"device {device} holds {peak:,} B, more than its limit of {limit:,} B"
    return ""


def peak_bytes(problem: PipelineProblem, schedule: PipelineSchedule) -> tuple[int, ...]:
    """Return the most activation bytes that each device holds: they follow from its order alone."""
    peaks = []
    for own in schedule.passes:
        held = peak = 0
        for kind, stage, _ in own:
            costs = problem.stages[stage]
            if kind is FORWARD:
                held += costs.activation_bytes
                peak = max(peak, held)
            elif kind is FUSED:
                held -= costs.activation_bytes
            elif kind is WEIGHT:
                held -= costs.kept_bytes
            else:
                held -= costs.activation_bytes - costs.kept_bytes
        peaks.append(peak)
    return tuple(peaks)
