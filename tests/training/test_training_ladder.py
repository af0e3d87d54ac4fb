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


def figures(descent: Descent) -> list[tuple[int, int]]:
    return [(rung.peak_bytes, rung.recompute_ps) for rung in descent.rungs]


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


def test_a_frontier_trades_peak_for_recomputation(transformer: Descent) -> None:
    rungs = transformer.rungs
    assert transformer.complete
    assert rungs[0].recompute_ps == 0
    for before, after in pairwise(rungs):
        assert after.target_bytes == before.peak_bytes - 1
        assert after.peak_bytes < before.peak_bytes
        assert after.recompute_ps > before.recompute_ps
    assert rungs[-1].peak_bytes < 0.5 * rungs[0].peak_bytes


def test_rungs_do_not_depend_on_the_budget(transformer: Descent) -> None:
    for share in (0.9, 0.55):
        budget = int(share * transformer.rungs[0].peak_bytes)
        again = descend(transformer_problem(2), budget, deadline=Deadline(LONG_S))
        assert figures(again) == figures(transformer)


def test_peaks_fall_with_budgets(transformer: Descent) -> None:
    greatest, least = transformer.rungs[0].peak_bytes, transformer.rungs[-1].peak_bytes
    answers = [transformer.at(budget) for budget in range(greatest, least - 1, -(greatest // 500))]
    for before, after in pairwise(answers):
        assert before is not None and after is not None
        assert after.peak_bytes <= before.peak_bytes
        assert after.recompute_ps >= before.recompute_ps


def test_a_budget_below_the_least_peak_is_answered_with_none(transformer: Descent) -> None:
    least = transformer.rungs[-1].peak_bytes
    assert transformer.at(least) is transformer.rungs[-1]
    assert transformer.at(least - 1) is None


def test_a_budget_for_everything_needs_no_search() -> None:
    problem = transformer_problem(1)
    peak = memory_profile(problem, just_in_time(problem, problem.boundary.tolist())).peak_bytes
    descent = descend(problem, peak, deadline=Deadline(0.0))
    assert descent.complete
    assert descent.evaluations == 0
    answer = descent.at(peak)
    assert answer is not None and answer.recompute_ps == 0


def test_no_answer_recomputes_more_than_the_greedy_choice(transformer: Descent) -> None:
    problem = transformer_problem(2)
    search = LocalSearch(problem)
    greatest = search.everything_saved.peak_bytes
    for percent in range(50, 100, 5):
        greedy = search.evaluated(
            greedy_drop(problem, percent * greatest // 100, deadline=Deadline(60.0))
        )
        # The frontier tells peaks apart in 2048 parts of the greatest one.
        answer = transformer.at(greedy.peak_bytes + greatest // 2048 + 1)
        assert answer is not None
        assert answer.recompute_ps <= greedy.recompute_ps


def test_a_seed_that_costs_less_stands_with_its_own_plan() -> None:
    problem = transformer_problem(1)
    plain = descend(problem, 0, deadline=Deadline(LONG_S))
    better = plain.rungs[len(plain.rungs) // 2]
    miracle = Seed("miracle", better.schedule, better.peak_bytes, better.recompute_ps // 2)
    answer = descend(problem, 0, seeds=[miracle], deadline=Deadline(LONG_S)).at(better.peak_bytes)
    assert answer is not None
    assert answer.name == "miracle"
    assert answer.schedule is better.schedule


def test_a_search_starts_from_what_a_seed_keeps() -> None:
    problem = transformer_problem(2)
    budget = int(0.6 * LocalSearch(problem).everything_saved.peak_bytes)
    found = descend(problem, 0, deadline=Deadline(LONG_S)).at(budget)
    assert found is not None
    # Only what it keeps is known: its figures are too bad to stand for themselves.
    poor = Seed("poor", found.schedule, 10 * found.peak_bytes, 10 * found.recompute_ps)
    answer = descend(problem, 0, seeds=[poor], deadline=Deadline(LONG_S), seed=1).at(budget)
    assert answer is not None
    assert answer.name == "search"
    assert answer.recompute_ps <= found.recompute_ps


def test_without_time_the_greedy_choice_answers_and_nothing_is_claimed() -> None:
    problem = transformer_problem(2)
    everything = LocalSearch(problem).everything_saved.peak_bytes
    descent = descend(problem, int(0.8 * everything), deadline=Deadline(0.0))
    assert not descent.complete
    answer = descent.at(int(0.8 * everything))
    assert answer is not None and answer.recompute_ps > 0


def test_a_cancelled_search_hands_back_what_it_has() -> None:
    problem = transformer_problem(2)
    deadline = Deadline(LONG_S)
    lines: list[str] = []

    def stop_soon(line: str) -> None:
        lines.append(line)
        if len(lines) == 5:
            deadline.cancel.set()

    descent = descend(problem, 0, deadline=deadline, on_progress=stop_soon)
    assert len(lines) == 5
    assert not descent.complete
    assert len(descent.rungs) > 1


def test_the_greedy_choice_fits_where_dropping_is_enough() -> None:
    problem = chain_problem([8] * 12, [1] * 12)
    everything = memory_profile(
        problem, just_in_time(problem, problem.boundary.tolist())
    ).peak_bytes
    kept = greedy_drop(problem, everything - 8, deadline=Deadline(60.0))
    schedule: TrainingSchedule = just_in_time(problem, kept.saved, kept.repeated)
    assert memory_profile(problem, schedule).peak_bytes <= everything - 8
    assert recompute_ps(problem, schedule) > 0
