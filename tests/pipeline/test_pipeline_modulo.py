"""Blocks that repeat: they exist where theory says so, and fit however often they repeat."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.pipelining.memory import device_memory
from planner.pipelining.placements import linear_placement, looped_placement, v_placement
from planner.pipelining.problem import PipelineProblem, StageCosts
from planner.pipelining.simulator import simulate_pipeline
from planner.problem import Status
from solvers.pipeline.modulo import block_schedule, modulo_block
from solvers.pipeline.modulo_search import ModuloSearch
from solvers.protocol import Deadline


def chunks_alike(
    device_of: tuple[int, ...], times: tuple[int, int, int, int], limit: int
) -> PipelineProblem:
    stage = StageCosts(*times[:3], 1, 1, times[3])
    return PipelineProblem(
        (stage,) * len(device_of), device_of, 12, (limit,) * (max(device_of) + 1)
    )


@pytest.mark.parametrize(("p", "limit"), [(4, 4), (4, 6), (8, 8), (8, 10)])
def test_at_equal_costs_v_min_and_v_half_memory_allow_full_speed(p: int, limit: int) -> None:
    problem = chunks_alike(v_placement(p), (1, 1, 1, 0), limit)
    outcome = modulo_block(problem, 6, deadline=Deadline(60))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution is not None
    # The shortest path: 2p forwards and 2p backwards.
    assert outcome.solution.backward[0] + 1 == 4 * p


def test_no_block_runs_at_full_speed_in_v_min_memory_at_unequal_costs() -> None:
    problem = chunks_alike(v_placement(4), (50, 52, 35, 2), 4)
    for period in (273, 274, 301):
        outcome = modulo_block(problem, period, deadline=Deadline(60))
        assert outcome.status is Status.INFEASIBLE
    assert modulo_block(problem, 328, deadline=Deadline(60)).solution is not None


@given(
    st.sampled_from([linear_placement(3), v_placement(2), v_placement(3), looped_placement(2, 2)]),
    st.data(),
)
@settings(max_examples=25, deadline=None)
def test_a_repeated_block_fits_and_keeps_its_period(
    device_of: tuple[int, ...], data: st.DataObject
) -> None:
    ticks = st.integers(0, 9)
    stages = []
    for _ in device_of:
        kept = data.draw(st.integers(0, 4))
        f, b, w, hop = (data.draw(ticks) for _ in range(4))
        stages.append(StageCosts(f, b, w, 4, kept, hop))
    limit = data.draw(st.integers(12, 40))
    problem = PipelineProblem(tuple(stages), device_of, 6, (limit,) * (max(device_of) + 1))
    load = problem.ideal_ticks // 6
    outcome = modulo_block(problem, load + data.draw(st.integers(0, load)), deadline=Deadline(60))
    if outcome.solution is None:
        assert outcome.status is Status.INFEASIBLE
        return
    block = outcome.solution
    timeline = simulate_pipeline(problem, block_schedule(problem, block))
    ends = max(
        max(block.backward[s] + stage.backward, block.weight[s] + stage.weight)
        for s, stage in enumerate(stages)
    )
    assert timeline.makespan <= ends + 5 * block.period
    for profile in device_memory(problem, timeline):
        assert profile.peak <= limit


def test_the_contender_offers_a_schedule_that_fits_and_claims_no_proof() -> None:
    problem = chunks_alike(v_placement(3), (5, 6, 4, 1), 5)
    outcome = ModuloSearch().solve(problem, deadline=Deadline(60), lower_bound=problem.ideal_ticks)
    assert outcome.status is Status.FEASIBLE
    assert outcome.solution is not None
    timeline = simulate_pipeline(problem, outcome.solution)
    assert max(profile.peak for profile in device_memory(problem, timeline)) <= 5
    assert outcome.statistics["periods"]


def test_the_contender_without_time_leaves_the_placement_open() -> None:
    # Infeasible would tell the race that no schedule fits.
    problem = chunks_alike(v_placement(3), (5, 6, 4, 1), 5)
    assert ModuloSearch().solve(problem, deadline=Deadline(0)).status is Status.UNKNOWN
