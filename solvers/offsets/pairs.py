"""Pairs of buffers whose offsets depend on each other, and which differences they forbid.

The form in which general-purpose optimisers see an offset problem: explicit pairs, so for problems
of moderate size only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.problem import Uses
from solvers.offsets.arrays import checked_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from planner.problem import OffsetProblem

Interval = tuple[int, int]


class Pairs(NamedTuple):
    """Open intervals that ``offset(second) - offset(first)`` must not lie in.

    Attributes
    ----------
    first, second : int64 arrays of shape [pairs]
        Buffers, ``first < second``; no pair twice.
    start : int64 array of shape [pairs + 1]
        Pair ``p`` has the intervals ``start[p] .. start[p + 1] - 1``, at least one.
    low, high : int64 arrays of shape [intervals]
        Open intervals, ascending and disjoint within a pair. Both ends are multiples of the
        greatest common divisor of the two alignments.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    start: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    @property
    def owner(self) -> NDArray[np.int64]:
        """The pair of each interval (int64 array of shape [intervals])."""
        return np.repeat(np.arange(len(self.first)), np.diff(self.start))


def uses_of(problem: OffsetProblem) -> Uses:
    """Return what the buffers use: their uses, or all of each in all of its lifetime.

    Raises
    ------
    ValueError
        As for `solvers.offsets.arrays.checked_arrays`.
    """
    arrays = checked_arrays(problem)
    if problem.uses is not None:
        return problem.uses
    count = len(arrays.size)
    return Uses(
        np.arange(count, dtype=np.int32),
        arrays.lower,
        arrays.upper,
        np.zeros(count, dtype=np.int64),
        arrays.size,
    )


def count_overlaps(problem: OffsetProblem) -> int:
    """Return how many pairs of uses meet in time, plus the pair rules, in O(n log n).

    No problem has more pairs than that.
    """
    uses = uses_of(problem)
    # Of two uses that meet, the one that starts later starts before the other one ends.
    started = np.searchsorted(np.sort(uses.lower), uses.upper, side="left")
    count = len(uses.lower)
    return int(started.sum()) - count * (count + 1) // 2 + len(problem.pair_rules)


def conflicting_pairs(problem: OffsetProblem) -> Pairs:
    """Return all pairs that forbid anything; see `count_overlaps` for how many there may be."""
    uses = uses_of(problem)
    order = np.argsort(uses.lower, kind="stable")
    lower, upper = uses.lower[order], uses.upper[order]
    following = np.searchsorted(lower, upper, side="left") - np.arange(1, len(order) + 1)
    earlier = np.repeat(np.arange(len(order)), following)
    later = np.arange(len(earlier)) - np.repeat(np.cumsum(following) - following, following)
    later += earlier + 1
    a, b = order[earlier], order[later]
    swap = uses.buffer[a] > uses.buffer[b]
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    two = uses.buffer[a] != uses.buffer[b]
    a, b = a[two], b[two]
    first, second = uses.buffer[a].astype(np.int64), uses.buffer[b].astype(np.int64)
    low, high = uses.begin[a] - uses.end[b], uses.end[a] - uses.begin[b]
    count = len(problem.size)
    if problem.pair_rules:
        ruled = np.array([_key(rule.first, rule.second, count) for rule in problem.pair_rules])
        kept = ~np.isin(first * count + second, ruled)
        extra = [
            (*sorted((rule.first, rule.second)), *ends)
            for rule in problem.pair_rules
            for ends in forbidden_by(rule.first, rule.second, rule.forbidden)
        ]
        added = np.array(extra, dtype=np.int64).reshape(-1, 4).T
        first, second, low, high = (
            np.concatenate([values[kept], more])
            for values, more in zip((first, second, low, high), added, strict=True)
        )
    return _merged(problem, first, second, low, high)


def _key(first: int, second: int, count: int) -> int:
    return min(first, second) * count + max(first, second)


def forbidden_between(
    first: Iterable[Sequence[int]], second: Sequence[Sequence[int]]
) -> Iterator[Interval]:
    """Yield what the uses ``(lower, upper, begin, end)`` of two buffers forbid."""
    for lower_a, upper_a, begin_a, end_a in first:
        for lower_b, upper_b, begin_b, end_b in second:
            if lower_a < upper_b and lower_b < upper_a:
                yield begin_a - end_b, end_a - begin_b


def forbidden_by(first: int, second: int, forbidden: Iterable[Interval]) -> list[Interval]:
    """Return open intervals as differences from the lower to the higher index."""
    if first < second:
        return list(forbidden)
    return [(-high, -low) for low, high in forbidden]


def _merged(
    problem: OffsetProblem,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
) -> Pairs:
    """Widen to what alignment forbids anyway, and merge what overlaps within a pair."""
    unit = np.gcd(problem.alignment[first], problem.alignment[second])
    low, high = low // unit * unit, -(-high // unit) * unit
    # Between a multiple and the next one lies no difference that occurs.
    some = high - low > unit
    first, second, low, high = first[some], second[some], low[some], high[some]
    order = np.lexsort((low, second, first))
    first, second, low, high = first[order], second[order], low[order], high[order]
    new = np.ones(len(first), dtype=bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    if not new.all():
        starts = _merge_runs(new, low, high)
        first, second, new = first[starts], second[starts], new[starts]
        low, high = low[starts], high[starts]
    start = np.append(np.flatnonzero(new), len(first)).astype(np.int64)
    return Pairs(first[new], second[new], start, low, high)


def _merge_runs(
    new: NDArray[np.bool_], low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Extend ``high`` of the intervals to keep, in place; return where those are.

    Open intervals that only touch leave the point between them.
    """
    kept: list[int] = []
    for index, (begins, begin, end) in enumerate(
        zip(new.tolist(), low.tolist(), high.tolist(), strict=True)
    ):
        if begins or begin >= high[kept[-1]]:
            kept.append(index)
        elif end > high[kept[-1]]:
            high[kept[-1]] = end
    return np.array(kept, dtype=np.int64)


def is_legal(problem: OffsetProblem, pairs: Pairs, offsets: NDArray[np.int64]) -> bool:
    """Check offsets exactly: alignment, fixed offsets and all pairs; not the capacity."""
    if (offsets < 0).any() or (offsets % problem.alignment).any():
        return False
    if problem.fixed is not None and (offsets != problem.fixed)[problem.fixed >= 0].any():
        return False
    difference = (offsets[pairs.second] - offsets[pairs.first])[pairs.owner]
    return not ((pairs.low < difference) & (difference < pairs.high)).any()


def clashing_pins(problem: OffsetProblem, pairs: Pairs) -> tuple[int, int] | None:
    """Return two buffers whose fixed offsets exclude each other, None if there are none."""
    if problem.fixed is None:
        return None
    pinned = problem.fixed >= 0
    both = (pinned[pairs.first] & pinned[pairs.second])[pairs.owner]
    difference = (problem.fixed[pairs.second] - problem.fixed[pairs.first])[pairs.owner]
    clashes = np.flatnonzero(both & (pairs.low < difference) & (difference < pairs.high))
    if not len(clashes):
        return None
    pair = pairs.owner[clashes[0]]
    return int(pairs.first[pair]), int(pairs.second[pair])


def nearest_sides(pairs: Pairs, offsets: NDArray) -> NDArray[np.int64]:
    """Return for each pair how many of its intervals lie below the difference of the offsets.

    A difference inside an interval counts for the nearer end.
    """
    difference = (offsets[pairs.second] - offsets[pairs.first])[pairs.owner]
    above = 2.0 * difference > (pairs.low + pairs.high).astype(np.float64)
    sides = np.zeros(len(pairs.first), dtype=np.int64)
    np.add.at(sides, pairs.owner, above)
    return sides


def sides_in_order(pairs: Pairs, rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sides on which of each pair the buffer of higher rank lies above all intervals."""
    return np.where(rank[pairs.second] > rank[pairs.first], np.diff(pairs.start), 0)


def least_offsets(
    problem: OffsetProblem, pairs: Pairs, sides: NDArray[np.int64], highest: int
) -> NDArray[np.int64] | None:
    """Return the lowest offsets with these sides, by longest paths in exact integers.

    Parameters
    ----------
    sides : int64 array of shape [pairs]
        Number of the pair's intervals that the difference is to lie above.
    highest : int
        No offset may exceed it.

    Returns
    -------
    int64 array of shape [buffers] or None
        None if there are none up to ``highest``.
    """
    counts = np.diff(pairs.start)
    lifted, capped = sides > 0, sides < counts
    source = np.concatenate([pairs.first[lifted], pairs.second[capped]])
    target = np.concatenate([pairs.second[lifted], pairs.first[capped]])
    distance = np.concatenate(
        [
            pairs.high[pairs.start[:-1][lifted] + sides[lifted] - 1],
            -pairs.low[pairs.start[:-1][capped] + sides[capped]],
        ]
    )
    alignment = problem.alignment
    offsets = np.zeros(len(problem.size), dtype=np.int64)
    pinned = np.zeros(len(offsets), dtype=bool)
    if problem.fixed is not None:
        pinned = problem.fixed >= 0
        offsets[pinned] = problem.fixed[pinned]
    # Rounding up to alignments can make cycles climb without end: so many rounds and no more.
    for _ in range(2 * len(offsets) + 2):
        raised = offsets.copy()
        np.maximum.at(raised, target, offsets[source] + distance)
        if (raised[pinned] != offsets[pinned]).any():
            return None
        raised[~pinned] = -(-raised[~pinned] // alignment[~pinned]) * alignment[~pinned]
        if (raised == offsets).all():
            return offsets
        if int(raised.max()) > highest:
            return None
        offsets = raised
    return None


class Grid(NamedTuple):
    """Addresses that suffice: some lowest packing has all offsets on the grid.

    Attributes
    ----------
    unit : int
        Bytes. All offsets may be taken as multiples of it.
    step : int64 array of shape [buffers]
        In units: each offset may be taken as a multiple of it.
    """

    unit: int
    step: NDArray[np.int64]


def coarsest_grid(problem: OffsetProblem, ends: Iterable[NDArray[np.int64]]) -> Grid:
    """Return the coarsest grid for forbidden intervals with these ends.

    Rounding all offsets of a packing down to multiples of a unit that divides all ends leaves each
    difference on its side of every interval. It also keeps offsets aligned if the unit divides
    their alignment, or their alignment divides the unit.
    """
    unit = math.gcd(*(int(np.gcd.reduce(values)) for values in ends if len(values)))
    alignment = problem.alignment
    free = np.ones(len(alignment), dtype=bool)
    if problem.fixed is not None:
        free = problem.fixed < 0
        unit = math.gcd(unit, *problem.fixed[~free].tolist())
    if not unit:
        unit = math.gcd(*alignment.tolist()) or 1
    aligned = alignment[free]
    if not ((aligned % unit == 0) | (unit % aligned == 0)).all():
        unit = math.gcd(unit, *aligned.tolist())
    step = np.where(free & (alignment > unit), alignment // unit, 1)
    return Grid(unit, step)
