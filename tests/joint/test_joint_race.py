"""Least traffic over all orders, whole plans: published optima, and small graphs by brute force."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import planner
from frontends.bare_graph import bare_graph, read_bare_graph
from planner.errors import DoesNotFitError
from planner.footprint import largest_footprint
from planner.joint_problem import JointProblem
from planner.problem import Objective, PlanningProblem, Status
from planner.testing import assert_legal

from .brute_force import least_traffic
from .targets import scratchpad

if TYPE_CHECKING:
    from planner.graph import Graph

# KiB at the largest operator and half way from there to the smallest peak.
PUBLISHED = {
    "shufflenet": (36.75, 36.75),
    "densenet121_unf": (2548.0, 1372.0),
    "randwire": (238.875, 119.4375),
    "randwire2": (477.75, 238.875),
    "darts_imc": (735.0, 735.0),
    "nasnet_imc": (735.0, 735.0),
    "amoebanet_imc": (735.0, 735.0),
    "pnas_imc": (918.75, 735.0),
    "darts_im": (1004.5, 784.0),
    "nasnet_im": (1225.0, 784.0),
    "amoebanet_im": (1078.0, 784.0),
    "pnas_im": (2033.5, 784.0),
    "darts_cif": (1810.0, 640.0),
    "nasnet_cif": (2674.0, 784.0),
    "amoebanet_cif": (1432.0, 144.0),
    "pnas_cif": (2242.0, 712.0),
}


def budgets() -> dict[str, tuple[int, int]]:
    data = os.environ.get("PLANNER_DATA")
    if not data:
        return {}
    lines = Path(data, "graphs", "budgets.txt").read_text(encoding="utf-8").split("\n")[1:]
    table = [line.split() for line in lines if line]
    return {name: (int(least), int(half)) for name, _, least, _, half in table}


@pytest.mark.slow
@pytest.mark.skipif(not budgets(), reason="PLANNER_DATA is not set: no published graphs")
@pytest.mark.parametrize("which", [0, 1], ids=["M_R", "M_H"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_graphs_are_proven_and_placed_within_the_budget(name: str, which: int) -> None:
    graph = read_bare_graph(Path(os.environ["PLANNER_DATA"], "graphs", f"{name}.txt"))
    budget = budgets()[name][which]
    result = planner.plan(graph, target=scratchpad(budget), in_place=False, time_limit=60)
    assert_legal(graph, result.plan.target, result.plan)
    published = round(PUBLISHED[name][which] * 1024)
    assert result.status is Status.OPTIMAL
    assert result.plan.metrics.traffic_bytes == published
    assert result.plan.metrics.arena_bytes["sram"] <= budget


def random_bare_graph(seed: int, operators: int) -> Graph:
    rng = random.Random(seed)
    sizes: list[int] = [rng.randint(1, 9) for _ in range(rng.randint(0, 2))]
    operands: list[tuple[list[int], list[int]]] = []
    for _ in range(operators):
        inputs = rng.sample(range(len(sizes)), min(len(sizes), rng.randint(1, 3)))
        outputs = [len(sizes) + i for i in range(rng.choice((1, 1, 1, 2)))]
        sizes += [rng.randint(1, 9) for _ in outputs]
        operands.append((inputs, outputs))
    return bare_graph("random", sizes, operands)


@pytest.mark.parametrize("seed", range(40))
def test_small_graphs_are_no_better_than_brute_force_and_proven_ones_equal_it(seed: int) -> None:
    graph = random_bare_graph(seed, operators=4 + seed % 3)
    least = largest_footprint(graph, in_place=False).size_bytes
    for budget in (least, least + 2):
        target = scratchpad(budget)
        problem = PlanningProblem(graph, target, Objective.TRAFFIC, in_place=False)
        optimum = least_traffic(JointProblem.of(problem))
        assert optimum is not None
        result = planner.plan(graph, target=target, in_place=False, time_limit=5)
        assert_legal(graph, target, result.plan)
        traffic = result.plan.metrics.traffic_bytes
        assert (result.lower_bound or 0) <= traffic
        # Addresses may cost more than capacity alone.
        assert traffic >= optimum
        if result.status is Status.OPTIMAL and traffic > optimum:
            assert result.lower_bound == traffic


def test_a_budget_below_the_largest_operator_is_refused_by_name() -> None:
    graph = random_bare_graph(3, operators=6)
    largest = largest_footprint(graph, in_place=False)
    with pytest.raises(DoesNotFitError, match=graph.operators[largest.operator].name) as caught:
        planner.plan(graph, target=scratchpad(largest.size_bytes - 1), in_place=False)
    assert caught.value.proven
