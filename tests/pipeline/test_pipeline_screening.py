"""A glance at a schedule says what simulation and check say, and a stop is a stop."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.pipelining.checking.checker import check_pipeline
from planner.pipelining.delayed_starts import best_timeline, cost_ticks
from planner.pipelining.memory import device_memory
from planner.pipelining.problem import PipelineObjective
from planner.pipelining.screening import glance
from solvers._native import zero_bubble_search
from solvers.pipeline.constructors.catalogue import CONSTRUCTORS, OUT_OF_TIME, InapplicableError
from solvers.pipeline.native_orders import native_model
from solvers.protocol import Deadline

from .chunked_pipelines import equal_pipeline, run, unequal_pipelines
from .constructions import construct
from .random_orders import legal_schedule

SEARCHING = [one for one in CONSTRUCTORS if one.searches]


@given(
    unequal_pipelines(limited=True),
    st.sampled_from(PipelineObjective),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=40)
def test_a_glance_agrees_with_simulation_and_check(problem, objective, chance) -> None:
    problem = replace(problem, objective=objective)
    schedules = [legal_schedule(chance, problem.device_of, problem.microbatches, fused=0)]
    schedules.append(construct("sequential", problem))
    glances = [glance(problem, schedule) for schedule in schedules]
    timeless = any(stage.forward == 0 for stage in problem.stages)
    assert (glances[-1] is None) == timeless
    for schedule, seen in zip(schedules, glances, strict=True):
        if seen is not None:
            timeline = best_timeline(problem, schedule)
            assert seen.cost == cost_ticks(problem, timeline)
            peaks = tuple(held.peak for held in device_memory(problem, timeline))
            assert seen.peaks == peaks
            assert bool(seen.over_limit) == bool(check_pipeline(problem, timeline))


def test_no_glance_at_fused_passes_or_half_a_schedule() -> None:
    problem = equal_pipeline(2, 3, "linear", 1)
    assert glance(problem, construct("1f1b", problem)) is None
    schedule = construct("zb-h1", problem)
    assert glance(problem, schedule) is not None
    half = replace(schedule, passes=(schedule.passes[0], schedule.passes[1][:-1]))
    assert glance(problem, half) is None


@pytest.mark.parametrize("stop", ["late", "cancelled"])
@pytest.mark.parametrize("constructor", SEARCHING, ids=lambda one: one.name)
def test_constructors_that_search_stop_when_told(constructor, stop) -> None:
    deadline = Deadline(0 if stop == "late" else math.inf)
    if stop == "cancelled":
        deadline.cancel.set()
    where = constructor.placements[0]
    problem = equal_pipeline(32, 256, where, 1 if where == "linear" else 2, limit=64)
    try:
        schedule = constructor.build(problem, deadline)
    except InapplicableError as reason:
        assert str(reason) == OUT_OF_TIME or "the costs have no" in str(reason)
    else:
        run(problem, schedule)


def test_the_zero_bubble_search_hears_the_flag() -> None:
    deadline = Deadline(math.inf)
    deadline.cancel.set()
    _, _, plays = zero_bubble_search(
        native_model(equal_pipeline(4, 8, "linear", 1, limit=8)),
        budget=10**9,
        seed=0,
        time_limit_s=deadline.remaining_s(),
        cancel=deadline.cancel,
    )
    assert plays == 1
