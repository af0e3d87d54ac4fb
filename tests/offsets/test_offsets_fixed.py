"""Packing around fixed offsets, against trying all offsets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.problem import OffsetProblem, Status
from solvers.offsets import ExactOffsets, GreedyOffsets, lower_bound, pack
from solvers.protocol import Deadline

from .brute_force import lowest_height, offences


def problem_of(rows, capacity=None):
    """Rows of (lower, upper, size, alignment, fixed offset or -1)."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    lower, upper, size, alignment, fixed = (np.ascontiguousarray(column) for column in table.T)
    return OffsetProblem(lower, upper, size, alignment, capacity, fixed)


def highest_of_interest(problem):
    return int(problem.size.sum() + problem.alignment.sum() + max(0, *problem.fixed.tolist()))


@st.composite
def pinned_rows(draw):
    alignments = st.sampled_from(draw(st.sampled_from([[1], [2], [1, 2, 4], [2, 3]])))
    row = st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 6), alignments)
    pin = st.one_of(st.just(-1), st.integers(0, 7))
    return [
        (lower, lower + span, size, alignment, offset if offset < 0 else offset * alignment)
        for (lower, span, size, alignment), offset in draw(
            st.lists(st.tuples(row, pin), min_size=1, max_size=7)
        )
    ]


@given(pinned_rows())
@settings(max_examples=200, deadline=None)
def test_packings_around_fixed_offsets_are_legal_and_lowest(rows):
    problem = problem_of(rows)
    height = lowest_height(problem, highest_of_interest(problem))
    greedy = GreedyOffsets().solve(problem, deadline=Deadline(30))
    exact = pack(problem, Deadline(30))
    if height is None:
        assert greedy.status is exact.status is Status.INFEASIBLE
        assert greedy.solution is exact.solution is None
        return
    assert offences(problem, greedy.solution) == []
    assert offences(problem, exact.solution) == []
    assert lower_bound(problem) <= height
    assert exact.status is Status.OPTIMAL
    assert exact.solution.height == height
    too_small = pack(replace(problem, capacity=height - 1), Deadline(30))
    assert too_small.status is Status.INFEASIBLE


def test_fixed_offsets_that_exclude_each_other_are_named():
    problem = problem_of([(0, 2, 4, 1, -1), (0, 2, 4, 1, 3), (2, 4, 4, 1, 3), (1, 3, 4, 1, 6)])
    for solver in (GreedyOffsets(), ExactOffsets()):
        outcome = solver.solve(problem, deadline=Deadline(30))
        assert outcome.status is Status.INFEASIBLE
        assert outcome.statistics["clash"] == (1, 3)


def test_a_fixed_offset_beyond_the_capacity_is_a_proof():
    outcome = pack(problem_of([(0, 1, 4, 1, 8)], capacity=11), Deadline(30))
    assert outcome.status is Status.INFEASIBLE
    assert outcome.lower_bound == 12


def test_thousands_of_fixed_offsets_stay_where_they_are():
    random = np.random.default_rng(0)
    lower = random.integers(0, 3000, 5000)
    free = OffsetProblem(
        lower,
        lower + random.integers(1, 40, 5000),
        random.integers(1, 99, 5000),
        np.ones(5000, int),
    )
    packed = GreedyOffsets().solve(free, deadline=Deadline(60)).solution
    fixed = np.where(random.random(5000) < 0.5, packed.offsets, -1)
    for solver in (GreedyOffsets(), ExactOffsets()):
        outcome = solver.solve(replace(free, fixed=fixed), deadline=Deadline(2))
        assert outcome.solution is not None
        moved = (fixed >= 0) & (outcome.solution.offsets != fixed)
        assert np.flatnonzero(moved).tolist() == []


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ([-2, 0], "buffer 0: fixed offset -2 is neither"),
        ([0, 3], "buffer 1: fixed offset 3 is not a multiple of its alignment 2"),
        ([0, 2**61], "62 bits"),
        ([0], "one length"),
        ([0.0, 1.0], "fixed must hold integers"),
    ],
)
def test_malformed_fixed_offsets_are_refused(fixed, message):
    problem = problem_of([(0, 1, 2**61, 1, -1), (0, 1, 2, 2, -1)])
    with pytest.raises(ValueError, match=message):
        pack(replace(problem, fixed=np.array(fixed)), Deadline(1))
