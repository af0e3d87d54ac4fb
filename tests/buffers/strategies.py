"""Packing problems of every kind that files can express."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from planner.packing.problem import (
    Buffer,
    Colocation,
    Gap,
    MemorySpace,
    Overlap,
    PackingProblem,
    Separation,
)

LARGEST = (1 << 53) - 1

plain_names = st.text(string.ascii_letters + string.digits + "_./:-üλ🙂'", min_size=1, max_size=8)
any_names = st.text(min_size=1, max_size=8)


@st.composite
def gaps(draw, lower, upper, size):
    times = draw(st.lists(st.integers(lower, upper), unique=True, max_size=6).map(sorted))
    windows = st.none() | st.lists(st.integers(0, size), min_size=2, max_size=2, unique=True).map(
        lambda window: (min(window), max(window))
    )
    found = tuple(
        Gap(begin, end, draw(windows)) for begin, end in zip(times[::2], times[1::2], strict=False)
    )
    whole = [(gap.lower, gap.upper, gap.window) for gap in found] == [(lower, upper, None)]
    return () if whole else found


@st.composite
def buffers(draw, name, memories=(), largest=1 << 40):
    lower = draw(st.integers(-largest, largest - 1))
    upper = draw(st.integers(lower + 1, min(largest, lower + 40)))
    size = draw(st.integers(1, largest))
    alignment = draw(st.sampled_from([1, 1, 2, 48, 4096]))
    fixed = st.integers(0, largest // alignment).map(lambda unit: unit * alignment)
    return Buffer(
        name,
        lower,
        upper,
        size,
        alignment,
        draw(gaps(lower, upper, size)),
        draw(st.none() | fixed),
        draw(st.none() | st.integers(0, largest)),
        tuple(draw(st.lists(st.sampled_from(memories), unique=True))) if memories else (),
    )


@st.composite
def single_memory_problems(draw, names=plain_names):
    """Buffers alone: what a CSV can express."""
    chosen = draw(st.lists(names, unique=True, max_size=6))
    return PackingProblem(tuple(draw(buffers(name)) for name in chosen))


@st.composite
def any_problems(draw):
    """Everything that can be stated."""
    memories = tuple(
        MemorySpace(name, draw(st.none() | st.integers(0, LARGEST)), draw(st.integers(1, 4096)))
        for name in draw(st.lists(any_names, unique=True, min_size=1, max_size=3))
    )
    spaces = [memory.name for memory in memories]
    chosen = draw(st.lists(any_names, unique=True, max_size=6))
    found = tuple(draw(buffers(name, spaces)) for name in chosen)
    if len(found) < 2:
        return PackingProblem(found, memories)
    pairs = st.lists(st.permutations(range(len(found))).map(lambda order: order[:2]), max_size=2)
    return PackingProblem(
        found,
        memories,
        tuple(
            Colocation(chosen[a], chosen[b], draw(st.integers(-LARGEST, LARGEST)))
            for a, b in draw(pairs)
        ),
        tuple(Separation(chosen[a], chosen[b]) for a, b in draw(pairs)),
        tuple(
            Overlap(chosen[a], chosen[b], draw(st.integers(0, found[a].size)))
            for a, b in draw(pairs)
        ),
    )
