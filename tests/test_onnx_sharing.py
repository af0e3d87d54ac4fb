"""Storages: constants apart, views, in-place options, and zero-copy parts."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from frontends.onnx import load_onnx
from planner.errors import LoweringError, UsageError
from planner.graph import Graph, StorageKind


def model(
    body: str, constants: dict[str, object] | None = None, *, ir: int = 8, opset: int = 17
) -> onnx.ModelProto:
    imports = f'"" : {opset}, "my" : 1, "com.microsoft" : 1'
    made = parser.parse_model(f"<ir_version: {ir}, opset_import: [{imports}]> g {body}")
    for name, value in (constants or {}).items():
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        made.graph.initializer.append(numpy_helper.from_array(array, name))
    return made


def place(graph: Graph, name: str) -> tuple[str, int]:
    """Storage and offset of a tensor."""
    tensor = next(tensor for tensor in graph.tensors if tensor.name == name)
    return graph.storages[tensor.storage].name, tensor.offset_bytes


def kind(graph: Graph, name: str) -> StorageKind:
    tensor = next(tensor for tensor in graph.tensors if tensor.name == name)
    return graph.storages[tensor.storage].kind


def in_place(graph: Graph, result: str) -> list[str]:
    """Operands that may be overwritten with that result."""
    names = [tensor.name for tensor in graph.tensors]
    return [
        names[option.input]
        for operator in graph.operators
        for option in operator.in_place
        if names[option.output] == result
    ]


# Constants


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


def test_sparse_initializers_count_as_the_dense_tensor():
    made = model("(float[4] x) => (y) { y = Add(x, w) }")
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = numpy_helper.from_array(np.array([2]), "at")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    assert load_onnx(made).constant_bytes == 16


# The graph around it


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


# Views


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


# In place


@pytest.mark.parametrize(
    ("node", "operands"),
    [
        ("Relu(h)", ["h"]),
        ("Clip(h, low, low)", ["h"]),
        ("LeakyRelu(h)", ["h"]),
        ("Add(h, k)", ["h", "k"]),
        ("Add(h, h)", ["h"]),
        ("Sub(row, h)", ["h"]),
        ("Mul(h, x)", ["h"]),
        ("Mul(h, low)", ["h"]),
        ("Pow(h, k)", ["h", "k"]),
        ("Sum(h, k)", ["h", "k"]),
        ("Max(h, k, l)", ["h", "k"]),
        ("Where(mask, h, k)", ["h", "k"]),
        ("BatchNormalization(h, row1, row1, row1, row1)", ["h"]),
        ("Cast<to = 6>(h)", ["h"]),
        ("Cast<to = 7>(h)", []),
        ("Softmax(h)", []),
        ("Transpose(h)", []),
        ("MatMul(h, k)", []),
        ("Less(h, k)", []),
        ("Add(row, low)", ["row"]),
        ("LayerNormalization(h, row)", []),
        ("Relu(x)", []),
        ("com.microsoft.QuickGelu(h)", []),
    ],
)
def test_operands_that_may_be_overwritten(node, operands):
    constants = {
        "low": np.float32(0),
        "row1": np.ones(3, np.float32),
        "mask": np.ones((3, 3), bool),
    }
    graph = load_onnx(
        model(
            f"""(float[3, 3] x, float[1, 3] z) => (y) {{
            h = Neg(x) k = Abs(x) l = Exp(x) row = Neg(z) y = {node} }}""",
            constants,
        )
    )
    assert in_place(graph, "y") == operands


def test_nothing_that_must_survive_is_overwritten():
    graph = load_onnx(
        model("(float[2] x) => (a, y) { a = Relu(x) y = Add(a, w) }", {"w": np.ones(2, np.float32)})
    )
    assert in_place(graph, "y") == []


def test_no_overwriting_where_another_view_of_the_operand_is_read():
    graph = load_onnx(
        model(
            "(float[2, 2] x) => (y) { h = Relu(x) t = Reshape(h, s) y = Add(h, t) }",
            {"s": [1, 2, 2]},
        )
    )
    assert in_place(graph, "y") == []


# Zero copy


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


def test_element_types_are_named_as_onnx_names_them():
    made = model("(float[2] x) => (y) { y = Cast<to = 1>(x) }")
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    graph = load_onnx(made)
    assert [tensor.dtype for tensor in graph.tensors] == ["bfloat16", "float32"]
