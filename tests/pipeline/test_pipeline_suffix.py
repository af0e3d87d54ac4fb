"""The search over fronts: never above the least of all orders, and on makespans equal to it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.pipelining.delayed_starts import best_timeline, cost_ticks
from planner.pipelining.placements import linear_placement, v_placement
from planner.pipelining.problem import PipelineObjective, PipelineProblem, StageCosts
from planner.problem import Status
from solvers._native import pipeline_suffix_bound
from solvers.pipeline.bounds.least_memory import why_infeasible
from solvers.pipeline.bounds.suffix import applies, suffix_bound
from solvers.pipeline.exact import CpPipeline
from solvers.protocol import Deadline

from .all_orders import fits, least_ticks


@st.composite
def plain_problems(draw: st.DrawFn) -> PipelineProblem:
    devices, microbatches = draw(st.sampled_from([(1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2)]))
    ticks = st.integers(1, 9)
    stages = []
    for _ in range(devices):
        size = draw(st.integers(0, 5))
        kept = draw(st.integers(0, size))
        stages.append(
            StageCosts(draw(ticks), draw(ticks), draw(ticks), size, kept, draw(st.integers(0, 4)))
        )
    limits = tuple(
        draw(st.one_of(st.none(), st.integers(stage.activation_bytes, 16))) for stage in stages
    )
    objective = draw(st.sampled_from(PipelineObjective))
    return PipelineProblem(
        tuple(stages), linear_placement(devices), microbatches, limits, objective=objective
    )


@given(plain_problems(), st.sampled_from([1, 3, 20, 10_000]), st.integers(-2, 2))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_bound_exceeds_the_best_of_all_orders_however_early_the_search_ends(
    problem: PipelineProblem, most_nodes: int, beside: int
) -> None:
    best = least_ticks(problem)
    if best is None:
        assert why_infeasible(problem) is not None
        return
    found = suffix_bound(problem, 0, deadline=Deadline(60), most_nodes=most_nodes)
    assert found.ticks <= best
    if found.schedule is not None:
        assert fits(problem, found.schedule)
        assert found.cost == cost_ticks(problem, best_timeline(problem, found.schedule))
    if problem.objective is PipelineObjective.MAKESPAN and most_nodes == 10_000:
        assert found.ticks == found.cost == best
    known = best + beside
    below = suffix_bound(
        problem, 0, deadline=Deadline(60), enough=known, most_nodes=most_nodes
    ).ticks
    # What is known is taken for possible, and nothing above it is proven.
    assert below <= min(best, known)


def test_nothing_above_what_is_known_is_proven_even_if_it_is_not_possible() -> None:
    """One microbatch takes 9 ticks, and the other F of the first device 5: tails alone say 14."""
    stages = (StageCosts(5, 1, 1, 0, 0, 0), StageCosts(1, 1, 1, 0, 0, 0))
    objective = PipelineObjective.MAKESPAN
    problem = PipelineProblem(stages, linear_placement(2), 2, (None, None), objective=objective)
    assert suffix_bound(problem, 0, deadline=Deadline(60)).ticks == 14
    assert suffix_bound(problem, 0, deadline=Deadline(60), enough=13).ticks == 13


@pytest.mark.parametrize("enough", [None, 305])
def test_long_backward_passes_before_the_bounded_device_count_from_its_start(
    enough: int | None,
) -> None:
    """The last device ends long before the first; what is proven is about the longest of both."""
    stages = (StageCosts(1, 100, 1, 1, 0), StageCosts(1, 1, 1, 1, 0))
    problem = PipelineProblem(stages, linear_placement(2), 3, (1, 1))
    assert least_ticks(problem) == 310
    found = suffix_bound(problem, 0, deadline=Deadline(60), enough=enough)
    assert found.ticks == (enough or 310)


@pytest.mark.parametrize("share", [0.5, 0.75, 1.0])
def test_twelve_microbatches_on_four_unlike_devices_are_closed_without_questions(
    share: float,
) -> None:
    times = [(11298, 14106, 8310), (20374, 21703, 6629), (23522, 12298, 9991), (12965, 19532, 5789)]
    stages = tuple(StageCosts(*each, 1000, 400, 601) for each in times)
    problem = PipelineProblem(stages, linear_placement(4), 12, (int(4000 * share),) * 4)
    outcome = CpPipeline().solve(problem, deadline=Deadline(60))
    assert outcome.status is Status.OPTIMAL
    assert outcome.statistics["questions"] == 0
    assert outcome.solution is not None
    assert fits(problem, outcome.solution)


def test_a_cancelled_search_still_returns_a_bound() -> None:
    stages = (StageCosts(7, 8, 5, 10, 4, 1),) * 4
    problem = PipelineProblem(stages, linear_placement(4), 12, (40,) * 4)
    deadline = Deadline(60)
    deadline.cancel.set()
    assert suffix_bound(problem, 17, deadline=deadline).ticks == 17


def test_what_the_search_does_not_know_is_left_to_others() -> None:
    stages = (StageCosts(7, 8, 5, 10, 4, 1),) * 4
    plain = PipelineProblem(stages, linear_placement(4), 4, (40,) * 4)
    assert applies(plain)
    timeless = (dataclasses.replace(stages[0], weight=0), *stages[1:])
    for other in (
        dataclasses.replace(plain, device_of=v_placement(2), limits=(40, 40)),
        dataclasses.replace(plain, stages=timeless),
        dataclasses.replace(plain, microbatches=65),
        dataclasses.replace(plain, limits=(40, 40, 40, 9)),
    ):
        assert not applies(other)
        assert suffix_bound(other, 3, deadline=Deadline(60)).ticks == 3


def test_numbers_that_make_no_sense_are_refused_by_the_kernel() -> None:
    stages = (StageCosts(7, 8, 5, 10, 4, 1),) * 2
    good = [
        number for stage in stages for number in (*dataclasses.astuple(stage)[:3], 1, 10, 4, 40)
    ]

    def ask(numbers: list[int], microbatches: int = 2, device: int = 0) -> int:
        return pipeline_suffix_bound(
            np.array(numbers, dtype=np.int64),
            microbatches,
            device=device,
            all_ends=False,
            enough=1 << 40,
            most_nodes=1000,
            time_limit_s=10,
            cancel=None,
        )[0]

    assert ask(good) > 0
    for numbers, microbatches, device in (
        (good[:-1], 2, 0),
        (good * 5, 2, 0),
        ([0, *good[1:]], 2, 0),
        ([*good[:6], 9, *good[7:]], 2, 0),
        (good, 0, 0),
        (good, 65, 0),
        (good, 2, 2),
        (good, 2, -2),
    ):
        with pytest.raises(ValueError):
            ask(numbers, microbatches, device)
