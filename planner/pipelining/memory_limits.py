"""Memory limits as people state them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.target_file import parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.pipelining.problem import StageCosts

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
    elif isinstance(limit, Iterable):
        stated = list(limit)
    else:
        raise UsageError(f"a memory limit of {limit!r:.40}: give bytes, or text as 10GiB or 0.75x.")
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
