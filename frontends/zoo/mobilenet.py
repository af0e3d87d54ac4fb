"""MobileNetV2 and MobileNetV3-Large for ImageNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.convolution import (
    conv,
    conv_batch_norm,
    global_average_pool,
    pooled_classifier,
    pooled_features,
)
from frontends.zoo.operators import add, classifier, elementwise, relu

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value

# expansion, channels, blocks, stride of the first block: table 2 of the paper
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class _Block(NamedTuple):
    """An inverted residual of MobileNetV3: a row of table 1 of the paper."""

    kernel: int
    width: int
    channels: int
    squeezes: bool
    hard_swish: bool
    stride: int


_LARGE = (
    _Block(3, 16, 16, False, False, 1),
    _Block(3, 64, 24, False, False, 2),
    _Block(3, 72, 24, False, False, 1),
    _Block(5, 72, 40, True, False, 2),
    _Block(5, 120, 40, True, False, 1),
    _Block(5, 120, 40, True, False, 1),
    _Block(3, 240, 80, False, True, 2),
    _Block(3, 200, 80, False, True, 1),
    _Block(3, 184, 80, False, True, 1),
    _Block(3, 184, 80, False, True, 1),
    _Block(3, 480, 112, True, True, 1),
    _Block(3, 672, 112, True, True, 1),
    _Block(5, 672, 160, True, True, 2),
    _Block(5, 960, 160, True, True, 1),
    _Block(5, 960, 160, True, True, 1),
)
_LAST_STRIDE = 12


def mobilenet_v2(
    *, batch: int = 1, image: int = 224, dtype: str = "float32", fold_batchnorm: bool = True
) -> ModelProto:
    """MobileNetV2 at width 1.0, ReLU6 as Clip.

    At batch 1, 224 pixels: 3.01e8 multiply-accumulates; 3,504,872 parameters with
    ``fold_batchnorm=False``.

    Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018
    (arXiv 1801.04381).
    """
    b = GraphBuilder("mobilenet_v2", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = b.input("image", (batch, 3, image, image))
    x = _relu6(b, conv_batch_norm(b, x, 32, 3, stride=2, name="stem"))
    for stage, (expansion, channels, blocks, stride) in enumerate(_STAGES):
        for block in range(blocks):
            with b.scope(f"stage{stage + 1}.{block}"):
                x = _inverted_residual(b, x, expansion, channels, 1 if block else stride)
    x = _relu6(b, conv_batch_norm(b, x, 1280, 1, name="head"))
    b.output("logits", pooled_classifier(b, x, 1000))
    return b.model()


def _inverted_residual(
    b: GraphBuilder, x: Value, expansion: int, channels: int, stride: int
) -> Value:
    width = x.shape[1] * expansion
    y = x
    if expansion > 1:
        y = _relu6(b, conv_batch_norm(b, y, width, 1, name="expand"))
    y = conv_batch_norm(b, y, width, 3, stride=stride, groups=width, name="depthwise")
    y = conv_batch_norm(b, _relu6(b, y), channels, 1, name="project")
    return add(b, x, y) if x.shape == y.shape else y


def _relu6(b: GraphBuilder, x: Value) -> Value:
    return b.node("Clip", [x, b.scalar(0), b.scalar(6)], x.shape)


def mobilenet_v3_large(
    *, batch: int = 1, image: int = 224, dtype: str = "float32", fold_batchnorm: bool = True
) -> ModelProto:
    """MobileNetV3-Large at width 1.0, as torchvision has it.

    At batch 1, 224 pixels: 2.17e8 multiply-accumulates; 5,483,032 parameters with
    ``fold_batchnorm=False``. At one byte per element and without overwriting, the largest operator
    footprint, and the minimum peak, is 1,605,632 bytes, where the widest tensor is rectified.

    Howard et al., Searching for MobileNetV3, ICCV 2019 (arXiv 1905.02244).
    """
    b = GraphBuilder("mobilenet_v3_large", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = b.input("image", (batch, 3, image, image))
    *_, x = mobilenet_v3_features(b, x)
    hidden = classifier(b, pooled_features(b, x), 1280, name="hidden")
    b.output("logits", classifier(b, _hard_swish(b, hidden), 1000, name="classifier"))
    return b.model()


def mobilenet_v3_features(b: GraphBuilder, x: Value, *, dilate: bool = False) -> list[Value]:
    """Results of the stem, of the 15 blocks and of the last convolution of MobileNetV3-Large.

    Parameters
    ----------
    dilate : bool
        Whether the last blocks keep the image at a sixteenth of its size instead of halving it
        once more: stride becomes dilation.
    """
    x = _hard_swish(b, conv_batch_norm(b, x, 16, 3, stride=2, name="stem"))
    features = [x]
    for index, block in enumerate(_LARGE):
        dilated = dilate and index >= _LAST_STRIDE
        with b.scope(f"block{index + 1}"):
            x = _inverted_residual_v3(b, x, block, dilated=dilated)
        features.append(x)
    features.append(_hard_swish(b, conv_batch_norm(b, x, 6 * x.shape[1], 1, name="head")))
    return features


def _inverted_residual_v3(b: GraphBuilder, x: Value, block: _Block, *, dilated: bool) -> Value:
    activation = _hard_swish if block.hard_swish else relu
    y = x
    if block.width != x.shape[1]:
        y = activation(b, conv_batch_norm(b, y, block.width, 1, name="expand"))
    y = conv_batch_norm(
        b,
        y,
        block.width,
        block.kernel,
        stride=1 if dilated else block.stride,
        dilation=2 if dilated else 1,
        groups=block.width,
        name="depthwise",
    )
    y = activation(b, y)
    if block.squeezes:
        y = _squeeze_and_excite(b, y)
    y = conv_batch_norm(b, y, block.channels, 1, name="project")
    return add(b, y, x) if block.stride == 1 and x.shape == y.shape else y


def _squeeze_and_excite(b: GraphBuilder, x: Value) -> Value:
    """Weigh the channels by what their means say."""
    with b.scope("squeeze"):
        scale = global_average_pool(b, x)
        squeezed = _multiple_of_8(x.shape[1] // 4)
        scale = relu(b, conv(b, scale, squeezed, 1, bias=True, name="reduce"))
        scale = conv(b, scale, x.shape[1], 1, bias=True, name="expand")
        scale = b.node("HardSigmoid", [scale], scale.shape, alpha=1 / 6)
        return elementwise(b, "Mul", scale, x)


def _multiple_of_8(channels: int) -> int:
    """Round to the nearest multiple of 8, up where that would lose more than a tenth."""
    rounded = max(8, (channels + 4) // 8 * 8)
    return rounded if 10 * rounded >= 9 * channels else rounded + 8


def _hard_swish(b: GraphBuilder, x: Value) -> Value:
    return b.node("HardSwish", [x], x.shape)
