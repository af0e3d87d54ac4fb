"""Whole plans whose storages move inside the nearest memory, or leave it in parts."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from frontends.bare_graph import bare_graph
from planner.errors import PlannerError
from planner.footprint import largest_footprint
from planner.plans import TransferKind
from planner.portfolio import race
from planner.problem import Objective, PlanningProblem, Status
from planner.target import Compute, Link, Memory, Target
from planner.testing import assert_legal, random_graph
from solvers.contenders.fixed_order import fix_order
from solvers.contenders.in_place import InPlaceChoice

from .problems import FRAGMENTED, fragmented_problem
from .reference import cheapest_by_capacity

if TYPE_CHECKING:
    from planner.graph import Graph

OUT_AND_IN = (Link("sram", "dram", 1e8, 1e-7), Link("dram", "sram", 1e8, 1e-7))
WITHIN = Link("sram", "sram", 1e9, 1e-8)


def machine(capacity: int, alignment: int, *, relocates: bool, io_memory: str = "dram") -> Target:
    memories = (
        Memory("sram", capacity, alignment, 1e9, 1e9),
        Memory("dram", None, alignment, 2e8, 2e8),
    )
    links = (*OUT_AND_IN, WITHIN) if relocates else OUT_AND_IN
    return Target("m", memories, links, Compute({"default": 1e9}, 1e9, 1e-7), io_memory=io_memory)


def random_problem(seed: int) -> PlanningProblem:
    rng = random.Random(seed)
    graph = random_graph(rng.randrange(10**6), rng.randint(4, rng.choice((8, 14, 30))))
    in_place = rng.random() < 0.7
    alignment = rng.choice((1, 1, 2, 16, 64))
    least = largest_footprint(graph, in_place=in_place, alignment_bytes=alignment).size_bytes
    capacity = rng.choice((least, least, int(1.1 * least), int(1.3 * least)))
    target = machine(
        capacity, alignment, relocates=True, io_memory=rng.choice(("sram", "dram", "dram"))
    )
    objective = rng.choice((Objective.TRAFFIC, Objective.TRAFFIC, Objective.LATENCY))
    if rng.random() < 0.2:
        target = replace(target, operands_resident=False)
    return PlanningProblem(graph, target, objective, in_place, partial_spills=True)


def races_are_sound(seed: int) -> set[str]:
    """Race with both; what the plan makes use of."""
    problem = random_problem(seed)
    try:
        result = race(problem, time_limit_s=30.0)
    except PlannerError:
        return set()
    plan = result.plan
    assert_legal(problem.graph, problem.target, plan)
    assert not [report for report in result.reports if report.status == "failed"], seed
    used = {"parts"} if any(p.part is not None for p in plan.placements) else set()
    if any(t.kind is TransferKind.MOVE for t in plan.transfers):
        used.add("moves")
    return used


@pytest.mark.parametrize("block", range(2))
def test_races_with_moves_and_parts_give_legal_plans(block: int) -> None:
    used = [races_are_sound(seed) for seed in range(25 * block, 25 * block + 10)]
    assert any("parts" in what for what in used)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(6))
def test_many_races_with_moves_and_parts_are_sound(block: int) -> None:
    for seed in range(1000 + 25 * block, 1000 + 25 * block + 25):
        races_are_sound(seed)


def chain(rng: random.Random) -> Graph:
    """Each operator reads the result before and perhaps an older one: there is one order."""
    count = rng.randint(4, 6)
    sizes = [rng.randint(1, 6) for _ in range(count + 1)]
    operands = []
    for operator in range(count):
        older = [t for t in range(operator) if rng.random() < 0.5]
        operands.append(([*older[-2:], operator], [operator + 1]))
    return bare_graph("chain", sizes, operands)


@pytest.mark.parametrize("relocates", [False, True])
@pytest.mark.parametrize("parts", [False, True])
def test_bounds_on_the_only_order_are_those_of_an_exhaustive_search(parts, relocates) -> None:
    better = 0
    for seed in range(25):
        graph = chain(random.Random(seed))
        capacity = largest_footprint(graph, in_place=False).size_bytes
        target = machine(capacity, 1, relocates=relocates)
        problem = PlanningProblem(graph, target, Objective.TRAFFIC, False, partial_spills=parts)
        fixed = fix_order(problem, range(len(graph.operators)), InPlaceChoice.NONE)
        best = cheapest_by_capacity(fixed.replacement, in_parts=parts)
        result = race(problem, contenders=["exact"])
        metrics = result.plan.metrics
        assert_legal(graph, target, result.plan)
        bound = metrics.traffic_lower_bound_bytes
        assert bound is not None
        if relocates:
            assert (result.status, metrics.traffic_bytes) == (Status.OPTIMAL, best)
        if parts:
            assert bound <= best
            whole = cheapest_by_capacity(fixed.replacement, in_parts=False)
            better += metrics.traffic_bytes < whole
        assert bound <= metrics.traffic_bytes
        assert best <= metrics.traffic_bytes
    assert better >= 2 * (parts and relocates)


def fragmented(case: tuple[int, int, int, int]) -> Graph:
    """Every operator needs the whole memory; its operands are those of `fragmented_problem`."""
    problem = fragmented_problem(*case, idle=False)
    uses = [problem.uses.row(s).tolist() for s in range(len(problem.size))]
    operands = [
        (
            [s for s, row in enumerate(uses) if row[0] < step <= row[-1]],
            [s for s, row in enumerate(uses) if row[0] == step],
        )
        for step in range(problem.steps)
    ]
    return bare_graph("fragmented", problem.size.tolist(), operands)


def test_moves_save_traffic_and_take_time() -> None:
    moved = saved = 0
    for case in FRAGMENTED:
        graph = fragmented(case)
        traffic = []
        for relocates in (True, False):
            target = machine(case[1], 1, relocates=relocates)
            problem = PlanningProblem(graph, target, Objective.TRAFFIC, False)
            plan = race(problem).plan
            assert_legal(graph, target, plan)
            traffic.append(plan.metrics.traffic_bytes)
            moves = [t for t in plan.transfers if t.kind is TransferKind.MOVE]
            assert bool(moves) == (plan.metrics.relocated_bytes > 0)
            if moves:
                assert plan.metrics.stall_s is not None
                assert plan.metrics.stall_s >= plan.metrics.relocated_bytes / WITHIN.bandwidth
                moved += 1
        assert traffic[0] <= traffic[1]
        saved += traffic[0] < traffic[1]
    assert moved >= 3
    assert saved >= 3


def test_no_bound_is_claimed_that_the_rest_of_an_odd_capacity_disproves() -> None:
    # t1 waits in the thirteenth byte, where nothing that is rounded up to 2 bytes fits.
    graph = bare_graph("odd", [1, 1, 5, 6, 1], [([0], [1]), ([1], [2]), ([2], [3]), ([1, 3], [4])])
    for parts in (False, True):
        target = machine(13, 2, relocates=False)
        problem = PlanningProblem(graph, target, Objective.TRAFFIC, False, partial_spills=parts)
        result = race(problem)
        assert result.plan.metrics.traffic_lower_bound_bytes in (None, 0)
