"""Vocabulary passes, and units that share one gather of weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.pipelining.memory import device_memory
from planner.pipelining.problem import ShardedParameters, StageCosts, VocabularyLayer
from planner.pipelining.schedule import PassKind
from planner.pipelining.simulator import simulate_pipeline
from solvers.pipeline.constructors.catalogue import CONSTRUCTORS, InapplicableError
from solvers.pipeline.constructors.vocabulary import (
    vocabulary_1f1b,
    vocabulary_zb_v,
    vocabulary_zero_bubble,
)
from solvers.pipeline.constructors.zeropp import zeropp

from .chunked_pipelines import equal_pipeline, peak, run, unequal_pipelines
from .constructions import NO_HURRY


@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize(("devices", "microbatches"), [(4, 16), (8, 32), (16, 48)])
def test_each_barrier_costs_1f1b_one_more_microbatch_and_no_time(
    devices: int, microbatches: int, barriers: int
) -> None:
    costs = StageCosts(10, 10, 10, 1, 1)
    problem = replace(
        equal_pipeline(devices, microbatches, "linear", 1, costs=costs),
        vocabulary=VocabularyLayer(3, 3, 1, 1, barriers),
    )
    schedule = vocabulary_1f1b(problem, NO_HURRY)
    assert peak(problem, schedule) == devices + barriers
    idle = run(problem, schedule).longest_stage - problem.ideal_ticks
    assert idle <= (devices - 1) * (10 + 10)


@pytest.mark.parametrize("barriers", [1, 2])
def test_gradients_of_weights_fill_gaps_in_the_same_memory(barriers: int) -> None:
    costs = StageCosts(10, 10, 10, 1, 1)
    problem = replace(
        equal_pipeline(8, 32, "linear", 1, costs=costs),
        vocabulary=VocabularyLayer(3, 3, 1, 1, barriers),
    )
    schedule = vocabulary_zero_bubble(problem, NO_HURRY)
    assert peak(problem, schedule) <= 8 + barriers
    assert (
        run(problem, schedule).longest_stage
        < run(problem, vocabulary_1f1b(problem, NO_HURRY)).longest_stage
    )


@given(
    unequal_pipelines((("linear", 1), ("v", 2)), limited=False),
    st.lists(st.integers(0, 6), min_size=5, max_size=5),
    st.sampled_from([1, 2]),
)
@settings(deadline=None, max_examples=60)
def test_vocabulary_passes_at_any_costs(problem, numbers, barriers) -> None:
    forward, backward, broadcast, barrier, held = numbers
    layer = VocabularyLayer(forward, backward, broadcast, barrier, barriers, held)
    problem = replace(problem, vocabulary=layer)
    if len(problem.stages) == problem.devices:
        run(problem, vocabulary_1f1b(problem, NO_HURRY))
        run(problem, vocabulary_zero_bubble(problem, NO_HURRY))
    else:
        run(problem, vocabulary_zb_v(problem, NO_HURRY))


def sharded(problem, gather: int, reduce: int, parameters: int):
    stages = len(problem.stages)
    return replace(
        problem,
        sharding=ShardedParameters(
            (gather,) * stages, (reduce,) * stages, (parameters,) * stages, (parameters,) * stages
        ),
    )


@given(
    unequal_pipelines((("linear", 1), ("looped", 2), ("looped", 3)), limited=False),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(20, 200),
)
@settings(deadline=None, max_examples=60)
def test_units_cover_every_pass_and_keep_the_limits(
    problem, gather, reduce, parameters, limit
) -> None:
    problem = sharded(problem, gather, reduce, parameters)
    problem = replace(problem, limits=(limit,) * problem.devices)
    try:
        schedule = zeropp(problem)
    except InapplicableError as error:
        assert "no size of the units fits" in str(error)
        return
    run(problem, schedule)
    for passes, units in zip(schedule.passes, schedule.units, strict=True):
        for place, item in enumerate(passes):
            over = [
                unit
                for unit in units
                if unit.stage == item.stage and unit.first <= place <= unit.last
            ]
            assert len(over) == 1
            assert over[0].reduces or item.kind is PassKind.FORWARD
        assert [unit.after for unit in units] == sorted(unit.after for unit in units)


def test_gathers_run_while_the_unit_before_runs() -> None:
    costs = StageCosts(10, 10, 10, 1, 1)
    slow = sharded(equal_pipeline(4, 16, "looped", 2, costs=costs), 20, 20, 1)
    free = sharded(slow, 0, 0, 1)
    schedule = zeropp(slow)
    bare = simulate_pipeline(free, schedule).longest_stage
    assert simulate_pipeline(slow, schedule).longest_stage <= bare + 2 * 20


def test_less_memory_means_smaller_units() -> None:
    costs = StageCosts(10, 10, 10, 1, 1)
    wide = sharded(equal_pipeline(4, 16, "looped", 2, costs=costs), 5, 5, 1)
    narrow = replace(wide, limits=(20,) * 4)
    peaks = [
        max(
            held.peak
            for held in device_memory(problem, simulate_pipeline(problem, zeropp(problem)))
        )
        for problem in (wide, narrow)
    ]
    assert peaks[1] <= 20 < peaks[0]


def test_costs_without_the_feature_have_no_such_schedule() -> None:
    for constructor in CONSTRUCTORS:
        if constructor.name.startswith("vocabulary") or constructor.name == "zeropp":
            where = constructor.placements[0]
            problem = equal_pipeline(2, 3, where, 1 if where == "linear" else 2)
            with pytest.raises(InapplicableError):
                constructor.build(problem, NO_HURRY)
