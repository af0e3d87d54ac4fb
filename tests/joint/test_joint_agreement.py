"""COSMA's program, the exact search, the spill-set bound and brute force agree on small graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

import planner
from planner.footprint import largest_footprint
from planner.joint_problem import JointProblem
from planner.problem import Objective, PlanningProblem, Status
from planner.testing import assert_legal, random_graph
from solvers.contenders.cosma import cosma_problem
from solvers.contenders.orders import order_problem
from solvers.cosma.backends import Backend
from solvers.cosma.least_traffic import with_addresses
from solvers.cosma.solvers import CosmaJoint
from solvers.joint.exact import JointExact
from solvers.joint.spill_set import SpillSet
from solvers.order.exact import ExactOrder
from solvers.protocol import Deadline

from .brute_force import least_traffic
from .targets import scratchpad
from .test_joint_race import random_bare_graph

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.graph import Graph
    from planner.plans import Plan

SECONDS = 60.0
MOST_OPERATORS = 8
MOST_OPERATORS_OF_BRUTE_FORCE = 6


class Count(NamedTuple):
    """Instances (a graph at a budget), those with all proofs, and those that have to spill."""

    instances: int = 0
    proven: int = 0
    spilling: int = 0

    def plus(self, *, proven: bool, traffic: int) -> Count:
        return Count(self.instances + 1, self.proven + proven, self.spilling + (traffic > 0))


def problem_at(graph: Graph, capacity: int) -> PlanningProblem:
    return PlanningProblem(graph, scratchpad(capacity), Objective.TRAFFIC, in_place=False)


def budgets(graph: Graph) -> list[int]:
    """M_R, a little more, half way to the smallest peak M_P, M_P less one byte, M_P."""
    least = largest_footprint(graph, in_place=False).size_bytes
    outcome = ExactOrder().solve(order_problem(problem_at(graph, 0)), deadline=Deadline(SECONDS))
    assert outcome.status is Status.OPTIMAL and outcome.solution is not None
    peak = outcome.solution.peak_bytes
    a_bit = least + (peak - least + 3) // 4
    return sorted({least, a_bit, (least + peak) // 2, max(least, peak - 1), peak})


def moves_between_steps(plan: Plan) -> bool:
    """Whether a storage goes to another address of the scratchpad without a step of absence."""
    stays = [p for p in plan.placements if p.memory == plan.target.nearest.name]
    left = {(p.storage, p.end): p.offset for p in stays}
    return any(left.get((p.storage, p.start), p.offset) != p.offset for p in stays)


def compare_plans(graphs: Iterable[Graph]) -> Count:
    """Race all contenders against COSMA's program with addresses, at all budgets.

    COSMA moves a tensor to another address by a step of absence only, the plan language also
    between two steps. Where a plan does that, it may be better than COSMA's optimum, which may then
    not exist at all; nowhere else.
    """
    count = Count()
    for graph in graphs:
        assert len(graph.operators) <= MOST_OPERATORS
        for capacity in budgets(graph):
            problem = problem_at(graph, capacity)
            theirs = with_addresses(
                cosma_problem(problem), Backend.MATHOPT, deadline=Deadline(SECONDS)
            )
            ours = planner.plan(graph, target=problem.target, in_place=False, time_limit=SECONDS)
            assert_legal(graph, problem.target, ours.plan)
            metrics = ours.plan.metrics
            traffic, bound = metrics.traffic_bytes, metrics.traffic_lower_bound_bytes
            assert metrics.arena_bytes["sram"] <= capacity
            assert not theirs.infeasible
            assert theirs.lower_bound <= traffic
            if theirs.solution is not None:
                assert bound is not None and bound <= theirs.solution.traffic_bytes
            proven = theirs.proven and ours.status is Status.OPTIMAL
            if theirs.proven and theirs.solution is not None:
                if not moves_between_steps(ours.plan):
                    assert traffic >= theirs.solution.traffic_bytes
                if proven:
                    assert traffic <= theirs.solution.traffic_bytes
            count = count.plus(proven=proven, traffic=traffic)
    return count


@pytest.mark.parametrize("part", range(5))
def test_plans_and_cosma_with_addresses_agree(part: int) -> None:
    """In parts, which a run of the suite on several cores can share."""
    small = [random_bare_graph(seed, 3 + seed % 4) for seed in range(part, 180, 5)]
    larger = [random_bare_graph(seed, 7 + seed % 2) for seed in range(1000 + part, 1025, 5)]
    count = compare_plans([*small, *larger])
    # Not one without a proof on both sides.
    assert count.proven == count.instances >= 60
    assert count.spilling >= 20


@pytest.mark.slow
@pytest.mark.parametrize("first", [2000, 2250])
def test_many_more_plans_and_cosma_agree(first: int) -> None:
    seeds = range(first, first + 250)
    count = compare_plans(random_bare_graph(seed, 3 + seed % 6) for seed in seeds)
    assert count.proven >= 0.99 * count.instances >= 450


def with_whole_storages(graph: Graph) -> bool:
    """Whether no storage is written in several parts."""
    return bool(np.all(np.diff(graph.storage_writers.offsets) <= 1))


@pytest.mark.slow
def test_graphs_with_views_and_empty_tensors_agree_too() -> None:
    graphs = [random_graph(seed, operators=4 + seed % 5) for seed in range(120)]
    count = compare_plans(filter(with_whole_storages, graphs))
    assert count.proven >= 0.97 * count.instances >= 80


def compare_by_capacity(graphs: Iterable[Graph]) -> Count:
    """COSMA without addresses, exact search, spill-set bound and brute force, at all budgets."""
    count = Count()
    for graph in graphs:
        assert len(graph.operators) <= MOST_OPERATORS_OF_BRUTE_FORCE
        for capacity in budgets(graph):
            problem = JointProblem.of(problem_at(graph, capacity))
            optimum = least_traffic(problem)
            assert optimum is not None
            searched = JointExact().solve(problem, deadline=Deadline(SECONDS))
            bounded = SpillSet().solve(problem, deadline=Deadline(SECONDS))
            programmed = CosmaJoint().solve(problem, deadline=Deadline(SECONDS))
            for outcome in (searched, programmed):
                assert outcome.status is Status.OPTIMAL and outcome.solution is not None
                assert outcome.solution.traffic_bytes == outcome.lower_bound == optimum
            assert bounded.lower_bound is not None and bounded.lower_bound <= optimum
            if bounded.solution is not None:
                assert bounded.solution.traffic_bytes >= optimum
            if bounded.status is Status.OPTIMAL:
                assert bounded.lower_bound == optimum
            count = count.plus(proven=bounded.status is Status.OPTIMAL, traffic=optimum)
    return count


def test_cosma_exact_search_bound_and_brute_force_agree_by_capacity() -> None:
    count = compare_by_capacity(random_bare_graph(seed, 3 + seed % 4) for seed in range(100))
    assert count.instances >= 150
    assert count.spilling >= 50
    # The bound alone closes nearly all of them.
    assert count.proven >= 0.95 * count.instances


@pytest.mark.slow
def test_many_more_agree_by_capacity() -> None:
    graphs = (random_bare_graph(seed, 3 + seed % 4) for seed in range(100, 1000))
    assert compare_by_capacity(graphs).instances >= 1350
