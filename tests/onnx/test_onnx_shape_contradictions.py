"""Sources of shapes that contradict each other, and what only looks like it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from frontends.onnx import load_onnx
from planner.errors import LoweringError

from .shape_models import model, shapes


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
