"""The roofline of one operator, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.cost import operands, operator_cost
from planner.errors import UsageError
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.target import Compute, Memory, Target

NEAR = Memory("near", None, 1, read_bandwidth=100.0, write_bandwidth=50.0)
FAR = Memory("far", None, 1, read_bandwidth=10.0, write_bandwidth=5.0, latency_s=0.25)
TARGET = Target(
    "toy",
    (NEAR, FAR),
    compute=Compute({"default": 1000.0, "int8": 4000.0}, 500.0, launch_overhead_s=0.125),
    operands_resident=False,
)


def layer(macs: int = 0, vector_ops: int = 0, dtype: str = "int8", weights: int = 0) -> Graph:
    """Operator 0 reads 200 bytes (and weights) and writes 100; operator 1 is a view of that."""
    storages = (
        Storage("x", 200, StorageKind.INPUT),
        Storage("y", 100, is_output=True),
        Storage("w", weights, StorageKind.CONSTANT),
    )
    tensors = (
        Tensor("x", (200,), dtype, 0, 0, 200),
        Tensor("y", (100,), dtype, 1, 0, 100),
        Tensor("w", (weights,), dtype, 2, 0, weights),
        Tensor("view", (10, 10), dtype, 1, 0, 100),
    )
    inputs = (0, 2) if weights else (0,)
    operators = (
        Operator("op", "Gemm", inputs, (1,), macs=macs, vector_ops=vector_ops),
        Operator("view", "Reshape", (1,), (3,)),
    )
    return Graph(ModelReference("layer"), operators, tensors, storages)


def test_bytes_in_the_nearest_memory_bound_an_idle_operator():
    cost = operator_cost(layer(), TARGET, 0)
    assert cost == (200 / 100 + 100 / 50 + 0.125, 0.0, 4.0)


def test_arithmetic_bounds_a_busy_operator():
    assert operator_cost(layer(macs=40_000), TARGET, 0) == (10.125, 10.0, 4.0)
    assert operator_cost(layer(macs=40_000, dtype="float32"), TARGET, 0).arithmetic_s == 40.0


def test_vector_operations_run_beside_the_multiplications():
    assert operator_cost(layer(macs=4_000, vector_ops=2_500), TARGET, 0).arithmetic_s == 5.0


def test_weights_are_read_from_the_constant_memory():
    cost = operator_cost(layer(weights=30), TARGET, 0)
    assert cost.memory_s == 4.0 + 30 / 10 + 0.25


def test_operands_in_a_farther_memory_pay_its_bandwidth_and_latency():
    assert operator_cost(layer(), TARGET, 0, {0: "far"}).memory_s == 200 / 10 + 0.25 + 100 / 50
    assert operator_cost(layer(), TARGET, 0, {1: "far"}).memory_s == 200 / 100 + 100 / 5 + 0.25
    both = operator_cost(layer(), TARGET, 0, {0: "far", 1: "far"})
    assert both.memory_s == 200 / 10 + 100 / 5 + 0.25


def test_views_cost_nothing_and_move_nothing():
    assert operator_cost(layer(), TARGET, 1) == (0.0, 0.0, 0.0)
    assert list(operands(layer(), 1)) == []


def test_writing_a_part_of_a_storage_while_reading_another_is_no_view():
    storages = (Storage("x", 8, StorageKind.INPUT), Storage("cat", 100, is_output=True))
    tensors = (
        Tensor("x", (8,), "int8", 0, 0, 8),
        Tensor("left", (60,), "int8", 1, 0, 60),
        Tensor("right", (40,), "int8", 1, 60, 40),
        Tensor("cat", (100,), "int8", 1, 0, 100),
    )
    operators = (
        Operator("left", "Conv", (0,), (1,)),
        Operator("right", "Conv", (1,), (2,), macs=7),
        Operator("cat", "Concat", (1, 2), (3,)),
    )
    graph = Graph(ModelReference("dense"), operators, tensors, storages)
    assert [graph.is_view(operator) for operator in range(3)] == [False, False, True]
    assert operator_cost(graph, TARGET, 1).memory_s == 60 / 100 + 40 / 50


@pytest.mark.parametrize(
    ("target", "field"),
    [
        (replace(TARGET, compute=None), r"no \[compute\] rates"),
        (replace(TARGET, compute=Compute({"int4": 1.0}, 1.0)), r"no compute.mac_rate.int8"),
        (replace(TARGET, compute=Compute({"int8": 1.0})), r"no compute.vector_rate"),
        (
            replace(TARGET, memories=(replace(NEAR, write_bandwidth=None), FAR)),
            r"no write_bandwidth of memory 'near'",
        ),
        (
            replace(TARGET, memories=(NEAR, replace(FAR, read_bandwidth=None))),
            r"no read_bandwidth of memory 'far'",
        ),
    ],
)
def test_missing_rate_is_named(target, field):
    with pytest.raises(UsageError, match=field):
        operator_cost(layer(macs=1, vector_ops=1, weights=5), target, 0)


def test_rates_that_an_operator_does_not_need_may_be_missing():
    bare = replace(TARGET, compute=Compute())
    assert operator_cost(layer(), bare, 0).seconds == 4.0
