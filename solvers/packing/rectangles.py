"""Bytes in use over time, as rectangles ``(lower, upper, begin, end)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.problem import OffsetProblem

    Rectangle = tuple[int, int, int, int]

# Cutting a group of thousands of buffers at every time could take longer than solving it.
_MOST_CUTS = 1 << 20


def disjoint(rectangles: Sequence[Rectangle]) -> list[Rectangle] | None:
    """Return the same bytes at the same times, each byte at a time in one rectangle only.

    None where very many overlap in time, and cutting them would take too long.
    """
    largest = max(rectangles, key=lambda r: (r[1] - r[0]) * (r[3] - r[2]))
    rectangles = [largest, *(r for r in rectangles if not _inside(r, largest))]
    if len(rectangles) == 1:
        return rectangles
    times = sorted({time for lower, upper, _, _ in rectangles for time in (lower, upper)})
    slot = {time: index for index, time in enumerate(times)}
    if sum(slot[upper] - slot[lower] for lower, upper, _, _ in rectangles) > _MOST_CUTS:
        return None
    starting: list[list[Rectangle]] = [[] for _ in times]
    for rectangle in rectangles:
        starting[slot[rectangle[0]]].append(rectangle)
    result = []
    current: list[Rectangle] = []
    since: dict[tuple[int, int], int] = {}
    for time, news in zip(times, starting, strict=True):
        current = [rectangle for rectangle in current if rectangle[1] > time] + news
        busy = set(union((begin, end) for _, _, begin, end in current))
        for span in since.keys() - busy:
            result.append((since.pop(span), time, *span))
        for span in busy:
            since.setdefault(span, time)
    return sorted(result)


def _inside(inner: Rectangle, outer: Rectangle) -> bool:
    return (
        outer[0] <= inner[0]
        and inner[1] <= outer[1]
        and outer[2] <= inner[2]
        and inner[3] <= outer[3]
    )


def union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join half-open spans that overlap or touch; ascending."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined


def live_bytes(problem: OffsetProblem) -> int:
    """Return the most bytes in use at once; what a pair rule lets two buffers share counts once."""
    if problem.uses is None:
        lower, upper, weight = problem.lower, problem.upper, problem.size
    else:
        uses = problem.uses
        lower, upper, weight = uses.lower, uses.upper, uses.end - uses.begin
    shared = [
        (
            max(problem.lower[rule.first], problem.lower[rule.second]),
            min(problem.upper[rule.first], problem.upper[rule.second]),
            -rule.shared,
        )
        for rule in problem.pair_rules
        if rule.shared
    ]
    if shared:
        extra = np.array([row for row in shared if row[0] < row[1]], dtype=np.int64).reshape(-1, 3)
        lower = np.concatenate([lower, extra[:, 0]])
        upper = np.concatenate([upper, extra[:, 1]])
        weight = np.concatenate([weight, extra[:, 2]])
    if not len(weight):
        return 0
    times = np.concatenate([upper, lower])
    # Ends sort before starts at the same time.
    order = np.argsort(times, kind="stable")
    running = np.cumsum(np.concatenate([-weight, weight])[order])
    last_at_time = np.append(np.diff(times[order]) > 0, True)
    return max(0, int(running[last_at_time].max()))
