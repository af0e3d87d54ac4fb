"""What holds of every solver: legal at any capacity and deadline, and honest about proofs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.graph import RaggedArray
from planner.problem import ReplacementSolution, Status
from solvers.protocol import Deadline
from solvers.replacement.belady import Belady, GreedyEviction
from solvers.replacement.benders import GapSelection

from .problems import FRAGMENTED, fragmented_problem, network, problem_of, rounded
from .reference import exhaustive_pack, solved, undecided_pack

SOLVERS = [Belady, GreedyEviction, GapSelection]


@pytest.mark.parametrize("pack", [exhaustive_pack, undecided_pack])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("case", FRAGMENTED)
def test_fragmentation_is_resolved_by_evicting_or_moving(solver, pack, case) -> None:
    outcome = solved(solver(pack), fragmented_problem(*case, idle=False))
    assert outcome.solution is not None
    assert outcome.solution.traffic_bytes > 0


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), steps=st.integers(2, 40))
def test_a_capacity_of_one_step_is_always_enough(solver, seed: int, steps: int) -> None:
    problem = network(seed, steps)
    solved(solver(undecided_pack), problem)
    solved(solver(), problem, deadline=Deadline(5))


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_time_left_still_gives_a_legal_plan(solver) -> None:
    problem = network(3, 300)
    cancelled = Deadline(60)
    cancelled.cancel.set()
    for deadline in (Deadline(0), cancelled):
        solved(solver(), problem, deadline=deadline)


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_byte_less_than_a_step_needs_is_proven_infeasible(solver) -> None:
    problem = network(1, 50)
    outcome = solver().solve(replace(problem, capacity=problem.capacity - 1), deadline=Deadline(60))
    assert (outcome.status, outcome.solution) == (Status.INFEASIBLE, None)
    assert outcome.statistics["step_bytes"] == problem.capacity
    assert outcome.statistics["step_bytes"] > outcome.statistics["capacity_bytes"]
    needed = sum(
        rounded(problem, s)
        for s in range(50)
        if outcome.statistics["step"] in problem.uses.row(s).tolist()
        and (outcome.statistics["step"], s, s - 1) not in problem.merged
    )
    assert needed == problem.capacity


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_plan_that_needs_no_traffic_is_optimal(solver) -> None:
    outcome = solved(solver(), replace(network(5, 60), capacity=10**6))
    assert outcome.solution is not None
    assert (outcome.status, outcome.solution.traffic_bytes) == (Status.OPTIMAL, 0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_storages_without_uses_and_problems_without_steps_are_solved(solver) -> None:
    idle = problem_of([[], [0, 2], [1]], [0, 5, 5], 5)
    outcome = solved(solver(), idle)
    assert outcome.solution is not None
    assert {e.storage for e in outcome.solution.episodes} == {1, 2}
    nothing = replace(problem_of([[0]], [1], 1), steps=0, uses=RaggedArray.from_rows([[]]))
    assert solved(solver(), nothing).solution == ReplacementSolution((), 0)


def test_the_same_problem_gives_the_same_plan() -> None:
    for solver in SOLVERS:
        first, second = (solved(solver(), network(11, 120)) for _ in range(2))
        assert first.solution == second.solution


def test_a_better_incumbent_is_kept() -> None:
    problem = fragmented_problem(*FRAGMENTED[6], idle=False)
    best = solved(GapSelection(exhaustive_pack), problem).solution
    for solver in SOLVERS:
        outcome = solved(solver(undecided_pack), problem, incumbent=best)
        assert outcome.solution == best


def test_the_cost_of_leaving_depends_on_a_farther_copy() -> None:
    # Storage 0 must leave for storage 1: 4 bytes out and 4 bytes in, or in only.
    for has_copy, traffic in ((False, 8), (True, 4)):
        problem = problem_of([[0, 2], [1]], [4, 5], 8, alignment=8, has_copy=[has_copy, False])
        for solver in SOLVERS:
            outcome = solved(solver(), problem)
            assert outcome.solution is not None
            assert outcome.solution.traffic_bytes == traffic


@pytest.mark.parametrize(
    ("merged", "size"),
    [
        ([(1, 1, 0)], [3, 4, 3]),
        ([(2, 1, 0)], [3, 3, 3]),
        ([(1, 1, 0), (1, 2, 0)], [3, 3, 3]),
        ([(1, 2, 1)], [3, 3, 3]),
    ],
)
def test_impossible_in_place_pairs_are_refused(merged, size: list[int]) -> None:
    problem = problem_of([[0, 1], [1, 2], [1]], size, 100, merged=merged)
    with pytest.raises(ValueError, match="storage"):
        Belady().solve(problem, deadline=Deadline(1))
