"""The ladder of plans: exact figures, falling peaks, the same rungs whatever budget was asked."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.testing.training_problems import chain_problem, random_problem, transformer_problem
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.schedule import TrainingSchedule, recompute_ps
from planner.training.seed import Seed
from solvers.protocol import Deadline
from solvers.training.greedy_drop import greedy_drop
from solvers.training.ladder import Descent, descend
from solvers.training.local_search import LocalSearch

LONG_S = 600.0


@pytest.fixture(scope="module")
def transformer() -> Descent:
    return descend(transformer_problem(2), 0, deadline=Deadline(LONG_S))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 16), st.integers(1, 16))
def test_every_rung_says_what_its_schedule_holds_and_costs(
    seed: int, forward: int, backward: int
) -> None:
    problem = random_problem(random.Random(seed), forward, backward)
    descent = descend(problem, 0, deadline=Deadline(LONG_S))
    assert descent.complete
    for rung in descent.rungs:
        assert rung.peak_bytes == memory_profile(problem, rung.schedule).peak_bytes
        assert rung.recompute_ps == recompute_ps(problem, rung.schedule)
        assert rung.peak_bytes <= rung.target_bytes


def test_targets_and_peaks_fall(transformer: Descent) -> None:
    rungs = transformer.rungs
    assert rungs[0].name == "save-everything"
    assert rungs[0].recompute_ps == 0
    for before, after in pairwise(rungs):
        assert after.target_bytes < before.target_bytes
        assert after.peak_bytes <= before.peak_bytes
    assert rungs[-1].peak_bytes < 0.5 * rungs[0].peak_bytes


def test_rungs_do_not_depend_on_the_budget(transformer: Descent) -> None:
    for share in (0.9, 0.7, 0.55):
        budget = int(share * transformer.rungs[0].peak_bytes)
        shorter = descend(transformer_problem(2), budget, deadline=Deadline(LONG_S))
        assert shorter.rungs == transformer.rungs[: len(shorter.rungs)]
        assert shorter.at(budget) == transformer.at(budget)
        assert shorter.rungs[-1].peak_bytes <= budget


def test_a_budget_below_the_least_peak_is_answered_with_none(transformer: Descent) -> None:
    least = transformer.rungs[-1].peak_bytes
    assert transformer.at(least) is not None
    assert transformer.at(least - 1) is None


def test_no_rung_recomputes_more_than_the_greedy_choice(transformer: Descent) -> None:
    problem = transformer_problem(2)
    search = LocalSearch(problem)
    for rung in transformer.rungs[:: len(transformer.rungs) // 8]:
        greedy = search.evaluated(greedy_drop(problem, rung.target_bytes))
        assert (0, rung.recompute_ps) <= greedy.score(rung.target_bytes)


def test_a_seed_that_costs_less_wins_its_rungs_with_its_own_plan() -> None:
    problem = transformer_problem(1)
    plain = descend(problem, 0, deadline=Deadline(LONG_S))
    better = plain.rungs[len(plain.rungs) // 2]
    miracle = Seed("miracle", better.schedule, better.peak_bytes, better.recompute_ps // 2)
    seeded = descend(problem, better.peak_bytes, seeds=[miracle], deadline=Deadline(LONG_S))
    assert seeded.rungs[-1].name == "miracle"
    assert seeded.rungs[-1].schedule is better.schedule


def test_a_seed_with_a_higher_peak_than_its_choice_has_is_taken_at_its_word() -> None:
    problem = chain_problem([8] * 6, [1] * 6)
    descent = descend(problem, 0, deadline=Deadline(LONG_S))
    last = descent.rungs[-1]
    poor = Seed("poor", last.schedule, last.peak_bytes + 100, last.recompute_ps)
    assert descend(problem, 0, seeds=[poor], deadline=Deadline(LONG_S)).rungs[-1].peak_bytes <= (
        last.peak_bytes
    )


def test_without_time_the_greedy_choice_answers_and_nothing_is_claimed() -> None:
    problem = transformer_problem(2)
    everything = LocalSearch(problem).everything_saved
    budget = int(0.8 * everything.peak_bytes)
    descent = descend(problem, budget, deadline=Deadline(0.0))
    assert not descent.complete
    assert descent.rungs[0].peak_bytes == everything.peak_bytes
    assert descent.rungs[-1].name == "greedy-drop"
    assert descent.rungs[-1].peak_bytes < everything.peak_bytes


def test_the_greedy_choice_fits_where_dropping_is_enough() -> None:
    problem = chain_problem([8] * 12, [1] * 12)
    everything = memory_profile(
        problem, just_in_time(problem, problem.boundary.tolist())
    ).peak_bytes
    kept = greedy_drop(problem, everything - 8)
    schedule: TrainingSchedule = just_in_time(problem, kept.saved, kept.repeated)
    assert memory_profile(problem, schedule).peak_bytes <= everything - 8
    assert recompute_ps(problem, schedule) > 0


def test_progress_is_told() -> None:
    told: list[str] = []
    descend(transformer_problem(1), 0, deadline=Deadline(LONG_S), on_progress=told.append)
    assert told and all("recomputation" in line for line in told)
