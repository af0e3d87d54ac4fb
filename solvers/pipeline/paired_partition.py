"""Stages for V placement: device ``i`` has the ``i``-th stage from the front and from the back.

Cuts are made from both ends at once. The state after ``i`` devices is a pair of cuts: what lies
between them is left for the others. A load limit decides which pairs can be reached.

Without memory limits a device's load falls into a term of the front cuts and one of the back cuts,
so that a level takes running minima over both, O(cuts^2), and bisection finds the least limit. With
them all pairs of pairs are compared, on fewer cuts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.pipelining.partitioning.partition_problem import StageBytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.pipelining.partitioning.partition_problem import PartitionProblem

MOST_CUTS = 500
MOST_CUTS_WITH_LIMITS = 64
_NEVER = np.int64(1) << 61


class _Row(NamedTuple):
    """The problem at the cuts that may be chosen.

    ``held[stage]`` are bytes of a stage between two cuts, None without limits.
    """

    places: NDArray[np.int64]
    loads: NDArray[np.int64]
    sends: NDArray[np.int64]
    crossing: NDArray[np.int64]
    held: list[NDArray[np.int64]] | None
    capacities: tuple[int | None, ...]


def paired_partition(problem: PartitionProblem) -> tuple[int, ...] | None:
    """Return the boundaries of the least largest device load, or None if nothing fits.

    Exact over the cuts considered: all of them up to `MOST_CUTS`, with memory limits up to
    `MOST_CUTS_WITH_LIMITS`; of more, those with the fewest bytes in equal parts of the load.
    """
    free = _best_on(problem, chosen_cuts(problem, max(MOST_CUTS, 2 * problem.stages)), None)
    if free is None or problem.fits(free):
        return free
    places = chosen_cuts(problem, max(MOST_CUTS_WITH_LIMITS, 2 * problem.stages))
    return _best_on(problem, places, _held_bytes(problem, places))


def _best_on(
    problem: PartitionProblem,
    places: NDArray[np.int64],
    held: list[NDArray[np.int64]] | None,
) -> tuple[int, ...] | None:
    row = _Row(
        places,
        problem.loads[:, places],
        problem.communication[places],
        problem.crossing_bytes[places],
        held,
        problem.capacities,
    )
    levels, limit = _levels(row) if held is None else _levels_with_limits(row)
    if limit is None:
        return None
    return tuple(int(places[cut]) for cut in _traced(row, levels, limit))


def chosen_cuts(problem: PartitionProblem, most: int) -> NDArray[np.int64]:
    """Return at most about so many cuts, both ends among them."""
    count = len(problem.operators)
    if count < most:
        return np.arange(count + 1)
    load = problem.loads[0]
    # Idle operators count a little, so that every part has cuts.
    place = load[:-1] / max(int(load[-1]), 1) + np.arange(count) / (8 * count)
    part = np.floor(place / place[-1] * (most - 2)).astype(np.int64)
    order = np.lexsort((problem.crossing_bytes[:-1], part))
    first = np.unique(part[order], return_index=True)[1]
    return np.unique(np.concatenate(([0, count], order[first])))


def _held_bytes(problem: PartitionProblem, places: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    count = len(places)
    activations = np.zeros((count, count), dtype=np.int64)
    states = np.zeros((count, count), dtype=np.int64)
    for first in range(count):
        held = StageBytes()
        for end in range(first + 1, count):
            for operator in problem.operators[places[end - 1] : places[end]]:
                held.add(operator)
            activations[first, end] = held.activation
            states[first, end] = held.states.total
    return [in_flight * activations + states for in_flight in problem.in_flight]


def _levels(row: _Row) -> tuple[list[NDArray[np.bool_]], int | None]:
    highest = int(row.loads[:, -1].max() + 2 * row.sends.max())
    levels = _reached(row, highest)
    if levels is None:
        return [], None
    lowest = -1
    while highest - lowest > 1:
        middle = (lowest + highest) // 2
        found = _reached(row, middle)
        if found is None:
            lowest = middle
        else:
            highest, levels = middle, found
    return levels, highest


def _reached(row: _Row, limit: int) -> list[NDArray[np.bool_]] | None:
    """Per number of devices, the pairs of cuts that they can reach; None if not the last."""
    count = len(row.places)
    apart = np.arange(count)[None, :] - np.arange(count)[:, None]
    reached = np.zeros((count, count), dtype=bool)
    reached[0, -1] = True
    levels = [reached]
    for load in row.loads[:-1]:
        back = np.where(reached, load + row.sends, _NEVER)
        back = np.minimum.accumulate(back[:, ::-1], axis=1)[:, ::-1]
        ends = np.full_like(back, _NEVER)
        ends[:, :-1] = back[:, 1:]
        front = np.minimum.accumulate(ends - load[:, None], axis=0)
        ticks = np.full_like(front, _NEVER)
        ticks[1:] = front[:-1] + (load + row.sends)[1:, None]
        reached = (ticks - load[None, :] <= limit) & (apart > 0)
        levels.append(reached)
    if not _last_device(row, levels[-1], limit).any():
        return None
    return levels


def _last_device(row: _Row, reached: NDArray[np.bool_], limit: int) -> NDArray[np.bool_]:
    """Pairs of cuts between which the last device can do all that is left, in two stages."""
    count, load = len(row.places), row.loads[-1]
    apart = np.arange(count)[None, :] - np.arange(count)[:, None]
    ticks = load[None, :] - load[:, None] + row.sends[None, :]
    fits = reached & (ticks <= limit) & (apart >= 2)
    capacity = row.capacities[-1]
    if row.held is not None and capacity is not None:
        for first, end in zip(*np.nonzero(fits), strict=True):
            fits[first, end] = bool(_turns(row, int(first), int(end)).size)
    return fits


def _turns(row: _Row, first: int, end: int) -> NDArray[np.int64]:
    """Cuts between the last device's two stages."""
    turns = np.arange(first + 1, end)
    capacity = row.capacities[-1]
    if row.held is None or capacity is None:
        return turns
    devices = len(row.capacities)
    total = row.held[devices - 1][first, turns] + row.held[devices][turns, end]
    return turns[total <= capacity]


def _levels_with_limits(row: _Row) -> tuple[list[NDArray[np.bool_]], int | None]:
    count, devices = len(row.places), len(row.capacities)
    best = np.full((count, count), _NEVER)
    best[0, -1] = 0
    values = [best]
    for device in range(devices - 1):
        found = np.full_like(best, _NEVER)
        for first in range(count):
            if best[first].min() >= _NEVER:
                continue
            for cut in range(first + 1, count):
                found[cut] = np.minimum(found[cut], _least(row, device, best[first], first, cut))
        best = found
        values.append(best)
    load = row.loads[-1]
    ticks = load[None, :] - load[:, None] + row.sends[None, :]
    total = np.maximum(best, ticks)
    total[~_last_device(row, best < _NEVER, int(_NEVER))] = _NEVER
    limit = int(total.min())
    if limit >= _NEVER:
        return [], None
    return [value <= limit for value in values], limit


def _least(
    row: _Row, device: int, before: NDArray[np.int64], first: int, cut: int
) -> NDArray[np.int64]:
    """Per back cut, the least largest load if the device's first stage is ``first..cut``."""
    load = row.loads[device]
    count = len(row.places)
    # Axis 0: the new back cut; axis 1: the one before.
    ticks = (load[cut] - load[first] + row.sends[cut]) + (
        load[None, :] - load[:, None] + row.sends[None, :]
    )
    total = np.maximum(ticks, before[None, :])
    places = np.arange(count)
    illegal = (places[None, :] <= places[:, None]) | (places[:, None] <= cut)
    capacity = row.capacities[device]
    if row.held is not None and capacity is not None:
        stages = 2 * len(row.capacities)
        held = row.held[device][first, cut] + row.held[stages - 1 - device]
        illegal |= held > capacity
    total[illegal] = _NEVER
    return total.min(axis=1)


def _traced(row: _Row, levels: list[NDArray[np.bool_]], limit: int) -> list[int]:
    """Cuts within the limit, from the turn outwards: fewest bytes, then an even split."""
    devices = len(row.capacities)
    fits = _last_device(row, levels[-1], limit)
    first, end = _cheapest(row, devices - 1, fits)
    load = row.loads[-1]
    turns = _turns(row, first, end)
    # Nothing is sent at the turn, so evenness goes first, in eighths.
    uneven = np.abs(2 * load[turns] - load[first] - load[end])
    eighths = 8 * uneven // max(int(load[end] - load[first]), 1)
    turn = turns[np.lexsort((uneven, row.crossing[turns], eighths))[0]]
    cuts = [first, int(turn), end]
    places = np.arange(len(row.places))
    for device in range(devices - 2, -1, -1):
        load = row.loads[device]
        ticks = (load[first] - load + row.sends[first])[:, None] + (load - load[end] + row.sends)[
            None, :
        ]
        fits = levels[device] & (ticks <= limit)
        fits &= (places < first)[:, None] & (places > end)[None, :]
        capacity = row.capacities[device]
        if row.held is not None and capacity is not None:
            held = row.held[device][:, first][:, None] + row.held[-1 - device][end][None, :]
            fits &= held <= capacity
        first, end = _cheapest(row, device, fits)
        cuts = [first, *cuts, end]
    return cuts


def _cheapest(row: _Row, device: int, fits: NDArray[np.bool_]) -> tuple[int, int]:
    """Return where the stages of a device begin and end, on the outside."""
    sent = row.crossing[:, None] + row.crossing[None, :]
    sent = np.where(fits, sent, _NEVER)
    share = row.loads[device] / max(int(row.loads[device, -1]), 1)
    even = device / (2 * len(row.capacities))
    uneven = np.abs(share - even)[:, None] + np.abs(share - (1 - even))[None, :]
    best = int(np.argmin(np.where(sent == sent.min(), uneven, np.inf)))
    return best // fits.shape[1], best % fits.shape[1]
