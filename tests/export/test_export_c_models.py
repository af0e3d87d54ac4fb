"""Models that the exported C runs in their planned memory compute what ONNX Runtime computes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import planner
from frontends import zoo
from frontends.onnx.weights import hydrate
from planner.errors import DoesNotFitError
from planner.plans import TransferKind
from planner.target import Link
from planner.testing import assert_legal, naive_plan

from .model_runs import run_exported

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

    from planner.plans import Plan
    from planner.target import Target


def value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def branches() -> ModelProto:
    """Convolutions, pools and layers side by side, with two results."""
    rng = np.random.default_rng(5)
    weights = {
        "w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 1, 1), "w3": (8, 8, 3, 3), "w4": (12, 8, 3, 3),
        "w6": (32, 8, 1, 1), "w7": (8, 32, 1, 1), "b4": (12,), "w5": (108, 10), "b5": (10,),
    }  # fmt: skip
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], strides=[2, 2], **same),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["left"], **same),
        helper.make_node("Conv", ["r1", "w2"], ["right"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["r1", "w3"], ["wide"], dilations=[2, 2], pads=[2, 2, 2, 2]),
        helper.make_node("Conv", ["r1", "w6"], ["deep"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["deep"], ["r2"]),
        helper.make_node("Conv", ["r2", "w7"], ["back"], kernel_shape=[1, 1]),
        helper.make_node("Add", ["right", "wide"], ["half"]),
        helper.make_node("Add", ["half", "back"], ["sum"]),
        helper.make_node("Concat", ["left", "sum"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "w4", "b4"], ["c4"], group=2, strides=[2, 2], **same),
        helper.make_node("Relu", ["c4"], ["features"]),
        helper.make_node("AveragePool", ["features"], ["p"], kernel_shape=[1, 1]),
        helper.make_node("Flatten", ["p"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w5", "b5"], ["g"], alpha=0.5, beta=2.0),
        helper.make_node("Constant", [], ["bias"], value_floats=[0.1 * i for i in range(10)]),
        helper.make_node("Add", ["g", "bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "branches",
        [value("x", (1, 3, 12, 12))],
        [value("y", (1, 10)), value("features", (1, 12, 3, 3))],
        [
            numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def compare(folder: Path, model: ModelProto, plan: Plan) -> None:
    runtime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(3)
    given = {
        tensor.name: rng.normal(
            0, 1, [dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for tensor in model.graph.input
    }
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for ours, theirs in zip(
        run_exported(folder, model, plan, given), session.run(None, given), strict=True
    ):
        assert np.isfinite(theirs).all() and np.abs(theirs).max() > 1e-3
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def spilling(model: ModelProto, **options: bool) -> Plan:
    """A plan for the smallest scratchpad that has one, which takes spills."""
    kilobytes = 1
    while True:
        try:
            memory = {"sram": kilobytes * 1024}
            plan = planner.plan(model, target="npu-1m", memory=memory, time_limit=5, **options).plan
            assert any(transfer.kind is TransferKind.SPILL for transfer in plan.transfers)
            return plan
        except DoesNotFitError:
            kilobytes += max(1, kilobytes // 8)


def moving_target() -> Target:
    npu = planner.read_target("npu-1m")
    near = npu.nearest.name
    return replace(npu, links=(*npu.links, Link(near, near, 1e9)))


@pytest.mark.parametrize("zero_copy", [False, True])
def test_branches_in_one_memory(tmp_path: Path, zero_copy: bool) -> None:
    plan = planner.plan(branches(), zero_copy=zero_copy, time_limit=5).plan
    assert plan.in_place
    compare(tmp_path, branches(), plan)


@pytest.mark.parametrize("partial", [False, True])
def test_branches_with_spills(tmp_path: Path, partial: bool) -> None:
    compare(tmp_path, branches(), spilling(branches(), in_place=False, partial_spills=partial))


def test_branches_with_moves(tmp_path: Path) -> None:
    target = moving_target()
    graph = planner.load(branches(), alignment_bytes=target.nearest.alignment_bytes)
    plan = naive_plan(graph, target, 1)
    assert_legal(graph, target, plan)
    assert any(transfer.kind is TransferKind.MOVE for transfer in plan.transfers)
    compare(tmp_path, branches(), plan)


def test_branches_with_weights_that_are_fetched(tmp_path: Path) -> None:
    plan = planner.plan(branches(), target="npu-1m", parameters=True, time_limit=5).plan
    compare(tmp_path, branches(), plan)


def test_resnet8_in_its_least_memory(tmp_path: Path) -> None:
    model = hydrate(zoo.build("resnet8"), seed=2).model
    compare(tmp_path, model, planner.plan(model, time_limit=5).plan)
