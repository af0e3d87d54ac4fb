"""ViT-B/16, the vision transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from frontends.zoo.attention import attention, feed_forward, layer_norm, linear, split_heads
from frontends.zoo.builder import GraphBuilder
from frontends.zoo.convolution import conv
from frontends.zoo.operators import add, classifier, concat, reshape, transpose
from planner.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value

_FEATURES = 768
_HEADS = 12
_LAYERS = 12
_PATCH = 16
_EPSILON = 1e-6


def vit_b_16(*, batch: int = 1, image: int = 224, dtype: str = "float32") -> ModelProto:
    """ViT-B/16: patches of 16x16 pixels and a class token through 12 encoder layers.

    At batch 1, 224 pixels, 197 tokens: 1.76e10 multiply-accumulates; 86,567,656 parameters. At one
    byte per element and without overwriting: largest operator footprint 1,210,368 bytes, where the
    hidden layer gets its bias; minimum peak 1,361,664, for the residual beside it.

    Dosovitskiy et al., An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale,
    ICLR 2021 (arXiv 2010.11929).

    Raises
    ------
    UsageError
        If the image does not consist of whole patches.
    """
    if image < _PATCH or image % _PATCH:
        raise UsageError(f"vit_b_16: image={image} must be a positive multiple of {_PATCH}.")
    b = GraphBuilder("vit_b_16", dtype=dtype)
    x = _tokens(b, b.input("image", (batch, 3, image, image)))
    for layer in range(_LAYERS):
        with b.scope(f"layer{layer}"):
            x = _encoder_layer(b, x)
    x = layer_norm(b, x, name="norm", epsilon=_EPSILON)
    first = b.constant((0,), shape=(), element_type=TensorProto.INT64)
    x = b.node("Gather", [x, first], (batch, _FEATURES), axis=1)
    b.output("logits", classifier(b, x, 1000, name="classifier"))
    return b.model()


def _tokens(b: GraphBuilder, image: Value) -> Value:
    """Project the patches, put the class token in front and add the positions."""
    with b.scope("tokens"):
        x = conv(
            b, image, _FEATURES, _PATCH, stride=_PATCH, padding=0, bias=True, name="projection"
        )
        batch, features, height, width = x.shape
        x = transpose(b, reshape(b, x, (batch, features, height * width)), (0, 2, 1))
        shape = (batch, 1, features)
        token = b.parameter("class", (1, 1, features))
        x = concat(b, [b.node("Expand", [token, b.integers(shape)], shape), x], axis=1)
        return add(b, x, b.parameter("position", (1, *x.shape[1:])))


def _encoder_layer(b: GraphBuilder, x: Value) -> Value:
    with b.scope("attention"):
        normal = layer_norm(b, x, name="norm", epsilon=_EPSILON)
        joined = linear(b, normal, 3 * _FEATURES, name="input")
        parts = b.node_with_results("Split", [joined], [x.shape] * 3, axis=2, num_outputs=3)
        query, key, value = (split_heads(b, part, _HEADS) for part in parts)
        attended = attention(b, query, key, value, None)
        x = add(b, linear(b, attended, _FEATURES, name="output"), x)
    with b.scope("mlp"):
        normal = layer_norm(b, x, name="norm", epsilon=_EPSILON)
        widened = feed_forward(
            b, normal, 4 * _FEATURES, approximate="none", names=("widen", "narrow")
        )
    return add(b, x, widened)
