"""ResNet-50 (v1.5) and ResNeXt-50 for ImageNet, and the ResNet-8 of MLPerf Tiny."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.convolution import conv, conv_batch_norm, max_pool, pooled_classifier
from frontends.zoo.operators import add, relu

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value


def resnet50(
    *, batch: int = 1, image: int = 224, dtype: str = "float32", fold_batchnorm: bool = True
) -> ModelProto:
    """ResNet-50, with the stride in the 3x3 convolution (v1.5).

    At batch 1, 224 pixels: 4.09e9 multiply-accumulates; 25,557,032 parameters with
    ``fold_batchnorm=False``. At one byte per element and without overwriting, the largest
    operator footprint, and the minimum peak, is the first residual Add: 2,408,448 bytes.

    He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv 1512.03385).
    """
    b = GraphBuilder("resnet50", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = resnet50_features(b, b.input("image", (batch, 3, image, image)))
    b.output("logits", pooled_classifier(b, x, 1000))
    return b.model()


def resnext50(
    *, batch: int = 1, image: int = 224, dtype: str = "float32", fold_batchnorm: bool = True
) -> ModelProto:
    """ResNeXt-50 (32x4d): ResNet-50 with bottlenecks twice as wide, their 3x3 in 32 groups.

    At batch 1, 224 pixels: 4.23e9 multiply-accumulates; 25,028,904 parameters with
    ``fold_batchnorm=False``. At one byte per element and without overwriting, the largest operator
    footprint, and the peak of the default order, is the first residual Add: 2,408,448 bytes, as in
    ResNet-50. A reimplementation of COSMA (arXiv 2311.18246) reports that footprint, 9408 KiB for
    float32, and a default-order peak of 9636 KiB, which activations alone cannot give: the bytes of
    every feature map are a multiple of 196.

    Xie et al., Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017
    (arXiv 1611.05431).
    """
    b = GraphBuilder("resnext50", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = b.input("image", (batch, 3, image, image))
    x = resnet50_features(b, x, groups=32, group_width=4)
    b.output("logits", pooled_classifier(b, x, 1000))
    return b.model()


def resnet50_features(
    b: GraphBuilder, x: Value, *, groups: int = 1, group_width: int = 64, dilate: bool = False
) -> Value:
    """Everything of ResNet-50 before the classifier: 2,048 channels.

    Parameters
    ----------
    groups, group_width : int
        Of the 3x3 convolutions: number of groups, and channels per group in the first stage.
    dilate : bool
        Whether the last two stages keep the image at an eighth of its size instead of halving it
        twice: their strides become dilation, from the block after the one that would have halved.
    """
    x = relu(b, conv_batch_norm(b, x, 64, 7, stride=2, name="conv1"))
    x = max_pool(b, x, 3, 2, padding=1)
    dilation = 1
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            reduces = block == 0 and stage > 0
            dilates = reduces and dilate and stage > 1
            with b.scope(f"layer{stage + 1}.{block}"):
                x = _bottleneck(
                    b,
                    x,
                    groups * group_width << stage,
                    256 << stage,
                    stride=2 if reduces and not dilates else 1,
                    dilation=dilation,
                    groups=groups,
                )
            dilation *= 2 if dilates else 1
    return x


def _bottleneck(
    b: GraphBuilder,
    x: Value,
    width: int,
    channels: int,
    *,
    stride: int,
    dilation: int,
    groups: int,
) -> Value:
    y = relu(b, conv_batch_norm(b, x, width, 1, name="conv1"))
    y = conv_batch_norm(
        b, y, width, 3, stride=stride, dilation=dilation, groups=groups, name="conv2"
    )
    y = conv_batch_norm(b, relu(b, y), channels, 1, name="conv3")
    if x.shape[1] != channels:
        x = conv_batch_norm(b, x, channels, 1, stride=stride, name="downsample")
    return relu(b, add(b, y, x))


def resnet8(
    *, batch: int = 1, image: int = 32, dtype: str = "float32", fold_batchnorm: bool = True
) -> ModelProto:
    """ResNet-8 of MLPerf Tiny (image classification, CIFAR-10): a model for microcontrollers.

    12.5e6 multiply-accumulates at batch 1; 78,186 parameters with ``fold_batchnorm=False``
    (78,666 with the running statistics, as the reference implementation counts), 77,706 without.

    Banbury et al., MLPerf Tiny Benchmark, 2021 (arXiv 2106.07597).
    """
    b = GraphBuilder("resnet8", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = b.input("image", (batch, 3, image, image))
    x = relu(b, conv_batch_norm(b, x, 16, 3, bias=True, name="conv"))
    for stack, channels in enumerate((16, 32, 64)):
        with b.scope(f"stack{stack + 1}"):
            stride = 1 if stack == 0 else 2
            y = relu(b, conv_batch_norm(b, x, channels, 3, stride=stride, bias=True, name="conv1"))
            y = conv_batch_norm(b, y, channels, 3, bias=True, name="conv2")
            if stride > 1:
                x = conv(b, x, channels, 1, stride=stride, bias=True, name="shortcut")
            x = relu(b, add(b, x, y))
    logits = pooled_classifier(b, x, 10)
    b.output("probabilities", b.node("Softmax", [logits], logits.shape, axis=-1))
    return b.model()
