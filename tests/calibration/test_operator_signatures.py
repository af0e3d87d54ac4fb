"""What operators are called in a table: enough to tell apart what takes different times."""

from __future__ import annotations

import pytest
from onnx import parser

from frontends.onnx.frontend import load_onnx


def graph(body: str):
    text = f'<ir_version: 8, opset_import: ["" : 17]> g {body}'
    return load_onnx(parser.parse_model(text))


def test_signature_names_type_element_type_and_shapes():
    lowered = graph(
        "(float[1, 4, 8, 8] x, float[6, 4, 3, 3] w) => (z, s)"
        " { y = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w) z = Relu(y) s = Shape(y) }"
    )
    assert lowered.signatures[:2] == (
        "Conv float32 1x4x8x8 6x4x3x3 -> 1x6x4x4",
        "Relu float32 1x6x4x4 -> 1x6x4x4",
    )


def test_scalars_and_other_element_types_are_told():
    lowered = graph("(float[5, 3] x, int64 i) => (y) { y = Gather(x, i) }")
    assert lowered.signatures == ("Gather float32 5x3 ():int64 -> 3",)


def test_windows_of_poolings_are_told_apart():
    pool = "(float[1, 4, 8, 8] x) => (y) { y = MaxPool<kernel_shape = [%d, %d], pads = [%s]>(x) }"
    small, large = (graph(pool % (k, k, ", ".join([str(k // 2)] * 4))) for k in (3, 5))
    assert small.signatures == ("MaxPool of 9 float32 1x4x8x8 -> 1x4x8x8",)
    assert large.signatures == ("MaxPool of 25 float32 1x4x8x8 -> 1x4x8x8",)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("(float[1,8,5,5] x, float[8,8,3,3] w) => (y) { y = Conv(x, w) }", "Conv"),
        ("(float[1,8,5,5] x, float[4,8,1,1] w) => (y) { y = Conv(x, w) }", "Conv pointwise"),
        (
            "(float[1,8,5,5] x, float[8,4,3,3] w) => (y) { y = Conv<group = 2>(x, w) }",
            "Conv grouped",
        ),
        (
            "(float[1,8,5,5] x, float[8,1,3,3] w) => (y)"
            " { y = Conv<group = 8, pads = [1,1,1,1]>(x, w) }",
            "Conv depthwise",
        ),
        (
            "(float[1,8,5,5] x, float[8,1,3,3] w) => (y)"
            " { y = Conv<group = 8, pads = [1,1,1,1], strides = [2,2]>(x, w) }",
            "Conv depthwise strided",
        ),
        (
            "(float[1,8,5,5,5] x, float[4,8,1,1,1] w) => (y) { y = Conv(x, w) }",
            "Conv pointwise 3d",
        ),
        (
            "(float[1,8,5,5,5] x) => (y) { y = MaxPool<kernel_shape = [2,2,2]>(x) }",
            "MaxPool 3d",
        ),
        ("(float[7,8] a, float[8,5] b) => (y) { y = MatMul(a, b) }", "product"),
        ("(float[7,8] a, float[8,5] b) => (y) { y = Gemm(a, b) }", "product"),
        ("(float[1,8] a, float[8,5] b) => (y) { y = MatMul(a, b) }", "product vector"),
        ("(float[2,7,8] a, float[2,8,5] b) => (y) { y = MatMul(a, b) }", "product batched"),
        ("(float[8] a, float[8] b) => (y) { y = MatMul(a, b) }", "product vector"),
        ("(float[7,8] a) => (y) { y = Softmax(a) }", "Softmax"),
    ],
)
def test_classes(body, expected):
    assert graph(body).operator_classes == (expected,)
