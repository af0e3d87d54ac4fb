"""DenseNet-121 for ImageNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.convolution import (
    average_pool,
    batch_norm,
    conv,
    max_pool,
    pooled_classifier,
)
from frontends.zoo.operators import concat, relu

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value

_GROWTH = 32


def densenet121(*, batch: int = 1, image: int = 224, dtype: str = "float32") -> ModelProto:
    """DenseNet-121, unfused: BatchNormalization, Relu and Conv are separate operators.

    Each layer appends its 32 channels to the features so far by one Concat of two operands, as in
    the DenseNet of the onnx package; other exports join all earlier layers' results anew in each
    layer. The default order's peak is the same either way; with one running Concat, the features
    exist once. At batch 1, 224 pixels, one byte per element and without overwriting: default-order
    peak 2,107,392 bytes, largest operator footprint 1,605,632. 7,978,856 parameters, 2.83e9
    multiply-accumulates.

    Huang et al., Densely Connected Convolutional Networks, CVPR 2017 (arXiv 1608.06993).
    """
    b = GraphBuilder("densenet121", dtype=dtype)
    x = b.input("image", (batch, 3, image, image))
    x = conv(b, x, 64, 7, stride=2, name="conv0")
    x = relu(b, batch_norm(b, x, name="norm0"))
    x = max_pool(b, x, 3, 2, padding=1)
    for block, layers in enumerate((6, 12, 24, 16)):
        if block:
            with b.scope(f"transition{block}"):
                x = relu(b, batch_norm(b, x, name="norm"))
                x = average_pool(b, conv(b, x, x.shape[1] // 2, 1, name="conv"), 2, 2)
        for layer in range(layers):
            with b.scope(f"block{block + 1}.layer{layer + 1}"):
                x = concat(b, [x, _new_features(b, x)], axis=1)
    x = relu(b, batch_norm(b, x, name="norm5"))
    b.output("logits", pooled_classifier(b, x, 1000))
    return b.model()


def _new_features(b: GraphBuilder, x: Value) -> Value:
    x = relu(b, batch_norm(b, x, name="norm1"))
    x = conv(b, x, 4 * _GROWTH, 1, name="conv1")
    x = relu(b, batch_norm(b, x, name="norm2"))
    return conv(b, x, _GROWTH, 3, name="conv2")
