"""Small packing problems with every kind of constraint: drawn by hypothesis, or by a seed.

Hypothesis shrinks what fails, and likes small and repeated values; seeds give variety.
"""

from __future__ import annotations

import random
from typing import Protocol, TypeVar

from hypothesis import strategies as st

from planner.packing.problem import (
    Buffer,
    Colocation,
    Gap,
    MemorySpace,
    Overlap,
    PackingProblem,
    Separation,
    buffer_fault,
)

Item = TypeVar("Item")

END_OF_TIME = 8
LARGEST = 6
ALIGNMENTS = (1, 1, 1, 2, 3, 4)


class Chooser(Protocol):
    """What a `random.Random` can do."""

    def randint(self, a: int, b: int) -> int: ...
    def choice(self, seq: tuple[Item, ...]) -> Item: ...


class Drawn:
    """A chooser whose choices hypothesis makes."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def randint(self, a: int, b: int) -> int:
        return self._draw(st.integers(a, b))

    def choice(self, seq: tuple[Item, ...]) -> Item:
        return self._draw(st.sampled_from(seq))


def _one_in(choose: Chooser, number: int) -> bool:
    return choose.randint(1, number) == number


def _gaps(choose: Chooser, lower: int, upper: int, size: int) -> tuple[Gap, ...]:
    gaps = []
    time = lower
    while time < upper and _one_in(choose, 2):
        begin = choose.randint(time, upper - 1)
        end = choose.randint(begin + 1, upper)
        window = None
        if _one_in(choose, 2):
            low = choose.randint(0, size - 1)
            window = (low, choose.randint(low + 1, size))
        gaps.append(Gap(begin, end, window))
        time = end
    return tuple(gaps)


def _buffer(choose: Chooser, name: str, memories: tuple[str, ...], plain: bool) -> Buffer:
    lower = choose.randint(0, END_OF_TIME - 1)
    upper = choose.randint(lower + 1, END_OF_TIME)
    size = choose.randint(1, LARGEST)
    if plain:
        return Buffer(name, lower, upper, size)
    alignment = choose.choice(ALIGNMENTS)
    buffer = Buffer(
        name,
        lower,
        upper,
        size,
        alignment,
        _gaps(choose, lower, upper, size) if _one_in(choose, 2) else (),
        alignment * choose.randint(0, 4) if _one_in(choose, 8) else None,
        choose.randint(0, 12) if _one_in(choose, 4) else None,
        _some(choose, memories) if _one_in(choose, 2) else (),
    )
    return buffer if buffer_fault(buffer) is None else buffer._replace(gaps=())


def _some(choose: Chooser, memories: tuple[str, ...]) -> tuple[str, ...]:
    """Some of the memories in any order."""
    left, some = memories, []
    while left and _one_in(choose, 2):
        some.append(choose.choice(left))
        left = tuple(name for name in left if name not in some)
    return tuple(some)


def _memories(choose: Chooser, most: int) -> tuple[MemorySpace, ...]:
    """One memory with or without capacity, or several, of which the last may be without."""
    count = choose.randint(1, most)
    return tuple(
        MemorySpace(
            f"m{index}",
            None if index == count - 1 and _one_in(choose, 2) else choose.randint(2, 24),
            choose.choice((1, 1, 1, 2)),
        )
        for index in range(count)
    )


def _problem(choose: Chooser, most: int, memories: int, plain: bool) -> PackingProblem:
    spaces = _memories(choose, memories)
    named = tuple(space.name for space in spaces)
    count = choose.randint(1, most)
    buffers = tuple(_buffer(choose, f"b{index}", named, plain) for index in range(count))
    if plain or count == 1:
        return PackingProblem(buffers, spaces)

    def couple() -> tuple[Buffer, Buffer]:
        first = choose.choice(buffers)
        return first, choose.choice(tuple(b for b in buffers if b is not first))

    colocations, separations, overlaps = [], [], []
    for _ in range(choose.randint(0, 2)):
        first, second = couple()
        distance = choose.choice((0, 0, 1, 2, -2))
        colocations.append(Colocation(first.name, second.name, distance))
    for _ in range(choose.randint(0, 2)):
        first, second = couple()
        separations.append(Separation(first.name, second.name))
    for _ in range(choose.randint(0, 2)):
        output, source = couple()
        overlaps.append(Overlap(output.name, source.name, choose.randint(0, output.size)))
    return PackingProblem(buffers, spaces, tuple(colocations), tuple(separations), tuple(overlaps))


@st.composite
def packing_problems(
    draw: st.DrawFn, *, most: int = 7, memories: int = 3, plain: bool = False
) -> PackingProblem:
    """Up to ``most`` buffers; ``plain`` ones have lifetimes and sizes only."""
    if draw(st.booleans()):
        return _problem(Drawn(draw), most, memories, plain)
    return random_problem(draw(st.integers(0, 2**32)), most, memories, plain)


def random_problem(
    seed: int, most: int = 7, memories: int = 3, plain: bool = False
) -> PackingProblem:
    """Draw by a seed, with as many buffers as there may be half of the time."""
    rng = random.Random(seed)
    least = most if rng.random() < 0.5 else 1
    while True:
        problem = _problem(rng, most, memories, plain)
        if len(problem.buffers) >= least:
            return problem
