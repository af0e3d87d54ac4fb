"""Storages written in several parts may leave in between, in plans and so in bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.graph import (
    Graph,
    ModelReference,
    Operator,
    RaggedArray,
    Storage,
    StorageKind,
    Tensor,
)
from planner.joint_problem import JointProblem
from planner.portfolio import race
from planner.problem import Objective, PlanningProblem
from planner.testing import assert_legal, random_graph
from solvers.joint.spill_set import SpillSet
from solvers.protocol import Deadline

from .brute_force import least_traffic, random_problem, smallest_capacity
from .targets import scratchpad


def has_parts(problem: JointProblem) -> bool:
    return bool(np.any((np.diff(problem.writers.offsets) > 1) & (problem.size > 0)))


def assert_bound_holds(graph: Graph, capacity: int, io_memory: str) -> tuple[int, int]:
    """Return the traffic and the least one by capacity alone."""
    target = replace(scratchpad(capacity), io_memory=io_memory)
    problem = PlanningProblem(graph, target, Objective.TRAFFIC, in_place=False)
    optimum = least_traffic(JointProblem.of(problem), whole_writes=False)
    assert optimum is not None
    result = race(problem, time_limit_s=1)
    assert_legal(graph, target, result.plan)
    assert not [report for report in result.reports if report.status == "failed"]
    metrics = result.plan.metrics
    assert metrics.traffic_lower_bound_bytes is not None
    assert metrics.traffic_lower_bound_bytes <= optimum <= metrics.traffic_bytes
    return metrics.traffic_bytes, optimum


def result_in_two_parts() -> Graph:
    """Between the two writes of a small result there is no room for it beside all the others.

    Keeping it costs a spill of the large storage, 200 bytes; letting it leave costs 20.
    """
    storages = (
        Storage("input", 10, StorageKind.INPUT),
        Storage("large", 100),
        Storage("whole", 10, is_output=True),
        Storage("wide", 150),
        Storage("narrow", 10),
        Storage("result", 10, is_output=True),
        Storage("token", 1),
    )

    def tensor(name: str, size: int, storage: int, offset: int = 0) -> Tensor:
        return Tensor(name, (size,), "int8", storage, offset, size)

    tensors = (
        tensor("input", 10, 0),
        tensor("large", 100, 1),
        tensor("left", 5, 2),
        tensor("right", 5, 2, 5),
        tensor("wide", 150, 3),
        tensor("narrow", 10, 4),
        tensor("result", 10, 5),
        tensor("token", 1, 6),
    )
    operators = (
        Operator("large", "Layer", (0,), (1,)),
        Operator("left", "Layer", (1,), (2, 7)),
        Operator("wide", "Layer", (1, 7), (4,)),
        Operator("narrow", "Layer", (4,), (5,)),
        Operator("right", "Layer", (5,), (3,)),
        Operator("result", "Layer", (1, 5), (6,)),
    )
    return Graph(ModelReference("parts"), operators, tensors, storages)


@pytest.mark.parametrize("io_memory", ["dram", "sram"])
@pytest.mark.parametrize("capacity", [261, 265, 269])
def test_holding_a_half_written_storage_is_no_bound(capacity: int, io_memory: str) -> None:
    _, optimum = assert_bound_holds(result_in_two_parts(), capacity, io_memory)
    assert optimum == 20


def test_a_plan_below_the_traffic_of_whole_writes_is_found_and_proven() -> None:
    # Six operators; half-written storages that stay cost 512 bytes.
    graph = next(
        graph
        for graph in (random_graph(69, operators) for operators in range(5, 8))
        if len(graph.operators) == 6
    )
    assert assert_bound_holds(graph, 384, "dram") == (160, 160)


def relaxed_and_split(problem: JointProblem) -> tuple[int, int]:
    first = [problem.writers.row(s)[:1].tolist() for s in range(len(problem.writers))]
    relaxed = replace(problem, writers=RaggedArray.from_rows(first))
    bound = SpillSet().solve(relaxed, deadline=Deadline(20)).lower_bound
    several = (np.diff(problem.writers.offsets) > 1) & (problem.size > 0)
    return bound or 0, 2 * int(problem.size[several].min())


def test_the_bound_by_parts_holds_on_random_problems() -> None:
    count = strict = 0
    for seed in range(900):
        problem = random_problem(seed, 4 + seed % 3, everything=True)
        if not has_parts(problem):
            continue
        problem = replace(problem, capacity=smallest_capacity(problem) + seed % 3)
        optimum = least_traffic(problem, whole_writes=False)
        if optimum is None:
            continue
        whole = least_traffic(problem)
        relaxed, split = relaxed_and_split(problem)
        assert relaxed <= optimum
        # A plan either holds what is half written, or pays at least so much for not doing so.
        assert optimum >= (split if whole is None else min(whole, split))
        count += 1
        strict += whole is None or optimum < whole
    assert count >= 100 and strict >= 3


def graphs_in_parts(seeds: range) -> list[tuple[Graph, int, str]]:
    found = []
    for seed in seeds:
        graph = random_graph(seed, 4 + seed % 3)
        if np.any(np.diff(graph.storage_writers.offsets) > 1):
            probe = PlanningProblem(graph, scratchpad(1), Objective.TRAFFIC, in_place=False)
            least = smallest_capacity(JointProblem.of(probe))
            io_memory = ("dram", "sram")[seed // 3 % 2]
            found.append((graph, least + (0, 48, 100)[seed % 3], io_memory))
    return found


def fits_in_some_way(graph: Graph, capacity: int, io_memory: str) -> bool:
    target = replace(scratchpad(capacity), io_memory=io_memory)
    problem = PlanningProblem(graph, target, Objective.TRAFFIC, in_place=False)
    return least_traffic(JointProblem.of(problem), whole_writes=False) is not None


def assert_bounds_hold(seeds: range) -> int:
    instances = [case for case in graphs_in_parts(seeds) if fits_in_some_way(*case)]
    for case in instances:
        assert_bound_holds(*case)
    return len(instances)


def test_bounds_of_graphs_in_parts_hold() -> None:
    assert assert_bounds_hold(range(40)) >= 20


@pytest.mark.slow
def test_bounds_of_more_graphs_in_parts_hold() -> None:
    assert assert_bounds_hold(range(40, 400)) >= 150
