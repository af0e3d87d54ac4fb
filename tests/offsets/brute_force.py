"""The lowest height of a small offset problem, by trying all offsets."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.problem import OffsetProblem, OffsetSolution

Rectangle = tuple[int, int, int, int]


def rectangles(problem: OffsetProblem) -> list[list[Rectangle]]:
    """Return ``(lower, upper, begin, end)`` of each buffer."""
    if problem.uses is None:
        columns = (problem.lower, problem.upper, problem.size)
        return [[(lo, up, 0, s)] for lo, up, s in zip(*(c.tolist() for c in columns), strict=True)]
    rows: list[list[Rectangle]] = [[] for _ in problem.size]
    columns = [column.tolist() for column in problem.uses]
    for buffer, *rectangle in zip(*columns, strict=True):
        rows[buffer].append(tuple(rectangle))
    return rows


def forbidden_differences(problem: OffsetProblem) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return open intervals in which ``offset(v) - offset(u)`` must not be, for pairs u < v."""
    uses = rectangles(problem)
    forbidden = {
        (u, v): [
            (a[2] - b[3], a[3] - b[2])
            for a in uses[u]
            for b in uses[v]
            if a[0] < b[1] and b[0] < a[1]
        ]
        for u, v in combinations(range(len(uses)), 2)
    }
    for first, second, intervals, _ in problem.pair_rules:
        if first < second:
            forbidden[first, second] = list(intervals)
        else:
            forbidden[second, first] = [(-high, -low) for low, high in intervals]
    return forbidden


def offences(problem: OffsetProblem, solution: OffsetSolution) -> list[tuple]:
    """Everything wrong with a packing."""
    offsets = solution.offsets.tolist()
    found: list[tuple] = []
    for v, (offset, alignment) in enumerate(zip(offsets, problem.alignment.tolist(), strict=True)):
        if offset < 0 or offset % alignment:
            found.append(("offset", v, offset))
        if problem.fixed is not None and 0 <= problem.fixed[v] != offset:
            found.append(("moved", v, offset))
    for (u, v), intervals in forbidden_differences(problem).items():
        if any(low < offsets[v] - offsets[u] < high for low, high in intervals):
            found.append(("clash", u, v))
    height = max((o + s for o, s in zip(offsets, problem.size.tolist(), strict=True)), default=0)
    if height != solution.height:
        found.append(("height", height))
    return found


def lowest_height(problem: OffsetProblem, limit: int) -> int | None:
    """Return the lowest height up to ``limit``; None if no packing is that low."""
    size = problem.size.tolist()
    alignment = problem.alignment.tolist()
    fixed = [-1] * len(size) if problem.fixed is None else problem.fixed.tolist()
    # Bit d + limit of a mask: difference d is forbidden.
    forbidden = {}
    for (u, v), intervals in forbidden_differences(problem).items():
        differences = {
            d for low, high in intervals for d in range(max(low + 1, -limit), min(high, limit + 1))
        }
        if differences:
            forbidden[u, v] = sum(1 << (d + limit) for d in differences)
            forbidden[v, u] = sum(1 << (limit - d) for d in differences)

    def placeable(domains: dict[int, int]) -> bool:
        if not domains:
            return True
        u = min(domains, key=lambda v: domains[v].bit_count())
        rest = domains[u]
        while rest:
            offset = (rest & -rest).bit_length() - 1
            rest &= rest - 1
            left = {
                v: domain & ~(forbidden.get((u, v), 0) << offset >> limit)
                for v, domain in domains.items()
                if v != u
            }
            if all(left.values()) and placeable(left):
                return True
        return False

    # Nothing changes at heights at which no buffer can end.
    for height in range(limit + 1):
        domains = {}
        for v, pinned in enumerate(fixed):
            offsets = range(0, height - size[v] + 1, alignment[v]) if pinned < 0 else [pinned]
            domains[v] = sum(1 << o for o in offsets if o + size[v] <= height)
        if all(domains.values()) and placeable(domains):
            return height
    return None
