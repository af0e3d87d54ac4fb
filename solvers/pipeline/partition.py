"""Consecutive operators into stages: the least largest load, then the fewest bytes across cuts.

A load limit is tried by the greatest reachable cut: a stage that ends at ``j`` is the lighter, in
time and in bytes, the later it begins, so that of all cuts which earlier stages can reach, the last
one before ``j`` decides. That takes O(stages x operators) per limit, exactly, where the textbook
recursion over all pairs of cuts is quadratic in the operators. Bisection finds the least limit, and
a second recursion over the cuts, with range minima, the fewest bytes within it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from planner.pipelining.partitioning.partition_problem import StageBytes
from solvers.pipeline.paired_partition import paired_partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from planner.pipelining.partitioning.partition_problem import PartitionProblem

_UNREACHABLE = np.int64(1) << 61
_EVENNESS_BITS = 16


def best_partition(problem: PartitionProblem) -> tuple[int, ...] | None:
    """Return the boundaries ``0 = c[0] < ... < c[stages] = n``, or None if nothing fits.

    Exact with one stage per device and, without memory limits, with V placement (on all operators
    up to some hundreds: `solvers.pipeline.paired_partition`). With several stages per device in
    other placements the largest single stage is minimised, and each stage has a share of its
    device's memory: None is then no proof.
    """
    if problem.stages > len(problem.operators):
        return None
    if problem.pairs:
        return paired_partition(problem)
    if problem.stages == len(problem.capacities):
        return _within(problem, [problem.capacities[d] for d in problem.device_of])
    free: list[int | None] = [None] * problem.stages
    cuts = _within(problem, free)
    if cuts is None or problem.fits(cuts):
        return cuts
    for shares in (_shares(problem, cuts), [1.0] * problem.stages):
        limits = _shared_limits(problem, shares)
        found = _within(problem, limits)
        if found is not None:
            return found
    return None


def _shares(problem: PartitionProblem, cuts: tuple[int, ...]) -> list[float]:
    """Return what each stage held had it no limit, as its claim to the device's memory."""
    spans = enumerate(pairwise(cuts))
    return [float(problem.stage_bytes(stage, *span)) for stage, span in spans]


def _shared_limits(problem: PartitionProblem, shares: Sequence[float]) -> list[int | None]:
    totals = [0.0] * len(problem.capacities)
    for device, share in zip(problem.device_of, shares, strict=True):
        totals[device] += share
    limits: list[int | None] = []
    for device, share in zip(problem.device_of, shares, strict=True):
        capacity = problem.capacities[device]
        if capacity is None:
            limits.append(None)
        else:
            limits.append(int(capacity * share / totals[device]) if totals[device] else capacity)
    return limits


def _within(problem: PartitionProblem, limits: Sequence[int | None]) -> tuple[int, ...] | None:
    rooms = list(zip(problem.in_flight, limits, strict=True))
    begins = {room: _earliest_begins(problem, *room) for room in dict.fromkeys(rooms)}
    earliest = [begins[room] for room in rooms]
    stages = [
        (
            problem.loads[problem.device_of[stage]],
            problem.communication * problem.hops[stage],
            earliest[stage],
        )
        for stage in range(problem.stages)
    ]
    highest = max(int(load[-1]) + int(sends.max(initial=0)) for load, sends, _ in stages)
    if not _is_reachable(stages, highest):
        return None
    lowest = -1
    while highest - lowest > 1:
        middle = (lowest + highest) // 2
        if _is_reachable(stages, middle):
            highest = middle
        else:
            lowest = middle
    return _fewest_bytes(stages, highest, problem.crossing_bytes)


_Stage = tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.int64]"]


def _earliest_begins(
    problem: PartitionProblem, in_flight: int, limit: int | None
) -> NDArray[np.int64]:
    """Per end of a stage, the first operator it can begin with and fit; the end itself if none."""
    count = len(problem.operators)
    begins = np.zeros(count + 1, dtype=np.int64)
    if limit is None:
        return begins
    held, first = StageBytes(), 0
    for end, operator in enumerate(problem.operators, start=1):
        held.add(operator)
        while first < end and held.total(in_flight) > limit:
            held.remove(problem.operators[first])
            first += 1
        begins[end] = first
    return begins


def _is_reachable(stages: Sequence[_Stage], limit: int) -> bool:
    count = len(stages[0][0])
    places = np.arange(count)
    reached = places == 0
    for load, sends, earliest in stages:
        last = np.maximum.accumulate(np.where(reached, places, -1))
        begin = np.concatenate(([-1], last[:-1]))
        ticks = load - load[begin] + sends
        reached = (begin >= earliest) & (begin >= 0) & (ticks <= limit)
    return bool(reached[-1])


def _fewest_bytes(
    stages: Sequence[_Stage], limit: int, crossing: NDArray[np.int64]
) -> tuple[int, ...]:
    count = len(crossing)
    sent = np.full(count, _UNREACHABLE)
    sent[0] = 0
    # Sums over all stages stay below 2^61.
    room = 60 - _EVENNESS_BITS - len(stages).bit_length()
    crossing = crossing >> max(0, int(crossing.max()).bit_length() - room)
    history, windows = [], []
    for stage, (load, sends, earliest) in enumerate(stages, start=1):
        begin = np.maximum(earliest, np.searchsorted(load, load + sends - limit))
        history.append(sent)
        windows.append(begin)
        # Bytes first; of equal ones the cuts that are nearest to an even split.
        uneven = np.abs(load / max(int(load[-1]), 1) - stage / len(stages)) / len(stages)
        cost = (crossing << _EVENNESS_BITS) + (uneven * (1 << _EVENNESS_BITS)).astype(np.int64)
        sent = np.minimum(_window_minima(sent, begin) + cost, _UNREACHABLE)
    cuts = [count - 1]
    for before, begin in zip(reversed(history), reversed(windows), strict=True):
        end = cuts[-1]
        window = before[begin[end] : end]
        # Of equally good cuts the last.
        cuts.append(end - 1 - int(np.argmin(window[::-1])))
    return tuple(reversed(cuts))


def _window_minima(values: NDArray[np.int64], begin: NDArray[np.int64]) -> NDArray[np.int64]:
    """Per ``j``, the least of ``values[begin[j]:j]``: by minima of runs of powers of two."""
    count = len(values)
    lengths = np.maximum(np.arange(count) - begin, 0)
    powers = np.frexp(np.maximum(lengths, 1).astype(np.float64))[1] - 1
    result = np.full(count, _UNREACHABLE)
    runs, length = values, 1
    for power in range(int(powers.max(initial=0)) + 1):
        here = np.flatnonzero((powers == power) & (lengths > 0))
        result[here] = np.minimum(runs[begin[here]], runs[here - length])
        if len(runs) > length:
            runs = np.minimum(runs[:-length], runs[length:])
        length *= 2
    return result
