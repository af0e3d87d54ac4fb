"""Pairs, their forbidden differences, longest paths and grids, against plain definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from planner.problem import PairRule
from solvers.offsets.pairs import (
    coarsest_grid,
    conflicting_pairs,
    count_overlaps,
    is_legal,
    least_offsets,
    nearest_sides,
)

from . import small_offsets
from .small_offsets import allowed, lowest_height, problem_of, random_problem, rectangles_of


def forbidden(pairs, u, v, difference):
    for pair, (first, second) in enumerate(zip(pairs.first, pairs.second, strict=True)):
        if (first, second) == (u, v):
            span = slice(pairs.start[pair], pairs.start[pair + 1])
            return bool(((pairs.low[span] < difference) & (difference < pairs.high[span])).any())
    return False


@pytest.mark.parametrize("seed", range(80))
def test_pairs_forbid_exactly_what_uses_and_rules_forbid(seed):
    problem = random_problem(seed)
    pairs = conflicting_pairs(problem)
    assert (pairs.first < pairs.second).all()
    assert count_overlaps(problem) >= len(pairs.first)
    used = [rectangles_of(problem, v) for v in range(len(problem.size))]
    for u, v in itertools.combinations(range(len(problem.size)), 2):
        unit = math.gcd(int(problem.alignment[u]), int(problem.alignment[v]))
        for difference in range(-30 * unit, 30 * unit, unit):
            expected = not allowed(problem, u, v, difference, used)
            assert forbidden(pairs, u, v, difference) is expected


def test_intervals_of_a_pair_are_ascending_disjoint_and_multiples():
    for seed in range(80):
        problem = random_problem(seed)
        pairs = conflicting_pairs(problem)
        unit = np.gcd(problem.alignment[pairs.first], problem.alignment[pairs.second])
        assert not (pairs.low % unit[pairs.owner]).any()
        assert not (pairs.high % unit[pairs.owner]).any()
        assert (pairs.low < pairs.high).all()
        same = pairs.owner[1:] == pairs.owner[:-1]
        assert (pairs.high[:-1] <= pairs.low[1:])[same].all()


def test_open_intervals_that_touch_leave_the_point_between_them():
    rule = PairRule(1, 0, ((-3, 1), (1, 4)), 0)
    pairs = conflicting_pairs(problem_of([(0, 1, 5, 1), (0, 1, 5, 1)], pair_rules=(rule,)))
    assert list(zip(pairs.low.tolist(), pairs.high.tolist(), strict=True)) == [(-4, -1), (-1, 3)]


def test_overlaps_are_counted_without_listing_them():
    problem = problem_of([(t, t + 7, 1, 1) for t in range(50)])
    assert count_overlaps(problem) == len(conflicting_pairs(problem).first)
    crowd = problem_of([(0, 1, 1, 1)] * 100_000)
    assert count_overlaps(crowd) == 100_000 * 99_999 // 2


def test_least_offsets_keep_the_sides_and_are_lowest():
    for seed in range(60):
        problem = random_problem(seed)
        height = lowest_height(problem)
        pairs = conflicting_pairs(problem)
        legal = legal_offsets(problem, height)
        sides = nearest_sides(pairs, legal)
        lowest = least_offsets(problem, pairs, sides, 1000)
        assert is_legal(problem, pairs, lowest)
        assert small_offsets.is_legal(problem, lowest)
        assert (lowest <= legal).all()
        assert (nearest_sides(pairs, lowest) == sides).all()


def legal_offsets(problem, height):
    choices = [
        range(0, height - size + 1, alignment)
        for size, alignment in zip(problem.size.tolist(), problem.alignment.tolist(), strict=True)
    ]
    if problem.fixed is not None:
        choices = [
            range(fixed, fixed + 1) if fixed >= 0 else choice
            for fixed, choice in zip(problem.fixed.tolist(), choices, strict=True)
        ]
    for offsets in itertools.product(*choices):
        if small_offsets.is_legal(problem, offsets):
            return np.array(offsets, dtype=np.int64)
    raise AssertionError("the oracle found a height without a packing")


def test_sides_that_chase_each_other_have_no_offsets():
    problem = problem_of([(0, 1, 5, 1)] * 3)
    pairs = conflicting_pairs(problem)
    # 0 below 1 below 2 below 0; the pairs are (0, 1), (0, 2), (1, 2).
    assert least_offsets(problem, pairs, np.array([1, 0, 1]), 1000) is None


def test_some_lowest_packing_lies_on_the_grid():
    for seed in range(60):
        problem = random_problem(seed)
        pairs = conflicting_pairs(problem)
        grid = coarsest_grid(problem, (pairs.low, pairs.high))
        free = np.ones(len(problem.size), dtype=bool)
        if problem.fixed is not None:
            free = problem.fixed < 0
        coarse = problem_of(
            list(
                zip(
                    problem.lower,
                    problem.upper,
                    problem.size,
                    np.where(free, grid.step * grid.unit, problem.alignment),
                    strict=True,
                )
            ),
            fixed=problem.fixed,
            uses=problem.uses,
            pair_rules=problem.pair_rules,
        )
        assert lowest_height(coarse) == lowest_height(problem)
