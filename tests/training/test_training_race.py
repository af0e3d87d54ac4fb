"""The race: legal plans, honest statuses, peaks that fall with budgets, stops when told to."""

from __future__ import annotations

import random
import signal

import pytest

from planner.errors import DoesNotFitError, UsageError
from planner.problem import Status
from planner.report.training_text import render_training
from planner.testing.training_brute_force import least_peak, least_recompute
from planner.testing.training_problems import chain_problem, random_problem, transformer_problem
from planner.training.checker import check_training
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.misfit import misfit
from planner.training.race import plan_training
from planner.training.schedule import recompute_ps
from planner.training.seed import Seed
from solvers.protocol import Deadline
from solvers.training.greedy_drop import greedy_drop

TRANSFORMER = transformer_problem(2, tokens=64, width=32, vocabulary=128)
UNPLANNED = memory_profile(
    TRANSFORMER, just_in_time(TRANSFORMER, TRANSFORMER.boundary.tolist())
).peak_bytes


def small_problems() -> list:
    chance = random.Random(5)
    chains = [
        chain_problem([chance.randint(1, 9) for _ in range(5)], [chance.randint(1, 9)] * 5)
        for _ in range(2)
    ]
    return chains + [random_problem(chance, 5, 4) for _ in range(3)]


@pytest.mark.parametrize("share", [1.0, 0.9, 0.8, 0.7])
def test_the_plan_is_legal_within_the_budget_and_not_dearer_than_greedy(share: float) -> None:
    budget = int(share * UNPLANNED)
    result = plan_training(TRANSFORMER, budget)
    assert result.fits
    assert check_training(TRANSFORMER, result.schedule, budget) == []
    greedy = just_in_time(TRANSFORMER, *greedy_drop(TRANSFORMER, budget, deadline=Deadline(60.0)))
    if memory_profile(TRANSFORMER, greedy).peak_bytes <= budget:
        assert recompute_ps(TRANSFORMER, result.schedule) <= recompute_ps(TRANSFORMER, greedy)
    assert result.extra_bound_s <= result.extra_s
    assert result.peak_bound_bytes <= result.predicted_peak_bytes


def test_nothing_is_recomputed_where_everything_fits_and_that_is_called_optimal() -> None:
    result = plan_training(TRANSFORMER, UNPLANNED)
    assert result.status is Status.OPTIMAL
    assert result.extra_s == 0
    assert result.predicted_peak_bytes <= UNPLANNED


@pytest.mark.parametrize("problem", small_problems())
def test_small_steps_are_judged_as_brute_force_judges_them(problem) -> None:
    least = least_peak(problem)
    top = memory_profile(problem, just_in_time(problem, problem.boundary.tolist())).peak_bytes
    for budget in {least, (least + top) // 2, top}:
        result = plan_training(problem, budget)
        best = least_recompute(problem, budget)
        assert best is not None
        optimum = recompute_ps(problem, best)
        if result.fits:
            extra = recompute_ps(problem, result.schedule)
            assert extra >= optimum
            assert result.extra_bound_ps <= optimum
            assert (result.status is Status.OPTIMAL) <= (extra == optimum)
        assert result.status is not Status.INFEASIBLE
    result = plan_training(problem, least - 1)
    assert not result.fits
    assert result.status in (Status.INFEASIBLE, Status.UNKNOWN)


@pytest.mark.parametrize("problem", small_problems())
def test_a_smaller_budget_never_gives_a_higher_peak(problem) -> None:
    top = memory_profile(problem, just_in_time(problem, problem.boundary.tolist())).peak_bytes
    peaks = []
    for budget in range(top + 1, 0, -1):
        result = plan_training(problem, budget)
        if not result.fits:
            break
        peaks.append(result.predicted_peak_bytes)
    assert peaks
    assert peaks == sorted(peaks, reverse=True)


def test_peaks_fall_along_the_frontier_and_recomputation_grows() -> None:
    frontier = plan_training(TRANSFORMER, 0, solvers=["ladder"]).frontier
    assert len(frontier) > 10
    peaks = [point.peak_bytes for point in frontier]
    assert peaks == sorted(peaks, reverse=True)
    for point in frontier:
        assert check_training(TRANSFORMER, point.schedule, point.peak_bytes) == []
        assert recompute_ps(TRANSFORMER, point.schedule) == point.recompute_ps


def test_a_seed_that_costs_less_than_all_others_wins() -> None:
    budget = int(0.7 * UNPLANNED)
    best = plan_training(TRANSFORMER, budget)
    seed = Seed(
        "gift", best.schedule, best.predicted_peak_bytes, recompute_ps(TRANSFORMER, best.schedule)
    )
    result = plan_training(TRANSFORMER, budget, seeds=[seed], solvers=[])
    assert result.contender == "gift"


def test_an_illegal_seed_is_refused_by_name() -> None:
    plan = plan_training(TRANSFORMER, UNPLANNED).schedule
    broken = Seed("forged", plan.__class__(plan.forward, plan.backward[:-1], plan.saved), 1, 0)
    result = plan_training(TRANSFORMER, UNPLANNED, seeds=[broken])
    assert result.contender != "forged"
    report = next(c for c in result.contenders if c.name == "forged")
    assert report.status == "failed"
    assert "legal" in report.note


def test_a_budget_below_the_bound_is_proven_infeasible_and_explained() -> None:
    bound = plan_training(TRANSFORMER, UNPLANNED).peak_bound_bytes
    result = plan_training(TRANSFORMER, bound - 1)
    assert result.status is Status.INFEASIBLE
    error = misfit(result)
    assert isinstance(error, DoesNotFitError)
    assert error.proven
    assert f"{bound:,}" in str(error)
    assert f"{result.predicted_peak_bytes:,}" in str(error)
    assert result.culprits[0].name in str(error)
    assert "over by" in render_training(result, "step")


def test_a_race_without_time_hands_back_the_plan_that_saves_everything() -> None:
    result = plan_training(transformer_problem(12), 0, time_limit=1e-6)
    assert check_training(result.problem, result.schedule) == []
    assert not result.frontier_complete


def test_ctrl_c_ends_the_race_with_the_best_plan_so_far() -> None:
    result = plan_training(
        transformer_problem(6),
        10**6,
        time_limit=60,
        on_progress=lambda _: signal.raise_signal(signal.SIGINT),
    )
    assert result.interrupted
    assert check_training(result.problem, result.schedule) == []


def test_an_unknown_solver_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UsageError, match="ladder"):
        plan_training(TRANSFORMER, UNPLANNED, solvers=["magic"])


def test_the_report_names_budget_peak_bound_and_solvers() -> None:
    text = render_training(plan_training(TRANSFORMER, int(0.7 * UNPLANNED)), "tiny")
    for part in ("budget", "predicted peak", "no plan below", "recomputed", "ladder", "legal"):
        assert part in text
