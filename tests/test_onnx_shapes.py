"""The shape cascade: bindings, sources, contradictions, and what a refusal says."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from frontends.onnx import load_onnx
from planner.errors import LoweringError, UsageError


def model(body: str, domains: str = "", opset: int = 17, functions: str = "") -> onnx.ModelProto:
    imports = f'"" : {opset}{domains}'
    return parser.parse_model(f"<ir_version: 8, opset_import: [{imports}]> g {body} {functions}")


def shapes(graph) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in graph.tensors}


@pytest.fixture
def without_runtime(monkeypatch):
    """ONNX Runtime is optional: what stands here must hold without it."""
    monkeypatch.setattr("frontends.onnx.shapes.find_spec", lambda _: None)


# Bindings


def test_a_symbol_is_bound_wherever_it_occurs():
    made = model("(float[length, 3] x, float[length] z) => (float[length, 3] y) { y = Relu(x) }")
    graph = load_onnx(made, dims={"length": 5})
    assert shapes(graph) == {"x": (5, 3), "z": (5,), "y": (5, 3)}
    assert graph.model.dims == (("length", 5),)


def test_a_place_wins_over_the_symbol():
    made = model("(float[s, 3] x, float[s] z) => (y, v) { y = Relu(x) v = Relu(z) }")
    graph = load_onnx(made, dims={"s": 5, "z:0": 7})
    assert shapes(graph) == {"x": (5, 3), "z": (7,), "y": (5, 3), "v": (7,)}


def test_a_symbol_follows_when_all_its_places_are_bound():
    made = model(
        "(float[s, 3] x) => (y) <float[s, 4] h> { h = my.Op(x) y = Relu(h) }", ', "my" : 1'
    )
    assert shapes(load_onnx(made, dims={"x:0": 5}))["y"] == (5, 4)


def test_the_axis_is_split_off_at_the_last_colon():
    made = model("(float[?, 3] x) => (y) { y = Relu(x) }")
    made.graph.input[0].name = made.graph.node[0].input[0] = "scope/x:0"
    assert shapes(load_onnx(made, dims={"scope/x:0:0": 4}))["y"] == (4, 3)


@pytest.mark.parametrize("symbol", ["batch", "batch_size", "N", "Batch", "input_batch_size"])
def test_a_batch_is_one_by_default_and_said_so(symbol):
    warnings = []
    made = model(f"(float[{symbol}, 3] x) => (y) {{ y = Relu(x) }}")
    graph = load_onnx(made, on_warning=warnings.append)
    assert shapes(graph)["y"] == (1, 3)
    assert graph.model.dims == ((symbol, 1),)
    assert len(warnings) == 1
    assert f"--dim {symbol}=N" in warnings[0]
    assert warnings[0] in graph.notes
    again = load_onnx(made, dims=dict(graph.model.dims), on_warning=warnings.append)
    assert again == graph
    assert len(warnings) == 1


def test_open_dimensions_are_listed_with_the_way_to_bind_them():
    made = model("(float[batch, length] x, float[length, ?] z) => (y) { y = Relu(x) }")
    with pytest.raises(LoweringError) as caught:
        load_onnx(made)
    assert caught.value.exit_code == 5
    assert "2 dimensions of the inputs have no size" in str(caught.value)
    assert "length at x:1 (--dim length=N)" in str(caught.value)
    assert "z:1 (--dim z:1=N)" in str(caught.value)
    assert "batch" not in str(caught.value)


@pytest.mark.parametrize("value", [-1, -7, -(1 << 63)])
def test_a_negative_dimension_is_open(value):
    made = model("(float[2, 3] x) => (y) { y = Relu(x) }")
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = value
    with pytest.raises(LoweringError, match=r"x:0"):
        load_onnx(made)
    assert shapes(load_onnx(made, dims={"x:0": 2}))["y"] == (2, 3)


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        ({"bacth": 1}, "It has: batch, length. Did you mean batch?"),
        ({"batch": 1, "x:5": 1}, '"x" has 3 dimensions'),
        ({"x:2": 4}, "the file fixes it to 3"),
        ({"q:0": 4}, "no dimension of that name"),
        ({"length": -1}, "a size is a number from 0"),
        ({"length": 1 << 63}, "a size is a number from 0"),
        ({"": 1}, "no dimension of that name"),
        ({"x:-1": 1}, "no dimension of that name"),
    ],
)
def test_a_binding_that_binds_nothing_is_an_error(dims, words):
    made = model("(float[batch, length, 3] x) => (y) { y = Relu(x) }")
    with pytest.raises(UsageError) as caught:
        load_onnx(made, dims=dims)
    assert words in str(caught.value)
    assert str(caught.value).startswith("--dim ")


def test_a_symbol_of_an_intermediate_can_be_bound(without_runtime):
    made = model(
        "(float[2, 3] x) => (float[3, nz] y) <int64[2, nz] i> { i = NonZero(x) y = my.Op(i) }",
        ', "my" : 1',
    )
    with pytest.raises(LoweringError, match="--dim nz=N"):
        load_onnx(made)
    assert shapes(load_onnx(made, dims={"nz": 5}))["y"] == (3, 5)


# Shapes by the user


def test_a_shape_given_fills_a_gap_and_what_follows():
    made = model("(float[2, 3] x) => (y) { i = NonZero(x) y = Cast<to = 1>(i) }")
    graph = load_onnx(made, shapes={"i": "2x6:int64"})
    assert shapes(graph)["y"] == (2, 6)
    assert graph.model.shapes == (("i", "2x6:int64"),)


def test_a_shape_given_for_an_input_binds_it():
    made = model("(float[?, ?] x) => (y) { y = Relu(x) }")
    made.graph.input[0].type.tensor_type.ClearField("shape")
    assert shapes(load_onnx(made, shapes={"x": "4x5:float32"}))["y"] == (4, 5)


def test_a_scalar_can_be_given():
    made = model("(float[2] x) => (y) { y = my.Op(x) }", ', "my" : 1')
    assert shapes(load_onnx(made, shapes={"y": ":float16"}))["y"] == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"y": "2x3"}, "expected a form like 2x3:float32"),
        ({"y": "2xA:float32"}, "expected a form like"),
        ({"y": "2x-3:float32"}, "expected a form like"),
        ({"y": "2x3:float31"}, "unknown element type float31"),
        ({"y": "2:string"}, "unknown element type string"),
        ({"yy": "2x3:float32"}, "Did you mean y?"),
    ],
)
def test_a_malformed_shape_is_a_usage_error(given, words):
    made = model("(float[2, 3] x) => (y) { y = my.Op(x) }", ', "my" : 1')
    with pytest.raises(UsageError) as caught:
        load_onnx(made, shapes=given)
    assert words in str(caught.value)


# Contradictions


@pytest.mark.parametrize(
    ("body", "given", "sources"),
    [
        (
            "(float[2, 3] x) => (float[2, 4] y) { h = Relu(x) y = Relu(h) }",
            {},
            ("the file", "ONNX shape inference"),
        ),
        (
            "(float[2, 3] x) => (y) { y = Relu(x) }",
            {"y": "3x2:float32"},
            ("--shape", "ONNX shape inference"),
        ),
        (
            "(float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }",
            {"y": "2x3:int32"},
            ("--shape", "the file"),
        ),
    ],
)
def test_sources_that_contradict_each_other_are_both_named(body, given, sources):
    with pytest.raises(LoweringError) as caught:
        load_onnx(model(body), shapes=given)
    assert '"y"' in str(caught.value)
    for source in sources:
        assert f"{source} says" in str(caught.value)


def declared_wrong(shape: str, element: str = "float") -> onnx.ModelProto:
    """Every value is declared, so nothing would need inference; ``h`` is wrong."""
    return model(
        f"(float[2, 3] x) => (float[2, 3] y) <{element}{shape} h> {{ h = Relu(x) y = my.Op(h) }}",
        ', "my" : 1',
    )


@pytest.mark.parametrize(
    ("made", "first", "second"),
    [
        (declared_wrong("[2, 4]"), "the file says 2x4 float32", "inference says 2x3 float32"),
        (declared_wrong("[2, 3]", "int8"), "the file says 2x3 int8", "says 2x3 float32"),
        (declared_wrong("[n, 4]"), "the file says ?x4 float32", "says 2x3 float32"),
        (declared_wrong("[n, 3, 1]"), "the file says ?x3x1 float32", "says 2x3 float32"),
        (declared_wrong("[]", "int8"), "the file says int8", "says 2x3 float32"),
    ],
    ids=["shape", "element", "one dimension", "rank", "element alone"],
)
def test_a_file_that_declares_everything_is_compared_with_inference(made, first, second):
    with pytest.raises(LoweringError) as caught:
        load_onnx(made, dims={})
    assert 'tensor "h"' in str(caught.value)
    assert first in str(caught.value)
    assert second in str(caught.value)


def test_an_element_that_inference_knows_without_the_shape_is_compared_too(without_runtime):
    made = model("(float[2, 3] x) => (float[2, 6] y) { y = NonZero(x) }")
    with pytest.raises(LoweringError, match=r"the file says 2x6 float32.* says int64"):
        load_onnx(made)
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    assert shapes(load_onnx(made))["y"] == (2, 6)


@pytest.mark.parametrize("declared", ["float[9]", "float[n, 9]"])
def test_a_declared_result_of_control_flow_is_compared_with_its_body(declared):
    made = model(
        f"""(float[4] x, bool c) => ({declared} y) {{ y = If (c) <
        then_branch = t () => (float[4] r) {{ r = Relu(x) }},
        else_branch = e () => (float[4] s) {{ s = Abs(x) }}> }}"""
    )
    with pytest.raises(LoweringError, match=r'"y": the file says .*9 float32, its body says 4'):
        load_onnx(made)


def test_a_declared_input_of_a_loop_is_compared_with_what_is_passed_in():
    made = model(
        """(float[4] x) => (float[4] y) { n = Constant<value_int = 3>() y = Loop (n, , x) <
        body = b (int64 i, bool k, float[5] v) => (bool k2, float[4] w)
        { k2 = Identity(k) w = my.Op(v) }> }""",
        ', "my" : 1',
    )
    with pytest.raises(LoweringError, match='"v": the file says 5 float32, what Loop "y" passes'):
        load_onnx(made)


def test_an_input_is_compared_with_its_default_value():
    made = model("(float[2] x, float[3] w) => (y) { y = my.Op(x, w) }", ', "my" : 1')
    made.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    with pytest.raises(LoweringError, match='"w": its initializer says 2 float32, the file says 3'):
        load_onnx(made, shapes={"y": "2:float32"})


def test_inference_that_fails_is_no_contradiction():
    """There is no int8 Conv in ONNX, and its kernel does not fit; the file is believed."""
    made = model(
        "(int8[1, 3, 8, 8] x, int8[4, 7, 3, 3] w) => (int8[1, 4, 6, 6] y) { y = Conv(x, w) }"
    )
    assert shapes(load_onnx(made))["y"] == (1, 4, 6, 6)


def transposed_convolution(size: int, attributes: str = "") -> onnx.ModelProto:
    """Inference says 7x7; a Conv with stride 2 makes 4x4 of 7x7 and of 8x8."""
    return model(
        f"(float[1, 2, 4, 4] x, float[2, 5, 3, 3] w) => (float[1, 5, {size}, {size}] y)"
        f" {{ y = ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1]{attributes}>(x, w) }}"
    )


def test_a_gradient_of_a_strided_convolution_may_lack_its_output_padding():
    graph = load_onnx(transposed_convolution(8))
    assert shapes(graph)["y"] == (1, 5, 8, 8)
    assert any("takes an output_padding of [1, 1]" in note for note in graph.notes)
    assert not load_onnx(transposed_convolution(7)).notes
    for made in (
        transposed_convolution(9),
        transposed_convolution(6),
        transposed_convolution(8, ", output_padding = [0, 0]"),
        transposed_convolution(8, ", output_shape = [7, 7]"),
    ):
        with pytest.raises(LoweringError, match="ONNX shape inference says 1x5x7x7"):
            load_onnx(made)


def test_symbols_that_places_make_ambiguous_declare_nothing():
    made = model(
        "(float[s, 3] x, float[s] z) => (float[s, 3] y, float[s] v) { y = Relu(x) v = Relu(z) }"
    )
    assert shapes(load_onnx(made, dims={"s": 5}))["v"] == (5,)
    graph = load_onnx(made, dims={"s": 5, "z:0": 7})
    assert shapes(graph) == {"x": (5, 3), "z": (7,), "y": (5, 3), "v": (7,)}


def test_large_models_are_compared_up_to_a_limit_and_say_so(monkeypatch):
    monkeypatch.setattr("frontends.onnx.inference.MAX_CHECKS", 1)
    made = model(
        "(float[2] x) => (float[2] y, float[9] z, float[9] v) { y = Relu(x) z = Abs(x) v = Abs(x) }"
    )
    graph = load_onnx(made)
    assert shapes(graph)["z"] == (9,)
    assert any("results of 2 nodes were not compared" in note for note in graph.notes)
    del made.graph.output[1:]
    del made.graph.node[1:]
    assert not load_onnx(made).notes


def test_a_scalar_declared_with_one_dimension_is_no_contradiction():
    made = model("(float[4] x) => (float[1] y) { s = Relu(x) y = ReduceSum<keepdims = 0>(s) }")
    assert shapes(load_onnx(made))["y"] == (1,)


def test_a_view_that_changes_the_number_of_bytes_is_refused():
    made = model("(float[2, 3] x) => (float[7] y) { y = Reshape(x, s) }")
    made.graph.initializer.append(numpy_helper.from_array(np.array([7]), "s"))
    with pytest.raises(LoweringError, match=r"Reshape.*24 bytes.*28 bytes"):
        load_onnx(made)


# Sources


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


# Results nobody reads, and foreign operators, by rule


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


# Element types and sizes


@pytest.mark.parametrize(
    ("element", "elements", "size_bytes"),
    [
        (TensorProto.FLOAT, 5, 20),
        (TensorProto.DOUBLE, 5, 40),
        (TensorProto.FLOAT16, 5, 10),
        (TensorProto.BFLOAT16, 5, 10),
        (TensorProto.BOOL, 5, 5),
        (TensorProto.COMPLEX64, 5, 40),
        (TensorProto.COMPLEX128, 5, 80),
        (TensorProto.FLOAT8E4M3FN, 5, 5),
        (TensorProto.FLOAT8E5M2FNUZ, 5, 5),
        (TensorProto.INT4, 5, 3),
        (TensorProto.UINT4, 6, 3),
        (TensorProto.FLOAT4E2M1, 7, 4),
        (26, 5, 2),  # INT2, unknown to older releases of onnx
        (25, 8, 2),  # UINT2
    ],
)
def test_bytes_by_element_type(element, elements, size_bytes):
    made = model("(float[2] x) => (y) { y = my.Op(x) }", ', "my" : 1')
    tensor_type = made.graph.input[0].type.tensor_type
    tensor_type.elem_type = element
    tensor_type.shape.dim[0].dim_value = elements
    graph = load_onnx(made, shapes={"y": "1:float32"})
    assert graph.tensors[0].size_bytes == size_bytes


def test_rows_of_packed_types_are_not_padded():
    made = model("(float[2] x) => (y) { y = my.Op(x) }", ', "my" : 1')
    made.graph.input[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.INT4, [3, 3]))
    assert load_onnx(made, shapes={"y": "1:int8"}).tensors[0].size_bytes == 5


def test_an_empty_tensor_takes_no_bytes():
    graph = load_onnx(model("(float[0, 8] x) => (y) { y = Relu(x) }"))
    assert graph.activation_bytes == 0
    assert graph.operators[0].in_place == ()


@pytest.mark.parametrize("shape", ["4611686018427387904, 8", "3000000000, 3000000000, 3000000000"])
def test_absurd_sizes_are_refused(shape):
    with pytest.raises(LoweringError, match="more than 2\\^53 bytes"):
        load_onnx(model(f"(float[{shape}] x) => (y) {{ y = Relu(x) }}"))


def test_sizes_count_up_to_where_solvers_and_plan_files_count():
    half = 1 << 52
    made = model(f"(int8[{half}] x) => (y) {{ y = Sign(x) }}")
    assert load_onnx(made).activation_bytes == 1 << 53
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = (1 << 53) + 1
    with pytest.raises(LoweringError, match=r'"x" has the shape 9007199254740993 int8 \(the file'):
        load_onnx(made)


def test_sizes_absurd_only_together_are_refused():
    with pytest.raises(LoweringError, match="together: more than 2\\^53"):
        load_onnx(model("(int8[4000000000000000] x) => (y) { h = Relu(x) y = Relu(h) }"))


def test_ranks_whose_product_takes_for_ever_are_refused_without_it():
    made = model("(float[2] x) => (y) { y = Relu(x) }")
    made.graph.initializer.add(name="w", data_type=1, dims=[1 << 62] * 1_000_000)
    with pytest.raises(LoweringError, match=r"\(1,000,000 dimensions\).*more than 1,000") as caught:
        load_onnx(made)
    assert len(str(caught.value)) < 600


def test_operation_counts_stay_within_64_bits():
    made = model("(float[1000000000] x) => (y) { k = Relu(x) y = my.Op(k) }", ', "my" : 1')
    made.graph.node[1].CopyFrom(helper.make_node("Einsum", ["k", "k"], ["y"], equation="a,b->"))
    made.graph.node.append(helper.make_node("Einsum", ["k"] * 3, ["z"], equation="a,b,c->"))
    graph = load_onnx(made, shapes={"z": ":float32"})
    assert [operator.macs for operator in graph.operators[1:]] == [10**18, 1 << 62]


def test_malformed_initializers_are_refused():
    for dims, element, words in [
        ([-2], 1, "negative dimension"),
        ([2], 99, "unknown element type 99"),
        ([1 << 40, 1 << 40], 1, "more than 2\\^53 bytes"),
    ]:
        made = model("(float[2] x) => (float[2] y) { y = Add(x, w) }")
        made.graph.initializer.add(name="w", data_type=element, dims=dims)
        with pytest.raises(LoweringError, match=words):
            load_onnx(made)


def test_what_is_no_tensor_of_numbers_is_refused_by_name():
    sequence = model(
        "(float[2] x) => (y) { s = SequenceConstruct(x, x) i = Constant<value_int = 0>()"
        " y = SequenceAt(s, i) }"
    )
    with pytest.raises(LoweringError, match=r'"s".*SequenceConstruct.*is a sequence'):
        load_onnx(sequence)
    text = model("(string[2] words) => (y) { y = Identity(words) }")
    with pytest.raises(LoweringError, match=r'"words".*a string tensor'):
        load_onnx(text)
    optional = model("(float[2] x) => (y) { o = Optional(x) y = OptionalGetElement(o) }")
    with pytest.raises(LoweringError, match=r'"o".*is an optional'):
        load_onnx(optional)


def test_constant_strings_are_constants():
    made = model("(float[2] x) => (y) { y = my.Op(x, words) }", ', "my" : 1')
    made.graph.initializer.append(helper.make_tensor("words", 8, [2], [b"one", b"three"]))
    assert load_onnx(made, shapes={"y": "2:float32"}).constant_bytes == 8
