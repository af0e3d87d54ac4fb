"""What packing means, byte by byte and time by time, and the best packing by trying all.

Nothing here is shared with the code under test but the nouns of `planner.packing`.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations, product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.packing.problem import Buffer, Packing, PackingProblem


class Place(NamedTuple):
    memory: int
    offset: int


def places_of(packing: Packing) -> list[Place]:
    return [
        Place(int(memory), int(offset))
        for memory, offset in zip(packing.memory, packing.offset, strict=True)
    ]


@cache
def cells(buffer: Buffer) -> frozenset[tuple[int, int]]:
    """Every time and byte, counted from the buffer's start, that it uses."""
    used = set()
    for time in range(buffer.lower, buffer.upper):
        begin, end = 0, buffer.size
        for gap in buffer.gaps:
            if gap.lower <= time < gap.upper:
                begin, end = gap.window or (0, 0)
        used |= {(time, byte) for byte in range(begin, end)}
    return frozenset(used)


def families(problem: PackingProblem) -> list[set[int]]:
    """Sets of buffers that colocations join."""
    joined = [{buffer} for buffer in range(len(problem.buffers))]
    for first, second, _ in problem.colocations:
        one = next(s for s in joined if problem.index[first] in s)
        other = next(s for s in joined if problem.index[second] in s)
        if one is not other:
            joined.remove(other)
            one |= other
    return joined


class Judge:
    """Decides for single buffers and for pairs; a packing is legal if all of them are."""

    def __init__(self, problem: PackingProblem) -> None:
        self.problem = problem
        self.family = {buffer: i for i, s in enumerate(families(problem)) for buffer in s}

    def alone(self, index: int, place: Place) -> bool:
        buffer = self.problem.buffers[index]
        if not 0 <= place.memory < len(self.problem.memories) or place.offset < 0:
            return False
        memory = self.problem.memories[place.memory]
        return (
            (not buffer.memories or memory.name in buffer.memories)
            and place.offset % buffer.alignment == 0
            and place.offset % memory.alignment == 0
            and (buffer.offset is None or place.offset == buffer.offset)
            and (memory.capacity is None or place.offset + buffer.size <= memory.capacity)
        )

    def together(self, u: int, at: Place, v: int, there: Place) -> bool:
        problem = self.problem
        one, other = problem.buffers[u], problem.buffers[v]
        names = {one.name, other.name}
        for first, _, distance in (c for c in problem.colocations if {*c[:2]} == names):
            moved = there.offset - at.offset if first == one.name else at.offset - there.offset
            if at.memory != there.memory or moved != distance:
                return False
        if at.memory != there.memory:
            return True
        bytes_of = [
            set(range(place.offset, place.offset + buffer.size))
            for place, buffer in ((at, one), (there, other))
        ]
        if any({*s} == names for s in problem.separations) and bytes_of[0] & bytes_of[1]:
            return False
        if self.family[u] == self.family[v]:
            return True
        for output, _, extent in (o for o in problem.overlaps if {*o[:2]} == names):
            above, below = (there, at) if output == one.name else (at, there)
            if above.offset >= below.offset + problem.buffers[problem.index[output]].size - extent:
                return True
        used = [
            {(time, place.offset + byte) for time, byte in cells(buffer)}
            for place, buffer in ((at, one), (there, other))
        ]
        return not used[0] & used[1]

    def legal(self, places: Sequence[Place]) -> bool:
        count = len(self.problem.buffers)
        return (
            len(places) == count
            and all(self.alone(i, places[i]) for i in range(count))
            and all(
                self.together(u, places[u], v, places[v]) for u, v in combinations(range(count), 2)
            )
        )


def reach(problem: PackingProblem) -> int:
    """An address that no buffer of some packing ends above, if there is a packing at all.

    Above all fixed buffers the families can be stacked, each at a multiple of everything.
    """
    multiple = math.lcm(*(b.alignment for b in problem.buffers), *(m[2] for m in problem.memories))
    fixed = max((b.offset + b.size for b in problem.buffers if b.offset is not None), default=0)
    distances = sum(abs(c.distance) for c in problem.colocations)
    sizes = sum(buffer.size for buffer in problem.buffers)
    return fixed + sizes + 2 * distances + multiple * (len(problem.buffers) + 1)


class Search:
    """All places of some buffers in one memory, below a height."""

    def __init__(self, problem: PackingProblem) -> None:
        self.problem = problem
        self.judge = Judge(problem)
        self.compatible = cache(self.judge.together)
        # How often a buffer was left without a place: what fails often is tried early.
        self.failures = [1] * len(problem.buffers)

    def fits(self, buffers: Iterable[int], memory: int, height: int) -> bool:
        choices = {
            index: [
                place
                for offset in range(height - self.problem.buffers[index].size + 1)
                if self.judge.alone(index, place := Place(memory, offset))
            ]
            for index in buffers
        }
        return self._extends(choices)

    def _extends(self, choices: dict[int, list[Place]]) -> bool:
        if not choices:
            return True
        tightest = min(choices, key=lambda index: len(choices[index]) / self.failures[index])
        for place in choices[tightest]:
            left = {
                index: [other for other in places if self.compatible(tightest, place, index, other)]
                for index, places in choices.items()
                if index != tightest
            }
            without = [index for index, places in left.items() if not places]
            for index in without:
                self.failures[index] += 1
            if not without and self._extends(left):
                return True
        return False


def lowest_height(problem: PackingProblem) -> int | None:
    """The optimum with one memory, its capacity kept; None if there is no packing."""
    search = Search(problem)
    buffers = range(len(problem.buffers))
    capacity = problem.memories[0].capacity
    high = reach(problem) if capacity is None else min(capacity, reach(problem))
    if not search.fits(buffers, 0, high):
        return None
    low = 0
    while low < high:
        middle = (low + high) // 2
        if search.fits(buffers, 0, middle):
            high = middle
        else:
            low = middle + 1
    return high


def fewest_displaced_bytes(problem: PackingProblem) -> int | None:
    """The optimum with several memories; None if there is no packing."""
    search = Search(problem)
    highest = reach(problem)

    @cache
    def fits(memory: int, buffers: frozenset[int]) -> bool:
        capacity = problem.memories[memory].capacity
        height = highest if capacity is None else min(capacity, highest)
        return search.fits(buffers, memory, height)

    count = len(problem.buffers)
    allowed = [problem.allowed_memories(index) for index in range(count)]

    def displaced(choice: Sequence[int]) -> int:
        return sum(
            buffer.size
            for buffer, memories, memory in zip(problem.buffers, allowed, choice, strict=True)
            if memory != memories[0]
        )

    joined = families(problem)
    for choice in sorted(product(*allowed), key=displaced):
        if any(len({choice[buffer] for buffer in family}) > 1 for family in joined):
            continue
        if all(
            fits(memory, frozenset(i for i in range(count) if choice[i] == memory))
            for memory in range(len(problem.memories))
        ):
            return displaced(choice)
    return None
