"""Proofs of offset optima that lie above the most bytes alive at once."""

from __future__ import annotations

import random

import numpy as np
import pytest

from planner.problem import OffsetProblem, Status
from solvers.offsets import lower_bound, pack
from solvers.protocol import Deadline


def problem_of(rows, capacity=None):
    lower, upper, size = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return OffsetProblem(lower, upper, size, np.ones_like(size), capacity)


def some_placement_fits(rows, height):
    """Whether the buffers fit, by trying all offsets: a sweep over time through all live states."""
    states = {()}
    for time in sorted({lower for lower, _, _ in rows}):
        states = {tuple(held for held in state if held[0] > time) for state in states}
        starting = sorted((r for r in rows if r[0] == time), key=lambda r: r[0] - r[1])
        for _, upper, size in starting:
            grown = set()
            for state in states:
                used = 0
                for _, held_bytes in state:
                    used |= held_bytes
                for offset in range(height - size + 1):
                    own = ((1 << size) - 1) << offset
                    if not used & own:
                        grown.add(tuple(sorted((*state, (upper, own)))))
            states = grown
        if not states:
            return False
    return True


# Sections, their bytes, long buffers and how many sections they live.
FAMILIES = {
    "short and low": ((7, 10), (10, 13), (12, 20), (3, 5)),
    "long lives": ((9, 12), (9, 11), (14, 22), (3, 6)),
    "higher": ((9, 12), (11, 14), (14, 22), (4, 6)),
}


def tight_rows(family, seed):
    """Buffers that fill all sections to the same total, and this total."""
    sections_range, total_range, count_range, span_range = FAMILIES[family]
    rng = random.Random(seed)
    sections, total = rng.randint(*sections_range), rng.randint(*total_range)
    free = [total] * sections
    rows = []
    for _ in range(rng.randint(*count_range)):
        lower = rng.randrange(sections)
        upper = min(sections, lower + rng.randint(*span_range))
        room = min(free[lower:upper])
        if room > 1:
            size = rng.randint(1, min(room - 1, total // 3))
            rows.append((lower, upper, size))
            for t in range(lower, upper):
                free[t] -= size
    rows += [(t, t + 1, free[t]) for t in range(sections) if free[t]]
    rng.shuffle(rows)
    return rows, total


def reversed_in_time(rows):
    return [(-upper, -lower, size) for lower, upper, size in rows]


def scaled(rows, factor):
    return [(lower, upper, factor * size) for lower, upper, size in rows]


def assert_optimum(rows, height):
    """Proven by minimising, by fitting, and by the failure to fit one byte lower."""
    outcome = pack(problem_of(rows), Deadline(60))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == outcome.lower_bound == height
    begin, end = outcome.solution.offsets, outcome.solution.offsets + problem_of(rows).size
    for u, (lower, upper, _) in enumerate(rows):
        for v in range(u):
            if lower < rows[v][1] and rows[v][0] < upper:
                assert end[u] <= begin[v] or end[v] <= begin[u]
    assert pack(problem_of(rows, height), Deadline(60)).solution.height <= height
    below = pack(problem_of(rows, height - 1), Deadline(60))
    assert below.status is Status.INFEASIBLE
    assert below.lower_bound == height


def proofs_above_max_live(family, seeds):
    """How many instances have an optimum above max-live, all of those against brute force."""
    above = 0
    for seed in seeds:
        rows, live = tight_rows(family, seed)
        assert lower_bound(problem_of(rows)) == live
        height = pack(problem_of(rows), Deadline(60)).solution.height
        assert_optimum(rows, height)
        if height > live:
            above += 1
            assert not some_placement_fits(rows, height - 1)
            assert_optimum(reversed_in_time(rows), height)
            assert_optimum(scaled(rows, 7), 7 * height)
    return above


@pytest.mark.parametrize("family", FAMILIES)
def test_optima_agree_with_brute_force(family):
    assert proofs_above_max_live(family, range(80)) >= 5


# Together at least 2,000 optima above max-live, each proven in three disguises.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "instances", "at_least"),
    [("short and low", 6500, 650), ("long lives", 7500, 850), ("higher", 4500, 750)],
)
def test_thousands_of_optima_above_max_live_are_proven(family, instances, at_least):
    assert proofs_above_max_live(family, range(1000, 1000 + instances)) >= at_least
