"""Layers of convolutional networks, batch x channels x height x width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frontends.zoo.operators import classifier, relu
from planner.errors import UsageError

if TYPE_CHECKING:
    from frontends.zoo.builder import GraphBuilder, Value


def conv(
    b: GraphBuilder,
    x: Value,
    channels: int,
    kernel: int,
    *,
    name: str,
    stride: int = 1,
    padding: int | None = None,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> Value:
    """Square convolution; without ``padding``, an odd kernel at stride 1 keeps the size."""
    pad = dilation * (kernel // 2) if padding is None else padding
    extent = dilation * (kernel - 1) + 1
    operands = [x, b.parameter(f"{name}.weight", (channels, x.shape[1] // groups, kernel, kernel))]
    if bias:
        operands.append(b.parameter(f"{name}.bias", (channels,)))
    attributes: dict[str, Any] = {
        "kernel_shape": [kernel, kernel],
        "strides": [stride, stride],
        "pads": [pad] * 4,
        "dilations": [dilation, dilation],
        "group": groups,
    }
    shape = (x.shape[0], channels, *_window(b, x, extent, stride, pad))
    return b.node("Conv", operands, shape, name=name, **attributes)


def conv_transpose(b: GraphBuilder, x: Value, channels: int, factor: int, *, name: str) -> Value:
    """Enlarge by ``factor`` with a kernel of that size, and add a bias."""
    batch, depth, height, width = x.shape
    weight = b.parameter(f"{name}.weight", (depth, channels, factor, factor))
    bias = b.parameter(f"{name}.bias", (channels,))
    return b.node(
        "ConvTranspose",
        [x, weight, bias],
        (batch, channels, height * factor, width * factor),
        name=name,
        kernel_shape=[factor, factor],
        strides=[factor, factor],
    )


def batch_norm(b: GraphBuilder, x: Value, *, name: str) -> Value:
    """Normalise at inference, with scale, bias, and the running mean and variance."""
    statistics = [
        b.parameter(f"{name}.{part}", (x.shape[1],))
        for part in ("weight", "bias", "running_mean", "running_var")
    ]
    return b.node("BatchNormalization", [x, *statistics], x.shape, name=name)


def conv_batch_norm(
    b: GraphBuilder,
    x: Value,
    channels: int,
    kernel: int,
    *,
    name: str,
    stride: int = 1,
    padding: int | None = None,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> Value:
    """Convolution and BatchNormalization: one node with a bias if the builder folds them."""
    result = conv(
        b,
        x,
        channels,
        kernel,
        name=name,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias or b.fold_batchnorm,
    )
    return result if b.fold_batchnorm else batch_norm(b, result, name=f"{name}_bn")


def relu_conv_batch_norm(b: GraphBuilder, x: Value, channels: int, *, name: str) -> Value:
    """Adapt the number of channels the way NAS cells do: Relu, pointwise, BatchNormalization."""
    return conv_batch_norm(b, relu(b, x), channels, 1, name=name)


def relu_separable_batch_norm(
    b: GraphBuilder,
    x: Value,
    channels: int,
    kernel: int,
    *,
    name: str,
    stride: int = 1,
    dilation: int = 1,
) -> Value:
    """Relu, depthwise, pointwise, BatchNormalization."""
    x = relu(b, x)
    x = conv(
        b,
        x,
        x.shape[1],
        kernel,
        name=f"{name}.depthwise",
        stride=stride,
        dilation=dilation,
        groups=x.shape[1],
    )
    return conv_batch_norm(b, x, channels, 1, name=f"{name}.pointwise")


def max_pool(b: GraphBuilder, x: Value, kernel: int, stride: int, *, padding: int = 0) -> Value:
    """Maximum over a square window."""
    return _pool(b, "MaxPool", x, kernel, stride, padding)


def average_pool(b: GraphBuilder, x: Value, kernel: int, stride: int, *, padding: int = 0) -> Value:
    """Mean over a square window, padding not counted."""
    return _pool(b, "AveragePool", x, kernel, stride, padding)


def pooled_classifier(b: GraphBuilder, x: Value, classes: int) -> Value:
    """Average over the image and classify."""
    batch, channels = x.shape[:2]
    pooled = b.node("GlobalAveragePool", [x], (batch, channels, 1, 1))
    flat = b.node("Flatten", [pooled], (batch, channels), axis=1)
    return classifier(b, flat, classes, name="classifier")


def _pool(b: GraphBuilder, op_type: str, x: Value, kernel: int, stride: int, padding: int) -> Value:
    return b.node(
        op_type,
        [x],
        (*x.shape[:2], *_window(b, x, kernel, stride, padding)),
        kernel_shape=[kernel, kernel],
        strides=[stride, stride],
        pads=[padding] * 4,
    )


def _window(b: GraphBuilder, x: Value, extent: int, stride: int, padding: int) -> tuple[int, int]:
    """Height and width after a square window of ``extent`` pixels has slid over ``x``."""
    height, width = ((size + 2 * padding - extent) // stride + 1 for size in x.shape[2:])
    if min(height, width) < 1:
        raise UsageError(
            f"{b.name}: the image is too small, a window of {extent} pixels does not fit "
            f"{x.name!r}, which is {x.shape[2]}x{x.shape[3]}. Use a larger image."
        )
    return height, width
