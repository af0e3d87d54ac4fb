"""What an ATen operator computes: multiply-accumulates and element operations, from shapes."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch.fx import Node

    Shapes = Sequence[tuple[int, ...]]

TRANSCENDENTAL_WEIGHT = 4

_TRANSCENDENTAL = frozenset(
    f"aten.{name}"
    for name in (
        *("_log_softmax", "_softmax", "acos", "asin", "atan", "cos", "cosh", "elu", "erf", "exp"),
        *("gelu", "log", "log_softmax", "mish", "pow", "sigmoid", "silu", "sin", "sinh"),
        *("softmax", "softplus", "tan", "tanh"),
    )
)
_REDUCTIONS = frozenset(
    f"aten.{name}"
    for name in (
        *("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "amax", "amin", "argmax", "argmin"),
        *("max", "mean", "min", "prod", "sum", "var", "var_mean"),
    )
)


def multiply_accumulates(type_: str, node: Node, operands: Shapes, results: Shapes) -> int:
    """Multiply-accumulate operations of one execution; 0 for what is no product."""
    rule = _MACS.get(type_)
    if rule is None or not operands or not results:
        return 0
    return rule(node, operands, results)


def element_operations(type_: str, operands: Shapes, results: Shapes) -> int:
    """Element operations of one execution outside the multiply-accumulate array."""
    if type_ in _MACS:
        return 0
    counted = operands[:1] if type_ in _REDUCTIONS else results
    weight = TRANSCENDENTAL_WEIGHT if type_ in _TRANSCENDENTAL else 1
    return weight * sum(map(prod, counted))


def _product(left: int) -> Callable[[Node, Shapes, Shapes], int]:
    return lambda _, operands, results: prod(results[0]) * operands[left][-1]


def _convolution(node: Node, operands: Shapes, results: Shapes) -> int:
    """Filters are ``[M, C / group, k...]``, transposed ones ``[C, M / group, k...]``."""
    data, weight = operands[0], operands[1]
    transposed = len(node.args) > 6 and node.args[6] is True
    return prod(data if transposed else results[0]) * prod(weight[1:])


def _transposed_convolution(node: Node, operands: Shapes, results: Shapes) -> int:
    return prod(operands[0]) * prod(operands[1][1:])


def _attention(node: Node, operands: Shapes, results: Shapes) -> int:
    query, key, value = operands[:3]
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


_MACS: Mapping[str, Callable[[Node, Shapes, Shapes], int]] = {
    "aten.addmm": _product(1),
    "aten.baddbmm": _product(1),
    "aten.bmm": _product(0),
    "aten.conv1d": _convolution,
    "aten.conv2d": _convolution,
    "aten.conv3d": _convolution,
    "aten.conv_transpose1d": _transposed_convolution,
    "aten.conv_transpose2d": _transposed_convolution,
    "aten.conv_transpose3d": _transposed_convolution,
    "aten.convolution": _convolution,
    "aten.linear": _product(0),
    "aten.matmul": _product(0),
    "aten.mm": _product(0),
    "aten.scaled_dot_product_attention": _attention,
    "aten._scaled_dot_product_cudnn_attention": _attention,
    "aten._scaled_dot_product_efficient_attention": _attention,
    "aten._scaled_dot_product_flash_attention": _attention,
    "aten._scaled_dot_product_flash_attention_for_cpu": _attention,
}
