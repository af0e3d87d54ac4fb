"""The native evaluator counts what the schedule and its memory profile say, move by move."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.testing.training_problems import random_problem, transformer_problem
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.retention import Retention
from planner.training.schedule import recompute_ps
from solvers._native import TrainingEvaluator, TrainingSearch
from solvers.training.native_model import index_array, native_model

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem


def expected(problem: TrainingProblem, choice: Retention) -> tuple[int, int]:
    schedule = just_in_time(problem, choice.saved, choice.repeated)
    return memory_profile(problem, schedule).peak_bytes, recompute_ps(problem, schedule)


def forward_storages(problem: TrainingProblem) -> list[int]:
    return [s for o in problem.forward_operators.tolist() for s in problem.writes.row(o).tolist()]


def any_of(rng: random.Random, items: list[int]) -> frozenset[int]:
    share = rng.choice((0.0, 0.1, 0.3, 0.5, 0.9))
    return frozenset(i for i in items if rng.random() < share)


def any_choice(rng: random.Random, problem: TrainingProblem) -> Retention:
    return Retention(
        any_of(rng, forward_storages(problem)), any_of(rng, problem.forward_operators.tolist())
    )


def evaluated(evaluator: TrainingEvaluator, choice: Retention) -> tuple[int, int]:
    return evaluator.evaluate(index_array(choice.saved), index_array(choice.repeated))


@settings(deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 24), st.integers(1, 24), st.sampled_from((0.0, 0.1, 0.4))
)
def test_the_kernel_counts_what_the_profile_of_the_schedule_counts(
    seed: int, forward: int, backward: int, fixed: float
) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, forward, backward, fixed=fixed)
    evaluator = TrainingEvaluator(native_model(problem))
    for _ in range(12):
        choice = any_choice(rng, problem)
        assert evaluated(evaluator, choice) == expected(problem, choice)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 24), st.integers(1, 24))
def test_moves_count_what_the_whole_choice_counts(seed: int, forward: int, backward: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, forward, backward)
    model = native_model(problem)
    moved, whole = TrainingEvaluator(model), TrainingEvaluator(model)
    choice = any_choice(rng, problem)
    evaluated(moved, choice)
    storages = sorted(set(forward_storages(problem)) - set(problem.forward_outputs.tolist()))
    for _ in range(30):
        flips = Retention(
            frozenset(rng.sample(storages, min(len(storages), rng.choice((0, 1, 1, 2, 3))))),
            frozenset(rng.sample(problem.forward_operators.tolist(), rng.choice((0, 0, 1)))),
        )
        choice = Retention(choice.saved ^ flips.saved, choice.repeated ^ flips.repeated)
        found = moved.flip(index_array(flips.saved), index_array(flips.repeated))
        assert found == evaluated(whole, choice)
    assert evaluated(moved, choice) == expected(problem, choice)


def test_a_transformer_is_counted_exactly() -> None:
    rng = random.Random(1)
    problem = transformer_problem(2)
    evaluator = TrainingEvaluator(native_model(problem))
    for _ in range(100):
        choice = any_choice(rng, problem)
        assert evaluated(evaluator, choice) == expected(problem, choice)


def test_what_is_no_storage_of_the_forward_half_is_refused() -> None:
    problem = transformer_problem(1)
    evaluator = TrainingEvaluator(native_model(problem))
    with pytest.raises(ValueError, match="no such storage of the forward half"):
        evaluator.evaluate(index_array(problem.tangents.tolist()), index_array([]))
    with pytest.raises(ValueError, match="no such forward operator"):
        evaluator.evaluate(index_array([]), index_array(problem.backward_operators.tolist()))


@pytest.mark.parametrize("wrong", [-1, -(2**31), 10**6, 2**31 - 1])
def test_indices_out_of_range_are_refused(wrong: int) -> None:
    problem = transformer_problem(1)
    evaluator = TrainingEvaluator(native_model(problem))
    none, bad = index_array([]), index_array([wrong])
    for change in (evaluator.evaluate, evaluator.flip):
        with pytest.raises(ValueError, match="saved: no such storage"):
            change(bad, none)
        with pytest.raises(ValueError, match="repeated: no such forward operator"):
            change(none, bad)
    for name in ("forward_outputs", "gradients", "tangents"):
        with pytest.raises(ValueError, match="no such storage"):
            native_model(replace(problem, **{name: bad}))


def test_an_index_given_twice_counts_once() -> None:
    problem = transformer_problem(1)
    evaluator = TrainingEvaluator(native_model(problem))
    once, none = index_array(problem.boundary.tolist()), index_array([])
    assert evaluator.evaluate(np.repeat(once, 2), none) == evaluator.evaluate(once, none)


@pytest.mark.parametrize("name", ["size_bytes", "workspace_bytes", "duration_ps"])
@pytest.mark.parametrize("value", [-1, 2**62, 2**63 - 1])
def test_numbers_whose_sums_could_overflow_or_that_are_negative_are_refused(
    name: str, value: int
) -> None:
    problem = transformer_problem(1)
    numbers = getattr(problem, name).copy()
    numbers[0] = value
    with pytest.raises(ValueError, match="negative" if value < 0 else "exceeds"):
        native_model(replace(problem, **{name: numbers}))


def test_the_largest_sizes_that_are_accepted_are_counted_exactly() -> None:
    problem = transformer_problem(1)
    factor = 2**60 // int(problem.size_bytes.sum() + problem.workspace_bytes.sum())
    huge = replace(
        problem,
        size_bytes=problem.size_bytes * factor,
        workspace_bytes=problem.workspace_bytes * factor,
    )
    rng = random.Random(3)
    evaluator = TrainingEvaluator(native_model(huge))
    for _ in range(10):
        choice = any_choice(rng, huge)
        assert evaluated(evaluator, choice) == expected(huge, choice)


@pytest.mark.parametrize("greatest", [-1, -2048, -(2**62)])
def test_a_search_refuses_a_negative_peak(greatest: int) -> None:
    with pytest.raises(ValueError, match="greatest_peak"):
        TrainingSearch(native_model(transformer_problem(1)), greatest)


def test_what_is_no_row_of_indices_is_refused() -> None:
    problem = transformer_problem(1)
    evaluator = TrainingEvaluator(native_model(problem))
    none = index_array([])
    for wrong in (np.zeros((2, 2), dtype=np.int32), None):
        with pytest.raises(TypeError):
            evaluator.evaluate(wrong, none)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="different lengths"):
        native_model(replace(problem, duration_ps=problem.duration_ps[:-1]))
