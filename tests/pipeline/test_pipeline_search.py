"""The pipeline search: legal for any problem, as good as brute force, repeatable, punctual."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InvalidPlanError
from planner.pipelining.delayed_starts import best_timeline, cost_ticks
from planner.pipelining.memory import device_memory
from planner.pipelining.placements import linear_placement, looped_placement, v_placement
from planner.pipelining.problem import Offloading, PipelineObjective, PipelineProblem, StageCosts
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from planner.problem import Status
from solvers.pipeline.constructors.one_f_one_b import one_f_one_b
from solvers.pipeline.search import PipelineSearch
from solvers.protocol import Deadline

LONG = 600.0
F, B, W, D = PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT, PassKind.FUSED


def least_limits(stages: tuple[StageCosts, ...], device_of: tuple[int, ...]) -> list[int]:
    """One microbatch of all stages of each device: without it nothing runs."""
    held = [0] * (max(device_of) + 1)
    for stage, device in zip(stages, device_of, strict=True):
        held[device] += stage.activation_bytes
    return held


def v_problem(devices: int, microbatches: int, costs: StageCosts, limit: int) -> PipelineProblem:
    return PipelineProblem(
        (costs,) * (2 * devices), v_placement(devices), microbatches, (limit,) * devices
    )


@st.composite
def problems(draw: st.DrawFn) -> PipelineProblem:
    devices = draw(st.integers(1, 4))
    kind = draw(st.sampled_from(("linear", "looped", "v", "any")))
    if kind == "linear":
        device_of = linear_placement(devices)
    elif kind == "looped":
        device_of = looped_placement(devices, draw(st.integers(1, 3)))
    elif kind == "v":
        device_of = v_placement(devices)
    else:
        more = draw(st.lists(st.integers(0, devices - 1), max_size=4))
        device_of = tuple(draw(st.permutations([*range(devices), *more])))
    stages = []
    for _ in device_of:
        size = draw(st.integers(0, 9))
        forward, backward, weight, hop = (draw(st.integers(0, 12)) for _ in range(4))
        kept = draw(st.integers(0, size))
        stages.append(StageCosts(forward, backward, weight, size, kept, hop))
    limits = [
        draw(st.one_of(st.none(), st.integers(least, 4 * least + 9)))
        for least in least_limits(tuple(stages), device_of)
    ]
    objective = draw(st.sampled_from(PipelineObjective))
    microbatches = draw(st.integers(1, 6))
    return PipelineProblem(
        tuple(stages), device_of, microbatches, tuple(limits), objective=objective
    )


def checked_cost(problem: PipelineProblem, schedule: PipelineSchedule) -> int:
    """The schedule's cost, if it is legal: every pass once, in order, within the limits."""
    passes = [item for own in schedule.passes for item in own]
    wanted = {
        Pass(kind, stage, microbatch)
        for kind in (F, B, W)
        for stage in range(len(problem.stages))
        for microbatch in range(problem.microbatches)
    }
    assert len(passes) == len(wanted)
    assert set(passes) == wanted
    timeline = best_timeline(problem, schedule)
    for profile, limit in zip(device_memory(problem, timeline), problem.limits, strict=True):
        assert limit is None or profile.peak <= limit
    return cost_ticks(problem, timeline)


@given(problems())
@settings(max_examples=30, deadline=None)
def test_any_limit_from_one_microbatch_of_all_stages_gets_a_legal_schedule(problem):
    outcome = PipelineSearch().solve(problem, deadline=Deadline(LONG), most_rounds=0)
    assert outcome.solution is not None
    assert checked_cost(problem, outcome.solution) == outcome.statistics["cost"]


@given(problems())
@settings(max_examples=12, deadline=None)
def test_annealing_keeps_schedules_legal(problem):
    outcome = PipelineSearch().solve(problem, deadline=Deadline(LONG), most_rounds=2)
    assert outcome.solution is not None
    assert checked_cost(problem, outcome.solution) == outcome.statistics["cost"]


@pytest.mark.parametrize("percent", [35, 50, 62, 75, 100, 112, 150, 200, 300])
@pytest.mark.parametrize("kept", [4, 10])
def test_every_share_of_the_usual_memory_gets_a_legal_schedule(percent, kept):
    costs = StageCosts(5, 6, 4, 10, kept, 1)
    for devices, microbatches in ((4, 6), (6, 12)):
        limit = percent * 2 * devices * 10 // 100
        problem = v_problem(devices, microbatches, costs, limit)
        outcome = PipelineSearch().solve(problem, deadline=Deadline(LONG), most_rounds=0)
        assert outcome.solution is not None
        checked_cost(problem, outcome.solution)


def test_a_limit_below_one_microbatch_of_all_stages_is_infeasible():
    problem = v_problem(3, 4, StageCosts(1, 1, 1, 10, 5), 19)
    outcome = PipelineSearch().solve(problem, deadline=Deadline(LONG))
    assert (outcome.status, outcome.solution) == (Status.INFEASIBLE, None)


def test_nothing_is_infeasible_for_the_search_where_activations_can_be_offloaded():
    link = Offloading((1,) * 6, (1,) * 6)
    problem = replace(v_problem(3, 4, StageCosts(1, 1, 1, 10, 5), 19), offloading=link)
    outcome = PipelineSearch().solve(problem, deadline=Deadline(LONG))
    assert (outcome.status, outcome.solution) == (Status.UNKNOWN, None)


def test_bytes_beyond_the_kernels_whole_numbers_are_declined():
    problem = v_problem(3, 4, StageCosts(1, 1, 1, 1 << 57, 5), 1 << 58)
    outcome = PipelineSearch().solve(problem, deadline=Deadline(LONG))
    assert (outcome.status, outcome.solution) == (Status.UNKNOWN, None)


def test_long_ticks_are_no_different():
    problem = v_problem(3, 4, StageCosts(3 << 44, 2 << 44, 1 << 44, 10, 5), 40)
    outcome = PipelineSearch().solve(problem, deadline=Deadline(LONG), most_rounds=1)
    assert outcome.solution is not None
    checked_cost(problem, outcome.solution)


@cache
def words(stages: tuple[int, ...], microbatches: int) -> tuple[tuple[Pass, ...], ...]:
    """All orders of a device's passes in which B follows F and W follows B."""
    found: list[tuple[Pass, ...]] = []

    def extend(word: tuple[Pass, ...], done: dict[tuple[PassKind, int], int]) -> None:
        if len(word) == 3 * len(stages) * microbatches:
            found.append(word)
        for stage in stages:
            for kind, needed in ((F, None), (B, F), (W, B)):
                number = done.get((kind, stage), 0)
                ceiling = microbatches if needed is None else done.get((needed, stage), 0)
                if number < ceiling:
                    extend((*word, Pass(kind, stage, number)), {**done, (kind, stage): number + 1})

    extend((), {})
    return tuple(found)


def least_cost(problem: PipelineProblem) -> int:
    best = None
    for passes in product(*(words(own, problem.microbatches) for own in problem.stages_of)):
        schedule = PipelineSchedule("one of all", problem.device_of, passes)
        try:
            timeline = best_timeline(problem, schedule)
        except InvalidPlanError:
            continue
        memory = device_memory(problem, timeline)
        if all(
            limit is None or profile.peak <= limit
            for profile, limit in zip(memory, problem.limits, strict=True)
        ):
            cost = cost_ticks(problem, timeline)
            best = cost if best is None else min(best, cost)
    assert best is not None
    return best


@pytest.mark.parametrize("objective", PipelineObjective)
@pytest.mark.parametrize(
    ("device_of", "microbatches", "limits"),
    [
        ((0, 1), 3, (8, 8)),
        ((0, 1), 3, (18, 13)),
        ((0, 1), 3, (None, None)),
        ((0, 1, 2), 2, (12, 7, 9)),
        ((0, 1, 1, 0), 1, (18, 16)),
        ((0, 1, 0), 1, (18, 9)),
    ],
)
def test_brute_force_finds_nothing_better(device_of, microbatches, limits, objective):
    stages = tuple(
        StageCosts(*costs)
        for costs in ((5, 6, 4, 8, 3, 1), (3, 7, 2, 7, 7, 2), (6, 4, 5, 9, 0, 1), (4, 4, 1, 9, 5))
    )[: len(device_of)]
    problem = PipelineProblem(stages, device_of, microbatches, limits, objective=objective)
    outcome = PipelineSearch().solve(problem, deadline=Deadline(LONG), most_rounds=6)
    assert outcome.solution is not None
    assert checked_cost(problem, outcome.solution) == least_cost(problem)


def test_the_same_seed_and_rounds_give_the_same_schedule():
    problem = v_problem(3, 6, StageCosts(50, 52, 35, 10, 4, 2), 40)
    one, other = (
        PipelineSearch().solve(problem, deadline=Deadline(LONG), seed=7, most_rounds=3)
        for _ in range(2)
    )
    assert one.solution == other.solution
    assert one.statistics["steps"] == other.statistics["steps"] > 0


def test_without_time_there_is_a_legal_schedule():
    problem = v_problem(4, 8, StageCosts(5, 6, 4, 10, 10, 1), 40)
    deadline = Deadline(LONG)
    deadline.cancel.set()
    for now in (deadline, Deadline(0.0)):
        outcome = PipelineSearch().solve(problem, deadline=now)
        assert outcome.status is Status.FEASIBLE
        assert outcome.solution is not None
        assert outcome.statistics["rounds"] == 0
        checked_cost(problem, outcome.solution)


def test_the_search_stops_when_the_bound_is_met():
    problem = v_problem(4, 8, StageCosts(1, 1, 1, 1, 1), 8)
    outcome = PipelineSearch().solve(
        problem, deadline=Deadline(LONG), lower_bound=problem.ideal_ticks
    )
    assert outcome.status is Status.OPTIMAL
    assert outcome.statistics["cost"] == problem.ideal_ticks


def test_a_seed_with_fused_passes_is_a_start():
    costs = StageCosts(10, 9, 1, 1, 1)
    problem = PipelineProblem((costs,) * 4, linear_placement(4), 8, (4,) * 4)
    seed = one_f_one_b(problem)
    assert any(item.kind is D for own in seed.passes for item in own)
    bound = cost_ticks(problem, best_timeline(problem, seed))
    outcome = PipelineSearch().solve(
        problem, deadline=Deadline(LONG), seeds=[seed], lower_bound=bound
    )
    assert outcome.status is Status.OPTIMAL
    assert outcome.statistics["list_schedules"] == 0
    assert outcome.solution is not None
    assert checked_cost(problem, outcome.solution) <= bound


def test_seeds_that_do_not_fit_are_left_out():
    costs = StageCosts(10, 9, 1, 1, 1)
    roomy = PipelineProblem((costs,) * 4, linear_placement(4), 8, (4,) * 4)
    tight = replace(roomy, limits=(2,) * 4)
    outcome = PipelineSearch().solve(
        tight, deadline=Deadline(LONG), seeds=[one_f_one_b(roomy)], most_rounds=0
    )
    assert outcome.solution is not None
    checked_cost(tight, outcome.solution)


def test_many_microbatches_repeat_the_pattern_of_few():
    problem = PipelineProblem(
        (StageCosts(104, 102, 77, 40, 17, 4),) * 16, linear_placement(16), 256, (640,) * 16
    )
    outcome = PipelineSearch().solve(problem, deadline=Deadline(LONG), most_rounds=0)
    assert outcome.solution is not None
    assert outcome.statistics["steps"] > 0
    cost = checked_cost(problem, outcome.solution)
    # The least idle time under this limit is (p - 1)(F + B - W + 4c): ZB-H1 is optimal.
    assert cost <= problem.ideal_ticks + 2 * 15 * (104 + 102 - 77 + 4 * 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("percent", "bubble"), [(100, 0.1323), (112.5, 0.0997), (125, 0.0751), (150, 0.0475)]
)
def test_one_chunk_reaches_the_bound_at_published_costs(percent, bubble):
    """Costs of the 6.2B model: "Zero Bubble Pipeline Parallelism", Table 9."""
    size = 34 * 4096 + 5 * 32 * 1024
    costs = StageCosts(29718, 29444, 19927, size, 32 * 4096, 527)
    limit = int(8 * size * percent / 100)
    problem = PipelineProblem((costs,) * 8, linear_placement(8), 24, (limit,) * 8)
    outcome = PipelineSearch().solve(problem, deadline=Deadline(LONG), most_rounds=12)
    assert outcome.solution is not None
    cost = checked_cost(problem, outcome.solution)
    assert round((cost - problem.ideal_ticks) / cost, 4) <= bubble


def test_passes_of_no_length_do_not_lead_the_annealing_in_circles() -> None:
    """A path is not followed through an order that has changed since its times were taken."""
    stage = StageCosts(683717, 0, 0, 0, 0)
    problem = PipelineProblem(
        (stage,) * 4, v_placement(2), 2, (0, 0), objective=PipelineObjective.MAKESPAN
    )
    found = PipelineSearch().solve(problem, deadline=Deadline(LONG), most_rounds=6)
    assert found.solution is not None
    assert cost_ticks(problem, best_timeline(problem, found.solution)) == 4102302
