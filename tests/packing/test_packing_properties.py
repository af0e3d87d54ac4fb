"""Packing under every kind of constraint, by every solver, against trying everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from planner.errors import UsageError
from planner.packing.checker import check_packing
from planner.packing.problem import Buffer, Packing, PackingProblem
from planner.packing.race import race
from planner.problem import Status
from planner.registry import SOLVERS
from solvers.packing.groups import group_buffers
from solvers.packing.lowering import offset_problem
from solvers.protocol import Deadline

from .oracle import Judge, fewest_displaced_bytes, lowest_height, places_of
from .problems import packing_problems

if TYPE_CHECKING:
    from planner.packing.result import PackResult

# Processes and optimisers are started for these, which takes tenths of a second each time.
SLOW_TO_START = {"cp", "mip", "mathopt"}


def examples(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def raced(problem: PackingProblem, *solvers: str) -> PackResult | None:
    """The result; None for a problem that is refused, which no packing solves."""
    try:
        return race(problem, time_limit=20.0, solvers=solvers or None)
    except UsageError as error:
        assert str(error)
        return None


def best_value(problem: PackingProblem) -> int | None:
    if len(problem.memories) > 1:
        return fewest_displaced_bytes(problem)
    return lowest_height(problem)


def require_honest(problem: PackingProblem, result: PackResult | None, best: int | None) -> None:
    """Legal twice, every number true, every bound and proof right."""
    if result is None:
        assert best is None
        return
    several = len(problem.memories) > 1
    value = result.displaced_bytes if several else result.height_bytes
    bound = result.displaced_lower_bound_bytes if several else result.lower_bound_bytes
    if best is None:
        assert result.packing is None
    elif result.packing is not None or result.status is not Status.INFEASIBLE:
        assert bound <= best
    if result.packing is None:
        assert result.status in (Status.INFEASIBLE, Status.UNKNOWN)
        assert best is None or result.status is Status.UNKNOWN
        return
    assert best is not None
    assert check_packing(problem, result.packing) == []
    places = places_of(result.packing)
    assert Judge(problem).legal(places)
    require_true_numbers(problem, result)
    assert value >= best
    assert result.status in (Status.OPTIMAL, Status.FEASIBLE)
    if result.status is Status.OPTIMAL:
        assert value == best == bound
    # Within a capacity a hint is worth any height.
    hinted = any(buffer.hint is not None for buffer in problem.buffers)
    if not several and (problem.memories[0].capacity is None or not hinted):
        for report in result.solvers:
            if report.name == "greedy" and report.height_bytes is not None:
                assert result.height_bytes <= report.height_bytes


def require_true_numbers(problem: PackingProblem, result: PackResult) -> None:
    assert result.packing is not None
    places = places_of(result.packing)
    for index, memory in enumerate(result.memories):
        inside = [i for i, place in enumerate(places) if place.memory == index]
        ends = [places[i].offset + problem.buffers[i].size for i in inside]
        assert memory.name == problem.memories[index].name
        assert memory.capacity_bytes == problem.memories[index].capacity
        assert (memory.buffers, memory.height_bytes) == (len(inside), max(ends, default=0))
        assert memory.lower_bound_bytes <= memory.height_bytes
    hints = [buffer.hint for buffer in problem.buffers]
    assert result.moved == sum(
        hint is not None and hint != place.offset for hint, place in zip(hints, places, strict=True)
    )
    if len(problem.memories) > 1:
        assert result.displaced_bytes == sum(
            buffer.size
            for i, buffer in enumerate(problem.buffers)
            if places[i].memory != problem.allowed_memories(i)[0]
        )
    else:
        assert result.displaced_bytes == 0


@examples(100)
@given(problem=packing_problems(memories=1))
def test_one_memory_is_packed_to_the_optimum_or_proved_impossible(problem) -> None:
    result, best = raced(problem), lowest_height(problem)
    require_honest(problem, result, best)
    if result is not None:
        assert result.status is not Status.UNKNOWN
        if problem.memories[0].capacity is None and best is not None:
            assert result.status is Status.OPTIMAL


@examples(60)
@given(problem=packing_problems(memories=1, plain=True))
def test_lifetimes_and_sizes_alone_are_packed_to_the_optimum(problem) -> None:
    result, best = raced(problem), lowest_height(problem)
    require_honest(problem, result, best)
    assert result is not None and result.status is not Status.UNKNOWN


@examples(60)
@given(problem=packing_problems(most=6))
def test_several_memories_are_packed_legally_and_judged_honestly(problem) -> None:
    result = raced(problem)
    require_honest(problem, result, best_value(problem))
    assert result is None or result.status is not Status.UNKNOWN


def require_honest_alone(problem: PackingProblem, name: str) -> None:
    """Judge a solver that gets no help of the others, on one memory."""
    solver = SOLVERS["offsets"][name].load()
    best = lowest_height(problem)
    try:
        groups = group_buffers(problem)
        lowered = offset_problem(problem, groups, range(len(groups)), 0)
    except UsageError:
        assert best is None
        return
    if solver.unsupported(lowered.problem):
        return
    outcome = solver.solve(lowered.problem, deadline=Deadline(20.0))
    if outcome.status is Status.INFEASIBLE:
        assert best is None
    if best is not None and outcome.lower_bound is not None:
        assert outcome.lower_bound <= best
    if outcome.solution is None:
        assert outcome.status in (Status.INFEASIBLE, Status.UNKNOWN)
        return
    assert best is not None
    assert outcome.status in (Status.OPTIMAL, Status.FEASIBLE)
    count = len(problem.buffers)
    packing = Packing(np.zeros(count, dtype=np.int32), np.zeros(count, dtype=np.int64))
    packing.offset[lowered.buffer] = lowered.buffer_offsets(outcome.solution.offsets)
    assert check_packing(problem, packing) == []
    assert Judge(problem).legal(places_of(packing))
    ends = [offset + b.size for offset, b in zip(packing.offset, problem.buffers, strict=True)]
    assert outcome.solution.height == max(ends) >= best
    if problem.memories[0].capacity is None and outcome.status is Status.OPTIMAL:
        assert outcome.solution.height == best


def judge_alone(name: str, count: int, most: int) -> None:
    available, reason = SOLVERS["offsets"][name].load().available()
    if not available:
        pytest.skip(f"{name} is not available: {reason}")

    @examples(count)
    @given(problem=packing_problems(most=most, memories=1))
    def judge(problem: PackingProblem) -> None:
        require_honest_alone(problem, name)

    judge()


@pytest.mark.parametrize("solver", list(SOLVERS["offsets"]))
def test_every_solver_alone_is_legal_and_honest(solver: str) -> None:
    judge_alone(solver, 8 if solver in SLOW_TO_START else 80, 6)


@pytest.mark.slow
@pytest.mark.parametrize("solver", list(SOLVERS["offsets"]))
def test_every_solver_alone_is_legal_and_honest_on_many_problems(solver: str) -> None:
    judge_alone(solver, 150 if solver in SLOW_TO_START else 2_000, 7)


@examples(25)
@given(problem=packing_problems(most=6))
def test_all_solvers_together_are_legal_and_honest(problem) -> None:
    require_honest(problem, raced(problem, *SOLVERS["offsets"]), best_value(problem))


@examples(60)
@given(problem=packing_problems(memories=1))
def test_greedy_alone_is_legal_and_honest(problem) -> None:
    require_honest(problem, raced(problem, "greedy"), lowest_height(problem))


@pytest.mark.parametrize("solver", list(SOLVERS["offsets"]))
def test_fixed_buffers_may_lie_at_one_offset(solver: str) -> None:
    """Two that never meet, and one that is best placed below one of them."""
    buffers = (
        Buffer("early", 0, 1, 5, offset=1),
        Buffer("late", 3, 6, 1, offset=1),
        Buffer("beside", 4, 5, 5, offset=3),
        Buffer("free", 4, 5, 2),
    )
    require_honest_alone(PackingProblem(buffers), solver)
