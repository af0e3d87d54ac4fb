"""Bounds of training steps: below what any schedule does, and close to it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from planner.testing.training_brute_force import least_peak, least_recompute
from planner.testing.training_problems import (
    StepBuilder,
    chain_problem,
    random_problem,
    transformer_problem,
)
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.problem import HostLink, TrainingProblem
from planner.training.schedule import recompute_ps
from solvers.protocol import Deadline
from solvers.training.bounds import peak_bound, recompute_bound
from solvers.training.moment_plans import moment_plans


def bound_of(problem: TrainingProblem, budget: int) -> int | None:
    return recompute_bound(problem, budget, deadline=Deadline(60)).recompute_ps


def outcome(problem: TrainingProblem, saved: set[int], repeated: set[int]) -> tuple[int, int]:
    schedule = just_in_time(problem, saved, repeated)
    return memory_profile(problem, schedule).peak_bytes, recompute_ps(problem, schedule)


@pytest.mark.parametrize("seed", range(40))
def test_no_choice_of_what_is_kept_beats_the_bounds(seed: int) -> None:
    chance = random.Random(seed)
    problem = random_problem(chance, chance.randint(3, 12), chance.randint(1, 10))
    storages = [s for o in problem.forward_operators for s in problem.writes.row(o).tolist()]
    least = peak_bound(problem)
    found: dict[int, int] = {}
    for _ in range(30):
        share = chance.random()
        saved = {s for s in storages if chance.random() < share}
        repeated = {o for o in problem.forward_operators.tolist() if chance.random() < 0.2}
        peak, extra = outcome(problem, saved, repeated)
        found[peak] = min(extra, found.get(peak, extra))
    assert least <= min(found)
    for peak in chance.sample(sorted(found), min(3, len(found))):
        bound = bound_of(problem, peak)
        assert bound is not None
        assert bound <= found[peak]


@pytest.mark.parametrize("seed", range(25))
def test_bounds_hold_for_every_schedule_of_a_tiny_step(seed: int) -> None:
    chance = random.Random(seed)
    problem = random_problem(chance, chance.randint(2, 5), chance.randint(1, 4))
    least = least_peak(problem)
    assert peak_bound(problem) <= least
    for budget in range(least, least + 8, 2):
        schedule = least_recompute(problem, budget)
        assert schedule is not None
        bound = bound_of(problem, budget)
        assert bound is not None
        assert bound <= recompute_ps(problem, schedule)


def test_a_budget_below_the_least_peak_is_told_apart() -> None:
    problem = chain_problem([4] * 8, [3] * 8)
    least = peak_bound(problem)
    assert bound_of(problem, least - 1) is None
    assert bound_of(problem, least) is not None


def test_nothing_is_claimed_where_everything_fits() -> None:
    problem = transformer_problem(2)
    everything, _ = outcome(problem, set(problem.boundary.tolist()), set())
    assert bound_of(problem, everything) == 0


def test_the_least_peak_is_that_of_the_operator_with_the_largest_operands_and_results() -> None:
    step = StepBuilder()
    (a,) = step.operator("a", [], [8])
    (b,) = step.operator("b", [a], [2])
    (loss,) = step.operator("loss", [b], [1])
    (flow,) = (step.tangent(1),)
    (flow,) = step.operator("backward1", [flow], [1], backward=True)
    (gradient,) = step.operator("backward0", [flow, b], [1], backward=True)
    problem = step.problem([loss], [gradient])
    # a and b in the forward half, where the output is not yet there.
    assert peak_bound(problem) == 10


def test_four_layers_of_a_transformer_are_bounded_by_what_is_achieved() -> None:
    # Best of a long search for half of the boundary's peak: 24,267,980,800 ps, which is optimal.
    problem = transformer_problem(4)
    budget, _ = outcome(problem, set(problem.boundary.tolist()), set())
    assert bound_of(problem, budget // 2) == 24_267_980_800


@pytest.mark.parametrize("share", [0.9, 0.8, 0.7, 0.6])
def test_the_choice_behind_a_bound_attains_it(share: float) -> None:
    problem = transformer_problem(4)
    budget = int(share * outcome(problem, set(problem.boundary.tolist()), set())[0])
    bound = recompute_bound(problem, budget, deadline=Deadline(60))
    peak, extra = outcome(problem, set(bound.saved), set())
    assert peak <= budget
    assert extra == bound.recompute_ps


def test_plans_from_single_moments_go_down_to_small_budgets() -> None:
    problem = transformer_problem(4)
    everything, _ = outcome(problem, set(problem.boundary.tolist()), set())
    plans = moment_plans(problem, deadline=Deadline(60))
    assert min(plan.peak_bytes for plan in plans) < everything / 2
    for plan in plans:
        profile = memory_profile(problem, plan.schedule)
        assert profile.peak_bytes == plan.peak_bytes
        assert recompute_ps(problem, plan.schedule) == plan.recompute_ps


def test_equal_layers_of_a_chain_are_bounded_by_what_is_achieved() -> None:
    problem = chain_problem([4] * 24, [3] * 24)
    assert bound_of(problem, 84) == 18
    assert bound_of(problem, 63) == 33


def test_what_the_host_can_take_is_not_recomputed() -> None:
    problem = chain_problem([4] * 24, [3] * 24)
    link = HostLink(12, 1e9, 1e9)
    alone, helped = bound_of(problem, 63), bound_of(replace(problem, host=link), 63)
    assert alone is not None
    assert helped is not None
    assert 0 < helped < alone
    assert bound_of(replace(problem, host=link._replace(capacity_bytes=1000)), 63) == 0


def test_operators_that_only_the_backward_half_needs_run_once_for_nothing() -> None:
    step = StepBuilder()
    (x,) = step.operator("x", [], [1])
    (mask,) = step.operator("mask", [x], [8], 5)
    (loss,) = step.operator("loss", [x], [8])
    (flow,) = (step.tangent(1),)
    (flow,) = step.operator("big", [flow], [8], backward=True)
    (flow,) = step.operator("small", [flow], [1], backward=True)
    (gradient,) = step.operator("last", [flow, mask], [1], backward=True)
    problem = step.problem([loss], [gradient])
    assert not problem.in_forward[1]
    for budget in range(peak_bound(problem), 30):
        assert bound_of(problem, budget) in (0, 1)


def test_an_expired_deadline_still_answers() -> None:
    problem = transformer_problem(2)
    bound = recompute_bound(problem, 25_000_000, deadline=Deadline(0.0))
    assert bound.recompute_ps == 0


def test_the_same_question_has_the_same_answer() -> None:
    problem = random_problem(random.Random(5), 14, 12)
    budget = peak_bound(problem) + 2
    answers = [recompute_bound(problem, budget, deadline=Deadline(60)) for _ in range(2)]
    assert answers[0].recompute_ps
    assert answers[0] == answers[1]
