"""Bytes that groups have in use over time, and how much of it each memory can take."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.offsets.rectangles import disjoint
from solvers.packing.pair_rules import Piece, moved_uses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from planner.packing.problem import PackingProblem
    from solvers.packing.groups import Group


class Load(NamedTuple):
    """During sections [first, last) a group has so many bytes in use."""

    first: int
    last: int
    bytes: int


class Loads:
    """What groups have in use in each section, the time from one start of a use to the next.

    What overlaps let two groups share counts for neither, so that no packing has less in use.

    Attributes
    ----------
    of_group : list of tuple of Load
        Ascending, disjoint.
    sections : int
    """

    def __init__(self, problem: PackingProblem, groups: Sequence[Group]) -> None:
        rectangles = [_rectangles(problem, group) for group in groups]
        for group, relief in _reliefs(problem, groups):
            rectangles[group].append(relief)
        starts = np.unique([lower for rows in rectangles for lower, _, _ in rows])
        self.sections = len(starts)
        bounds = np.searchsorted(
            starts,
            [time for rows in rectangles for lower, upper, _ in rows for time in (lower, upper)],
        ).tolist()
        self.of_group: list[tuple[Load, ...]] = []
        at = 0
        for rows in rectangles:
            spans = [
                (bounds[at + 2 * i], bounds[at + 2 * i + 1], bytes_)
                for i, (_, _, bytes_) in enumerate(rows)
            ]
            at += 2 * len(rows)
            self.of_group.append((Load(*spans[0]),) if len(spans) == 1 else _stacked(spans))

    def total(self, groups: Sequence[int]) -> NDArray[np.int64]:
        """Return what the groups have in use together (int64 array of shape [sections])."""
        change = np.zeros(self.sections + 1, dtype=np.int64)
        for group in groups:
            for first, last, bytes_ in self.of_group[group]:
                change[first] += bytes_
                change[last] -= bytes_
        return np.cumsum(change[:-1])

    def largest(self, group: int) -> int:
        """Return the most bytes that a group has in use at once."""
        return max((load.bytes for load in self.of_group[group]), default=0)

    def excess(self, busy: NDArray[np.int64], group: int, capacity: int | None) -> int:
        """Return by how many bytes a group would exceed a capacity, on top of what is busy."""
        if capacity is None:
            return 0
        return max(
            0,
            max(
                (
                    int(busy[first:last].max()) + bytes_ - capacity
                    for first, last, bytes_ in self.of_group[group]
                    if bytes_ > 0
                ),
                default=0,
            ),
        )

    def first(self, group: int) -> int:
        """Return the section in which a group first has bytes in use."""
        return self.of_group[group][0].first if self.of_group[group] else 0

    def add(self, busy: NDArray[np.int64], group: int, sign: int = 1) -> None:
        """Enter a group into what is busy, or take it out."""
        for first, last, bytes_ in self.of_group[group]:
            busy[first:last] += sign * bytes_

    def in_use(self, group: int, section: int) -> int:
        """Return the bytes that a group has in use in a section."""
        return next(
            (load.bytes for load in self.of_group[group] if load.first <= section < load.last), 0
        )


def _rectangles(problem: PackingProblem, group: Group) -> list[tuple[int, int, int]]:
    """Return ``(lower, upper, bytes)``; several may hold at one time."""
    rows = moved_uses(problem.buffers, Piece(group.members, group.distances))
    if len(group.members) > 1:
        # Where it cannot be told what they use together, one of them alone is less than that.
        rows = disjoint(rows) or [max(rows, key=lambda r: (r[1] - r[0]) * (r[3] - r[2]))]
    return [(lower, upper, end - begin) for lower, upper, begin, end in rows]


def _reliefs(
    problem: PackingProblem, groups: Sequence[Group]
) -> list[tuple[int, tuple[int, int, int]]]:
    """Return the bytes that overlaps may save, as negative rectangles of the output's group."""
    if not problem.overlaps:
        return []
    group_of = {member: i for i, group in enumerate(groups) for member in group.members}
    saved = []
    for output, input_, extent in problem.overlaps:
        a, b = problem.index[output], problem.index[input_]
        one, other = problem.buffers[a], problem.buffers[b]
        lower, upper = max(one.lower, other.lower), min(one.upper, other.upper)
        if group_of[a] != group_of[b] and lower < upper and extent:
            saved.append((group_of[a], (lower, upper, -min(extent, other.size))))
    return saved


def _stacked(spans: Sequence[tuple[int, int, int]]) -> tuple[Load, ...]:
    """Add up spans that hold at the same time."""
    change: dict[int, int] = {}
    for first, last, bytes_ in spans:
        change[first] = change.get(first, 0) + bytes_
        change[last] = change.get(last, 0) - bytes_
    edges = sorted(change)
    stacked = []
    level = 0
    for first, last in itertools.pairwise(edges):
        level += change[first]
        if level:
            stacked.append(Load(first, last, level))
    return tuple(stacked)
