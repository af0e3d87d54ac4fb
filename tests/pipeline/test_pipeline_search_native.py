"""The native kernels behind the pipeline search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.pipelining.delayed_starts import best_timeline, cost_ticks
from planner.pipelining.placements import v_placement
from planner.pipelining.problem import PipelineObjective, PipelineProblem, StageCosts
from planner.pipelining.simulator import simulate_pipeline
from solvers._native import (
    CancelFlag,
    PipelineModel,
    pipeline_annealing,
    pipeline_cost,
    pipeline_fault,
    pipeline_schedule,
    pipeline_shapes,
)
from solvers.pipeline.native_orders import native_model, native_order, schedule_of
from solvers.pipeline.resampling import drop_stretch, repeat_stretch, resampled_starts


def v_problem(
    limit: int, objective: PipelineObjective = PipelineObjective.LONGEST_STAGE
) -> PipelineProblem:
    stages = tuple(StageCosts(5 + s, 6, 4 - s % 3, 10, 4, 1) for s in range(6))
    return PipelineProblem(stages, v_placement(3), 5, (limit,) * 3, objective=objective)


@given(
    st.integers(20, 80),
    st.integers(0, 2**32),
    st.floats(0, 5),
    st.floats(0, 5),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_list_schedules_by_any_targets_are_legal(limit, seed, wait, weight_wait, make_room):
    problem = v_problem(limit)
    model = native_model(problem)
    targets = np.random.default_rng(seed).integers(0, 400, model.passes)
    order = pipeline_schedule(
        model, targets, wait=wait, weight_wait=weight_wait, make_room=make_room
    )
    assert pipeline_fault(model, order) == ""
    assert pipeline_cost(model, order)[0] > 0


@pytest.mark.parametrize("objective", PipelineObjective)
@pytest.mark.parametrize("limit", [20, 33, 60])
def test_the_annealings_cost_is_that_of_the_simulator(limit, objective):
    problem = v_problem(limit, objective)
    model = native_model(problem)
    [(listed_cost, start), *_], _ = pipeline_shapes(
        model, time_limit_s=60, cancel=CancelFlag(), schedules=20
    )
    schedule = schedule_of(problem, start, "listed")
    assert listed_cost == cost_ticks(problem, simulate_pipeline(problem, schedule))
    releases = pipeline_cost(model, start)[2]
    for seed in range(5):
        order, cost, statistics = pipeline_annealing(
            model, start, releases, time_limit_s=60, cancel=CancelFlag(), seed=seed, steps=5000
        )
        assert statistics["accepted"] > 0
        schedule = schedule_of(problem, order, "annealed")
        timeline = simulate_pipeline(problem, schedule, releases.tolist())
        assert cost == cost_ticks(problem, timeline)
        assert pipeline_cost(model, order)[0] == cost_ticks(
            problem, best_timeline(problem, schedule)
        )


def test_orders_and_schedules_are_the_same_thing():
    problem = v_problem(50)
    model = native_model(problem)
    [(_, order)], _ = pipeline_shapes(model, time_limit_s=60, cancel=CancelFlag(), schedules=1)
    again = native_order(problem, model, schedule_of(problem, order, "there and back"))
    assert again is not None
    assert (again == order).all()


def test_faults_of_orders_are_named():
    problem = v_problem(50)
    model = native_model(problem)
    [(_, order)], _ = pipeline_shapes(model, time_limit_s=60, cancel=CancelFlag(), schedules=1)
    assert pipeline_fault(model, order[1:]) == "not every pass once"
    assert pipeline_fault(model, np.zeros_like(order)) == "not every pass once"
    assert pipeline_fault(model, order[::-1].copy()) != ""
    tight = native_model(v_problem(20))
    assert pipeline_fault(tight, order) == "more memory than the limit"
    with pytest.raises(ValueError, match="more memory"):
        pipeline_cost(tight, order)
    with pytest.raises(ValueError, match="releases"):
        pipeline_annealing(
            model,
            order,
            np.zeros(1, dtype=np.int64),
            time_limit_s=1,
            cancel=CancelFlag(),
            steps=1,
        )
    with pytest.raises(ValueError, match="one a pass"):
        pipeline_schedule(model, np.zeros(3, dtype=np.int64))


def test_models_of_nonsense_are_refused():
    one = np.ones(2, dtype=np.int64)

    def model(**changed) -> PipelineModel:
        names = ("forward", "backward", "weight", "activation", "kept", "hop")
        arguments = {
            **dict.fromkeys(names, one),
            "device_of": np.array([0, 1], dtype=np.int32),
            "limit": one,
            "microbatches": 1,
            "makespan": False,
            **changed,
        }
        return PipelineModel(**arguments)

    assert model().passes == 6
    for changed in (
        {"forward": np.ones(3, dtype=np.int64)},
        {"backward": np.array([1, -1])},
        {"device_of": np.array([0, 2], dtype=np.int32)},
        {"device_of": np.array([0, 0], dtype=np.int32)},
        {"microbatches": 0},
    ):
        with pytest.raises(ValueError, match=r"device|stages|microbatches"):
            model(**changed)


def test_resampled_microbatches_follow_like_their_sources():
    starts = np.array([[0, 10, 20, 30], [5, 16, 26, 36]])
    assert (resampled_starts(starts, range(4)) == starts).all()
    sources = repeat_stretch(4, 1, 2, 1)
    assert sources == [0, 1, 2, 1, 2, 3]
    longer = resampled_starts(starts, sources)
    assert longer[0].tolist() == [0, 10, 20, 30, 40, 50]
    assert longer[1].tolist() == [5, 16, 26, 36, 46, 56]
    assert drop_stretch(sources, 1, 2) == [0, 1, 2, 3]
