"""Guided local search on overlaps: legal, never above its start, and honest about its limits."""

from __future__ import annotations

import csv
import os
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.problem import OffsetProblem, OffsetSolution, PairRule, Status
from planner.registry import SOLVERS
from solvers import SharedBest, _native
from solvers.offsets import ExactOffsets, GreedyOffsets, lower_bound
from solvers.offsets.arrays import native_instance
from solvers.offsets.local import LocalOffsets
from solvers.protocol import Deadline

LOCAL = LocalOffsets()


def problem_of(rows, capacity=None, **constraints):
    """Rows of (lower, upper, size, alignment)."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    columns = (np.ascontiguousarray(column) for column in table.T)
    return OffsetProblem(*columns, capacity=capacity, **constraints)


def loose_tiling(buffers, seed, steps, height, kept):
    """Rows of a random guillotine cutting of steps x height, some of them left out."""
    rng = random.Random(seed)
    parts = [(0, steps, 0, height)]
    while len(parts) < buffers:
        k = rng.choices(range(len(parts)), [(b - a) * (d - c) - 1 for a, b, c, d in parts])[0]
        a, b, c, d = parts[k]
        if b - a > 1 and (d - c == 1 or rng.random() < 0.5):
            cut = rng.randint(a + 1, b - 1)
            parts[k : k + 1] = [(a, cut, c, d), (cut, b, c, d)]
        else:
            cut = rng.randint(c + 1, d - 1)
            parts[k : k + 1] = [(a, b, c, cut), (a, b, cut, d)]
    return [(a, b, d - c, 1) for a, b, c, d in parts if rng.random() < kept]


ROWS = loose_tiling(150, 0, 200, 200, 0.92)


def assert_legal(rows, solution):
    begin = solution.offsets.tolist()
    end = [offset + row[2] for offset, row in zip(begin, rows, strict=True)]
    assert min(begin) >= 0
    assert all(offset % row[3] == 0 for offset, row in zip(begin, rows, strict=True))
    assert max(end) == solution.height
    for v, (lower, upper, _, _) in enumerate(rows):
        for w, other in enumerate(rows[:v]):
            if other[0] < upper and lower < other[1]:
                assert end[w] <= begin[v] or end[v] <= begin[w]


def greedy(rows):
    solution = GreedyOffsets().solve(problem_of(rows), deadline=Deadline(10.0)).solution
    assert solution is not None
    return solution


def stacked(rows):
    """Every buffer above all others."""
    ends, end = [], 0
    for _, _, size, alignment in rows:
        ends.append(-(-end // alignment) * alignment)
        end = ends[-1] + size
    return OffsetSolution(np.array(ends, dtype=np.int64), end)


@st.composite
def aligned_rows(draw):
    # Padded sizes are multiples of 4, not always of 8 or 16: some problems are not taken.
    row = st.tuples(
        st.integers(0, 8), st.integers(1, 6), st.integers(1, 40), st.sampled_from((4, 8, 8, 16))
    )
    rows = draw(st.lists(row, min_size=1, max_size=7))
    return [(lower, lower + span, size, alignment) for lower, span, size, alignment in rows]


@settings(max_examples=80, deadline=None)
@given(rows=aligned_rows())
def test_packings_are_legal_and_not_above_the_start(rows) -> None:
    problem = problem_of(rows)
    if LOCAL.unsupported(problem):
        return
    start = stacked(rows)
    outcome = LOCAL.solve(problem, deadline=Deadline(20.0), incumbent=start)
    assert outcome.solution is not None
    assert_legal(rows, outcome.solution)
    assert lower_bound(problem) <= outcome.solution.height <= start.height
    assert (outcome.status is Status.OPTIMAL) == (outcome.solution.height == outcome.lower_bound)


def test_it_goes_below_greedy_and_the_same_seed_gives_the_same_packing() -> None:
    start = greedy(ROWS)
    goal = start.height - 10
    problem = problem_of(ROWS, capacity=goal)
    found, steps = [], []
    for seed in (3, 3, 4):
        outcome = LOCAL.solve(problem, deadline=Deadline(120.0), seed=seed)
        assert outcome.status in (Status.FEASIBLE, Status.OPTIMAL)
        assert outcome.solution is not None
        assert_legal(ROWS, outcome.solution)
        assert outcome.solution.height <= goal
        found.append(outcome.solution.offsets.tolist())
        steps.append(outcome.statistics["steps"])
    assert found[0] == found[1] != found[2]
    assert steps[0] == steps[1] > 0


def test_it_gives_up_small_problems_whose_bound_is_out_of_reach() -> None:
    """Sections that 8 bytes fill, and yet no packing of that height."""
    text = (
        "0-1:3 0-1:3 0-2:2 1-2:2 1-3:2 2-3:2 2-4:1 3-4:3 3-5:1 4-5:2 1-6:2 4-6:2 5-7:1 6-7:3 6-7:1 "
        "2-8:1 5-8:2 7-8:2 7-8:3"
    )
    rows = [(*(int(number) for number in re.split("[-:]", word)), 1) for word in text.split()]
    exact = ExactOffsets().solve(problem_of(rows), deadline=Deadline(60.0))
    assert exact.solution is not None
    assert exact.status is Status.OPTIMAL
    outcome = LOCAL.solve(problem_of(rows), deadline=Deadline(1e6))
    assert outcome.solution is not None
    assert_legal(rows, outcome.solution)
    assert (outcome.status, outcome.lower_bound) == (Status.FEASIBLE, 8)
    assert outcome.solution.height == exact.solution.height == 9


def test_a_capacity_below_the_bound_is_infeasible_and_one_out_of_reach_unknown() -> None:
    bound = lower_bound(problem_of(ROWS))
    outcome = LOCAL.solve(problem_of(ROWS, capacity=bound - 1), deadline=Deadline(20.0))
    assert (outcome.status, outcome.solution) == (Status.INFEASIBLE, None)
    late = LOCAL.solve(problem_of(ROWS, capacity=bound), deadline=Deadline(0.0))
    assert (late.status, late.solution) == (Status.UNKNOWN, None)
    assert late.statistics["lowest_height"] > bound


def test_a_cancelled_run_returns_its_start() -> None:
    deadline = Deadline(1e6)
    deadline.cancel.set()
    start = greedy(ROWS)
    outcome = LOCAL.solve(problem_of(ROWS), deadline=deadline, incumbent=start)
    assert outcome.status is Status.FEASIBLE
    assert outcome.solution is not None
    assert outcome.solution.offsets.tolist() == start.offsets.tolist()


def test_a_very_high_start_takes_no_more_memory_than_a_low_one() -> None:
    """Steps go through all offsets below the height, which must not be these 10**12 units."""
    start = greedy(ROWS)
    high = OffsetSolution(start.offsets.copy(), 0)
    high.offsets[0] = 10**12
    problem = problem_of(ROWS, capacity=start.height + 20)
    outcome = LOCAL.solve(problem, deadline=Deadline(120.0), incumbent=high)
    assert outcome.solution is not None
    assert_legal(ROWS, outcome.solution)


def test_what_it_finds_is_published() -> None:
    shared = SharedBest()
    goal = greedy(ROWS).height - 5
    problem = problem_of(ROWS, capacity=goal)
    outcome = LOCAL.solve(problem, deadline=Deadline(120.0), shared=shared)
    assert outcome.solution is not None
    assert shared.height == outcome.solution.height <= goal


def test_it_stops_when_another_solver_proves_its_packing_lowest() -> None:
    shared = SharedBest()
    start = greedy(ROWS)
    shared.offer(start.offsets, start.height)
    shared.offer_bound(start.height)
    outcome = LOCAL.solve(problem_of(ROWS), deadline=Deadline(1e6), shared=shared)
    assert outcome.status is Status.OPTIMAL


@pytest.mark.parametrize(
    ("problem", "number"),
    [
        (problem_of([(0, 1, 4, 1)] * 2, fixed=np.array([0, -1])), "1 offsets are fixed"),
        (problem_of([(0, 1, 4, 1)] * 2, pair_rules=(PairRule(0, 1, (), 4),)), "rules for pairs"),
        (problem_of([(0, 1, 4, 1)] * 1_500), "1,124,250 pairs"),
        (problem_of([(0, 1, 4, 1), (0, 1, 8, 8)]), "multiples of 4 bytes only"),
        (problem_of([(0, 1, 9_001, 1), (0, 1, 9_000, 1)]), "18,001 units"),
    ],
)
def test_it_says_what_it_cannot_solve(problem, number) -> None:
    reason = LOCAL.unsupported(problem)
    assert number in reason
    outcome = LOCAL.solve(problem, deadline=Deadline(1.0))
    assert (outcome.status, outcome.statistics["stopped"]) == (Status.UNKNOWN, reason)


@pytest.mark.parametrize(
    "rows", [[(0, 1, 4, 1)] * 1_500, [(0, 1, 4, 1), (0, 1, 8, 8)], [(0, 1, 9_001, 1), (0, 1, 9, 1)]]
)
def test_the_kernel_refuses_what_is_beyond_it(rows) -> None:
    with pytest.raises(ValueError):
        _native.offsets_squeeze(
            native_instance(problem_of(rows)),
            start_offsets=stacked(rows).offsets,
            goal=0,
            seed=0,
            time_limit_s=1.0,
            cancel=Deadline(1.0).cancel,
        )


def test_offsets_that_are_all_free_and_no_buffers_are_no_constraints() -> None:
    free = problem_of([(0, 1, 4, 1)] * 2, fixed=np.array([-1, -1]))
    solution = LOCAL.solve(free, deadline=Deadline(5.0), incumbent=stacked([(0, 1, 9, 1)] * 2))
    assert solution.status is Status.OPTIMAL
    empty = LOCAL.solve(problem_of([]), deadline=Deadline(5.0))
    assert empty.status is Status.OPTIMAL


def test_the_registry_knows_it() -> None:
    assert SOLVERS["offsets"]["local"].load().name == LOCAL.name == "local"


@pytest.mark.slow
def test_it_lowers_minimallocs_j_below_what_the_search_comes_to() -> None:
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("PLANNER_DATA is not set: the published offset instances are not tested")
    path = Path(folder) / "offsets" / "minimalloc" / "J.1048576.csv"
    if not path.exists():
        pytest.skip(f"{path} is missing: this published instance is not tested")
    with path.open() as file:
        rows = [(int(r["lower"]), int(r["upper"]), int(r["size"]), 1) for r in csv.DictReader(file)]
    problem = problem_of(rows, capacity=1_015_807)
    outcome = LOCAL.solve(problem, deadline=Deadline(300.0))
    assert outcome.status is Status.FEASIBLE
    assert outcome.solution is not None
    assert_legal(rows, outcome.solution)
