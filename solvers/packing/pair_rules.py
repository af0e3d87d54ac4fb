"""Separations and overlaps as open intervals of the distance between two offsets."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.packing.problem import uses
from planner.problem import PairRule
from solvers.offsets.pairs import Interval, forbidden_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from planner.packing.problem import Buffer, PackingProblem

_ROWS_AT_ONCE = 1 << 20


class Piece(NamedTuple):
    """The buffers of one row of an offset problem, and the bytes from its offset to each."""

    members: Sequence[int]
    above: Sequence[int]


def moved_uses(buffers: Sequence[Buffer], piece: Piece) -> list[tuple[int, int, int, int]]:
    """Return what the members of a row use, bytes counted from the row's offset."""
    return [
        (lower, upper, begin + above, end + above)
        for member, above in zip(piece.members, piece.above, strict=True)
        for lower, upper, begin, end in uses(buffers[member])
    ]


class _Rules(NamedTuple):
    """What is stated about two buffers; the extents of overlaps, -1 for none."""

    separated: bool = False
    first_over_second: int = -1
    second_over_first: int = -1


def normalised(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return open intervals that forbid the same integers: ascending, disjoint, none empty."""
    joined: list[Interval] = []
    for begin, end in sorted(intervals):
        if end - begin < 2:
            continue
        if joined and begin < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return tuple(joined)


def pair_rules(
    problem: PackingProblem, pieces: Sequence[Piece], row: Mapping[int, int]
) -> tuple[PairRule, ...]:
    """Return what separations and overlaps say of the rows of an offset problem.

    Parameters
    ----------
    pieces : sequence of Piece
        One for each row.
    row : mapping
        Row of each buffer in this memory.
    """
    stated: dict[tuple[int, int], dict[tuple[int, int], _Rules]] = defaultdict(dict)

    def rules_of(a: int, b: int) -> tuple[dict[tuple[int, int], _Rules], bool] | None:
        if a not in row or b not in row or row[a] == row[b]:
            return None
        swapped = row[a] > row[b]
        return stated[min(row[a], row[b]), max(row[a], row[b])], swapped

    for first, second in problem.separations:
        a, b = problem.index[first], problem.index[second]
        if (found := rules_of(a, b)) is not None:
            rules, swapped = found
            pair = (b, a) if swapped else (a, b)
            rules[pair] = rules.get(pair, _Rules())._replace(separated=True)
    for output, input_, extent in problem.overlaps:
        a, b = problem.index[output], problem.index[input_]
        if (found := rules_of(a, b)) is None:
            continue
        rules, swapped = found
        pair = (b, a) if swapped else (a, b)
        known = rules.get(pair, _Rules())
        if swapped:
            known = known._replace(second_over_first=max(known.second_over_first, extent))
        else:
            known = known._replace(first_over_second=max(known.first_over_second, extent))
        rules[pair] = known
    found = (
        _rule(problem.buffers, pieces, first, second, rules)
        for (first, second), rules in sorted(stated.items())
    )
    return tuple(rule for rule in found if rule is not None)


def _rule(
    buffers: Sequence[Buffer],
    pieces: Sequence[Piece],
    first: int,
    second: int,
    rules: Mapping[tuple[int, int], _Rules],
) -> PairRule | None:
    """Combine what holds between the members of two rows; None if it is what their uses say."""
    above = {
        member: start
        for piece in (pieces[first], pieces[second])
        for member, start in zip(piece.members, piece.above, strict=True)
    }
    forbidden: list[Interval] = []
    shared = 0
    says_more = False
    for (a, b), stated in rules.items():
        plain = normalised(forbidden_between(uses(buffers[a]), uses(buffers[b])))
        intervals = plain
        if stated.separated:
            intervals = ((-buffers[b].size, buffers[a].size),)
        elif plain:
            sizes = buffers[a].size, buffers[b].size
            intervals = _overlapping(plain, *sizes, stated)
            if intervals != plain:
                extent = max(stated.first_over_second, stated.second_over_first)
                shared += min(extent, *sizes)
        says_more = says_more or intervals != plain
        shift = above[b] - above[a]
        forbidden += [(begin - shift, end - shift) for begin, end in intervals]
    if not says_more:
        return None
    if len(pieces[first].members) > 1 or len(pieces[second].members) > 1:
        forbidden += _between_others(buffers, pieces[first], pieces[second], rules)
    largest = min(
        max(start + buffers[m].size for m, start in zip(*pieces[index], strict=True))
        for index in (first, second)
    )
    return PairRule(first, second, normalised(forbidden), min(shared, largest))


def _overlapping(
    plain: Iterable[Interval], size_a: int, size_b: int, stated: _Rules
) -> tuple[Interval, ...]:
    """Take out the distances that overlaps allow: at least the one end, at most the other."""
    highest = size_a - stated.first_over_second if stated.first_over_second >= 0 else None
    lowest = stated.second_over_first - size_b if stated.second_over_first >= 0 else None
    return normalised(
        (
            begin if lowest is None else max(begin, lowest),
            end if highest is None else min(end, highest),
        )
        for begin, end in plain
    )


def _between_others(
    buffers: Sequence[Buffer],
    first: Piece,
    second: Piece,
    rules: Mapping[tuple[int, int], _Rules],
) -> list[Interval]:
    """Return what the uses of those members forbid of whose pair nothing is stated."""
    rows_a, rows_b = (
        np.array(moved_uses(buffers, piece), dtype=np.int64) for piece in (first, second)
    )
    owner_a, owner_b = (
        np.repeat(np.arange(len(piece.members)), [len(uses(buffers[m])) for m in piece.members])
        for piece in (first, second)
    )
    number_a = {member: i for i, member in enumerate(first.members)}
    number_b = {member: i for i, member in enumerate(second.members)}
    decided = np.zeros((0, 2), dtype=np.int64)
    if rules:
        decided = np.array([(number_a[a], number_b[b]) for a, b in rules], dtype=np.int64)
    codes = decided[:, 0] * len(second.members) + decided[:, 1]
    found: tuple[Interval, ...] = ()
    step = max(1, _ROWS_AT_ONCE // len(rows_b))
    for start in range(0, len(rows_a), step):
        lower, upper, begin, end = (rows_a[start : start + step, i : i + 1] for i in range(4))
        meet = (lower < rows_b[:, 1]) & (rows_b[:, 0] < upper)
        pair = owner_a[start : start + step, None] * len(second.members) + owner_b
        meet &= ~np.isin(pair, codes)
        intervals = np.stack([(begin - rows_b[:, 3])[meet], (end - rows_b[:, 2])[meet]], axis=1)
        unique = np.unique(intervals, axis=0).tolist()
        found = normalised([*found, *((a, b) for a, b in unique)])
    return list(found)
