"""COSMA's networks in its setting: published traffic, proofs at the tight budgets, none at M_P."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

import planner
from frontends import zoo
from planner.bench.cosma_networks import Capacities, Group, published_networks
from planner.bench.cosma_setting import SCRATCHPAD, capacities, least_peak, problem_at
from planner.footprint import largest_footprint
from planner.liveness import live_bytes, storage_lifetimes
from planner.portfolio import RaceResult, race
from planner.problem import Status
from planner.testing import assert_legal
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from planner.graph import Graph

SECONDS = 60.0
NETWORKS = {network.name: network for network in published_networks(None)}
HUMAN = [name for name, network in NETWORKS.items() if network.group is Group.HUMAN]
EVALUATED = [name for name, network in NETWORKS.items() if network.group is not Group.LARGE]
# Not proven yet.
OPEN = {"transformer"}


@cache
def network(name: str) -> tuple[Graph, Capacities]:
    """The graph at 8 bits and its budgets, the smallest peak proven."""
    graph = NETWORKS[name].load()
    peak = least_peak(graph, Deadline(SECONDS), 0)
    assert peak.is_proven
    return graph, capacities(graph, peak.peak_bytes)


def plan_at(graph: Graph, capacity: int, *, seconds: float = SECONDS) -> RaceResult:
    problem = problem_at(graph, capacity)
    result = race(problem, time_limit_s=seconds)
    assert_legal(graph, problem.target, result.plan)
    assert result.plan.metrics.arena_bytes.get(SCRATCHPAD, 0) <= capacity
    assert not [report for report in result.reports if report.status == "failed"]
    return result


def default_order_peak(graph: Graph) -> int:
    order = range(len(graph.operators))
    lifetimes = storage_lifetimes(graph, order, inputs_resident=False, outputs_resident=False)
    return int(live_bytes(graph, order, lifetimes).max())


def test_resnet50_needs_no_traffic_at_its_largest_operator() -> None:
    graph, budgets = network("resnet50")
    assert set(budgets) == {2_408_448}
    result = plan_at(graph, 2_408_448)
    assert result.status is Status.OPTIMAL
    assert result.plan.metrics.traffic_bytes == 0


def test_densenet121_at_its_largest_operator() -> None:
    graph, budgets = network("densenet121")
    assert default_order_peak(graph) == budgets.peak == 2_107_392
    result = plan_at(graph, budgets.least)
    assert result.status is Status.OPTIMAL
    assert result.plan.metrics.traffic_bytes == 2_609_152


def test_r2plus1d_18_at_32_bits() -> None:
    graph = planner.load(zoo.build("r2plus1d_18", dtype="float32"))
    capacity = 225_792 * 1024
    assert largest_footprint(graph, in_place=False).size_bytes <= capacity
    result = plan_at(graph, capacity)
    assert result.status is Status.OPTIMAL
    assert result.plan.metrics.traffic_bytes == 205_520_896


def test_the_evaluation_has_ten_and_four_networks() -> None:
    assert len(HUMAN) == 10
    assert len(EVALUATED) == 14


@pytest.mark.parametrize("name", EVALUATED)
def test_the_smallest_peak_needs_no_traffic(name: str) -> None:
    graph, budgets = network(name)
    result = plan_at(graph, budgets.peak)
    assert result.status is Status.OPTIMAL
    assert result.plan.metrics.traffic_bytes == 0


@pytest.mark.parametrize("which", ["least", "halfway"])
@pytest.mark.parametrize("name", HUMAN)
def test_tight_budgets_are_proven(name: str, which: str) -> None:
    graph, budgets = network(name)
    capacity = getattr(budgets, which)
    is_open = name in OPEN
    result = plan_at(graph, capacity, seconds=3 if is_open else SECONDS)
    metrics = result.plan.metrics
    assert metrics.traffic_lower_bound_bytes is not None
    assert metrics.traffic_lower_bound_bytes <= metrics.traffic_bytes
    assert is_open or result.status is Status.OPTIMAL
    assert (metrics.traffic_bytes == 0) == (capacity >= budgets.peak)


def test_a_bound_that_belady_meets_loads_no_optimiser() -> None:
    script = (
        "import sys, planner\n"
        "from frontends import zoo\n"
        "from planner.bench.cosma_setting import problem_at\n"
        "from planner.footprint import largest_footprint\n"
        "graph = planner.load(zoo.build('densenet121', dtype='int8'))\n"
        "target = problem_at(graph, largest_footprint(graph, in_place=False).size_bytes).target\n"
        "result = planner.plan(graph, target=target, in_place=False)\n"
        "print(result.status.value, result.plan.metrics.traffic_bytes)\n"
        "print(sorted({'ortools', 'pulp'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines() == ["optimal 2609152", "[]"]
