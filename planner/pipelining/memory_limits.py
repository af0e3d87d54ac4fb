"""Memory limits as people state them, and the least that any schedule needs."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.target_file import parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.pipelining.problem import PipelineProblem, StageCosts

_MULTIPLE = re.compile(r"(\d{1,9}(?:\.\d{1,12})?)\s*x", re.ASCII | re.IGNORECASE)


def one_f_one_b_bytes(stages: Sequence[StageCosts], devices: int, microbatches: int) -> int:
    """Return the peak of 1F1B: what a limit of ``1x`` is.

    That of 1F1B with as many contiguous stages as devices, each of them as many of the given ones
    as a device has: device ``i`` holds ``min(m, p - i)`` microbatches of its own.
    """
    chunks = len(stages) // devices
    return max(
        min(microbatches, devices - device)
        * sum(stage.activation_bytes for stage in stages[device * chunks : (device + 1) * chunks])
        for device in range(devices)
    )


def memory_limits(
    limit: int | str | Sequence[int | str | None] | None,
    stages: Sequence[StageCosts],
    devices: int,
    microbatches: int,
) -> tuple[int | None, ...]:
    """Read a memory limit as bytes per device.

    Parameters
    ----------
    limit : int, str, sequence or None
        Bytes; text as ``10GiB``, or ``0.75x`` for that multiple of `one_f_one_b_bytes`, exactly,
        rounded down; one of them for each device as a sequence or separated by commas; None for
        no limit.

    Raises
    ------
    UsageError
        If one is malformed, or there are neither one nor as many as devices.
    """
    if limit is None:
        return (None,) * devices
    if isinstance(limit, str):
        stated: list[int | str | None] = [part.strip() for part in limit.split(",")]
    elif isinstance(limit, int) or hasattr(limit, "__index__"):
        stated = [limit.__index__()]  # type: ignore[union-attr]
    else:
        stated = list(limit)
    if len(stated) not in (1, devices):
        raise UsageError(
            f"{len(stated):,} memory limits for {devices:,} devices: give one for all of them, or "
            "one for each."
        )
    whole = one_f_one_b_bytes(stages, devices, microbatches)
    read = [_bytes(one, whole) for one in stated]
    return tuple(read * devices if len(read) == 1 else read)


def _bytes(stated: int | str | None, whole: int) -> int | None:
    if stated is None:
        return None
    if isinstance(stated, str) and (match := _MULTIPLE.fullmatch(stated.strip())):
        return int(Fraction(Decimal(match[1])) * whole)
    try:
        return parse_size(stated)
    except UsageError as error:
        raise UsageError(
            f"memory limit: {error} Or give a multiple of what 1F1B needs, as 0.75x."
        ) from None


def needed_bytes(problem: PipelineProblem, device: int) -> int:
    """Return what a device holds at some instant under every schedule.

    Before the first gradient of a microbatch all of its stages have run forward, and none of them
    has given anything back; with a vocabulary layer that instant is in S, and sharded weights of
    the device's last stage are there when that stage runs. What is offloaded comes back one stage
    at a time.
    """
    own = problem.stages_of[device]
    activations = [problem.stages[stage].activation_bytes for stage in own]
    if problem.offloading is not None:
        return max(activations)
    vocabulary = problem.vocabulary.activation_bytes if problem.vocabulary is not None else 0
    weights = problem.sharding.parameter_bytes[own[-1]] if problem.sharding is not None else 0
    return sum(activations) + max(vocabulary, weights)


def why_infeasible(problem: PipelineProblem) -> str:
    """Return the proof that no schedule keeps the limits; empty if this simple one fails."""
    for device, limit in enumerate(problem.limits):
        needed = needed_bytes(problem, device)
        if limit is not None and limit < needed:
            own = problem.stages_of[device]
            many = f"stages {', '.join(map(str, own))}" if len(own) > 1 else f"stage {own[0]}"
            instant = (
                "the largest of its stages alone needs"
                if problem.offloading is not None
                else f"one microbatch of {many} needs, before its first gradient,"
            )
            return (
                f"device {device} may hold {limit:,} bytes, but {instant} {needed:,}, "
                f"{needed - limit:,} more. No schedule does with less."
            )
    return ""


def least_limit(problem: PipelineProblem) -> int:
    """Return the least limit, the same for all devices, at which `why_infeasible` finds nothing."""
    return max(needed_bytes(problem, device) for device in range(problem.devices))
