"""Annealing and beam over orders, against exhaustive search and published values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.graph import RaggedArray
from planner.joint_problem import JointProblem, JointSolution
from planner.problem import Outcome, Status
from planner.registry import SOLVERS
from solvers.joint.annealing import Annealing
from solvers.joint.beam import Beam
from solvers.joint.eviction import traffic_of_order
from solvers.protocol import Deadline

from .brute_force import least_traffic, random_problem, rows, smallest_capacity

# Ends long before any deadline here.
SHORT = Annealing(most_evaluations=3000)
NARROW = Beam(first_width=8, last_width=64)
BOTH = pytest.mark.parametrize("solver", [SHORT, NARROW], ids=["annealing", "beam"])


def solved(
    solver: Annealing | Beam,
    problem: JointProblem,
    seed: int = 0,
    incumbent: JointSolution | None = None,
) -> Outcome[JointSolution]:
    return solver.solve(problem, deadline=Deadline(60.0), seed=seed, incumbent=incumbent)


def assert_is_order(problem: JointProblem, order: np.ndarray) -> None:
    assert sorted(order.tolist()) == list(range(problem.operators))
    position = {v: i for i, v in enumerate(order.tolist())}
    for v, before in enumerate(rows(problem.predecessors)):
        assert all(position[p] < position[v] for p in before)


def test_registry_names_both() -> None:
    assert isinstance(SOLVERS["joint"]["beam"].load(), Beam)
    assert isinstance(SOLVERS["joint"]["annealing"].load(), Annealing)


@BOTH
@pytest.mark.parametrize(
    ("everything", "alignment"), [(False, 1), (False, 4), (True, 1), (True, 4)]
)
def test_never_below_the_optimum_and_mostly_at_it(
    solver: Annealing | Beam, everything: bool, alignment: int
) -> None:
    equal = moved = 0
    for seed in range(40):
        problem = random_problem(seed, 6, alignment=alignment, everything=everything)
        optimum, outcome = least_traffic(problem), solved(solver, problem)
        if optimum is None:
            assert (outcome.status, outcome.solution) == (Status.UNKNOWN, None)
            continue
        assert outcome.status is Status.FEASIBLE, f"seed {seed}"
        assert not outcome.lower_bound
        assert outcome.solution is not None
        assert_is_order(problem, outcome.solution.order)
        traffic = outcome.solution.traffic_bytes
        assert traffic == traffic_of_order(problem, outcome.solution.order)
        assert traffic >= optimum, f"seed {seed}"
        moved += optimum > 0
        equal += optimum > 0 and traffic == optimum
    assert moved >= 5
    assert equal >= 0.95 * moved, f"{equal} of {moved}"


@BOTH
def test_never_worse_than_the_incumbent(solver: Annealing | Beam) -> None:
    for seed in range(20):
        problem = random_problem(seed, 12)
        order = np.arange(problem.operators, dtype=np.int32)
        traffic = traffic_of_order(problem, order)
        assert traffic is not None
        for known in (traffic, traffic // 2, 0):
            # Gap selection may know less traffic for the order than the rules find.
            outcome = solved(solver, problem, incumbent=JointSolution(order, known))
            assert outcome.status is Status.FEASIBLE
            assert outcome.solution is not None
            assert outcome.solution.traffic_bytes <= known


@BOTH
def test_cancelled_before_it_starts_hands_back_the_incumbent_or_a_list_order(
    solver: Annealing | Beam,
) -> None:
    problem = random_problem(1, 40)
    cancelled = Deadline(60.0)
    cancelled.cancel.set()
    outcome = solver.solve(problem, deadline=cancelled)
    assert outcome.solution is not None
    assert_is_order(problem, outcome.solution.order)
    assert outcome.statistics.get("evaluations", 0) <= 4
    assert outcome.statistics.get("beams", 0) == 0
    incumbent = JointSolution(outcome.solution.order, outcome.solution.traffic_bytes - 1)
    again = solver.solve(problem, deadline=cancelled, incumbent=incumbent)
    assert again.solution is incumbent


@BOTH
def test_same_seed_same_answer(solver: Annealing | Beam) -> None:
    problem = random_problem(5, 40)
    first, second = (solved(solver, problem, seed=7).solution for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.order.tolist() == second.order.tolist()
    assert first.traffic_bytes == second.traffic_bytes


def test_another_seed_searches_elsewhere() -> None:
    problem = random_problem(5, 40)
    accepted = {solved(SHORT, problem, seed=seed).statistics["accepted"] for seed in range(3)}
    assert len(accepted) > 1


@BOTH
def test_stops_at_the_goal(solver: Annealing | Beam) -> None:
    problem = random_problem(5, 40)
    best = solved(solver, problem).solution
    assert best is not None
    start = solved(replace(solver, goal_bytes=1 << 40), problem)
    assert start.statistics.get("evaluations", 0) <= 4
    assert start.statistics.get("beams", 0) == 0
    again = solved(replace(solver, goal_bytes=best.traffic_bytes), problem).solution
    assert again is not None
    assert again.traffic_bytes == best.traffic_bytes


@pytest.mark.parametrize("solver", [Annealing(), Beam()], ids=["annealing", "beam"])
def test_operands_that_do_not_fit_end_the_search_at_once(solver: Annealing | Beam) -> None:
    problem = replace(random_problem(0, 5), capacity=0)
    outcome = solver.solve(problem, deadline=Deadline(1e6))
    assert (outcome.status, outcome.solution) == (Status.UNKNOWN, None)


@pytest.mark.parametrize("solver", [Annealing(), Beam()], ids=["annealing", "beam"])
def test_a_chain_ends_the_search_at_once(solver: Annealing | Beam) -> None:
    chain = RaggedArray.from_rows([[], *([v] for v in range(5))])
    tight = 0
    for seed in range(20):
        problem = replace(random_problem(seed, 6), predecessors=chain)
        problem = replace(problem, capacity=smallest_capacity(problem))
        tight += bool(traffic_of_order(problem, range(6)))
        outcome = solver.solve(problem, deadline=Deadline(1e6))
        assert outcome.solution is not None
        assert outcome.solution.order.tolist() == list(range(6))
    assert tight >= 5


@BOTH
@pytest.mark.parametrize("operators", [0, 1])
def test_nothing_to_order(solver: Annealing | Beam, operators: int) -> None:
    outcome = solved(solver, random_problem(0, operators))
    assert outcome.solution is not None
    assert len(outcome.solution.order) == operators
    assert outcome.solution.traffic_bytes == 0


@BOTH
def test_incumbent_that_is_no_order_is_refused(solver: Annealing | Beam) -> None:
    problem = random_problem(0, 5)
    with pytest.raises(ValueError, match="order: not every operator once"):
        solved(solver, problem, incumbent=JointSolution(np.zeros(5, dtype=np.int32), 0))
