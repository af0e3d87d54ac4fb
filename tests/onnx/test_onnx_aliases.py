"""Views share the storage of their operand; what moves bytes does not."""

from __future__ import annotations

import pytest

from frontends.onnx import load_onnx

from .storage_models import in_place, model, place


@pytest.mark.parametrize(
    "node",
    [
        "Reshape(h, six)",
        "Flatten(h)",
        "Identity(h)",
        "Unsqueeze(h, zero)",
        "Squeeze(h, zero)",
        "Dropout(h)",
        "Dropout(h, , off)",
        "Cast<to = 1>(h)",
        "Transpose<perm = [1, 0, 2]>(h)",
        "Expand(h, same)",
    ],
)
def test_views_share_the_storage_of_their_operand(node):
    constants = {"six": [6], "zero": [0], "same": [1, 2, 3], "off": False}
    graph = load_onnx(
        model(f"(float[1, 2, 3] x) => (y) {{ h = Relu(x) v = {node} y = Exp(v) }}", constants)
    )
    assert place(graph, "v") == ("h", 0)
    assert graph.is_view(1)
    assert (graph.operators[1].macs, graph.operators[1].vector_ops) == (0, 0)
    # The whole storage may be overwritten through its view.
    assert in_place(graph, "y") == ["v"]


@pytest.mark.parametrize(
    "node",
    [
        "Cast<to = 6>(h)",
        "Transpose<perm = [0, 2, 1]>(h)",
        "Transpose(h)",
        "Expand(h, grown)",
        "Dropout(h, , on)",
        "Softmax(h)",
    ],
)
def test_what_moves_bytes_is_no_view(node):
    constants = {"grown": [4, 2, 3], "on": True}
    graph = load_onnx(
        model(
            f"(float[1, 2, 3] x) => (y) {{ h = Relu(x) v = {node} y = Neg(v) }}",
            constants,
        )
    )
    assert place(graph, "v") == ("v", 0)
    assert not graph.is_view(1)


def test_a_chain_of_views_is_one_storage_at_its_root():
    graph = load_onnx(
        model(
            "(float[2, 3] x) => (y) {"
            " h = Relu(x) a = Flatten(h) b = Identity(a) c = Reshape(b, s) y = Exp(c) }",
            {"s": [6]},
        )
    )
    assert {place(graph, name) for name in "abch"} == {("h", 0)}


def test_results_of_the_graph_never_share_a_storage():
    graph = load_onnx(
        model(
            "(float[2] x) => (a, b, c, d) { a = Identity(x)"
            " h = Relu(x) b = Identity(h) c = Identity(h) d = Identity(b) }"
        )
    )
    storages = [place(graph, name)[0] for name in "xabcd"]
    assert len(set(storages)) == 5
    assert place(graph, "b") == ("h", 0)
    assert [graph.is_view(i) for i in range(5)] == [False, False, True, False, False]


def test_a_view_of_an_input_shares_it_unless_it_is_a_graph_output():
    graph = load_onnx(model("(float[2, 3] x) => (y) { r = Flatten(x) y = Relu(r) }"))
    assert place(graph, "r") == ("x", 0)
    assert in_place(graph, "y") == []


def test_the_mask_of_dropout_is_no_view():
    graph = load_onnx(model("(float[6] x) => (y) { h = Relu(x) d, m = Dropout(h) y = Exp(d) }"))
    assert place(graph, "d") == ("h", 0)
    assert place(graph, "m") == ("m", 0)
    assert graph.operators[1].vector_ops == 6
