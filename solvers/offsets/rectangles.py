"""What buffers use as rectangles of time and bytes, and which of them may not meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.offsets.pairs import Interval, forbidden_between, forbidden_by, uses_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from planner.problem import OffsetProblem

    Rectangle = tuple[int, int, int, int]

# Cutting a group of thousands of buffers at every time could take longer than solving it.
_MOST_CUTS = 1 << 20


class Rectangles(NamedTuple):
    """Bytes in use over time; those of one buffer are disjoint.

    Attributes
    ----------
    buffer : int64 array of shape [rectangles]
    lower, upper : int64 arrays of shape [rectangles]
        Ranks of times.
    begin, end : int64 arrays of shape [rectangles]
        Bytes from the buffer's offset, ends rounded up where alignment makes that no loss.
    """

    buffer: NDArray[np.int64]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]


def disjoint_rectangles(problem: OffsetProblem) -> Rectangles:
    """Return the rectangles of all buffers, each byte at each time in one of its buffer's at most.

    Where all rectangles begin at multiples of the greatest common divisor of all alignments, the
    bytes from an end to its next multiple are of no use to anyone, and are taken in.
    """
    uses = uses_of(problem)
    rows = np.stack([uses.buffer, uses.lower, uses.upper, uses.begin, uses.end]).astype(np.int64)
    alone = np.bincount(rows[0], minlength=len(problem.size))[rows[0]] == 1
    split: list[tuple[int, int, int, int, int]] = []
    several = rows[:, ~alone].T
    for v in np.unique(several[:, 0]).tolist():
        rectangles = several[several[:, 0] == v, 1:].tolist()
        apart = disjoint([(lower, upper, begin, end) for lower, upper, begin, end in rectangles])
        assert apart is not None, "CP-SAT is not given as many conflicts as that"
        split += ((v, *rectangle) for rectangle in apart)
    rows = np.concatenate(
        [rows[:, alone], np.array(split, dtype=np.int64).reshape(-1, 5).T], axis=1
    )
    times = np.unique(rows[1:3])
    rows[1:3] = np.searchsorted(times, rows[1:3])
    unit = int(np.gcd.reduce(problem.alignment)) if len(problem.alignment) else 1
    if not (rows[3] % unit).any():
        rows[4] = -(-rows[4] // unit) * unit
    return Rectangles(*np.ascontiguousarray(rows))


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


def permissive_rules(problem: OffsetProblem) -> list[tuple[int, int]]:
    """Return the pairs whose rule allows differences at which their uses would collide."""
    uses = uses_of(problem)
    rows = np.stack([uses.lower, uses.upper, uses.begin, uses.end], axis=1)
    pairs = []
    for rule in problem.pair_rules:
        u, v = sorted((rule.first, rule.second))
        ruled = forbidden_by(rule.first, rule.second, rule.forbidden)
        mine, other = (rows[slice(*np.searchsorted(uses.buffer, [w, w + 1]))] for w in (u, v))
        used = forbidden_between(mine.tolist(), other.tolist())
        if not all(_covered(interval, ruled) for interval in used):
            pairs.append((u, v))
    return pairs


def _covered(interval: Interval, ruled: list[Interval]) -> bool:
    return any(low <= interval[0] and interval[1] <= high for low, high in ruled)


def strict_groups(count: int, permissive: list[tuple[int, int]]) -> list[set[int]]:
    """Return sets of buffers without a permissive pair inside; every buffer is in at least one.

    A greedy colouring of the permissive pairs, each colour extended by all that goes with it.
    """
    friends: dict[int, set[int]] = {}
    for u, v in permissive:
        friends.setdefault(u, set()).add(v)
        friends.setdefault(v, set()).add(u)
    colours: list[set[int]] = [set()]
    for v in sorted(friends, key=lambda v: (-len(friends[v]), v)):
        for colour in colours:
            if not colour & friends[v]:
                colour.add(v)
                break
        else:
            colours.append({v})
    free = set(range(count)) - set(friends)
    groups = []
    for colour in colours:
        group = set(colour)
        for v in sorted(friends):
            if not group & friends[v]:
                group.add(v)
        groups.append(group | free)
    return groups
