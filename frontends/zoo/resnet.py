"""ResNet-50 (v1.5) for ImageNet and the ResNet-8 of MLPerf Tiny."""

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
    x = b.input("image", (batch, 3, image, image))
    x = relu(b, conv_batch_norm(b, x, 64, 7, stride=2, name="conv1"))
    x = max_pool(b, x, 3, 2, padding=1)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            with b.scope(f"layer{stage + 1}.{block}"):
                stride = 2 if block == 0 and stage > 0 else 1
                x = _bottleneck(b, x, 64 << stage, stride)
    b.output("logits", pooled_classifier(b, x, 1000))
    return b.model()


def _bottleneck(b: GraphBuilder, x: Value, width: int, stride: int) -> Value:
    channels = 4 * width
    y = relu(b, conv_batch_norm(b, x, width, 1, name="conv1"))
    y = relu(b, conv_batch_norm(b, y, width, 3, stride=stride, name="conv2"))
    y = conv_batch_norm(b, y, channels, 1, name="conv3")
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
