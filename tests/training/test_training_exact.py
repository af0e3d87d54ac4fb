"""Checkmate's program and Moccasin's intervals of training steps, against brute force."""

from __future__ import annotations

import random

import pytest

from planner.problem import Status
from planner.testing.training_brute_force import least_peak, least_recompute
from planner.testing.training_problems import StepBuilder, chain_problem, random_problem
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps
from solvers.protocol import Deadline
from solvers.training.checkmate import CheckmateRounding, CheckmateTraining
from solvers.training.checkmate_relaxation import relaxed_bound
from solvers.training.moccasin import MoccasinTraining
from solvers.training.slots import execution_times, number_slots
from solvers.training.stages import least_base, staged_grid

LONG_S = 60.0
# As many copies as any operator of the small problems has places to run at.
ALL_COPIES = 12


def small_problems():
    for seed in range(8):
        yield f"random {seed}", random_problem(random.Random(seed), 5, 4)
    for layers, skip in ((4, 0), (5, 2)):
        chance = random.Random(layers)
        sizes = [chance.choice((1, 2, 4, 8)) for _ in range(layers)]
        durations = [chance.randint(1, 10) for _ in range(layers)]
        yield f"chain of {layers}", chain_problem(sizes, durations, skip=skip)


PROBLEMS = dict(small_problems())


def saving_all(problem):
    schedule = just_in_time(problem, problem.boundary.tolist())
    return schedule, memory_profile(problem, schedule).peak_bytes


def budgets(problem):
    """Just below the least peak of the grid, at it, between, and where nothing is recomputed."""
    least = least_peak(problem, staged=True)
    _, most = saving_all(problem)
    return sorted({least - 1, least, (least + most) // 2, most})


def judge(problem, budget, outcome):
    """Compare with brute force; return its least recomputation in the grid, None if impossible."""
    best = least_recompute(problem, budget, staged=True)
    if outcome.status is Status.INFEASIBLE:
        assert least_recompute(problem, budget) is None
    if outcome.solution is None:
        assert best is None
        return None
    assert memory_profile(problem, outcome.solution).peak_bytes <= budget
    assert best is not None
    expected = recompute_ps(problem, best)
    assert recompute_ps(problem, outcome.solution) == expected
    if outcome.status is Status.OPTIMAL:
        everything = least_recompute(problem, budget)
        assert everything is not None
        assert recompute_ps(problem, everything) == expected
    return expected


@pytest.mark.parametrize("name", PROBLEMS)
def test_checkmate_equals_brute_force(name):
    pytest.importorskip("pulp")
    problem = PROBLEMS[name]
    for budget in budgets(problem):
        outcome = CheckmateTraining().solve(problem, budget, deadline=Deadline(LONG_S))
        expected = judge(problem, budget, outcome)
        if expected is None:
            proven = outcome.statistics.get("staged_infeasible")
            assert outcome.status is Status.INFEASIBLE or proven
        else:
            assert outcome.statistics.get("staged_bound", expected) == expected


@pytest.mark.parametrize("name", PROBLEMS)
def test_moccasin_with_copies_enough_equals_brute_force(name):
    pytest.importorskip("ortools")
    problem = PROBLEMS[name]
    solver = MoccasinTraining(ALL_COPIES)
    for budget in budgets(problem):
        outcome = solver.solve(problem, budget, deadline=Deadline(LONG_S))
        expected = judge(problem, budget, outcome)
        if expected is None:
            proven = outcome.statistics.get("copies_infeasible")
            assert outcome.status is Status.INFEASIBLE or proven
        elif outcome.status is Status.FEASIBLE:
            assert outcome.statistics["copies_bound"] == expected
            assert outcome.statistics["staged_bound"] == expected


@pytest.mark.parametrize("seed", range(10))
def test_two_copies_say_nothing_wrong_of_more(seed):
    pytest.importorskip("ortools")
    problem = random_problem(random.Random(seed), 5, 4)
    start, _ = saving_all(problem)
    for budget in budgets(problem):
        outcome = MoccasinTraining(2).solve(
            problem, budget, deadline=Deadline(LONG_S), incumbent=start
        )
        best = least_recompute(problem, budget, staged=True)
        assert outcome.solution is None or best is not None
        if best is not None:
            assert outcome.statistics.get("staged_bound", 0) <= recompute_ps(problem, best)
            assert outcome.status is not Status.INFEASIBLE
        if outcome.solution is not None:
            assert memory_profile(problem, outcome.solution).peak_bytes <= budget
            assert outcome.statistics.get("copies_bound", 0) <= recompute_ps(
                problem, outcome.solution
            )


@pytest.mark.parametrize("seed", range(10))
def test_the_relaxation_is_below_what_brute_force_finds(seed):
    pytest.importorskip("ortools")
    problem = random_problem(random.Random(seed), 5, 4)
    grid = staged_grid(problem)
    assert least_base(problem, grid) <= least_peak(problem)
    for budget in budgets(problem):
        best = least_recompute(problem, budget, staged=True)
        if best is not None:
            bound = relaxed_bound(problem, grid, budget, deadline=Deadline(LONG_S))
            assert bound <= recompute_ps(problem, best)


@pytest.mark.parametrize("name", ["random 1", "random 5", "chain of 5"])
def test_roundings_are_within_the_budget_or_not_handed_back(name):
    pytest.importorskip("pulp")
    problem = PROBLEMS[name]
    _, most = saving_all(problem)
    for budget in budgets(problem):
        outcome = CheckmateRounding().solve(problem, budget, deadline=Deadline(LONG_S))
        if outcome.solution is None:
            assert budget < most
        else:
            assert memory_profile(problem, outcome.solution).peak_bytes <= budget
            best = least_recompute(problem, budget, staged=True)
            assert best is not None
            assert recompute_ps(problem, outcome.solution) >= recompute_ps(problem, best)


@pytest.mark.parametrize("seed", range(10))
def test_schedules_by_stages_lie_on_the_grid(seed):
    problem = random_problem(random.Random(seed), 5, 4)
    grid = staged_grid(problem)
    slots = number_slots(grid)
    schedule, _ = saving_all(problem)
    dropped = just_in_time(problem, problem.boundary.tolist()[1:])
    for each in (schedule, dropped):
        times = execution_times(grid, slots, each)
        assert times is not None
        for operator, of_operator in times.items():
            ran = [*each.forward, *each.backward].count(operator)
            assert len(of_operator) == ran
            assert of_operator == sorted(set(of_operator))


@pytest.mark.parametrize(
    ("solver", "needs"),
    [
        (CheckmateTraining(), "pulp"),
        (CheckmateRounding(), "pulp"),
        (MoccasinTraining(), "ortools"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
class TestEverySolver:
    def test_hands_the_incumbent_back_when_cancelled(self, solver, needs):
        pytest.importorskip(needs)
        problem = chain_problem([2] * 40, [3] * 40)
        start = just_in_time(problem, problem.boundary.tolist()[::2])
        budget = memory_profile(problem, start).peak_bytes
        deadline = Deadline(LONG_S)
        deadline.cancel.set()
        outcome = solver.solve(problem, budget, deadline=deadline, incumbent=start)
        assert outcome.solution == start
        assert outcome.status is Status.FEASIBLE

    def test_is_never_worse_than_the_incumbent(self, solver, needs):
        pytest.importorskip(needs)
        problem = chain_problem([4, 1, 4, 1, 4, 1], [3, 2, 3, 2, 3, 2])
        start = just_in_time(problem, problem.boundary.tolist()[::2])
        budget = memory_profile(problem, start).peak_bytes
        outcome = solver.solve(problem, budget, deadline=Deadline(0.5), incumbent=start)
        assert outcome.solution is not None
        assert recompute_ps(problem, outcome.solution) <= recompute_ps(problem, start)

    def test_ignores_an_incumbent_over_the_budget(self, solver, needs):
        pytest.importorskip(needs)
        problem = chain_problem([4, 1, 4, 1, 4, 1], [3, 2, 3, 2, 3, 2])
        start, most = saving_all(problem)
        outcome = solver.solve(problem, most - 1, deadline=Deadline(LONG_S), incumbent=start)
        if outcome.solution is not None:
            assert memory_profile(problem, outcome.solution).peak_bytes < most

    def test_says_infeasible_where_one_operator_alone_does_not_fit(self, solver, needs):
        pytest.importorskip(needs)
        problem = chain_problem([4, 4, 4], [1, 1, 1])
        outcome = solver.solve(problem, 11, deadline=Deadline(LONG_S))
        assert outcome.status is Status.INFEASIBLE
        assert outcome.solution is None

    def test_calls_optimal_what_meets_a_bound_on_all_schedules(self, solver, needs):
        pytest.importorskip(needs)
        problem = chain_problem([2, 2, 2, 2], [3, 5, 7, 9])
        start = just_in_time(problem, problem.boundary.tolist()[1:])
        outcome = solver.solve(
            problem, 13, deadline=Deadline(LONG_S), incumbent=start, lower_bound=3
        )
        assert outcome.status is Status.OPTIMAL
        assert outcome.lower_bound == 3


def test_sizes_that_share_no_divisor_with_what_lives_anyway():
    # Forward storages are multiples of 4 bytes; the tangent of 3 leaves room for whole ones only.
    pytest.importorskip("ortools")
    step = StepBuilder()
    (a,) = step.operator("a", [], [4], 5)
    (b,) = step.operator("b", [a], [4], 5)
    (c,) = step.operator("c", [b], [4], 5)
    flow = step.tangent(3)
    (d,) = step.operator("d", [flow, b], [3], backward=True)
    (e,) = step.operator("e", [d, a], [3], backward=True)
    problem = step.problem([c], [e])
    for budget in range(12, 20):
        best = least_recompute(problem, budget, staged=True)
        outcome = MoccasinTraining(3).solve(problem, budget, deadline=Deadline(LONG_S))
        assert (outcome.solution is None) == (best is None)
        if best is not None and outcome.solution is not None:
            assert recompute_ps(problem, outcome.solution) == recompute_ps(problem, best)
