"""Whole plans against published and measured figures, and on models written by others."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import planner
from frontends import zoo
from planner.footprint import largest_footprint
from planner.liveness import live_bytes, storage_lifetimes
from planner.problem import Status
from planner.testing import assert_legal

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
CORPUS_DIMS = {
    "magika_standard_v3_3": {"bytes:0": 1},
    "tract_bidi_lstm": {"batch": 1, "length": 20},
    "silero_vad_ifless": {"input:0": 1, "input:1": 512, "state:1": 1},
}
LARGEST_PROVEN = 1200


def default_order_peak(graph: planner.Graph) -> int:
    order = range(len(graph.operators))
    return int(live_bytes(graph, order, storage_lifetimes(graph, order)).max())


def test_resnet50_at_8_bits_needs_its_largest_operator_and_less_in_place() -> None:
    graph = planner.load(zoo.build("resnet50", dtype="int8"))
    result = planner.plan(graph, in_place=False)
    assert result.status is Status.OPTIMAL
    assert result.plan.metrics.peak_bytes == {"ram": 2_408_448}
    assert largest_footprint(graph, in_place=False).size_bytes == 2_408_448
    in_place = planner.plan(graph)
    assert in_place.status is Status.OPTIMAL
    assert in_place.plan.metrics.peak_bytes["ram"] < 2_408_448


def test_densenet121_at_8_bits_in_its_default_order() -> None:
    graph = planner.load(zoo.build("densenet121", dtype="int8"))
    assert default_order_peak(graph) == 2_107_392
    assert planner.plan(graph).plan.metrics.peak_bytes["ram"] <= 2_107_392


@pytest.mark.parametrize("name", zoo.names())
def test_zoo_networks_are_proven_and_in_place_is_never_worse(name: str) -> None:
    graph = planner.load(zoo.build(name, dtype="int8"))
    results = [planner.plan(graph, in_place=in_place) for in_place in (True, False)]
    for result in results:
        assert result.status is Status.OPTIMAL
        assert_legal(graph, result.plan.target, result.plan)
    peaks = [result.plan.metrics.peak_bytes["ram"] for result in results]
    assert peaks[0] <= peaks[1] <= default_order_peak(graph)


@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_light_models_of_the_onnx_package_are_proven(path: Path) -> None:
    graph = planner.load(path)
    result = planner.plan(graph)
    assert_legal(graph, result.plan.target, result.plan)
    if len(graph.operators) <= LARGEST_PROVEN:
        assert result.status is Status.OPTIMAL


def corpus() -> list[Path]:
    data = os.environ.get("PLANNER_DATA")
    return sorted(Path(data, "models").glob("*.onnx")) if data else []


@pytest.mark.skipif(not corpus(), reason="PLANNER_DATA is not set: no model corpus to plan")
@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.stem)
def test_the_corpus_is_planned_and_proven(path: Path) -> None:
    graph = planner.load(path, dims=CORPUS_DIMS.get(path.stem, {}))
    result = planner.plan(graph, objective="peak")
    assert_legal(graph, result.plan.target, result.plan)
    if len(graph.operators) <= LARGEST_PROVEN:
        metrics = result.plan.metrics
        assert result.status is Status.OPTIMAL
        assert metrics.peak_bytes["ram"] == metrics.peak_lower_bound_bytes


@pytest.mark.slow
def test_a_chain_of_20000_operators_with_skips_is_proven() -> None:
    names = ["x"]
    nodes = []
    for index in range(20_000):
        inputs = [names[-1], names[-10]] if index % 10 == 9 else [names[-1]]
        nodes.append(
            helper.make_node("Add" if len(inputs) > 1 else "Sigmoid", inputs, [f"t{index}"])
        )
        names.append(f"t{index}")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "chain",
        [value("x", TensorProto.FLOAT, [64, 64])],
        [value(names[-1], TensorProto.FLOAT, [64, 64])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    result = planner.plan(model, in_place=False)
    assert result.status is Status.OPTIMAL
    assert result.plan.metrics.peak_bytes["ram"] == 3 * 64 * 64 * 4
