"""Replacement where storages can be moved, or leave in parts, against exhaustive searches."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.plans import ByteRange
from planner.problem import ReplacementProblem, Status
from solvers.protocol import Deadline
from solvers.replacement.belady import Belady, GreedyEviction
from solvers.replacement.benders import GapSelection
from solvers.replacement.demand import Demand
from solvers.replacement.episodes import Stay, stays_between
from solvers.replacement.gaps import find_gaps
from solvers.replacement.partial_model import choose_parts
from solvers.replacement.parts import overfull_bytes, parts_traffic, stays_of_parts, trimmed
from solvers.replacement.relocation import place_with_moves

from .problems import FRAGMENTED, fragmented_problem, network, problem_of, random_problem
from .reference import (
    cheapest_by_capacity,
    cheapest_plan,
    complaints,
    solved,
    undecided_pack,
)

SOLVERS = [Belady, GreedyEviction, GapSelection]


def moving(problem: ReplacementProblem) -> ReplacementProblem:
    return replace(problem, relocation=True)


def parting(problem: ReplacementProblem) -> ReplacementProblem:
    return replace(problem, partial_spills=True)


@pytest.mark.parametrize("seed", range(60))
def test_with_moves_the_optimum_by_capacity_is_reached_and_proven(seed: int) -> None:
    problem = moving(random_problem(seed))
    outcome = solved(GapSelection(undecided_pack), problem)
    best = cheapest_by_capacity(problem, in_parts=False)
    assert outcome.solution is not None
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.traffic_bytes == outcome.lower_bound == best


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("case", FRAGMENTED)
def test_moves_save_the_traffic_that_only_fragmentation_causes(case, in_place) -> None:
    problem = fragmented_problem(*case, idle=False, in_place=in_place)
    assert cheapest_plan(problem) > 0
    for solver in SOLVERS:
        outcome = solved(solver(), moving(problem))
        assert outcome.solution is not None
        assert (outcome.status, outcome.solution.traffic_bytes) == (Status.OPTIMAL, 0)


def test_nothing_moves_where_addresses_exist_without_moves() -> None:
    problem = moving(problem_of([[0, 2], [1, 3], [2, 4]], [4, 3, 4], 11))
    outcome = solved(GapSelection(), problem)
    assert outcome.solution is not None
    assert len(outcome.solution.episodes) == 3


@pytest.mark.parametrize("seed", range(60))
def test_parts_and_moves_reach_the_exhaustive_optimum(seed: int) -> None:
    problem = parting(moving(random_problem(seed)))
    outcome = solved(GapSelection(undecided_pack), problem)
    best = cheapest_by_capacity(problem, in_parts=True)
    assert outcome.solution is not None
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.traffic_bytes == outcome.lower_bound == best


@pytest.mark.parametrize("seed", range(40))
def test_parts_without_moves_lie_between_the_bound_and_whole_storages(seed: int) -> None:
    problem = random_problem(seed)
    outcome = solved(GapSelection(), parting(problem))
    whole = solved(GapSelection(), problem).solution
    assert outcome.solution is not None and whole is not None and outcome.lower_bound is not None
    assert outcome.lower_bound <= cheapest_by_capacity(problem, in_parts=True)
    assert outcome.lower_bound <= outcome.solution.traffic_bytes <= whole.traffic_bytes
    proven = outcome.solution.traffic_bytes == outcome.lower_bound
    assert outcome.status is (Status.OPTIMAL if proven else Status.FEASIBLE)


@pytest.mark.parametrize("seed", range(0, 60, 2))
def test_with_alignment_the_bound_holds_for_bytes_that_alignment_cannot_free(seed: int) -> None:
    problem = parting(moving(random_problem(seed, hostile=True)))
    if problem.alignment > 2:
        problem = replace(problem, alignment=2)
    outcome = solved(GapSelection(undecided_pack), problem)
    assert outcome.solution is not None and outcome.lower_bound is not None
    if int(problem.size.sum()) <= 40:
        assert outcome.lower_bound <= cheapest_by_capacity(problem, in_parts=True)
    assert outcome.lower_bound <= outcome.solution.traffic_bytes


@pytest.mark.parametrize("has_copy", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_only_what_is_missing_leaves(solver, has_copy) -> None:
    problem = problem_of([[0, 2], [1]], [4, 5], 8, has_copy=[has_copy, False])
    outcome = solved(solver(), parting(problem))
    assert outcome.solution is not None
    assert outcome.solution.traffic_bytes == (1 if has_copy else 2)
    parts = {e.part for e in outcome.solution.episodes if e.storage == 0}
    assert parts == {ByteRange(0, 3), ByteRange(3, 4)}


def test_a_part_is_written_once_and_read_each_time() -> None:
    problem = parting(problem_of([[0, 2, 4], [1], [3]], [6, 4, 5], 8))
    outcome = solved(GapSelection(), problem)
    assert outcome.solution is not None
    # Two bytes leave at first, three then: three written, five read.
    assert outcome.solution.traffic_bytes == 3 + 2 + 3
    assert outcome.status is Status.OPTIMAL


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), steps=st.integers(2, 40))
def test_large_problems_with_alignment_and_overwriting_are_solved_legally(
    solver, parts: bool, seed: int, steps: int
) -> None:
    problem = moving(network(seed, steps))
    problem = parting(problem) if parts else problem
    first = solved(solver(undecided_pack), problem).solution
    second = solved(solver(), problem, deadline=Deadline(5)).solution
    whole = solved(solver(undecided_pack), moving(network(seed, steps))).solution
    assert first is not None and second is not None and whole is not None
    assert first.traffic_bytes <= whole.traffic_bytes
    solved(solver(), parting(network(seed, steps)), deadline=Deadline(5))


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_time_left_still_gives_a_legal_plan_with_moves_and_parts(solver) -> None:
    problem = parting(moving(network(3, 300)))
    cancelled = Deadline(60)
    cancelled.cancel.set()
    for deadline in (Deadline(0), cancelled):
        solved(solver(), problem, deadline=deadline)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_choices_by_capacity_respect_it_and_cost_what_the_model_says(seed: int) -> None:
    demand = Demand.of(parting(moving(network(seed, 30))))
    gaps = find_gaps(demand)
    everything = {(gap.storage, gap.before): 0 for gap in gaps}
    kept = trimmed(demand, gaps, everything)
    chosen = choose_parts(demand, gaps, Deadline(60))
    assert chosen.kept is not None
    for choice in (kept, chosen.kept):
        assert (overfull_bytes(demand, gaps, choice) <= 0).all()
    assert chosen.bound <= parts_traffic(demand, chosen.kept) <= parts_traffic(demand, kept)
    placed = place_with_moves(demand, stays_of_parts(demand, chosen.kept), Deadline(60))
    assert placed is not None
    assert placed.traffic_bytes == parts_traffic(demand, chosen.kept)


def test_stays_that_exceed_the_capacity_are_not_placed() -> None:
    demand = Demand.of(moving(problem_of([[0, 2], [1]], [4, 5], 8)))
    assert place_with_moves(demand, stays_between(demand, set()), Deadline(60)) is None


def test_a_tail_that_returns_pushes_up_what_took_its_place() -> None:
    # 0's tail is away while 2 comes to lie there; 2 is still needed when the tail returns.
    problem = parting(moving(problem_of([[0, 3], [1], [1, 2, 3]], [6, 3, 3], 9)))
    demand = Demand.of(problem)
    kept = {(0, 0): 3}
    stays = stays_of_parts(demand, kept)
    assert Stay(0, 0, 4, ByteRange(0, 3)) in stays
    placed = place_with_moves(demand, stays, Deadline(60))
    assert placed is not None
    assert complaints(problem, placed) == []
