"""Races for least traffic on random graphs and machines: legal, bounds never refuted, baselines."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

import planner
from planner.errors import DoesNotFitError
from planner.footprint import largest_footprint
from planner.portfolio import RaceResult, race
from planner.problem import Objective, PlanningProblem
from planner.testing import assert_legal, random_graph
from solvers.contenders.assemble import assemble
from solvers.contenders.fixed_order import fix_order
from solvers.contenders.in_place import InPlaceChoice
from solvers.contenders.orders import order_problem
from solvers.order.exact import ExactOrder
from solvers.protocol import Deadline
from solvers.replacement.linear_arena import EvictionRule, LinearArena

from .targets import scratchpad
from .test_joint_race import random_bare_graph

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.target import Target


class Instance(NamedTuple):
    """A graph, a machine near its limits, and the order of the smallest peak."""

    graph: Graph
    target: Target
    least_peak_order: tuple[int, ...]


def instance(seed: int, most_operators: int) -> Instance:
    """Bare or with everything; scratchpads, with the caller's data in either memory, or an NPU."""
    rng = random.Random(seed)
    operators = rng.randint(5, most_operators)
    make = rng.choice((random_bare_graph, random_graph, random_graph))
    graph = make(rng.randrange(10**6), operators)
    kind, alignment = rng.choice(("far", "far", "near", "npu")), rng.choice((1, 1, 4, 64))
    if kind == "npu":
        target = planner.read_target("npu-1m")
    else:
        target = scratchpad(1, alignment=alignment)
        target = replace(target, io_memory="sram" if kind == "near" else "dram")
    unit = target.nearest.alignment_bytes
    roomy = target.with_capacities({"sram": 10**9})
    ordering = order_problem(PlanningProblem(graph, roomy, Objective.TRAFFIC, in_place=False))
    peak = ExactOrder().solve(ordering, deadline=Deadline(20), seed=seed).solution
    assert peak is not None
    least = largest_footprint(graph, in_place=rng.random() < 0.5, alignment_bytes=unit).size_bytes
    most = max(least, peak.peak_bytes)
    capacity = rng.choice((least, least, rng.randint(least, (least + most) // 2), most))
    capacity += rng.choice((0, 0, rng.randrange(unit + 1)))  # no whole number of units
    order = tuple(int(operator) for operator in peak.order)
    return Instance(graph, target.with_capacities({"sram": capacity}), order)


def baselines(problem: PlanningProblem, least_peak_order: tuple[int, ...]) -> list[int]:
    """Traffic of linear arenas on the default order and that of the smallest peak."""
    found = []
    for order in (range(len(problem.graph.operators)), least_peak_order):
        fixed = fix_order(problem, order, InPlaceChoice.NONE)
        for rule in EvictionRule:
            for moving in (False, True):
                solver = LinearArena(rule, moving=moving)
                solution = solver.solve(fixed.replacement, deadline=Deadline(20)).solution
                if solution is None:
                    continue
                plan = assemble(
                    problem,
                    fixed.order,
                    fixed.in_place,
                    solution.episodes,
                    contender=solver.name,
                    deadline=Deadline(20),
                )
                assert_legal(problem.graph, problem.target, plan)
                found.append(plan.metrics.traffic_bytes)
    return found


def raced(problem: PlanningProblem, seconds: float, seed: int, *names: str) -> RaceResult | None:
    try:
        result = race(problem, contenders=names or None, time_limit_s=seconds, seed=seed)
    except DoesNotFitError:
        return None
    assert_legal(problem.graph, problem.target, result.plan)
    assert not [report for report in result.reports if report.status == "failed"]
    capacity = problem.target.nearest.capacity_bytes
    assert capacity is not None
    assert result.plan.metrics.arena_bytes.get("sram", 0) <= capacity
    return result


def traffic(results: list[RaceResult]) -> list[int]:
    return [result.plan.metrics.traffic_bytes for result in results]


def bounds(results: list[RaceResult]) -> list[int]:
    return [result.plan.metrics.traffic_lower_bound_bytes or 0 for result in results]


def assert_sound(seed: int, most_operators: int, seconds: float) -> bool:
    """Race short and long, by other contenders and seeds; return whether it had to spill.

    Overwriting may only help: what is proven with it holds without it.
    """
    graph, target, order = instance(seed, most_operators)
    separate = PlanningProblem(graph, target, Objective.TRAFFIC, in_place=False)
    overwriting = replace(separate, in_place=True)
    known: list[int] = []
    for problem in (separate, overwriting):
        runs = [
            raced(problem, 0.2, seed + 1),
            raced(problem, seconds, seed),
            raced(problem, seconds, seed + 2, "belady", "search"),
            raced(replace(problem, objective=Objective.PEAK), 0.5, seed),
        ]
        found = [run for run in runs if run is not None]
        compared = baselines(problem, order)
        if not found:
            assert not compared
            continue
        assert len(found) == len(runs)
        if compared:
            assert traffic(found)[1] <= min(compared), seed
        known += [*traffic(found), *compared]
        # Without overwriting `known` holds its own plans alone, with it those of both.
        assert max(bounds(found)) <= min(known), seed
    return bool(known) and max(known) > 0


@pytest.mark.parametrize("block", range(2))
def test_races_on_random_graphs_are_sound(block: int) -> None:
    seeds = range(6 * block, 6 * block + 4)
    assert sum(assert_sound(seed, most_operators=12, seconds=1.0) for seed in seeds) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("block", range(6))
def test_many_races_on_random_graphs_are_sound(block: int) -> None:
    for seed in range(100 + 5 * block, 105 + 5 * block):
        assert_sound(seed, most_operators=(12, 20, 40)[seed % 3], seconds=2)


@pytest.mark.parametrize("objective", list(Objective))
def test_every_objective_spills_legally(objective: Objective) -> None:
    for seed in range(6):
        graph = random_graph(seed, 12)
        least = largest_footprint(graph, in_place=False, alignment_bytes=16).size_bytes
        target = planner.read_target("npu-1m").with_capacities({"sram": least})
        problem = PlanningProblem(graph, target, objective, in_place=False)
        result = raced(problem, 1, seed)
        assert result is not None
        longer = raced(replace(problem, objective=Objective.TRAFFIC), 1.5, seed + 1)
        assert longer is not None
        assert max(bounds([result, longer])) <= min(traffic([result, longer]))
        latency = result.plan.metrics.latency_s
        assert latency is not None
        assert (result.plan.metrics.latency_lower_bound_s or 0.0) <= latency
