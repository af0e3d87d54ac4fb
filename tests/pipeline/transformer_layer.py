"""A GPT layer that drops out, as the published formulas of saved bytes have it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnx import TensorProto

from frontends.zoo.attention import layer_norm, linear, matmul, split_heads
from frontends.zoo.builder import GraphBuilder
from frontends.zoo.operators import add, elementwise, reshape, transpose

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value


def gpt_layers(
    *, batch: int, tokens: int, features: int, heads: int, layers: int = 1, dtype: str = "float16"
) -> ModelProto:
    """Layers from features to features, with dropout on attention weights and on both branches."""
    b = GraphBuilder("gpt_layers", dtype=dtype)
    x = b.input("features", (batch, tokens, features))
    for layer in range(layers):
        with b.scope(f"layer{layer}"):
            x = _layer(b, x, heads)
    b.output("result", x)
    return b.model()


def _dropout(b: GraphBuilder, x: Value) -> Value:
    ratio = b.constant((0.1,), shape=(), element_type=TensorProto.FLOAT)
    training = b.constant((True,), shape=(), element_type=TensorProto.BOOL)
    return b.node("Dropout", [x, ratio, training], x.shape)


def _layer(b: GraphBuilder, x: Value, heads: int) -> Value:
    features = x.shape[-1]
    joined = linear(b, layer_norm(b, x, name="ln_1", epsilon=1e-5), 3 * features, name="qkv")
    parts = b.node_with_results("Split", [joined], [x.shape] * 3, axis=2, num_outputs=3)
    query, key, value = (split_heads(b, part, heads) for part in parts)
    scores = matmul(b, query, transpose(b, key, (0, 1, 3, 2)))
    scores = elementwise(b, "Div", scores, b.scalar(math.sqrt(features / heads)))
    weights = _dropout(b, b.node("Softmax", [scores], scores.shape, axis=-1))
    mixed = reshape(b, transpose(b, matmul(b, weights, value), (0, 2, 1, 3)), x.shape)
    x = add(b, x, _dropout(b, linear(b, mixed, features, name="projection")))
    normal = layer_norm(b, x, name="ln_2", epsilon=1e-5)
    hidden = linear(b, normal, 4 * features, name="widen")
    hidden = b.node("Gelu", [hidden], hidden.shape, approximate="tanh")
    return add(b, x, _dropout(b, linear(b, hidden, features, name="narrow")))
