"""Packing problems that greedy does not settle."""

from __future__ import annotations

import random

from planner.packing.problem import Buffer, MemorySpace, PackingProblem
from planner.packing.race import race
from planner.problem import Status

# Seven bytes are in use at most, every packing takes eight, and greedy finds nine.
ROWS = [(1, 3, 4), (5, 7, 3), (6, 7, 4), (3, 6, 3), (2, 6, 1), (1, 2, 3), (2, 4, 1)]


def problem_of(rows: list[tuple[int, int, int]], capacity: int | None = None) -> PackingProblem:
    buffers = tuple(Buffer(f"b{i}", *row) for i, row in enumerate(rows))
    return PackingProblem(buffers, (MemorySpace(capacity=capacity),))


def hard_problem() -> PackingProblem:
    """One that greedy does not settle."""
    rng = random.Random(5)
    rows = []
    for _ in range(60):
        lower = rng.randint(0, 40)
        rows.append((lower, lower + rng.randint(1, 10), 16 * rng.randint(1, 30)))
    problem = problem_of(rows)
    greedy = race(problem, solvers=["greedy"])
    assert greedy.status is Status.FEASIBLE
    return problem
