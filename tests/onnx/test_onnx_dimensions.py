"""Sizes by the user: dimensions bound by symbol or place, and whole shapes."""

from __future__ import annotations

import pytest

from frontends.onnx import load_onnx
from planner.errors import LoweringError, UsageError

from .shape_models import model, shapes


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
