"""MobileNetV2 for ImageNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.convolution import conv_batch_norm, pooled_classifier
from frontends.zoo.operators import add

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
