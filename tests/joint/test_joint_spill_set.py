"""The spill-set bound: never above the optimum, and equal to it where it claims so."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from planner.graph import RaggedArray
from planner.problem import Outcome, Status
from planner.registry import SOLVERS
from solvers.joint.spill_orders import another_order
from solvers.joint.spill_set import SpillSet
from solvers.protocol import Deadline

from .brute_force import least_traffic, random_problem, rows

if TYPE_CHECKING:
    from planner.joint_problem import JointProblem, JointSolution


def solve(problem: JointProblem, seconds: float = 60.0) -> Outcome[JointSolution]:
    return SpillSet().solve(problem, deadline=Deadline(seconds))


def is_topological(problem: JointProblem, order: list[int]) -> bool:
    step = {v: i for i, v in enumerate(order)}
    predecessors = rows(problem.predecessors)
    return sorted(order) == list(range(problem.operators)) and all(
        step[p] < step[v] for v in step for p in predecessors[v]
    )


def chain(problem: JointProblem, order: list[int]) -> JointProblem:
    """Return the problem in which only this order is left."""
    number = {v: i for i, v in enumerate(order)}

    def renumbered(array: RaggedArray) -> RaggedArray:
        return RaggedArray.from_rows([sorted(number[v] for v in row) for row in rows(array)])

    in_place = rows(problem.in_place)
    return replace(
        problem,
        predecessors=RaggedArray.from_rows([[i - 1] if i else [] for i in range(len(order))]),
        starters=renumbered(problem.starters),
        users=renumbered(problem.users),
        writers=renumbered(problem.writers),
        in_place=RaggedArray.from_rows([in_place[v] for v in order]),
    )


@pytest.mark.parametrize("alignment", [1, 4])
def test_without_extras_the_bound_is_the_optimum(alignment: int) -> None:
    positive = 0
    for seed in range(150):
        problem = random_problem(seed, 3 + seed % 4, alignment=alignment)
        best = least_traffic(problem)
        outcome = solve(problem)
        assert outcome.status is Status.OPTIMAL
        assert outcome.lower_bound == best
        assert outcome.solution is not None
        assert outcome.solution.traffic_bytes == best
        positive += best != 0
    assert positive > 5


@pytest.mark.parametrize("alignment", [1, 4])
def test_with_everything_the_bound_holds(alignment: int) -> None:
    proven = 0
    for seed in range(150):
        problem = random_problem(seed, 3 + seed % 4, alignment=alignment, everything=True)
        best = least_traffic(problem)
        outcome = solve(problem)
        if best is None:
            assert outcome.status in (Status.INFEASIBLE, Status.UNKNOWN)
            continue
        assert outcome.lower_bound is not None
        assert outcome.lower_bound <= best
        if outcome.solution is not None:
            assert outcome.solution.traffic_bytes >= best
        if outcome.status is Status.OPTIMAL:
            assert outcome.lower_bound == best
            proven += best > 0
    assert proven > 3


@pytest.mark.parametrize("everything", [False, True])
def test_the_order_can_do_with_its_traffic(everything: bool) -> None:
    for seed in range(200, 260):
        problem = random_problem(seed, 6, everything=everything)
        solution = solve(problem).solution
        if solution is None:
            continue
        order = solution.order.tolist()
        assert is_topological(problem, order)
        needed = least_traffic(chain(problem, order))
        assert needed is not None
        assert needed <= solution.traffic_bytes


def needs_more_than_the_capacity(problem: JointProblem, staying: set[int]) -> bool:
    """Whether no order fits when only these storages have to stay while they are wanted."""
    users, starters = rows(problem.users), rows(problem.starters)
    for candidate in itertools.permutations(range(problem.operators)):
        order = list(candidate)
        if not is_topological(problem, order):
            continue
        step = {v: i for i, v in enumerate(order)}
        load = [0] * len(order)
        for s, row in enumerate(users):
            if not row:
                continue
            first = min(step[v] for v in starters[s])
            last = max(step[v] for v in row)
            at = range(first, last + 1) if s in staying else {step[v] for v in row}
            for t in at:
                load[t] += int(problem.size[s])
        if max(load) <= problem.capacity:
            return False
    return True


def test_some_storage_of_every_cut_leaves_in_every_plan() -> None:
    checked = 0
    for seed in range(120):
        problem = random_problem(seed, 5)
        for cut in solve(problem).statistics["cuts"]:
            assert needs_more_than_the_capacity(problem, set(cut))
            checked += 1
    assert checked > 10


def test_too_small_a_capacity_is_infeasible() -> None:
    problem = replace(random_problem(3, 6), capacity=1)
    outcome = solve(problem)
    assert outcome.status is Status.INFEASIBLE
    assert outcome.solution is None


def test_without_time_the_bound_is_still_valid() -> None:
    for seed in range(40):
        problem = random_problem(seed, 6)
        best = least_traffic(problem)
        outcome = solve(problem, seconds=0.0)
        assert outcome.lower_bound is not None
        assert best is not None
        assert outcome.lower_bound <= best
        assert outcome.status is not Status.INFEASIBLE


def test_a_cancelled_run_ends_with_a_bound() -> None:
    deadline = Deadline(60)
    deadline.cancel.set()
    problem = random_problem(7, 6)
    outcome = SpillSet().solve(problem, deadline=deadline)
    best = least_traffic(problem)
    assert best is not None
    assert outcome.lower_bound is not None
    assert outcome.lower_bound <= best


def test_the_incumbent_is_kept_when_nothing_better_is_found() -> None:
    problem = random_problem(21, 6)
    best = solve(problem).solution
    assert best is not None
    again = SpillSet().solve(problem, deadline=Deadline(0.0), incumbent=best)
    assert again.solution is not None
    assert again.solution.traffic_bytes == best.traffic_bytes


def test_equal_seeds_give_equal_answers() -> None:
    problem = random_problem(84, 6)
    first, second = solve(problem), solve(problem)
    assert first.solution is not None
    assert second.solution is not None
    assert np.array_equal(first.solution.order, second.solution.order)
    assert first.statistics["cuts"] == second.statistics["cuts"]


def test_other_orders_keep_the_levels() -> None:
    found = 0
    for seed in range(60):
        problem = random_problem(seed, 6)
        outcome = solve(problem)
        if not outcome.lower_bound:
            continue
        for tie_break in range(3):
            other = another_order(
                problem, outcome.statistics["levels"], deadline=Deadline(60), seed=tie_break
            )
            assert other is not None
            assert is_topological(problem, other.order.tolist())
            assert other.traffic_bytes >= outcome.lower_bound
            needed = least_traffic(chain(problem, other.order.tolist()))
            assert needed is not None
            assert needed <= other.traffic_bytes
            found += 1
    assert found > 5


def test_the_registry_knows_it() -> None:
    assert isinstance(SOLVERS["joint"]["spill-set"].load(), SpillSet)
