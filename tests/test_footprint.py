from __future__ import annotations

import pytest

from planner.errors import DoesNotFitError
from planner.footprint import largest_footprint, require_fit
from planner.graph import (
    Graph,
    InPlaceOption,
    ModelReference,
    Operator,
    Storage,
    StorageKind,
    Tensor,
)
from planner.problem import Objective, PlanningProblem
from planner.target import Link, Memory, Target


def graph_of(*operators: Operator, sizes: list[int], inputs: int = 1) -> Graph:
    return Graph(
        ModelReference("footprint"),
        operators,
        tuple(Tensor(f"t{i}", (s,), "uint8", i, 0, s) for i, s in enumerate(sizes)),
        tuple(
            Storage(f"t{i}", s, StorageKind.INPUT if i < inputs else StorageKind.ACTIVATION)
            for i, s in enumerate(sizes)
        ),
    )


def test_an_overwrite_that_some_order_allows_reduces_the_footprint() -> None:
    graph = graph_of(
        Operator("a", "Conv", (0,), (1,)),
        Operator("relu", "Relu", (1,), (2,), (InPlaceOption(2, 1),)),
        Operator("other", "Conv", (1,), (3,)),
        sizes=[1, 100, 100, 5],
    )
    assert largest_footprint(graph, in_place=False).size_bytes == 200
    assert largest_footprint(graph, in_place=True).size_bytes == 105


def test_an_overwrite_of_what_a_successor_reads_is_impossible() -> None:
    graph = graph_of(
        Operator("a", "Conv", (0,), (1,)),
        Operator("relu", "Relu", (1,), (2,), (InPlaceOption(2, 1),)),
        Operator("both", "Conv", (1, 2), (3,)),
        sizes=[1, 100, 100, 5],
    )
    assert largest_footprint(graph, in_place=True).size_bytes == 205


def test_sizes_are_rounded_to_the_alignment() -> None:
    graph = graph_of(Operator("a", "Conv", (0,), (1,)), sizes=[3, 5])
    assert largest_footprint(graph, in_place=True, alignment_bytes=4).size_bytes == 12


def test_the_message_names_operator_bytes_and_a_size_that_helps() -> None:
    graph = graph_of(Operator("conv_1", "Conv", (0,), (1,)), sizes=[3000, 5000])
    target = Target(
        "npu",
        (Memory("sram", 4096), Memory("dram")),
        (Link("sram", "dram", 1e9), Link("dram", "sram", 1e9)),
        io_memory="dram",
    )
    problem = PlanningProblem(graph, target, Objective.TRAFFIC)
    with pytest.raises(DoesNotFitError, match="conv_1") as caught:
        require_fit(problem)
    assert caught.value.proven
    for number in ("8,000", "3,000", "5,000", "4,096", "--memory sram=8KiB"):
        assert number in str(caught.value)
    require_fit(
        PlanningProblem(graph, target.with_capacities({"sram": 8 * 1024}), Objective.TRAFFIC)
    )


def test_constants_that_exceed_their_memory_do_not_fit() -> None:
    graph = Graph(
        ModelReference("constants"),
        (Operator("a", "Add", (0, 1), (2,)),),
        tuple(Tensor(f"t{i}", (s,), "uint8", i, 0, s) for i, s in enumerate([4, 5000, 4])),
        (
            Storage("t0", 4, StorageKind.INPUT),
            Storage("t1", 5000, StorageKind.CONSTANT),
            Storage("t2", 4),
        ),
    )
    target = Target("mcu", (Memory("sram", 64), Memory("flash", 4096, writable=False)))
    with pytest.raises(DoesNotFitError, match=r"constants need 5,000 bytes of flash"):
        require_fit(PlanningProblem(graph, target, Objective.PEAK))
