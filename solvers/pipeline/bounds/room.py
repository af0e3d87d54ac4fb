"""How much fits into the memory of a device."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.pipelining.problem import PipelineProblem


def room(problem: PipelineProblem, device: int) -> int | None:
    """Return the bytes of activations that a device can hold, or None where no limit binds.

    Rounded down to a sum that the device's passes can take. Where activations can be offloaded
    they need not be held, and the limit says nothing here.
    """
    limit = problem.limits[device]
    if limit is None or problem.offloading is not None:
        return None
    unit = 0
    for index in problem.stages_of[device]:
        stage = problem.stages[index]
        unit = math.gcd(unit, stage.activation_bytes, stage.kept_bytes)
    return limit if unit == 0 else limit // unit * unit


def most_ticks(items: Iterable[tuple[int, int, int]], bytes_free: int | None) -> int:
    """Return a bound on the ticks of passes that fit together.

    Parameters
    ----------
    items : iterable of (int, int, int)
        Ticks of one pass, bytes of one pass, and how many there are.
    bytes_free : int or None
        None if all fit.

    Notes
    -----
    The last pass may count in part, so no choice of whole passes takes longer.
    """
    ticks = 0
    paid = []
    for each, size, count in items:
        if bytes_free is None or size == 0:
            ticks += each * count
        elif each:
            paid.append((each, size, count))
    if bytes_free is None:
        return ticks
    left = max(0, bytes_free)
    paid.sort(key=lambda item: item[0] / item[1], reverse=True)
    for each, size, count in paid:
        if size * count > left:
            return ticks + each * left // size
        ticks += each * count
        left -= size * count
    return ticks
