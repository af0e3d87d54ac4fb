"""Time of the evaluator of training steps and of whole frontiers. Run with ``-m slow``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from planner.testing.training_problems import transformer_problem
from solvers._native import TrainingEvaluator
from solvers.protocol import Deadline
from solvers.training.ladder import descend
from solvers.training.native_model import index_array, native_model

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = pytest.mark.slow

FLIPS, WHOLE = 20_000, 200


@pytest.mark.parametrize("layers", [12, 100])
def test_a_flip_against_a_whole_evaluation(benchmark: BenchmarkFixture, layers: int) -> None:
    problem = transformer_problem(layers)
    evaluator = TrainingEvaluator(native_model(problem))
    some, none = index_array(problem.boundary.tolist()[::7]), index_array([])
    evaluator.evaluate(some, none)
    start = time.process_time()
    for _ in range(WHOLE):
        evaluator.evaluate(some, none)
    whole_s = (time.process_time() - start) / WHOLE
    flip_s = benchmark(evaluator.time_flips, FLIPS) / FLIPS
    benchmark.extra_info["flips_per_s"] = 1 / flip_s
    benchmark.extra_info["whole_evaluations_per_flip"] = whole_s / flip_s


@pytest.mark.parametrize("layers", [4, 12])
def test_a_whole_frontier(benchmark: BenchmarkFixture, layers: int) -> None:
    problem = transformer_problem(layers)
    descent = benchmark.pedantic(
        descend, (problem, 0), {"deadline": Deadline(600.0)}, rounds=1, iterations=1
    )
    forward_ps = int(problem.duration_ps[problem.forward_operators].sum())
    greatest = descent.rungs[0].peak_bytes
    for percent in (80, 60, 50, 40, 30):
        rung = descent.at(percent * greatest // 100)
        if rung is not None:
            benchmark.extra_info[f"recompute_percent_at_{percent}"] = (
                100 * rung.recompute_ps / forward_ps
            )
    benchmark.extra_info["least_peak_percent"] = 100 * descent.rungs[-1].peak_bytes / greatest
    benchmark.extra_info["evaluations"] = descent.evaluations
    assert descent.complete
