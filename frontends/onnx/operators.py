"""What an operator computes: multiply-accumulates and element operations, from concrete shapes.

Operators without an entry cost no multiply-accumulates and one operation per result element.
Transcendental functions weigh 4, reductions count what they read, poolings their windows.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from frontends.onnx.dtypes import TensorType
    from frontends.onnx.nodes import Node

    Types = Sequence[TensorType | None]

TRANSCENDENTAL_WEIGHT = 4

_TRANSCENDENTAL = frozenset(
    {
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Celu",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "Log",
        "LogSoftmax",
        "Mish",
        "Pow",
        "Selu",
        "Sigmoid",
        "Sin",
        "Sinh",
        "Softmax",
        "Softplus",
        "Swish",
        "Tan",
        "Tanh",
        "BiasGelu",
        "FastGelu",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QuickGelu",
    }
)
_REDUCTIONS = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "GlobalAveragePool",
        "GlobalLpPool",
        "GlobalMaxPool",
        "QLinearGlobalAveragePool",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    }
)
_POOLINGS = frozenset({"AveragePool", "LpPool", "MaxPool", "QLinearAveragePool"})
_KNOWN_ELSEWHERE = frozenset(
    f"com.microsoft.{name}"
    for name in (
        "BiasGelu",
        "DequantizeLinear",
        "FastGelu",
        "Gelu",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearConcat",
        "QLinearGlobalAveragePool",
        "QLinearLeakyRelu",
        "QLinearMul",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QuantizeLinear",
        "QuickGelu",
        "ReluGrad",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    )
)


def is_known(node: Node) -> bool:
    """Whether the table knows the operator; all of ONNX's own, some of ONNX Runtime's."""
    return node.domain in ("", "ai.onnx.ml") or (
        node.type in _KNOWN_ELSEWHERE or node.type in _MACS
    )


def macs(node: Node, operands: Types, results: Types) -> int:
    """Multiply-accumulate operations of one execution.

    Parameters
    ----------
    operands, results : sequence of TensorType or None
        By position in the node; None where omitted.
    """
    rule = _MACS.get(node.type)
    if rule is None:
        return 0
    try:
        return rule(node, operands, results)
    except (AttributeError, IndexError, ValueError):
        return 0  # operands that do not fit the operator: the file cannot be executed either


def vector_operations(node: Node, operands: Types, results: Types) -> int:
    """Element operations of one execution outside the multiply-accumulate array."""
    if node.type in _MACS:
        return 0
    counted = operands[:1] if node.op_type in _REDUCTIONS else results
    elements = sum(type_.elements for type_ in counted if type_ is not None)
    if node.op_type in _POOLINGS:
        # As indices, the second result of MaxPool, need no second look.
        first = results[0].elements if results and results[0] is not None else elements
        return first * prod(node.integers("kernel_shape") or ())
    return elements * (TRANSCENDENTAL_WEIGHT if node.op_type in _TRANSCENDENTAL else 1)


def _shape(types: Types, position: int) -> tuple[int, ...]:
    type_ = types[position]
    if type_ is None:
        raise ValueError(f"operand {position} is omitted")
    return type_.shape


def _convolution(weight: int) -> Callable[[Node, Types, Types], int]:
    """Every result element sums over one filter ``[M, C / group, k...]``."""
    return lambda _, operands, results: (
        prod(_shape(results, 0)) * prod(_shape(operands, weight)[1:])
    )


def _transposed_convolution(node: Node, operands: Types, results: Types) -> int:
    """Every operand element is spread over one filter ``[C, M / group, k...]``."""
    return prod(_shape(operands, 0)) * prod(_shape(operands, 1)[1:])


def _matrix_product(node: Node, operands: Types, results: Types) -> int:
    left = _shape(operands, 0)
    transposed = bool(node.integer("transA", 0)) and len(left) > 1
    return prod(_shape(results, 0)) * left[-2 if transposed else -1]


def _packed_matrix_product(node: Node, operands: Types, results: Types) -> int:
    return prod(_shape(results, 0)) * node.integer("K", _shape(operands, 0)[-1])


def _einsum(node: Node, operands: Types, results: Types) -> int:
    """Product of the sizes of all distinct indices; those of an ellipsis included."""
    equation = node.text("equation", "").replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for position, term in enumerate(terms):
        shape = _shape(operands, position)
        before, dots, after = term.partition("...")
        hidden = len(shape) - len(before) - len(after) if dots else 0
        # Broadcast dims are aligned at the right, so number them from there.
        letters = [*before, *(f"...{place}" for place in range(hidden, 0, -1)), *after]
        if len(letters) != len(shape):
            raise ValueError(equation)
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(sizes.get(letter, 1), size) if size else 0
    return prod(sizes.values())


def _recurrent(gates: int) -> Callable[[Node, Types, Types], int]:
    def rule(node: Node, operands: Types, results: Types) -> int:
        steps_and_batch = prod(_shape(operands, 0)[:2])
        features = _shape(operands, 0)[2]
        directions, _, hidden = _shape(operands, 2)
        return steps_and_batch * directions * gates * hidden * (features + hidden)

    return rule


def _attention_product(batch: int, queries: int, keys: int, width: int) -> int:
    """Scores and weighted sum: ``2 * batch * Lq * Lk * (heads * head_dim)``."""
    return 2 * batch * queries * keys * width


def _attention(node: Node, operands: Types, results: Types) -> int:
    """Attention of the standard domain: operands are projected already, 3-D or with heads."""
    query, key = _shape(operands, 0), _shape(operands, 1)
    past = operands[4] if len(operands) > 4 else None
    length = key[-2] + (past.shape[-2] if past is not None else 0)
    width = query[1] * query[3] if len(query) == 4 else query[2]
    return _attention_product(query[0], query[-2], length, width)


def _projecting_attention(node: Node, operands: Types, results: Types) -> int:
    """`com.microsoft.Attention`: projects the input ``[B, S, D]`` with weights ``[D, 3 H]``."""
    data, weights = _shape(operands, 0), _shape(operands, 1)
    past = operands[4] if len(operands) > 4 else None
    length = data[1] + (past.shape[-2] if past is not None else 0)
    width = _shape(results, 0)[-1]
    return prod(data) * weights[1] + _attention_product(data[0], data[1], length, width)


def _multi_head_attention(node: Node, operands: Types, results: Types) -> int:
    """`MultiHeadAttention` and `GroupQueryAttention`: the width of all heads together is Q's."""
    query = _shape(operands, 0)
    key = operands[1] if len(operands) > 1 else None
    length = key.shape[-2] if key is not None else query[1]
    past_at = 3 if node.op_type == "GroupQueryAttention" else 6
    past = operands[past_at] if len(operands) > past_at else None
    if past is not None and len(past.shape) == 4:
        length += past.shape[2]
    return _attention_product(query[0], query[1], length, _shape(results, 0)[-1])


_MACS: Mapping[str, Callable[[Node, Types, Types], int]] = {
    "Attention": _attention,
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "ConvTranspose": _transposed_convolution,
    "DeformConv": _convolution(1),
    "Einsum": _einsum,
    "GRU": _recurrent(3),
    "Gemm": _matrix_product,
    "LSTM": _recurrent(4),
    "MatMul": _matrix_product,
    "MatMulInteger": _matrix_product,
    "QLinearConv": _convolution(3),
    "QLinearMatMul": _matrix_product,
    "RNN": _recurrent(1),
    "com.microsoft.Attention": _projecting_attention,
    "com.microsoft.FusedConv": _convolution(1),
    "com.microsoft.FusedGemm": _matrix_product,
    "com.microsoft.FusedMatMul": _matrix_product,
    "com.microsoft.GroupQueryAttention": _multi_head_attention,
    "com.microsoft.MatMulIntegerToFloat": _matrix_product,
    "com.microsoft.MatMulNBits": _packed_matrix_product,
    "com.microsoft.MultiHeadAttention": _multi_head_attention,
    "com.microsoft.NhwcFusedConv": _convolution(1),
    "com.microsoft.QGemm": _matrix_product,
    "com.microsoft.TransposeMatMul": _matrix_product,
}
