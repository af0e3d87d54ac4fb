"""Replacement problems: by hand, random, full to the last byte, and like a network."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np

from planner.graph import RaggedArray
from planner.problem import ReplacementProblem


def problem_of(
    uses: list[list[int]],
    size: list[int],
    capacity: int,
    *,
    alignment: int = 1,
    has_copy: list[bool] | None = None,
    merged: list[tuple[int, int, int]] | None = None,
) -> ReplacementProblem:
    return ReplacementProblem(
        steps=1 + max(u[-1] for u in uses if u),
        capacity=capacity,
        size=np.array(size, dtype=np.int64),
        alignment=alignment,
        uses=RaggedArray.from_rows(uses),
        has_copy=np.array(has_copy or [False] * len(size), dtype=bool),
        merged=tuple(merged or ()),
    )


def rounded(problem: ReplacementProblem, storage: int) -> int:
    return -(-int(problem.size[storage]) // problem.alignment) * problem.alignment


def footprint(problem: ReplacementProblem) -> int:
    """Rounded bytes of the largest step: the smallest capacity with a legal plan."""
    at = [0] * problem.steps
    for storage in range(len(problem.size)):
        for step in problem.uses.row(storage).tolist():
            at[step] += rounded(problem, storage)
    for step, output, _ in problem.merged:
        at[step] -= rounded(problem, output)
    return max(at)


def random_problem(seed: int, *, hostile: bool = False) -> ReplacementProblem:
    """Few storages, few steps, in-place chains, and a capacity near the smallest possible."""
    rng = random.Random(seed)
    steps, storages = rng.randint(3, 6), rng.randint(3, 5)
    uses = [
        sorted(rng.sample(range(steps), rng.randint(2, min(4, steps)))) for _ in range(storages)
    ]
    uses[0] = sorted({*uses[0], steps - 1})
    size = [rng.randint(1, 3) for _ in uses]
    merged: list[tuple[int, int, int]] = []
    for output, source in itertools.permutations(range(storages), 2):
        ends = uses[source][-1] == uses[output][0] and uses[source][0] < uses[output][0]
        taken = any(output == o or source == s for _, o, s in merged)
        if ends and not taken and rng.random() < 0.5:
            merged.append((uses[output][0], output, source))
    merged.sort()
    for _, output, source in merged:
        size[output] = size[source]
    alignment = 1
    if hostile:
        alignment = rng.choice([1, 2, 64])
        size = [s * alignment - (s * 7 % alignment) for s in size]
    problem = problem_of(
        uses,
        size,
        0,
        alignment=alignment,
        has_copy=[rng.random() < 0.3 for _ in uses],
        merged=merged,
    )
    slack = rng.choice([0, 0, 1, 2]) * alignment
    capacity = footprint(problem) + slack + (rng.randrange(alignment) if hostile else 0)
    return replace(problem, capacity=capacity)


# (seed, capacity, steps, largest size) for which the bytes of every step fit exactly, and no
# addresses exist without a move or a spill. About one in a hundred seeds is like that.
FRAGMENTED = [
    (322, 8, 12, 4),
    (560, 6, 9, 3),
    (3137, 7, 9, 3),
    (3153, 6, 9, 3),
    (3216, 7, 9, 3),
    (3433, 8, 9, 4),
    (4904, 8, 9, 4),
]


def fragmented_problem(
    seed: int, capacity: int, steps: int, largest: int, *, idle: bool, in_place: bool = False
) -> ReplacementProblem:
    """Every step full to the last byte.

    With ``idle``, storages skip some uses in the middle. With ``in_place``, long-lived storages
    become chains of two or more, each written over the one before.
    """
    rng = random.Random(seed)
    alive: list[int] = []
    uses: list[list[int]] = []
    size: list[int] = []
    for step in range(steps):
        alive = [s for s in alive if rng.random() < 0.6]
        for s in alive:
            uses[s].append(step)
        left = capacity - sum(size[s] for s in alive)
        while left:
            bytes_ = min(left, rng.randint(1, largest))
            left -= bytes_
            alive.append(len(size))
            size.append(bytes_)
            uses.append([step])
    if idle:
        uses = [
            [u for i, u in enumerate(row) if i in (0, len(row) - 1) or rng.random() < 0.5]
            for row in uses
        ]
    merged = []
    for source in range(len(uses)) if in_place else ():
        while len(uses[source]) > 2:
            at = rng.randrange(1, len(uses[source]) - 1)
            merged.append((uses[source][at], len(uses), source))
            uses.append(uses[source][at:])
            size.append(size[source])
            uses[source] = uses[source][: at + 1]
            source = len(uses) - 1
    has_copy = [rng.random() < 0.3 for _ in uses]
    return problem_of(uses, size, capacity, has_copy=has_copy, merged=merged)


def network(seed: int, steps: int) -> ReplacementProblem:
    """A chain with skips, odd sizes, alignment and in-place chains, at the smallest capacity."""
    rng = random.Random(seed)
    uses, size, merged = [], [], []
    for step in range(steps):
        uses.append(sorted({step, min(steps - 1, step + 1)}))
        if rng.random() < 0.3:
            uses[-1] = sorted({*uses[-1], min(steps - 1, step + rng.randint(2, 9))})
        size.append(rng.randint(1, 5000))
        before = step - 1
        if step and uses[before][-1] == step and rng.random() < 0.5:
            size[step] = size[before]
            merged.append((step, step, before))
    problem = problem_of(
        uses,
        size,
        0,
        alignment=rng.choice([1, 16, 64]),
        has_copy=[rng.random() < 0.2 for _ in uses],
        merged=merged,
    )
    return replace(problem, capacity=footprint(problem))
