"""DARTS for ImageNet: the published second-order genotype."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.convolution import (
    batch_norm,
    conv,
    conv_batch_norm,
    max_pool,
    pooled_classifier,
    relu_conv_batch_norm,
    relu_separable_batch_norm,
    separable_twice,
)
from frontends.zoo.operators import add, concat, relu
from planner.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value

# (operation, operand) pairs; two make one new state, states 0 and 1 are the cell's operands
_NORMAL = (
    ("sep_conv_3x3", 0),
    ("sep_conv_3x3", 1),
    ("sep_conv_3x3", 0),
    ("sep_conv_3x3", 1),
    ("sep_conv_3x3", 1),
    ("skip_connect", 0),
    ("skip_connect", 0),
    ("dil_conv_3x3", 2),
)
_REDUCE = (
    ("max_pool_3x3", 0),
    ("max_pool_3x3", 1),
    ("skip_connect", 2),
    ("max_pool_3x3", 1),
    ("max_pool_3x3", 0),
    ("skip_connect", 2),
    ("skip_connect", 2),
    ("max_pool_3x3", 1),
)


def darts(
    *,
    batch: int = 1,
    image: int = 224,
    channels: int = 48,
    layers: int = 14,
    dtype: str = "float32",
    fold_batchnorm: bool = True,
) -> ModelProto:
    """DARTS (second order) in the ImageNet setting, without the auxiliary classifier.

    4,718,752 parameters with ``fold_batchnorm=False``. 5.3e8 multiply-accumulates in convolutions
    and classifier; the paper, which does not say what it counts, reports 5.74e8 operations.

    Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019 (arXiv 1806.09055).

    Parameters
    ----------
    channels, layers : int
        Initial channels, an even number, and number of cells; the cells at one and at two thirds
        reduce.

    Raises
    ------
    UsageError
        If the image is not a multiple of 32, ``channels`` not even or ``layers`` below 3.
    """
    if image % 32:
        raise UsageError(f"darts: image={image} must be a multiple of 32.")
    if channels < 2 or channels % 2:
        raise UsageError(f"darts: channels={channels} must be a positive even number.")
    if layers < 3:
        raise UsageError(f"darts: layers={layers} must be at least 3.")
    b = GraphBuilder("darts", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = b.input("image", (batch, 3, image, image))
    with b.scope("stem"):
        x = relu(b, conv_batch_norm(b, x, channels // 2, 3, stride=2, name="conv0"))
        previous = conv_batch_norm(b, x, channels, 3, stride=2, name="conv1")
        x = relu(b, previous)
        current = conv_batch_norm(b, x, channels, 3, stride=2, name="conv2")
    width = channels
    for layer in range(layers):
        reduces = layer in (layers // 3, 2 * layers // 3)
        width *= 2 if reduces else 1
        with b.scope(f"cell{layer}"):
            previous, current = current, _cell(b, previous, current, width, reduces)
    b.output("logits", pooled_classifier(b, current, 1000))
    return b.model()


def _cell(b: GraphBuilder, previous: Value, current: Value, width: int, reduces: bool) -> Value:
    if previous.shape[2:] == current.shape[2:]:
        previous = relu_conv_batch_norm(b, previous, width, name="adapt_previous")
    else:
        previous = _factorized_reduction(b, previous, width, "reduce_previous")
    states = [previous, relu_conv_batch_norm(b, current, width, name="adapt")]
    genotype = _REDUCE if reduces else _NORMAL
    for index in range(0, len(genotype), 2):
        operands = []
        for operation, operand in genotype[index : index + 2]:
            stride = 2 if reduces and operand < 2 else 1
            name = f"state{len(states)}.{operation}_{operand}"
            operands.append(_apply(b, operation, states[operand], stride, name))
        states.append(add(b, operands[0], operands[1]))
    return concat(b, states[2:], axis=1)


def _apply(b: GraphBuilder, operation: str, x: Value, stride: int, name: str) -> Value:
    width = x.shape[1]
    if operation == "sep_conv_3x3":
        return separable_twice(b, x, width, 3, stride=stride, name=name)
    if operation == "dil_conv_3x3":
        return relu_separable_batch_norm(b, x, width, 3, stride=stride, dilation=2, name=name)
    if operation == "max_pool_3x3":
        return max_pool(b, x, 3, stride, padding=1)
    return x if stride == 1 else _factorized_reduction(b, x, width, name)


def _factorized_reduction(b: GraphBuilder, x: Value, width: int, name: str) -> Value:
    """Halve height and width by sampling the even and the odd pixels, half the channels each."""
    with b.scope(name):
        x = relu(b, x)
        batch, depth, height, lines = x.shape
        odd = b.node(
            "Slice",
            [x, b.integers((1, 1)), b.integers((height, lines)), b.integers((2, 3))],
            (batch, depth, height - 1, lines - 1),
        )
        halves = [
            conv(b, pixels, width // 2, 1, stride=2, name=f"path{index + 1}")
            for index, pixels in enumerate((x, odd))
        ]
        return batch_norm(b, concat(b, halves, axis=1), name="paths_bn")
