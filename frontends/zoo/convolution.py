"""Layers of convolutional networks, batch x channels x height x width.

Of videos, batch x channels x frames x height x width: a layer has as many axes as its operand.
Kernel, stride, padding and dilation are one number for all of them, or one per axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frontends.zoo.operators import classifier, concat, relu
from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frontends.zoo.builder import GraphBuilder, Value


def conv(
    b: GraphBuilder,
    x: Value,
    channels: int,
    kernel: int | Sequence[int],
    *,
    name: str,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    bias: bool = False,
) -> Value:
    """Convolution; without ``padding``, an odd kernel at stride 1 keeps the size."""
    kernels, strides, dilations = (_per_axis(x, value) for value in (kernel, stride, dilation))
    pads = (
        [d * (k // 2) for d, k in zip(dilations, kernels, strict=True)]
        if padding is None
        else _per_axis(x, padding)
    )
    extents = [d * (k - 1) + 1 for d, k in zip(dilations, kernels, strict=True)]
    operands = [x, b.parameter(f"{name}.weight", (channels, x.shape[1] // groups, *kernels))]
    if bias:
        operands.append(b.parameter(f"{name}.bias", (channels,)))
    attributes: dict[str, Any] = {
        "kernel_shape": kernels,
        "strides": strides,
        "pads": pads + pads,
        "dilations": dilations,
        "group": groups,
    }
    shape = (x.shape[0], channels, *_window(b, x, extents, strides, pads))
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
    kernel: int | Sequence[int],
    *,
    name: str,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
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


def relu_conv_batch_norm(
    b: GraphBuilder,
    x: Value,
    channels: int,
    kernel: int | Sequence[int] = 1,
    *,
    name: str,
    stride: int | Sequence[int] = 1,
) -> Value:
    """Relu, convolution, BatchNormalization: the order within NAS cells, pointwise by default."""
    return conv_batch_norm(b, relu(b, x), channels, kernel, stride=stride, name=name)


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


def separable_twice(
    b: GraphBuilder, x: Value, channels: int, kernel: int, *, name: str, stride: int = 1
) -> Value:
    """Two separable convolutions of NAS cells; the first has the stride and sets the channels."""
    x = relu_separable_batch_norm(b, x, channels, kernel, stride=stride, name=f"{name}.0")
    return relu_separable_batch_norm(b, x, channels, kernel, name=f"{name}.1")


def factorized_reduction(b: GraphBuilder, x: Value, channels: int) -> Value:
    """Halve height and width by sampling the even and the odd pixels, half the channels each."""
    x = relu(b, x)
    # moves the image up and left by one pixel: a negative pad crops
    odd = b.node("Pad", [x, b.integers((0, 0, -1, -1, 0, 0, 1, 1))], x.shape, mode="constant")
    parts = ((x, channels // 2), (odd, channels - channels // 2))
    halves = [
        conv(b, average_pool(b, pixels, 1, 2), depth, 1, name=f"path{index + 1}")
        for index, (pixels, depth) in enumerate(parts)
    ]
    return batch_norm(b, concat(b, halves, axis=1), name="paths_bn")


def max_pool(
    b: GraphBuilder,
    x: Value,
    kernel: int | Sequence[int],
    stride: int | Sequence[int],
    *,
    padding: int | Sequence[int] = 0,
) -> Value:
    """Maximum over a window."""
    return _pool(b, "MaxPool", x, kernel, stride, padding)


def average_pool(
    b: GraphBuilder,
    x: Value,
    kernel: int | Sequence[int],
    stride: int | Sequence[int],
    *,
    padding: int | Sequence[int] = 0,
) -> Value:
    """Mean over a window, padding not counted."""
    return _pool(b, "AveragePool", x, kernel, stride, padding)


def global_average_pool(b: GraphBuilder, x: Value) -> Value:
    """Mean over everything but batch and channels, which leaves axes of length 1."""
    return b.node("GlobalAveragePool", [x], (*x.shape[:2], *(1 for _ in x.shape[2:])))


def pooled_features(b: GraphBuilder, x: Value) -> Value:
    """Mean over the image, as a [batch, channels] matrix."""
    return b.node("Flatten", [global_average_pool(b, x)], x.shape[:2], axis=1)


def pooled_classifier(b: GraphBuilder, x: Value, classes: int) -> Value:
    """Average over the image and classify."""
    return classifier(b, pooled_features(b, x), classes, name="classifier")


def _pool(
    b: GraphBuilder,
    op_type: str,
    x: Value,
    kernel: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
) -> Value:
    kernels, strides, pads = (_per_axis(x, value) for value in (kernel, stride, padding))
    return b.node(
        op_type,
        [x],
        (*x.shape[:2], *_window(b, x, kernels, strides, pads)),
        kernel_shape=kernels,
        strides=strides,
        pads=pads + pads,
    )


def _per_axis(x: Value, value: int | Sequence[int]) -> list[int]:
    return [value] * (len(x.shape) - 2) if isinstance(value, int) else list(value)


def _window(
    b: GraphBuilder,
    x: Value,
    extents: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
) -> tuple[int, ...]:
    """Size after a window of ``extents`` pixels has slid over ``x``."""
    sizes = x.shape[2:]
    result = tuple(
        (size + 2 * pad - extent) // stride + 1
        for size, pad, extent, stride in zip(sizes, pads, extents, strides, strict=True)
    )
    if min(result) < 1:
        kind, remedy = ("image", "larger") if len(sizes) == 2 else ("video", "larger or longer")
        window = max(extents) if len(set(extents)) == 1 else "x".join(map(str, extents))
        raise UsageError(
            f"{b.name}: the {kind} is too small, a window of {window} pixels does not fit "
            f"{x.name!r}, which is {'x'.join(map(str, sizes))}. Use a {remedy} {kind}."
        )
    return result
