"""Shapes that nobody declares: computed, by rule, or refused with a remedy."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from frontends.onnx import load_onnx
from planner.errors import LoweringError

from .shape_models import model, shapes


def test_computed_reshape_targets_are_followed(without_runtime):
    made = model(
        """(float[2, 3, 4] x) => (y) {
        s = Shape(x) zero = Constant<value_int = 0>() one = Constant<value_ints = [1]>()
        n = Gather(s, zero) rest = Constant<value_ints = [-1]>() axes = Constant<value_ints = [0]>()
        row = Unsqueeze(n, axes) target = Concat<axis = 0>(row, rest) y = Reshape(x, target) }"""
    )
    graph = load_onnx(made)
    assert shapes(graph)["y"] == (2, 12)
    assert [operator.type for operator in graph.operators] == ["Reshape"]


@pytest.mark.parametrize(
    ("computation", "expected"),
    [
        ("t = Slice(s, i1, i2, i0)", (3,)),
        ("t = Slice(s, i2, i0, i0, down)", (4, 3)),
        ("t = Mul(s, v111)", (2, 3, 4)),
        ("t = ReduceProd(s)", (24,)),
        ("m = ReduceMax(s) n = Div(i24, m) t = Concat<axis = 0>(m, n)", (4, 6)),
        ("e = Equal(s, v333) t = Where(e, v777, s)", (2, 7, 4)),
        ("k = Range(two, five, one) t = Sub(k, v111)", (1, 2, 3)),
        ("h = Cast<to = 1>(s) f = Floor(h) t = Cast<to = 7>(f)", (2, 3, 4)),
        ("g = Gather(s, one) t = Unsqueeze(g, i0)", (3,)),
        ("g = Size(x) q = Div(g, five) t = Reshape(q, i1)", (4,)),
        ("n = Neg(v777) a = Abs(n) l = Min(a, s) t = Max(l, v333)", (3, 3, 4)),
    ],
)
def test_contents_of_shape_computations_are_evaluated(without_runtime, computation, expected):
    constants = {
        "one": 1,
        "two": 2,
        "five": 5,
        "i0": [0],
        "i1": [1],
        "i2": [2],
        "i24": [24],
        "down": [-1],
        "v111": [1, 1, 1],
        "v333": [3, 3, 3],
        "v777": [7, 7, 7],
    }
    made = model(
        f"(float[2, 3, 4] x, float v) => (y) {{ s = Shape(x) {computation}"
        " filled = ConstantOfShape(t) y = Add(filled, v) }"
    )
    made.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in constants.items()
    )
    assert shapes(load_onnx(made))["y"] == expected


def test_sizes_that_only_a_long_computation_would_give_are_not_computed(without_runtime):
    made = model(
        """(float[2] x) => (z) {
        a = Constant<value_int = 0>() b = Constant<value_int = 1000000000000>()
        c = Constant<value_int = 1>() r = Range(a, b, c) f = Cast<to = 1>(r) z = my.Op(x, f) }""",
        ', "my" : 1',
    )
    graph = load_onnx(made, shapes={"z": "2:float32"})
    assert graph.constant_bytes == 4_000_000_000_000


def test_lengths_that_double_with_every_node_are_not_computed(without_runtime):
    lines = " ".join(f"v{i} = Concat<axis = 0>(v{i - 1}, v{i - 1})" for i in range(1, 50))
    made = model(f"(float[2] x) => (y) {{ v0 = Shape(x) {lines} y = my.Op(x, v49) }}", ', "my" : 1')
    graph = load_onnx(made, shapes={"y": "2:float32"})
    assert graph.constant_bytes == 8 << 49


def test_negative_dimensions_never_reach_inference(without_runtime):
    """ONNX's inference of Slice aborts the whole process on them."""
    made = model(
        "(float[4, 3] x) => (y) <float[4, 3] h> { h = my.Op(x) y = Slice(h, one, one, zero) }",
        ', "my" : 1',
    )
    made.graph.value_info[0].type.tensor_type.shape.dim[0].dim_value = -7
    for name, value in (("one", [1]), ("zero", [0])):
        made.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    with pytest.raises(LoweringError, match="no static size: h, y"):
        load_onnx(made)


def test_the_file_is_believed_where_nobody_else_knows(without_runtime):
    made = model("(float[2] x) => (y) <float[5] h> { h = my.Op(x) y = Relu(h) }", ', "my" : 1')
    assert shapes(load_onnx(made))["y"] == (5,)


def test_unknown_sizes_are_refused_with_the_first_and_a_remedy(without_runtime):
    made = model("(float[2, 3] x) => (y) { i = NonZero(x) h = Cast<to = 1>(i) y = Relu(h) }")
    with pytest.raises(LoweringError) as caught:
        load_onnx(made)
    assert "3 of 4 tensors have no static size: i, h, y" in str(caught.value)
    assert 'NonZero "i"' in str(caught.value)
    assert "--shape i=2xA:int64" in str(caught.value)


@pytest.mark.slow
def test_symbolic_inference_is_the_last_resort():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("sympy")
    made = model(
        "(float[2, 8, 16] x) => (y) { a = com.microsoft.Attention<num_heads = 4>(x, w, b)"
        " y = Relu(a) }",
        ', "com.microsoft" : 1',
    )
    for name, size in (("w", (16, 48)), ("b", (48,))):
        made.graph.initializer.append(
            numpy_helper.from_array(np.zeros(size, dtype=np.float32), name)
        )
    assert shapes(load_onnx(made))["y"] == (2, 8, 16)


def test_symbolic_inference_may_fail_in_any_way(monkeypatch, tmp_path):
    worker = tmp_path / "shapes.py"
    (tmp_path / "symbolic_worker.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr("frontends.onnx.shapes.__file__", str(worker))
    monkeypatch.setattr("frontends.onnx.shapes.find_spec", lambda _: True)
    with pytest.raises(LoweringError, match="no static size"):
        load_onnx(model("(float[2] x) => (y) { y = NonZero(x) }"))
    (tmp_path / "symbolic_worker.py").write_text("print('no model')")
    with pytest.raises(LoweringError, match="no static size"):
        load_onnx(model("(float[2] x) => (y) { y = NonZero(x) }"))
    (tmp_path / "symbolic_worker.py").write_text("while True: pass")
    monkeypatch.setattr("frontends.onnx.shapes.SYMBOLIC_TIME_LIMIT_S", 0.2)
    with pytest.raises(LoweringError, match="no static size"):
        load_onnx(model("(float[2] x) => (y) { y = NonZero(x) }"))


@pytest.mark.parametrize(
    ("opset", "mask_bytes"), [(9, 4 * 6), (10, 6), (17, 6)], ids=["float", "bool", "bool 17"]
)
def test_an_unread_dropout_mask_has_a_size(without_runtime, opset, mask_bytes):
    made = model("(float[2, 3] x) => (y) { h = Relu(x) d, m = Dropout(h) y = Relu(d) }", "", opset)
    graph = load_onnx(made)
    sizes = {tensor.name: tensor.size_bytes for tensor in graph.tensors}
    assert sizes["m"] == mask_bytes


@pytest.mark.parametrize("layout", [0, 1])
def test_unread_states_of_recurrent_layers_have_sizes(without_runtime, layout):
    size = "5, 2, 4" if not layout else "2, 5, 4"
    made = model(
        f"(float[{size}] x, float[1, 12, 4] w, float[1, 12, 3] r) => (y)"
        f" {{ y, h, c = LSTM<hidden_size = 3, layout = {layout}>(x, w, r) }}"
    )
    made.graph.node[0].attribute[0].i = 3
    known = shapes(load_onnx(made))
    if layout:
        assert (known["y"], known["h"], known["c"]) == ((2, 5, 1, 3), (2, 1, 3), (2, 1, 3))
    else:
        assert (known["y"], known["h"], known["c"]) == ((5, 1, 2, 3), (1, 2, 3), (1, 2, 3))


def test_operators_of_the_runtime_domain_have_sizes_without_it(without_runtime):
    made = model(
        """(uint8[1, 4, 5, 5] a, uint8[1, 4, 1, 1] b, float s, uint8 z) => (y) {
        c = com.microsoft.QLinearAdd(a, s, z, b, s, z, s, z)
        d = com.microsoft.QLinearConcat<axis = 1>(s, z, a, s, z, c, s, z)
        e = com.microsoft.QLinearGlobalAveragePool(d, s, z, s, z)
        y = com.microsoft.DequantizeLinear(e, s, z) }""",
        ', "com.microsoft" : 1',
    )
    graph = load_onnx(made)
    types = {tensor.name: (tensor.shape, tensor.dtype) for tensor in graph.tensors}
    assert types["c"] == ((1, 4, 5, 5), "uint8")
    assert types["d"] == ((1, 8, 5, 5), "uint8")
    assert types["e"] == ((1, 8, 1, 1), "uint8")
    assert types["y"] == ((1, 8, 1, 1), "float32")
