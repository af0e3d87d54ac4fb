"""Multiply-accumulates and element operations against loops that count them one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from frontends.onnx import load_onnx


def model(body: str, **constants: tuple[int, ...]) -> onnx.ModelProto:
    text = f'<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1, "my" : 1]> g {body}'
    made = parser.parse_model(text)
    for name, shape in constants.items():
        made.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    return made


def cost(made: onnx.ModelProto, **shapes: str) -> tuple[int, int]:
    operators = load_onnx(made, shapes=shapes).operators
    return sum(op.macs for op in operators), sum(op.vector_ops for op in operators)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_counts_every_weight_of_every_result(group, stride):
    made = model(
        f"(float[2, 4, 6, 7] x) => (y) {{ y = Conv<group = {group},"
        f" strides = [{stride}, {stride}]>(x, w, b) }}",
        w=(8, 4 // group, 3, 2),
        b=(8,),
    )
    height, width = (6 - 3) // stride + 1, (7 - 2) // stride + 1
    counted = 0
    for _ in product(range(2), range(8), range(height), range(width)):
        for _ in product(range(4 // group), range(3), range(2)):
            counted += 1
    assert cost(made) == (counted, 0)


def test_transposed_convolution_spreads_every_operand():
    made = model(
        "(float[1, 4, 3, 5] x) => (y) { y = ConvTranspose<strides = [2, 2], group = 2>(x, w) }",
        w=(4, 3, 2, 2),
    )
    counted = sum(1 for _ in product(range(4), range(3), range(5), range(3), range(2), range(2)))
    assert cost(made) == (counted, 0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("(float[3, 4] a, float[4, 5] b) => (y) { y = MatMul(a, b) }", 3 * 4 * 5),
        ("(float[2, 7, 3, 4] a, float[4, 5] b) => (y) { y = MatMul(a, b) }", 14 * 3 * 4 * 5),
        ("(float[4] a, float[4] b) => (y) { y = MatMul(a, b) }", 4),
        ("(float[3, 4] a, float[4, 5] b) => (y) { y = Gemm(a, b) }", 3 * 4 * 5),
        ("(float[4, 3] a, float[4, 5] b) => (y) { y = Gemm<transA = 1>(a, b) }", 3 * 4 * 5),
        ("(float[3, 4] a, float[5, 4] b) => (y) { y = Gemm<transB = 1>(a, b) }", 3 * 4 * 5),
        ("(uint8[3, 4] a, uint8[4, 5] b) => (y) { y = MatMulInteger(a, b) }", 3 * 4 * 5),
        (
            "(uint8[1, 2, 5, 5] x, uint8[3, 2, 3, 3] w) => (y) { y = ConvInteger(x, w) }",
            3 * 3 * 3 * 2 * 9,
        ),
        (
            "(uint8[1, 2, 5, 5] x, float s, uint8 z, uint8[3, 2, 3, 3] w) => (y)"
            " { y = QLinearConv(x, s, z, w, s, z, s, z) }",
            3 * 3 * 3 * 2 * 9,
        ),
        (
            "(uint8[3, 4] a, float s, uint8 z, uint8[4, 5] b) => (y)"
            " { y = QLinearMatMul(a, s, z, b, s, z, s, z) }",
            3 * 4 * 5,
        ),
    ],
)
def test_matrix_products(body, expected):
    assert cost(model(body)) == (expected, 0)


def test_fused_operators_of_the_runtime_count_as_what_they_fuse():
    made = model(
        '(float[1, 2, 5, 5] x) => (y) { y = com.microsoft.FusedConv<activation = "Relu">(x, w) }',
        w=(3, 2, 3, 3),
    )
    assert cost(made) == (27 * 18, 0)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 5)]),
        ("bij,bjk->bik", [(4, 2, 3), (4, 3, 5)]),
        ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("i,j", [(2,), (3,)]),
        ("ii->i", [(3, 3)]),
        ("...ij,...jk->...ik", [(2, 7, 2, 3), (7, 3, 5)]),
        ("a b , b c -> a c", [(2, 3), (3, 5)]),
    ],
)
def test_einsum_counts_its_index_set(equation, shapes):
    operands = ", ".join(f"float{list(shape)} o{i}" for i, shape in enumerate(shapes))
    reads = ", ".join(f"o{i}" for i in range(len(shapes)))
    made = model(f'({operands}) => (y) {{ y = Einsum<equation = "{equation}">({reads}) }}')
    # Brute force: numpy sums a one for every point of the index set.
    ones = [np.ones(shape) for shape in shapes]
    result = np.einsum(equation.replace(" ", ""), *ones)
    size = "x".join(map(str, result.shape))
    assert cost(made, y=f"{size}:float32") == (int(result.sum()), 0)


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers_count_steps_times_gates(kind, gates):
    made = model(
        f"(float[5, 2, 4] x) => (y) {{ y = {kind}<hidden_size = 3,"
        ' direction = "bidirectional">(x, w, r) }',
        w=(2, gates * 3, 4),
        r=(2, gates * 3, 3),
    )
    counted = 0
    for _step, _batch, _direction in product(range(5), range(2), range(2)):
        counted += gates * 3 * 4  # input weights
        counted += gates * 3 * 3  # recurrent weights
    assert cost(made) == (counted, 0)


def test_attention_counts_scores_and_sums_and_its_own_projections():
    batch, heads, queries, keys, width = 2, 4, 5, 7, 8
    split = model(
        f"(float[{batch}, {queries}, {heads * width}] q, float[{batch}, {keys}, {heads * width}] k,"
        f" float[{batch}, {keys}, {heads * width}] v) => (y)"
        f" {{ y = com.microsoft.MultiHeadAttention<num_heads = {heads}>(q, k, v) }}"
    )
    product_macs = 2 * batch * heads * queries * keys * width
    size = f"{batch}x{queries}x{heads * width}:float32"
    assert cost(split, y=size) == (product_macs, 0)
    fused = model(
        f"(float[{batch}, {queries}, 16] x) => (y)"
        f" {{ y = com.microsoft.Attention<num_heads = {heads}>(x, w, b) }}",
        w=(16, 3 * heads * width),
        b=(3 * heads * width,),
    )
    projections = batch * queries * 16 * 3 * heads * width
    product_macs = 2 * batch * heads * queries * queries * width
    assert cost(fused, y=size) == (projections + product_macs, 0)


@pytest.mark.parametrize(
    ("node", "operations"),
    [
        ("Relu(x)", 24),
        ("Add(x, x)", 24),
        ("Exp(x)", 4 * 24),
        ("Tanh(x)", 4 * 24),
        ("Softmax(x)", 4 * 24),
        ("ReduceSum(x, axes)", 24),
        ("ReduceMax<axes = [2]>(x)", 24),
        ("GlobalAveragePool(x)", 24),
        ("AveragePool<kernel_shape = [2]>(x)", 2 * 3 * 3 * 2),
        ("MaxPool<kernel_shape = [3], strides = [2], pads = [1, 1]>(x)", 2 * 3 * 2 * 3),
        ("Transpose(x)", 24),
        ("Concat<axis = 0>(x, x)", 48),
        ("Reshape(x, flat)", 0),
        ("Identity(x)", 24),  # from a graph input to a graph output: a real copy
    ],
)
def test_element_operations(node, operations):
    made = model(f"(float[2, 3, 4] x) => (y) {{ y = {node} }}")
    if "flat" in node:
        made = model(f"(float[2, 3, 4] x) => (z) {{ y = {node} z = Neg(y) }}")
        operations = 24
    made.graph.initializer.append(numpy_helper.from_array(np.array([24]), "flat"))
    made.graph.initializer.append(numpy_helper.from_array(np.array([0]), "axes"))
    assert cost(made) == (0, operations)


def test_unknown_operators_are_listed_once():
    made = model("(float[2] x) => (y) { a = my.Op(x) b = my.Op(a) y = my.Other(b) }")
    graph = load_onnx(made, shapes=dict.fromkeys("aby", "2:float32"))
    assert [note for note in graph.notes if "cost entry" in note] == [
        "No cost entry, counted by their results: my.Op (2), my.Other (1)."
    ]
    assert [operator.vector_ops for operator in graph.operators] == [2, 2, 2]
