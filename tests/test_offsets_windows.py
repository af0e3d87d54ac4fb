"""Windows of large packings, placed anew by the exact search while everything else stays."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.problem import OffsetProblem, Status
from solvers.offsets import ExactOffsets, GreedyOffsets
from solvers.protocol import Deadline

GREEDY, EXACT = GreedyOffsets(), ExactOffsets()


def thin(seed, n, span, alignment=1):
    """Few alive at once, so that a few hundred buffers are all that live in a stretch of time."""
    random = np.random.default_rng(seed)
    lower = random.integers(0, n, n)
    upper = lower + random.integers(1, span, n)
    return OffsetProblem(lower, upper, random.integers(1, 10**6, n), np.full(n, alignment))


def is_legal(problem, solution):
    """Pair by pair."""
    begin, end = solution.offsets, solution.offsets + problem.size
    meet = (problem.lower[:, None] < problem.upper) & (problem.lower < problem.upper[:, None])
    overlap = (begin[:, None] < end) & (begin < end[:, None])
    np.fill_diagonal(overlap, False)
    legal = not (meet & overlap).any() and not (begin < 0).any()
    return legal and not (begin % problem.alignment).any() and solution.height == end.max()


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    span=st.sampled_from([10, 40, 80]),
    alignment=st.sampled_from([1, 64]),
)
def test_packings_remain_legal_when_windows_are_placed_anew(seed, span, alignment):
    problem = thin(seed, 5_200, span, alignment)
    outcome = EXACT.solve(problem, deadline=Deadline(1))
    assert is_legal(problem, outcome.solution)
    assert outcome.solution.height >= outcome.lower_bound


def test_windows_with_buffers_of_several_alignments_are_legal():
    problem = thin(1, 5_200, 60)
    alignment = np.random.default_rng(0).choice([32, 96, 256], 5_200)
    problem = OffsetProblem(problem.lower, problem.upper, problem.size, alignment)
    outcome = EXACT.solve(problem, deadline=Deadline(1.5))
    assert is_legal(problem, outcome.solution)


@pytest.mark.parametrize("seed", [1, 3])
def test_windows_reach_the_bound_where_greedy_and_repair_do_not(seed):
    problem = thin(seed, 10_500, 40)
    greedy = GREEDY.solve(problem, deadline=Deadline(60))
    outcome = EXACT.solve(problem, deadline=Deadline(60))
    assert greedy.solution.height > greedy.lower_bound
    assert outcome.status is Status.OPTIMAL
    assert outcome.statistics["order"] == "search of windows"
    assert outcome.statistics["nodes"] > 0


def test_windows_give_the_same_packing_each_time():
    problem = thin(3, 10_500, 40)
    first, second = (EXACT.solve(problem, deadline=Deadline(60)) for _ in range(2))
    assert first.statistics["order"] == "search of windows"
    assert first.solution.offsets.tolist() == second.solution.offsets.tolist()


def test_windows_stop_at_a_capacity():
    problem = thin(1, 10_500, 40)
    bound = GREEDY.solve(problem, deadline=Deadline(60)).lower_bound
    fitting = OffsetProblem(
        problem.lower, problem.upper, problem.size, problem.alignment, bound + 100
    )
    outcome = EXACT.solve(fitting, deadline=Deadline(60))
    assert is_legal(problem, outcome.solution)
    assert outcome.solution.height <= bound + 100


def test_repairs_that_are_cancelled_leave_the_best_packing():
    problem = thin(2, 10_500, 600)
    deadline = Deadline(600)
    threading.Timer(1.0, deadline.cancel.set).start()
    outcome = EXACT.solve(problem, deadline=deadline)
    assert is_legal(problem, outcome.solution)
