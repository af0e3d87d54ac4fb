"""Constants: what is folded, what is set apart, and what stays an activation."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from frontends.onnx import load_onnx
from planner.graph import StorageKind

from .storage_models import kind, model


def test_constants_are_folded_through_and_apart():
    graph = load_onnx(
        model(
            """(float[4, 3] x) => (y) {
            t = Transpose(w) zero = ConstantOfShape(s) b = Add(t, zero) y = MatMul(x, b) }""",
            {"w": np.ones((5, 3)), "s": [3, 5]},
        )
    )
    assert [operator.type for operator in graph.operators] == ["MatMul"]
    assert [tensor.name for tensor in graph.tensors] == ["x", "b", "y"]
    assert (graph.constant_bytes, graph.activation_bytes) == (60, 48 + 80)
    assert any("Folded 3 nodes" in note and "60 bytes" in note for note in graph.notes)


@pytest.mark.parametrize(
    "node", ["RandomNormalLike(w)", "RandomUniformLike(w)", "Bernoulli(w)", "my.Stateful(w)"]
)
def test_random_and_unknown_operators_are_not_folded_nor_recomputable(node):
    graph = load_onnx(
        model(
            f"(float[2] x) => (float[2] y) <float[2] r> {{ r = {node} y = Add(x, r) }}",
            {"w": [1.0, 2.0]},
        )
    )
    assert [operator.recomputable for operator in graph.operators] == [False, True]
    assert kind(graph, "r") is StorageKind.ACTIVATION


def test_operators_without_operands_are_folded_only_if_they_are_constants():
    graph = load_onnx(
        model(
            "(float[2] x) => (z) { r = RandomNormal<shape = [2]>()"
            " c = Constant<value_floats = [1.0, 2.0]>() y = Add(x, r) z = Add(y, c) }"
        )
    )
    assert [operator.type for operator in graph.operators] == ["RandomNormal", "Add", "Add"]
    assert not graph.operators[0].recomputable


def test_the_shape_of_a_static_tensor_is_a_constant():
    graph = load_onnx(
        model(
            "(float[2, 3] x) => (y) {"
            " h = Relu(x) s = Shape(h) z = ConstantOfShape(s) y = Add(x, z) }"
        )
    )
    assert [operator.type for operator in graph.operators] == ["Relu", "Add"]
    assert any("Shape and Size" in note for note in graph.notes)


def test_before_version_four_initializers_among_the_inputs_are_constants_silently():
    body = "(float[2] x, float[2] w) => (y) { y = Add(x, w) }"
    old = load_onnx(model(body, {"w": [1.0, 2.0]}, ir=3, opset=9))
    assert old.notes == ()
    new = load_onnx(model(body, {"w": [1.0, 2.0]}, ir=4, opset=9))
    assert any("default value (w)" in note for note in new.notes)
    for graph in (old, new):
        assert kind(graph, "w") is StorageKind.CONSTANT
        assert kind(graph, "x") is StorageKind.INPUT


def test_constants_nobody_reads_are_left_out_and_unread_inputs_kept():
    graph = load_onnx(
        model("(float[2] x, float[7] unread) => (y) { y = Relu(x) }", {"w": np.ones(9)})
    )
    assert [tensor.name for tensor in graph.tensors] == ["x", "unread", "y"]
    assert graph.activation_bytes == 8 + 28 + 8


def test_a_constant_graph_output_is_still_written_by_its_operator():
    graph = load_onnx(
        model(
            "(float[2] x) => (y, c) { t = Neg(w) c = Identity(t) y = Add(x, c) }", {"w": [1.0, 2.0]}
        )
    )
    assert [operator.type for operator in graph.operators] == ["Identity", "Add"]
    assert kind(graph, "c") is StorageKind.ACTIVATION
    assert graph.storages[graph.tensors[graph.operators[0].outputs[0]].storage].is_output
    assert not graph.is_view(0)
    assert graph.operators[0].vector_ops == 2


def test_a_model_of_constants_alone_keeps_its_last_operator():
    graph = load_onnx(model("(float[2] x) => (y) { a = Neg(w) y = Relu(a) }", {"w": [1.0, 2.0]}))
    assert [operator.type for operator in graph.operators] == ["Relu"]


def test_an_initializer_that_is_a_graph_output_stays_a_constant():
    graph = load_onnx(model("(float[2] x) => (y, float[2] w) { y = Add(x, w) }", {"w": [1.0, 2.0]}))
    assert kind(graph, "w") is StorageKind.CONSTANT
    assert any("Graph outputs stored in the model" in note for note in graph.notes)


def test_sparse_initializers_count_as_the_dense_tensor():
    made = model("(float[4] x) => (y) { y = Add(x, w) }")
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = numpy_helper.from_array(np.array([2]), "at")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    assert load_onnx(made).constant_bytes == 16
