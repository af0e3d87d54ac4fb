"""The graph as a whole: its operands, names, order and results, and graphs that are none."""

from __future__ import annotations

import pytest

from frontends.onnx import load_onnx
from planner.errors import LoweringError
from planner.graph import StorageKind

from .storage_models import kind, model


def test_omitted_operands_and_results_are_no_tensors():
    graph = load_onnx(
        model(
            """(float[5, 2, 4] x, float[1, 12, 4] w, float[1, 12, 3] r, float[1, 2, 3] h)
            => (y) { , y = LSTM<hidden_size = 3>(x, w, r, , , h) }"""
        )
    )
    names = [tensor.name for tensor in graph.tensors]
    assert "" not in names
    assert [names[i] for i in graph.operators[0].inputs] == ["x", "w", "r", "h"]
    assert [names[i] for i in graph.operators[0].outputs] == ["y"]


def test_an_operand_used_twice_is_listed_once():
    graph = load_onnx(model("(float[2] x) => (y) { y = Mul(x, x) }"))
    assert graph.operators[0].inputs == (0,)


def test_names_of_nodes_may_repeat_or_lack():
    made = model("(float[2] x) => (c) { a = Relu(x) b = Abs(a) c = Neg(b) }")
    made.graph.node[0].name = made.graph.node[1].name = "same"
    assert [operator.name for operator in load_onnx(made).operators] == ["same", "same", "c"]


def test_unsorted_nodes_are_sorted_and_said_so():
    graph = load_onnx(model("(float[2] x) => (y) { y = Relu(b) b = Abs(a) a = Neg(x) }"))
    assert [operator.type for operator in graph.operators] == ["Neg", "Abs", "Relu"]
    assert any("sorted" in note for note in graph.notes)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "(float[2] x) => (y) { a = Add(x, b) b = Relu(a) y = Neg(b) }",
            'Add "a" -> Relu "b" -> Add "a"',
        ),
        ("(float[2] x) => (y) { a = Add(x, a) y = Neg(a) }", 'cycle: Add "a" -> Add "a"'),
        (
            "(float[2] x) => (y) { a = Relu(x) a = Neg(x) y = Neg(a) }",
            '"a".*written twice.*Relu.*Neg',
        ),
        ("(float[2] x) => (y) { x = Relu(x) y = Neg(x) }", '"x".*written twice: by an input'),
        ("(float[2] x) => (y) { y = Add(x, q) }", 'reads "q", which nothing produces'),
        ("(float[2] x) => (z) { y = Relu(x) }", 'nothing produces "z"'),
        ("(float[2] x, float[2] x) => (y) { y = Relu(x) }", "two inputs"),
    ],
)
def test_graphs_that_do_not_hang_together_are_refused(body, words):
    with pytest.raises(LoweringError, match=words):
        load_onnx(model(body))


def test_a_long_cycle_is_cut_short_in_the_message():
    lines = " ".join(f"v{i} = Relu(v{(i - 1) % 500})" for i in range(500))
    with pytest.raises(LoweringError, match=r"\(501 nodes\)") as caught:
        load_onnx(model(f"(float[2] x) => (y) {{ {lines} y = Neg(v0) }}"))
    assert len(str(caught.value)) < 300


def test_an_input_that_is_a_graph_output_must_survive():
    graph = load_onnx(model("(float[2] x) => (y, float[2] x) { y = Relu(x) }"))
    assert graph.storages[0].is_output
    assert kind(graph, "x") is StorageKind.INPUT


@pytest.mark.parametrize(
    "body", ["(float[2] x) => (float[2] x) { }", "(float[2] x) => () { }", "() => () { }"]
)
def test_a_model_without_operators_is_refused(body):
    with pytest.raises(LoweringError, match="has no operators: there is nothing to plan"):
        load_onnx(model(body))
