"""Exact schedules and bounds of small pipelines, against all orders there are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.pipelining.delayed_starts import best_timeline, cost_ticks, delay_first_passes
from planner.pipelining.placements import linear_placement, looped_placement, v_placement
from planner.pipelining.problem import PipelineObjective, PipelineProblem, StageCosts
from planner.problem import Status
from solvers.pipeline.bounds.best import pipeline_bound
from solvers.pipeline.bounds.least_memory import least_limits, why_infeasible
from solvers.pipeline.exact import CpPipeline, one_after_another
from solvers.protocol import Deadline

from .all_orders import fits, least_ticks


@st.composite
def small_problems(draw: st.DrawFn) -> PipelineProblem:
    device_of, microbatches = draw(
        st.sampled_from(
            [
                (linear_placement(2), 1),
                (linear_placement(2), 2),
                (linear_placement(2), 3),
                (linear_placement(3), 2),
                (linear_placement(1), 3),
                (v_placement(2), 1),
                (looped_placement(2, 2), 1),
            ]
        )
    )
    ticks = st.integers(0, 9)
    stages = []
    for _ in device_of:
        size = draw(st.integers(0, 5))
        kept = draw(st.integers(0, size))
        stages.append(
            StageCosts(draw(ticks), draw(ticks), draw(ticks), size, kept, draw(st.integers(0, 4)))
        )
    limit = st.one_of(st.none(), st.integers(0, 16))
    limits = tuple(draw(limit) for _ in range(max(device_of) + 1))
    objective = draw(st.sampled_from(PipelineObjective))
    return PipelineProblem(tuple(stages), device_of, microbatches, limits, objective=objective)


@given(small_problems())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_exact_solver_finds_the_best_of_all_orders_and_no_bound_exceeds_it(
    problem: PipelineProblem,
) -> None:
    best = least_ticks(problem)
    outcome = CpPipeline().solve(problem, deadline=Deadline(60))
    if best is None:
        assert outcome.status is Status.INFEASIBLE
        return
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution is not None
    assert fits(problem, outcome.solution)
    assert cost_ticks(problem, best_timeline(problem, outcome.solution)) == best
    assert outcome.lower_bound == best
    bound = pipeline_bound(problem, deadline=Deadline(60))
    whole = problem.objective is PipelineObjective.MAKESPAN
    assert (bound.makespan if whole else bound.longest_stage) <= best


@given(small_problems())
@settings(max_examples=100, deadline=None)
def test_a_limit_just_below_the_least_is_refused_in_words_and_the_least_is_enough(
    problem: PipelineProblem,
) -> None:
    least = least_limits(problem)
    exactly = PipelineProblem(problem.stages, problem.device_of, problem.microbatches, least)
    assert why_infeasible(exactly) is None
    if all(stage.forward and stage.backward for stage in problem.stages):
        assert fits(exactly, one_after_another(exactly))
    for device, limit in enumerate(least):
        if limit:
            below = (*least[:device], limit - 1, *least[device + 1 :])
            reason = why_infeasible(
                PipelineProblem(problem.stages, problem.device_of, problem.microbatches, below)
            )
            assert reason is not None
            assert f"device {device} " in reason
            assert f"{limit - 1:,} B" in reason
            assert f"{limit:,} B" in reason


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.75, 1, 1.25, 1.5, 2])
def test_four_devices_with_stages_unlike_each_other_are_solved(share: float) -> None:
    times = [(11298, 14106, 8310), (20374, 21703, 6629), (23522, 12298, 9991), (12965, 19532, 5789)]
    stages = tuple(StageCosts(*each, 1000, 400, 601) for each in times)
    problem = PipelineProblem(stages, linear_placement(4), 8, (int(4000 * share),) * 4)
    outcome = CpPipeline().solve(problem, deadline=Deadline(60))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution is not None
    assert fits(problem, outcome.solution)


@pytest.mark.parametrize(
    ("times", "limit", "kept", "device_of", "microbatches", "optimum"),
    [
        # Optima found by exhausting decision problems, with the costs of every chunk alike.
        ((5, 6, 4, 1), 3, 10, v_placement(2), 4, 146),
        pytest.param((5, 6, 4, 1), 3, 4, v_placement(2), 4, 146, marks=pytest.mark.slow),
        ((7, 5, 3, 1), 3, 10, v_placement(2), 3, 118),
        ((5, 6, 4, 1), 4, 4, v_placement(3), 3, 134),
        ((1, 1, 1, 0), 3, 10, looped_placement(2, 2), 4, 26),
        ((1, 1, 1, 0), 4, 10, looped_placement(3, 2), 3, 23),
        pytest.param((5, 6, 4, 1), 5, 10, looped_placement(2, 3), 3, 155, marks=pytest.mark.slow),
    ],
)
def test_known_optima_of_several_chunks_are_proven(
    times: tuple[int, int, int, int],
    limit: int,
    kept: int,
    device_of: tuple[int, ...],
    microbatches: int,
    optimum: int,
) -> None:
    stage = StageCosts(*times[:3], 10, kept, times[3])
    devices = max(device_of) + 1
    problem = PipelineProblem(
        (stage,) * len(device_of), device_of, microbatches, (10 * limit,) * devices
    )
    outcome = CpPipeline().solve(problem, deadline=Deadline(60))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution is not None
    assert delay_first_passes(problem, outcome.solution).longest_stage == optimum


@pytest.mark.parametrize("whole", [False, True])
def test_passes_without_duration_hold_memory_here_too(whole: bool) -> None:
    """The limit is one microbatch; below it none fits, and that is proven."""
    stage = StageCosts(0, 0, 0, 8, 8)
    objective = PipelineObjective.MAKESPAN if whole else PipelineObjective.LONGEST_STAGE
    problem = PipelineProblem((stage, stage), (0, 1), 3, (8, 8), objective=objective)
    assert least_limits(problem) == (8, 8)
    found = CpPipeline().solve(problem, deadline=Deadline(5))
    assert found.solution is not None
    assert fits(problem, found.solution)
    short = replace(problem, limits=(8, 7))
    assert why_infeasible(short) is not None
    assert CpPipeline().solve(short, deadline=Deadline(5)).status is Status.INFEASIBLE


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_what_is_found_fits_where_some_passes_take_no_time(data: st.DataObject) -> None:
    ticks = st.integers(0, 2)
    stages = tuple(
        StageCosts(data.draw(ticks), data.draw(ticks), data.draw(ticks), 4, kept) for kept in (2, 4)
    )
    problem = PipelineProblem(stages, (0, 1), 3, (data.draw(st.integers(4, 8)), 6))
    found = CpPipeline().solve(problem, deadline=Deadline(0.5))
    assert found.solution is not None
    assert fits(problem, found.solution)


def test_passes_without_duration_bring_no_false_proofs() -> None:
    """1F1B takes three ticks and fits; CP-SAT's strong propagation has called that infeasible."""
    stage = StageCosts(1, 0, 0, 765, 569)
    problem = PipelineProblem((stage, stage), (0, 1), 2, (None, 765))
    found = CpPipeline().solve(problem, deadline=Deadline(20))
    assert (found.status, found.lower_bound) == (Status.OPTIMAL, 3)
