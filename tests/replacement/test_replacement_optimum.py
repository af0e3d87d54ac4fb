"""Tensor replacement on a fixed order, against an exhaustive search over addresses and moves."""

from __future__ import annotations

import pytest

from planner.problem import ReplacementProblem, Status
from solvers.replacement.belady import Belady, GreedyEviction
from solvers.replacement.benders import GapSelection

from .problems import FRAGMENTED, fragmented_problem, random_problem
from .reference import cheapest_plan, exhaustive_pack, solved, undecided_pack


def assert_proves_optimum(problem: ReplacementProblem) -> int:
    outcome = solved(GapSelection(exhaustive_pack), problem)
    best = cheapest_plan(problem)
    assert outcome.solution is not None
    assert (outcome.status, outcome.lower_bound) == (Status.OPTIMAL, best)
    assert outcome.solution.traffic_bytes == best
    return best


def test_gap_selection_proves_the_optimum_of_all_plans() -> None:
    values = [
        assert_proves_optimum(random_problem(seed, hostile=seed % 3 == 0)) for seed in range(100)
    ]
    assert sum(value > 0 for value in values) >= 10


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("case", FRAGMENTED)
def test_gap_selection_proves_the_optimum_where_bytes_fit_and_addresses_do_not(
    case: tuple[int, int, int, int], idle: bool, in_place: bool
) -> None:
    problem = fragmented_problem(*case, idle=idle, in_place=in_place)
    assert assert_proves_optimum(problem) > 0


@pytest.mark.parametrize("pack", [exhaustive_pack, undecided_pack])
@pytest.mark.parametrize("solver", [Belady, GreedyEviction])
def test_eviction_is_legal_and_never_better_than_the_optimum(solver, pack) -> None:
    for seed in range(40):
        problem = random_problem(seed, hostile=True)
        best = solved(GapSelection(exhaustive_pack), problem).lower_bound
        outcome = solved(solver(pack), problem)
        assert outcome.solution is not None and best is not None
        assert outcome.solution.traffic_bytes >= best
        assert outcome.status is (
            Status.OPTIMAL if outcome.solution.traffic_bytes == 0 else Status.FEASIBLE
        )


def test_without_a_packing_proof_gap_selection_claims_no_more_than_its_bound() -> None:
    for case in FRAGMENTED:
        problem = fragmented_problem(*case, idle=True)
        outcome = solved(GapSelection(undecided_pack), problem)
        assert outcome.lower_bound is not None
        assert outcome.lower_bound <= cheapest_plan(problem)
        assert outcome.status is Status.FEASIBLE
