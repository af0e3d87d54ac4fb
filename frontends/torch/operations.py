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
        *("gelu", "gelu_backward", "log", "log_softmax", "logsumexp", "mish", "pow", "rsqrt"),
        *("sigmoid", "silu", "silu_backward", "sin", "sinh", "softmax", "softplus", "tan", "tanh"),
    )
)
_REDUCTIONS = frozenset(
    f"aten.{name}"
    for name in (
        *("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "amax", "amin", "argmax", "argmin"),
        *("linalg_vector_norm", "logsumexp", "max", "mean", "min", "nll_loss_forward", "norm"),
        *("prod", "std", "sum", "var", "var_mean"),
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


def _convolution_backward(node: Node, operands: Shapes, results: Shapes) -> int:
    """The data's and the filters' gradient each take as many as the convolution."""
    gradient, data, weight = operands[:3]
    transposed = node.args[7] is True
    wanted = node.args[10]
    products = sum(map(bool, wanted[:2])) if isinstance(wanted, (tuple, list)) else 2
    return products * prod(data if transposed else gradient) * prod(weight[1:])


def _attention(node: Node, operands: Shapes, results: Shapes) -> int:
    query, key, value = operands[:3]
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _attention_backward(node: Node, operands: Shapes, results: Shapes) -> int:
    """Scores again, and the gradients of scores, value, query and key."""
    _, query, key, value = operands[:4]
    return prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


def _tokens_first(
    rule: Callable[[Node, Shapes, Shapes], int],
) -> Callable[[Node, Shapes, Shapes], int]:
    """For operands ``[..., tokens, heads, size]`` instead of ``[..., heads, tokens, size]``."""

    def swapped(shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) < 3:
            return shape
        return (*shape[:-3], shape[-2], shape[-3], shape[-1])

    return lambda node, operands, results: rule(node, [*map(swapped, operands)], results)


_MACS: Mapping[str, Callable[[Node, Shapes, Shapes], int]] = {
    "aten.addmm": _product(1),
    "aten.baddbmm": _product(1),
    "aten.bmm": _product(0),
    "aten._convolution": _convolution,
    "aten._efficient_attention_backward": _tokens_first(_attention_backward),
    "aten._efficient_attention_forward": _tokens_first(_attention),
    "aten._flash_attention_backward": _tokens_first(_attention_backward),
    "aten._flash_attention_forward": _tokens_first(_attention),
    "aten._scaled_mm": _product(0),
    "aten.conv1d": _convolution,
    "aten.conv2d": _convolution,
    "aten.conv3d": _convolution,
    "aten.conv_transpose1d": _transposed_convolution,
    "aten.conv_transpose2d": _transposed_convolution,
    "aten.conv_transpose3d": _transposed_convolution,
    "aten.convolution": _convolution,
    "aten.convolution_backward": _convolution_backward,
    "aten.linear": _product(0),
    "aten.matmul": _product(0),
    "aten.mm": _product(0),
    "aten.scaled_dot_product_attention": _attention,
    "aten._scaled_dot_product_cudnn_attention": _attention,
    "aten._scaled_dot_product_efficient_attention": _attention,
    "aten._scaled_dot_product_flash_attention": _attention,
    "aten._scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten._scaled_dot_product_cudnn_attention_backward": _attention_backward,
    "aten._scaled_dot_product_efficient_attention_backward": _attention_backward,
    "aten._scaled_dot_product_flash_attention_backward": _attention_backward,
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
}
