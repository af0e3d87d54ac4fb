"""Speed of the offset solvers; figures, not claims. Run with: pytest -m slow --benchmark-only."""

from __future__ import annotations

import numpy as np
import pytest

from planner.problem import OffsetProblem, Status
from solvers.offsets import GreedyOffsets, lower_bound, pack
from solvers.protocol import Deadline

pytestmark = pytest.mark.slow


def generated(buffers, alignment=64):
    """Many short lifetimes, a few long ones, sizes over three orders of magnitude."""
    random = np.random.default_rng(0)
    lower = random.integers(0, buffers, buffers)
    long_lived = random.random(buffers) < 0.02
    span = np.where(
        long_lived, random.integers(1, buffers // 10, buffers), random.integers(1, 60, buffers)
    )
    size = (2 ** (random.random(buffers) * 10 + 6)).astype(np.int64)
    return OffsetProblem(lower, lower + span, size, np.full(buffers, alignment))


@pytest.mark.parametrize("buffers", [100, 1000, 10_000])
def test_speed_of_the_lower_bound(benchmark, buffers):
    problem = generated(buffers)
    assert benchmark(lower_bound, problem) > 0


@pytest.mark.parametrize("buffers", [100, 1000, 10_000, 60_000])
def test_speed_of_the_greedy_portfolio(benchmark, buffers):
    problem = generated(buffers)
    outcome = benchmark.pedantic(
        lambda: GreedyOffsets().solve(problem, deadline=Deadline(60)), rounds=1, iterations=1
    )
    assert outcome.solution.height <= 1.25 * outcome.lower_bound


@pytest.mark.parametrize("buffers", [100, 1000, 4000])
def test_speed_of_a_proven_packing(benchmark, buffers):
    problem = generated(buffers)
    outcome = benchmark.pedantic(lambda: pack(problem, Deadline(60)), rounds=1, iterations=1)
    assert outcome.status is Status.OPTIMAL
