"""Which operands an operator may overwrite with its result."""

from __future__ import annotations

import numpy as np
import pytest

from frontends.onnx import load_onnx

from .storage_models import in_place, model


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
