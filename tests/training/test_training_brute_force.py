"""The brute force that judges exact solvers of training steps."""

from __future__ import annotations

import random
from itertools import chain, combinations

import pytest

from planner.testing.training_brute_force import least_peak, least_recompute
from planner.testing.training_problems import StepBuilder, chain_problem, random_problem
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps


@pytest.mark.parametrize("seed", range(12))
def test_no_choice_of_saved_storages_beats_it(seed):
    problem = random_problem(random.Random(seed), 5, 3)
    saved = problem.boundary.tolist()
    choices = chain.from_iterable(combinations(saved, k) for k in range(len(saved) + 1))
    peak = least_peak(problem)
    best: dict[int, int] = {}
    for choice in choices:
        schedule = just_in_time(problem, choice)
        reached = memory_profile(problem, schedule).peak_bytes
        assert reached >= peak
        extra = recompute_ps(problem, schedule)
        best[reached] = min(extra, best.get(reached, extra))
    for budget in best:
        found = least_recompute(problem, budget)
        assert found is not None
        assert memory_profile(problem, found).peak_bytes <= budget
        assert recompute_ps(problem, found) <= min(best[b] for b in best if b <= budget)


@pytest.mark.parametrize("seed", range(8))
def test_below_the_least_peak_there_is_nothing(seed):
    problem = random_problem(random.Random(seed), 5, 3)
    peak = least_peak(problem)
    assert least_recompute(problem, peak) is not None
    assert least_recompute(problem, peak - 1) is None
    assert least_peak(problem, staged=True) >= peak


def test_a_chain_of_four_layers_is_recomputed_as_by_hand():
    # Four results, the flow twice and two gradients are 14 bytes at the second backward operator.
    # With less, the first layer's result is dropped before and computed again after.
    problem = chain_problem([2, 2, 2, 2], [3, 5, 7, 9])
    saving_all = memory_profile(problem, just_in_time(problem, problem.boundary.tolist()))
    assert saving_all.peak_bytes == 14
    found = least_recompute(problem, 14)
    assert found is not None
    assert recompute_ps(problem, found) == 0
    tighter = least_recompute(problem, 13)
    assert tighter is not None
    assert recompute_ps(problem, tighter) == 3


def test_a_forward_output_computed_again_takes_room_twice():
    step = StepBuilder()
    output, wanted = step.operator("both", [], [8, 1], 5)
    flow = step.tangent(1)
    middle = step.operator("middle", [flow], [4], backward=True)
    gradient = step.operator("end", [*middle, wanted], [1], backward=True)
    problem = step.problem([output], [gradient[0]])
    # Kept, "wanted" costs a byte; computed again, its operator brings back the output as well.
    assert least_peak(problem) == 14
    found = least_recompute(problem, 14)
    assert found is not None
    assert found.saved == (wanted,)


def test_stages_keep_operators_from_running_twice_in_one_burst():
    seen = 0
    for seed in range(16):
        problem = random_problem(random.Random(seed), 5, 4)
        budget = least_peak(problem)
        free, staged = (least_recompute(problem, budget, staged=s) for s in (False, True))
        assert free is not None
        if staged is None:
            seen += 1
        else:
            assert recompute_ps(problem, staged) >= recompute_ps(problem, free)
            seen += recompute_ps(problem, staged) > recompute_ps(problem, free)
    assert seen >= 2
