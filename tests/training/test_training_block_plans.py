"""Block-wise plans: known optima of checkpointing, legality, estimates, determinism."""

from __future__ import annotations

import random
from itertools import pairwise
from math import comb
from typing import TYPE_CHECKING

import pytest

from planner.testing.training_brute_force import least_peak, least_recompute
from planner.testing.training_problems import (
    StepBuilder,
    chain_problem,
    random_problem,
    transformer_problem,
)
from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps
from solvers.protocol import Deadline
from solvers.training.block_baselines import baseline_schedules
from solvers.training.block_dp import block_plans
from solvers.training.blocks import cut_chain
from solvers.training.chain_program import UNREACHED, ChainProgram
from solvers.training.chain_schedule import ChainSchedules
from solvers.training.chain_stages import solve_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.training.problem import TrainingProblem

STATE = 1000


def reversal_problem(states: Sequence[int], durations: Sequence[int]) -> TrainingProblem:
    """Return a chain whose backward operators read their inputs alone; gradients take no bytes.

    The first state is the caller's. A backward operator works in as many bytes as the largest state
    has, so that one state beside the checkpoints is room enough to run forward.

    Parameters
    ----------
    states : bytes of all but the first
    durations : of the operators that make them
    """
    step = StepBuilder()
    made: list[int] = []
    for i, (size, duration) in enumerate(zip(states, durations, strict=True)):
        made += step.operator(f"state{i + 1}", made[-1:], [size], duration)
    (loss,) = step.operator("loss", made[-1:], [0])
    flow, gradients, room = step.tangent(0), [], max(states)
    for i in range(len(states), -1, -1):
        reads = [flow, made[i - 1]] if i else [flow]
        gradient, flow = step.operator(f"back{i}", reads, [0, 0], backward=True, workspace=room)
        gradients.append(gradient)
    return step.problem([loss], gradients)


def fewest_forward_steps(length: int, checkpoints: int) -> int:
    """Return steps forward until each step is reversed from its input; the first state counts.

    Griewank and Walther, "Algorithm 799: revolve", ACM TOMS 26 (2000).
    """
    repeats = 0
    while comb(checkpoints + repeats, checkpoints) < length:
        repeats += 1
    return repeats * length - comb(checkpoints + repeats, repeats - 1) if repeats else 0


@pytest.mark.parametrize("length", [4, 7, 10, 15, 21])
def test_equal_chains_take_as_many_steps_as_binomial_checkpointing(length: int) -> None:
    problem = reversal_problem([STATE] * (length - 1), [1] * (length - 1))
    solved = solve_blocks(problem, cut_chain(problem), (1,), deadline=Deadline(60))
    program = ChainProgram(solved.stages, STATE, length + 1, deadline=Deadline(60))
    schedules = ChainSchedules(problem, solved)
    assert program.times()[1] >= UNREACHED
    for slots in range(2, length):
        schedule = schedules.schedule(program.trace(slots))
        again = fewest_forward_steps(length, slots - 1) - (length - 1)
        assert recompute_ps(problem, schedule) == again
        assert memory_profile(problem, schedule).peak_bytes <= slots * STATE


def _problems() -> list[TrainingProblem]:
    chains = [
        chain_problem(
            [chance.choice((2, 4, 8)) for _ in range(6)], [chance.randint(1, 9) for _ in range(6)]
        )
        for chance in map(random.Random, range(4))
    ]
    return [*chains, *(random_problem(random.Random(i), 6, 5) for i in range(8))]


def test_no_plan_is_better_than_the_best_of_all_schedules() -> None:
    for problem in _problems():
        for plan in block_plans(problem, deadline=Deadline(60)):
            best = least_recompute(problem, plan.peak_bytes)
            assert best is not None
            assert plan.recompute_ps >= recompute_ps(problem, best)


def test_plans_of_chains_reach_the_least_peak_and_mostly_the_least_recomputation() -> None:
    # Not always: the dynamic program holds a checkpoint until all after it is done with, though it
    # may pay to give it up earlier and come again from the one before.
    best, plans = 0, 0
    for chance in map(random.Random, range(8)):
        sizes = [chance.choice((2, 4, 8)) for _ in range(5)]
        problem = reversal_problem(sizes, [chance.randint(1, 9) for _ in range(5)])
        found = block_plans(problem, deadline=Deadline(60))
        assert found[-1].peak_bytes == least_peak(problem)
        for plan in found:
            schedule = least_recompute(problem, plan.peak_bytes)
            assert schedule is not None
            best += plan.recompute_ps == recompute_ps(problem, schedule)
            plans += 1
    assert best >= 0.7 * plans


def test_figures_of_plans_are_exact_and_none_betters_another() -> None:
    problems = [
        transformer_problem(3),
        *(random_problem(random.Random(i), 20, 16) for i in range(20)),
    ]
    for problem in problems:
        plans = block_plans(problem, deadline=Deadline(60))
        assert plans[0].recompute_ps == 0
        for plan in plans:
            assert memory_profile(problem, plan.schedule).peak_bytes == plan.peak_bytes
            assert recompute_ps(problem, plan.schedule) == plan.recompute_ps
        for plan, leaner in pairwise(plans):
            assert leaner.peak_bytes < plan.peak_bytes
            assert leaner.recompute_ps > plan.recompute_ps


def test_peaks_are_never_above_the_estimate_and_close_to_it() -> None:
    problem = transformer_problem(4)
    solved = solve_blocks(problem, cut_chain(problem), (1, 2), deadline=Deadline(60))
    slot_bytes = 40_000
    program = ChainProgram(solved.stages, slot_bytes, 2000, deadline=Deadline(60))
    schedules = ChainSchedules(problem, solved)
    times = program.times()
    first = int((times < UNREACHED).argmax())
    known = int(problem.duration_ps.sum())
    for slots in range(first, int(times.argmin()) + 1, 40):
        schedule = schedules.schedule(program.trace(slots))
        peak = memory_profile(problem, schedule).peak_bytes
        assert peak <= slots * slot_bytes
        assert recompute_ps(problem, schedule) == times[slots] - known
    tight = schedules.schedule(program.trace(int(times.argmin())))
    assert memory_profile(problem, tight).peak_bytes > 0.95 * int(times.argmin()) * slot_bytes


def test_plans_beat_every_classical_rule_on_a_transformer() -> None:
    problem = transformer_problem(4)
    plans = block_plans(problem, deadline=Deadline(60))
    for _, schedule in baseline_schedules(problem, cut_chain(problem)):
        peak, again = memory_profile(problem, schedule).peak_bytes, recompute_ps(problem, schedule)
        assert any(plan.peak_bytes <= peak and plan.recompute_ps <= again for plan in plans)
    most = plans[0].peak_bytes
    for share in (0.8, 0.7, 0.6, 0.5, 0.4):
        assert next(p for p in plans if p.peak_bytes <= share * most).name == "block-dp"


def test_same_problem_same_plans() -> None:
    first, second = (block_plans(transformer_problem(2), deadline=Deadline(60)) for _ in range(2))
    assert first == second


def test_without_time_saving_everything_is_there() -> None:
    plans = block_plans(transformer_problem(3), deadline=Deadline(0))
    assert [plan.recompute_ps for plan in plans] == [0]


def test_storages_that_cannot_be_recomputed_survive_checkpointing() -> None:
    step = StepBuilder()
    results, kept, flow = [], [], step.tangent(8)
    for i in range(8):
        out, mask = step.operator(f"dropout{i}", results[-1:], [8, 1], recomputable=False)
        (wide,) = step.operator(f"wide{i}", [out], [32])
        results += step.operator(f"narrow{i}", [wide], [8])
        kept.append((mask, wide))
    (loss,) = step.operator("loss", results[-1:], [1])
    gradients: list[int] = []
    for mask, wide in reversed(kept):
        gradient, flow = step.operator(f"back{mask}", [flow, mask, wide], [1, 8], backward=True)
        gradients.append(gradient)
    problem = step.problem([loss], gradients)
    plans = block_plans(problem, deadline=Deadline(60))
    assert len(plans) > 5
    for plan in plans:
        executed = [*plan.schedule.forward, *plan.schedule.backward]
        for operator in (~problem.recomputable).nonzero()[0].tolist():
            assert executed.count(operator) == 1


def test_steps_without_anything_to_choose_have_one_plan() -> None:
    nothing = StepBuilder().problem([], [])
    step = StepBuilder()
    backward_only = step.problem([], step.operator("g", [step.tangent(4)], [4], backward=True))
    step = StepBuilder()
    forward_only = step.problem(step.operator("x", [], [4]), [])
    for problem in (nothing, backward_only, forward_only):
        plans = block_plans(problem, deadline=Deadline(60))
        assert [plan.recompute_ps for plan in plans] == [0]
