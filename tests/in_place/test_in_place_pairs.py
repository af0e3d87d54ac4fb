"""Overwrites as pair rules in the offset solvers, against trying all offsets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.problem import OffsetProblem, PairRule, Status
from solvers.offsets import ExactOffsets, GreedyOffsets, lower_bound
from solvers.offsets.local import LocalOffsets
from solvers.offsets.overwrites import only_overwrites, overwrite
from solvers.protocol import Deadline

from ..offsets.brute_force import lowest_height, offences  # noqa: TID252

SOLVERS = (GreedyOffsets(), ExactOffsets(), LocalOffsets())


def problem_of(rows, pairs, *, alignment=1):
    """Rows of (lower, upper, size); pairs of (overwritten, overwriting)."""
    lower, upper, size = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    rules = tuple(overwrite(u, v, rows[u][2]) for u, v in pairs)
    return OffsetProblem(
        lower, upper, size, np.full(len(rows), alignment, dtype=np.int64), pair_rules=rules
    )


def possible_pairs(rows):
    """Buffers of one size of which one ends with the step at which the other begins."""
    return [
        (u, v)
        for u, (start, end, size) in enumerate(rows)
        for v, (lower, upper, other) in enumerate(rows)
        if start < lower == end - 1 and upper >= end and size == other
    ]


def relu_chain(count, size=5):
    rows = [(step, step + 2, size) for step in range(count)]
    return rows, [(v, v + 1) for v in range(count - 1)]


@st.composite
def overwriting_problems(draw):
    count = draw(st.integers(2, 8))
    rows = []
    for _ in range(count):
        start = draw(st.integers(0, 5))
        rows.append((start, start + draw(st.integers(1, 4)), draw(st.sampled_from((1, 2, 2, 3)))))
    pairs = [pair for pair in possible_pairs(rows) if draw(st.booleans())]
    return problem_of(rows, pairs, alignment=draw(st.sampled_from((1, 1, 2))))


@settings(max_examples=150, deadline=None)
@given(overwriting_problems())
def test_the_exact_search_finds_and_proves_the_lowest_height_over_all_choices(problem):
    best = lowest_height(problem, 40)
    assert best is not None
    outcome = ExactOffsets().solve(problem, deadline=Deadline(20.0))
    assert outcome.solution is not None
    assert offences(problem, outcome.solution) == []
    assert outcome.solution.height == best
    assert outcome.lower_bound <= best
    if len(problem.pair_rules) <= 6:
        assert outcome.status is Status.OPTIMAL


@settings(max_examples=60, deadline=None)
@given(overwriting_problems())
def test_greedy_and_local_search_keep_pairs_at_one_address_or_apart(problem):
    best = lowest_height(problem, 40)
    for solver in (GreedyOffsets(), LocalOffsets()):
        if solver.unsupported(problem):
            continue
        outcome = solver.solve(problem, deadline=Deadline(0.2))
        assert outcome.solution is not None
        assert offences(problem, outcome.solution) == []
        assert outcome.solution.height >= best >= outcome.lower_bound


@settings(max_examples=60, deadline=None)
@given(overwriting_problems())
def test_a_capacity_below_the_lowest_height_is_never_met(problem):
    best = lowest_height(problem, 40)
    below = replace(problem, capacity=best - 1)
    outcome = ExactOffsets().solve(below, deadline=Deadline(20.0))
    assert outcome.solution is None
    if len(problem.pair_rules) <= 6:
        assert outcome.status is Status.INFEASIBLE
    at = ExactOffsets().solve(replace(problem, capacity=best), deadline=Deadline(20.0))
    assert at.solution is not None
    assert at.solution.height == best


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.name)
def test_a_chain_of_a_thousand_overwrites_takes_one_buffer(solver):
    problem = problem_of(*relu_chain(1_001))
    outcome = solver.solve(problem, deadline=Deadline(20.0))
    assert outcome.solution.height == outcome.lower_bound == 5
    assert not outcome.solution.offsets.any()


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.name)
def test_two_dying_operands_are_both_there_and_one_is_overwritten(solver):
    problem = problem_of([(0, 3, 4), (1, 3, 4), (2, 5, 4)], [(0, 2), (1, 2)])
    assert lower_bound(problem) == 8
    outcome = solver.solve(problem, deadline=Deadline(5.0))
    assert outcome.solution.height == 8
    assert outcome.solution.offsets[2] in outcome.solution.offsets[:2]


def test_an_overwritten_buffer_is_not_overwritten_twice():
    # Two results that are alive together may each overwrite the same operand, but not both.
    problem = problem_of([(0, 2, 4), (1, 3, 4), (1, 3, 4)], [(0, 1), (0, 2)])
    for solver in (GreedyOffsets(), ExactOffsets()):
        outcome = solver.solve(problem, deadline=Deadline(5.0))
        assert offences(problem, outcome.solution) == []
        assert outcome.solution.height == 8


def test_sizes_that_are_no_multiples_of_the_alignment_are_merged_too():
    rows = [(0, 3, 5), (2, 5, 5), (4, 7, 5)]
    problem = problem_of(rows, [(0, 1), (1, 2)], alignment=4)
    for solver in (GreedyOffsets(), ExactOffsets()):
        outcome = solver.solve(problem, deadline=Deadline(5.0))
        assert outcome.solution.offsets.tolist() == [0, 0, 0]


def test_other_rules_are_told_from_overwrites():
    rows = [(0, 3, 4), (2, 5, 4)]
    assert only_overwrites(problem_of(rows, []))
    assert only_overwrites(problem_of(rows, [(0, 1)]))
    others = (
        PairRule(0, 1, ((-4, 4),), 0),
        PairRule(0, 1, ((-4, 2),), 2),
        PairRule(0, 1, (), 4),
    )
    for rule in others:
        assert not only_overwrites(replace(problem_of(rows, []), pair_rules=(rule,)))
        outcome = LocalOffsets().solve(
            replace(problem_of(rows, []), pair_rules=(rule,)), deadline=Deadline(1.0)
        )
        assert outcome.status is Status.UNKNOWN


def test_an_overwrite_beside_another_rule_is_kept_as_well():
    rows = [(0, 3, 4), (2, 5, 4), (5, 7, 3)]
    apart = PairRule(1, 2, ((-3, 4),), 0)
    problem = problem_of(rows, [(0, 1)])
    problem = replace(problem, pair_rules=(*problem.pair_rules, apart))
    outcome = ExactOffsets().solve(problem, deadline=Deadline(2.0))
    assert offences(problem, outcome.solution) == []
    assert outcome.solution.height >= lowest_height(problem, 20)
