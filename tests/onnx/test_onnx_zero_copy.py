"""Zero copy: results of Split, Slice and Gather and operands of Concat as parts of a storage."""

from __future__ import annotations

import numpy as np
import pytest

from frontends.onnx import load_onnx
from planner.errors import UsageError
from planner.graph import StorageKind

from .storage_models import in_place, kind, model, place


def test_parts_are_copied_unless_asked_for():
    made = model(
        "(float[4, 3] x) => (y) {"
        " h = Relu(x) a, b = Split(h, s) c = Concat<axis = 0>(b, a) y = Neg(c) }",
        {"s": [1, 3]},
    )
    graph = load_onnx(made)
    assert not any(graph.is_view(i) for i in range(len(graph.operators)))
    assert not graph.model.zero_copy


def test_results_of_split_are_parts_at_running_offsets():
    graph = load_onnx(
        model(
            "(float[1, 4, 3] x) => (c, d) { h = Relu(x) a, b = Split<axis = 1>(h, s)"
            " c = Neg(a) d = Neg(b) }",
            {"s": [1, 3]},
        ),
        zero_copy=True,
    )
    assert graph.model.zero_copy
    assert (place(graph, "a"), place(graph, "b")) == (("h", 0), ("h", 12))
    assert graph.is_view(1)
    # Parts do not cover their storage, so nothing may overwrite them.
    assert in_place(graph, "c") == []


@pytest.mark.parametrize(
    ("node", "offset"),
    [
        ("Slice(h, one, three)", 12),
        ("Slice(h, minus3, minus1)", 12),
        ("Slice(h, two, big, zero)", 24),
        ("Gather(h, at2)", 24),
        ("Gather(h, rows)", 12),
        ("Gather(h, back)", 36),
        ("Slice(h, one, three, one)", None),  # not along the outermost axis
        ("Slice(h, zero, big, zero, two)", None),  # every other row
        ("Slice(h, one, three, zero, down)", None),  # nothing left, backwards
        ("Gather(h, rowsdown)", None),
        ("Gather<axis = 1>(h, at2)", None),
        ("Gather(h, gap)", None),
    ],
)
def test_slices_along_the_outermost_axis_are_parts(node, offset):
    constants = {
        "zero": [0],
        "one": [1],
        "two": [2],
        "three": [3],
        "big": [1 << 60],
        "down": [-1],
        "minus3": [-3],
        "minus1": [-1],
        "at2": 2,
        "rows": [1, 2],
        "rowsdown": [2, 1],
        "gap": [0, 2],
        "back": -1,
    }
    graph = load_onnx(
        model(f"(float[4, 3] x) => (y) {{ h = Relu(x) p = {node} y = Neg(p) }}", constants),
        zero_copy=True,
    )
    assert place(graph, "p") == (("p", 0) if offset is None else ("h", offset))


def test_slice_bounds_given_as_attributes():
    graph = load_onnx(
        model(
            "(float[4, 3] x) => (y) {"
            " h = Relu(x) p = Slice<starts = [-2], ends = [4], axes = [0]>(h) y = Neg(p) }",
            opset=9,
        ),
        zero_copy=True,
    )
    assert place(graph, "p") == ("h", 24)


def test_operands_of_concat_are_placed_in_the_result():
    graph = load_onnx(
        model(
            "(float[2, 3] x, float[1, 3] z) => (y) {"
            " a = Relu(x) b = Neg(z) c = Concat<axis = 0>(a, b) y = Exp(c) }"
        ),
        zero_copy=True,
    )
    assert (place(graph, "a"), place(graph, "b"), place(graph, "c")) == (
        ("a", 0),
        ("a", 24),
        ("a", 0),
    )
    assert graph.storages[graph.tensors[2].storage].size_bytes == 36
    assert [list(row) for row in map(graph.storage_starters.row, range(4))] == [[], [], [0, 1], [3]]
    assert in_place(graph, "y") == ["c"]
    assert graph.operators[2].vector_ops == 0


@pytest.mark.parametrize(
    ("node", "why"),
    [
        ("Concat<axis = 1>(a, b)", "not the outermost axis"),
        ("Concat<axis = 0>(a, a)", "an operand twice"),
        ("Concat<axis = 0>(a, v)", "two views of one storage"),
        ("Concat<axis = 0>(a, w)", "a constant"),
        ("Concat<axis = 0>(a, x)", "a graph input"),
        ("Concat<axis = 0>(o, a)", "a graph output in a graph output"),
    ],
)
def test_a_concat_that_must_copy(node, why):
    graph = load_onnx(
        model(
            f"""(float[2, 3] x) => (o, y) {{
            a = Relu(x) b = Abs(x) o = Exp(x) v = Identity(a) y = {node} }}""",
            {"w": np.ones((2, 3))},
        ),
        zero_copy=True,
    )
    assert not graph.is_view(4), why
    assert place(graph, "y") == ("y", 0)


def test_of_two_concats_that_want_an_operand_the_larger_gets_it():
    graph = load_onnx(
        model(
            """(float[2] x) => (y, z) { a = Relu(x) b = Abs(x) c = Exp(x)
            k = Neg(x) s = Concat<axis = 0>(a, b) l = Concat<axis = 0>(c, b, k)
            y = Neg(s) z = Neg(l) }"""
        ),
        zero_copy=True,
    )
    assert place(graph, "b") == (place(graph, "l")[0], 8)
    assert place(graph, "s") == ("s", 0)


def test_nested_concats_are_one_storage():
    """DenseNet: every layer's result is appended to everything before it."""
    graph = load_onnx(
        model(
            """(float[2] x) => (y) { a = Relu(x) b = my.Layer(a) ab = Concat<axis = 0>(a, b)
            c = my.Layer(ab) abc = Concat<axis = 0>(ab, c) y = Neg(abc) }"""
        ),
        zero_copy=True,
        shapes={"b": "3:float32", "c": "4:float32"},
    )
    expected = {"a": 0, "ab": 0, "abc": 0, "b": 8, "c": 20}
    assert {name: place(graph, name) for name in expected} == {
        name: ("a", offset) for name, offset in expected.items()
    }
    assert [graph.is_view(i) for i in range(6)] == [False, False, True, False, True, False]
    assert graph.activation_bytes == 8 + 36 + 36


def test_packed_parts_must_start_on_a_byte():
    made = model(
        "(float[3, 3] x) => (y) { h = my.Op(x) a, b = Split(h, s) y = my.Op(a, b) }", {"s": [1, 2]}
    )
    types = {"h": "3x3:int4", "a": "1x3:int4", "b": "2x3:int4", "y": "1:float32"}
    assert place(load_onnx(made, zero_copy=True, shapes=types), "b") == ("b", 0)
    types = {name: text.replace("3:int4", "4:int4") for name, text in types.items()}
    assert place(load_onnx(made, zero_copy=True, shapes=types), "b") == ("h", 2)


SPLIT_AND_CONCAT = """(float[6, 4] x) => (y) {
    h = Relu(x) a, b = Split<axis = 0>(h, s) c = Relu(a) d = Relu(b) y = Concat<axis = 0>(d, c) }"""


@pytest.mark.parametrize(
    ("alignment_bytes", "split", "concat"),
    [(1, True, True), (16, True, True), (32, True, True), (64, False, True), (128, False, False)],
)
def test_an_operator_whose_parts_would_not_be_aligned_copies(alignment_bytes, split, concat):
    """The second part of Split begins at byte 32, that of Concat at byte 64."""
    made = model(SPLIT_AND_CONCAT, {"s": [2, 4]})
    graph = load_onnx(made, zero_copy=True, alignment_bytes=alignment_bytes)
    assert place(graph, "b") == (("h", 32) if split else ("b", 0))
    assert place(graph, "a") == (("h", 0) if split else ("a", 0))
    # A storage is named after the first tensor in it.
    assert place(graph, "c") == (("c", 64) if concat else ("c", 0))
    assert place(graph, "d") == (("c", 0) if concat else ("d", 0))
    assert all(tensor.offset_bytes % alignment_bytes == 0 for tensor in graph.tensors)


@pytest.mark.parametrize(("alignment_bytes", "storage"), [(16, "h"), (32, "k")])
def test_slices_and_gathers_that_would_not_be_aligned_copy(alignment_bytes, storage):
    for cut in ("k = Slice(h, one, three, zero)", "k = Gather<axis = 0>(h, one)"):
        made = model(
            f"(float[6, 4] x) => (y) {{ h = Relu(x) {cut} y = Relu(k) }}",
            {"zero": [0], "one": [1], "three": [3]},
        )
        graph = load_onnx(made, zero_copy=True, alignment_bytes=alignment_bytes)
        assert place(graph, "k")[0] == storage


def test_the_alignment_changes_nothing_without_zero_copy_and_is_positive():
    made = model(SPLIT_AND_CONCAT, {"s": [2, 4]})
    assert load_onnx(made, alignment_bytes=64) == load_onnx(made)
    with pytest.raises(UsageError, match="alignment of 0 bytes"):
        load_onnx(made, alignment_bytes=0)


def test_two_graph_outputs_cannot_be_parts_of_one_storage():
    graph = load_onnx(
        model("(float[4] x) => (a, b) { h = Relu(x) a, b = Split(h, s) }", {"s": [1, 3]}),
        zero_copy=True,
    )
    assert len({place(graph, name)[0] for name in "hab"}) == 3


def test_parts_of_a_graph_input_are_views_of_it():
    graph = load_onnx(
        model("(float[4] x) => (y) { a, b = Split(x, s) y = my.Op(a, b) }", {"s": [1, 3]}),
        zero_copy=True,
        shapes={"y": "1:float32"},
    )
    assert place(graph, "b") == ("x", 4)
    assert kind(graph, "b") is StorageKind.INPUT
