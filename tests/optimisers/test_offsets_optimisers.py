"""What holds of every general-purpose optimiser of offsets: all constraints, honest proofs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.problem import OffsetSolution, PairRule, Status
from solvers import SharedBest
from solvers.offsets import lower_bound, pack
from solvers.offsets.cp import CpOffsets
from solvers.offsets.mathopt import MathOptOffsets
from solvers.offsets.mip import PulpOffsets
from solvers.protocol import Deadline

from .small_offsets import (
    assert_solution,
    lowest_height,
    problem_of,
    random_problem,
    tight_rows,
    tiling,
    uses_of,
)

SOLVERS = [CpOffsets, PulpOffsets, MathOptOffsets]
IN_PROCESS = [CpOffsets, MathOptOffsets]

FEATURES = [
    (),
    ("alignment",),
    ("fixed",),
    ("uses",),
    ("rules",),
    ("alignment", "fixed", "uses", "rules"),
]


def solve(solver, problem, seconds=30.0, **arguments):
    outcome = solver().solve(problem, deadline=Deadline(seconds), **arguments)
    if outcome.solution is not None:
        assert_solution(problem, outcome.solution)
        assert outcome.lower_bound <= outcome.solution.height
        assert problem.capacity is None or outcome.solution.height <= problem.capacity
    return outcome


def assert_proves_the_optimum(solver, problem):
    height = lowest_height(problem)
    outcome = solve(solver, problem)
    if height is None:
        assert outcome.status is Status.INFEASIBLE
        return
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == outcome.lower_bound == height
    fits = solve(solver, replace(problem, capacity=height))
    assert fits.status in (Status.OPTIMAL, Status.FEASIBLE)
    too_small = solve(solver, replace(problem, capacity=height - 1))
    assert too_small.status is Status.INFEASIBLE
    assert too_small.solution is None
    assert too_small.lower_bound >= height


@pytest.mark.parametrize("features", FEATURES, ids=lambda f: "+".join(f) or "plain")
@pytest.mark.parametrize("solver", IN_PROCESS)
def test_all_placements_prove_no_lower_height(solver, features):
    for seed in range(25):
        assert_proves_the_optimum(solver, random_problem(seed, features))


@pytest.mark.slow
@pytest.mark.parametrize("solver", IN_PROCESS)
def test_all_placements_prove_no_lower_height_of_many(solver):
    for seed in range(1000, 3000):
        assert_proves_the_optimum(solver, random_problem(seed))


@pytest.mark.parametrize("solver", IN_PROCESS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9), features=st.sampled_from(FEATURES))
def test_every_packing_is_legal_and_every_proof_holds(solver, seed, features):
    assert_proves_the_optimum(solver, random_problem(seed, features, buffers=4))


@pytest.mark.parametrize(
    ("solver", "buffers", "seeds"),
    [(CpOffsets, 16, range(45)), (MathOptOffsets, 10, (40, 41, 42)), (PulpOffsets, 6, (49, 50))],
)
def test_full_sections_agree_with_the_exact_search(solver, buffers, seeds):
    above = 0
    for seed in seeds:
        problem = problem_of(tight_rows(seed, buffers))
        exact = pack(problem, Deadline(30))
        outcome = solve(solver, problem)
        assert outcome.status is exact.status is Status.OPTIMAL
        assert outcome.solution.height == exact.solution.height
        above += exact.solution.height > lower_bound(problem)
    assert above > 0


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scale", [1, 3 * 2**20, 2**40])
def test_sizes_scaled_by_a_constant_are_no_harder(solver, scale):
    rows = [(lower, upper, size * scale, 1) for lower, upper, size, _ in tight_rows(3, 10)]
    problem = problem_of(rows)
    outcome = solve(solver, problem)
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == pack(problem, Deadline(30)).solution.height


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", [-1, 2**31, 2**70])
def test_any_whole_number_is_a_seed(solver, seed):
    outcome = solve(solver, problem_of(tight_rows(3, 10)), seed=seed)
    assert outcome.status is Status.OPTIMAL


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("capacity", [None, 2**60 + 9])
def test_a_packing_higher_than_can_be_counted_is_left_to_others(solver, capacity):
    """Its bound is low, so that only greedy's packing shows it: one at 0, one at 2^60."""
    rows = [(0, 2, 10, 2**60), (1, 3, 11, 2**60), (0, 4, 1, 1)]
    problem = problem_of(rows, capacity=capacity)
    outcome = solve(solver, problem)
    assert not solver().unsupported(problem)
    assert outcome.status is (Status.FEASIBLE if capacity is None else Status.UNKNOWN)
    assert "units of 1 bytes" in outcome.statistics["stopped"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_floating_point_cannot_tell_apart_is_never_a_false_proof(solver):
    rows = [
        (lower, upper, size * 2**40 + index, 1)
        for index, (lower, upper, size, _) in enumerate(tight_rows(3, 10))
    ]
    problem = problem_of(rows)
    height = pack(problem, Deadline(30)).solution.height
    for capacity in (None, height):
        outcome = solve(solver, replace(problem, capacity=capacity), 3.0)
        reason = solver().unsupported(problem)
        if outcome.status is Status.OPTIMAL:
            assert outcome.solution.height == height
        assert outcome.status is not Status.INFEASIBLE
        assert reason == "" or outcome.status is Status.UNKNOWN


@pytest.mark.parametrize("solver", SOLVERS)
def test_alignment_below_odd_sizes_is_exact_to_the_byte(solver):
    rows = [(0, 2, 65, 64), (1, 3, 100, 64), (2, 4, 63, 32), (0, 4, 7, 1)]
    problem = problem_of(rows)
    outcome = solve(solver, problem)
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == pack(problem, Deadline(30)).solution.height
    tight = replace(problem, capacity=outcome.solution.height - 1)
    assert solve(solver, tight).status is Status.INFEASIBLE


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_output_over_the_head_of_its_input(solver):
    # Buffer 1 is an output of 10 bytes, 6 of which may lie on the first bytes of the input 0.
    problem = problem_of(
        [(0, 2, 8, 1), (1, 3, 10, 1), (0, 3, 3, 1)],
        pair_rules=(PairRule(0, 1, ((-4, 8),), 6),),
    )
    outcome = solve(solver, problem)
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == 4 + 8 + 3


@pytest.mark.parametrize("solver", SOLVERS)
def test_separated_buffers_never_meet_though_one_dies_first(solver):
    rows = [(0, 1, 5, 1), (2, 3, 4, 1)]
    assert solve(solver, problem_of(rows)).solution.height == 5
    rule = PairRule(1, 0, ((-5, 4),), 0)
    assert solve(solver, problem_of(rows, pair_rules=(rule,))).solution.height == 9


@pytest.mark.parametrize("solver", SOLVERS)
def test_another_buffer_lies_in_the_hole_of_a_window(solver):
    uses = uses_of([(0, 0, 1, 0, 9), (0, 1, 2, 0, 2), (0, 1, 2, 7, 9), (1, 1, 2, 0, 5)])
    problem = problem_of([(0, 2, 9, 1), (1, 2, 5, 1)], uses=uses)
    assert solve(solver, problem).solution.height == 9


@pytest.mark.parametrize("solver", SOLVERS)
def test_fixed_offsets_that_exclude_each_other_are_named(solver):
    fixed = np.array([-1, 4, 6], dtype=np.int64)
    problem = problem_of([(0, 9, 1, 1), (0, 9, 5, 1), (8, 9, 5, 1)], fixed=fixed)
    outcome = solve(solver, problem)
    assert outcome.status is Status.INFEASIBLE
    assert outcome.statistics["clash"] == (1, 2)


@pytest.mark.parametrize("solver", SOLVERS)
def test_nothing_to_place_and_a_single_buffer(solver):
    empty = solve(solver, problem_of([]))
    assert empty.status is Status.OPTIMAL
    assert empty.solution.height == 0
    assert solve(solver, problem_of([(0, 1, 5, 4)])).solution.height == 5
    assert solve(solver, problem_of([(0, 1, 5, 4)], capacity=4)).status is Status.INFEASIBLE
    apart = solve(solver, problem_of([(0, 1, 5, 4), (1, 2, 3, 8)]))
    assert apart.solution.offsets.tolist() == [0, 0]


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_time_or_a_cancelled_run_still_gives_a_legal_packing(solver):
    problem = problem_of(tiling(1, 60)[0])
    cancelled = Deadline(60)
    cancelled.cancel.set()
    for deadline in (Deadline(0), cancelled):
        outcome = solver().solve(problem, deadline=deadline)
        assert outcome.status is Status.FEASIBLE
        assert_solution(problem, outcome.solution)


@pytest.mark.parametrize("solver", SOLVERS)
def test_cut_short_it_claims_no_proof_that_is_false(solver):
    # The tiling fits 64 exactly, and none of the three finds that out in such a time.
    problem = problem_of(tiling(5, 110)[0])
    for seconds in (0.1, 0.3, 0.6):
        fit = solve(solver, replace(problem, capacity=64), seconds)
        assert fit.status is not Status.INFEASIBLE
        lowest = solve(solver, problem, seconds)
        assert lowest.lower_bound == 64
        assert lowest.status is (
            Status.OPTIMAL if lowest.solution.height == 64 else Status.FEASIBLE
        )


@pytest.mark.parametrize("solver", [CpOffsets, PulpOffsets])
def test_cancelling_from_another_thread_ends_it(solver):
    deadline = Deadline(300)
    problem = problem_of(tiling(5, 150, height=256, steps=60)[0])
    threading.Timer(0.5, deadline.cancel.set).start()
    started = time.monotonic()
    outcome = solver().solve(problem, deadline=deadline)
    assert_solution(problem, outcome.solution)
    # Far from the limit: this is about ending at all.
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_optimal_incumbent_is_kept_and_an_illegal_one_ignored(solver):
    problem = problem_of(tight_rows(3, 10))
    best = pack(problem, Deadline(30)).solution
    outcome = solve(solver, problem, incumbent=best)
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == best.height
    illegal = OffsetSolution(np.zeros(len(problem.size), dtype=np.int64), 1)
    outcome = solve(solver, problem, incumbent=illegal)
    assert outcome.solution.height == best.height
    with pytest.raises(ValueError, match="3 offsets for"):
        solve(solver, problem, incumbent=OffsetSolution(np.zeros(3, dtype=np.int64), 1))


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_found_and_proven_is_published(solver):
    problem = problem_of(tight_rows(50, 8))
    shared = SharedBest()
    messages = []
    outcome = solve(solver, problem, shared=shared, on_progress=messages.append)
    assert shared.height == shared.lower_bound == outcome.solution.height
    assert shared.offsets().tolist() == outcome.solution.offsets.tolist()
    assert messages[-1].startswith(f"{solver.name}: height ")


@pytest.mark.parametrize("solver", SOLVERS)
def test_it_ends_when_another_solver_proves_the_optimum(solver):
    rows, offsets = tiling(5, 110)
    shared = SharedBest()
    threading.Timer(0.4, shared.offer, (offsets, 64)).start()
    outcome = solve(solver, problem_of(rows), 300.0, shared=shared)
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == 64


@pytest.mark.parametrize("solver", SOLVERS)
def test_too_many_conflicts_are_refused_with_numbers(solver):
    problem = problem_of([(0, 10, 1 + v, 1) for v in range(1000)])
    reason = solver().unsupported(problem)
    assert "499,500" in reason
    outcome = solver().solve(problem, deadline=Deadline(30))
    assert outcome.status is Status.UNKNOWN
    assert outcome.statistics["stopped"] == reason
    assert solver().unsupported(problem_of(tight_rows(1, 10))) == ""


@pytest.mark.parametrize(
    ("solver", "package"),
    [(CpOffsets, "ortools"), (MathOptOffsets, "ortools"), (PulpOffsets, "pulp")],
)
def test_a_missing_package_is_named(solver, package, monkeypatch):
    assert solver().available().available
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    available, reason = solver().available()
    assert not available
    assert f"pip install {package}" in reason


@pytest.mark.parametrize("solver", IN_PROCESS)
def test_ortools_that_cannot_be_loaded_is_reported(solver, monkeypatch):
    monkeypatch.setitem(sys.modules, "ortools.math_opt.python", None)
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    outcome = solve(solver, problem_of(tight_rows(50, 8)))
    assert outcome.status is Status.FEASIBLE
    assert "ortools" in outcome.statistics["stopped"]


def test_importing_the_solvers_imports_no_optimiser():
    code = (
        "import sys, solvers.offsets.cp, solvers.offsets.mip, solvers.offsets.mathopt;"
        "sys.exit('ortools' in sys.modules or 'pulp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
