"""Layers of transformers, batch x tokens x features, in elementary ONNX operators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnx import TensorProto, helper

from frontends.zoo.operators import add, elementwise, reshape, transpose

if TYPE_CHECKING:
    from frontends.zoo.builder import GraphBuilder, Value


def linear(b: GraphBuilder, x: Value, features: int, *, name: str) -> Value:
    """Multiply by a weight and add a bias: MatMul and Add."""
    weight = b.parameter(f"{name}.weight", (x.shape[-1], features))
    bias = b.parameter(f"{name}.bias", (features,))
    return add(b, matmul(b, x, weight), bias)


def matmul(b: GraphBuilder, left: Value, right: Value) -> Value:
    """Multiply matrices; a right operand with more than two axes has the left one's batch axes."""
    return b.node("MatMul", [left, right], (*left.shape[:-1], right.shape[-1]))


def layer_norm(b: GraphBuilder, x: Value, *, name: str, epsilon: float) -> Value:
    """Normalise over the features, with scale and bias."""
    scale = b.parameter(f"{name}.weight", x.shape[-1:])
    bias = b.parameter(f"{name}.bias", x.shape[-1:])
    return b.node(
        "LayerNormalization", [x, scale, bias], x.shape, name=name, axis=-1, epsilon=epsilon
    )


def embedding(b: GraphBuilder, table: Value, indices: Value) -> Value:
    """Look up one row of the table per index."""
    return b.node("Gather", [table, indices], (*indices.shape, *table.shape[1:]), axis=0)


def positions(b: GraphBuilder, first: int, count: int) -> Value:
    """Return consecutive token positions, a constant of shape [1, count]."""
    values = range(first, first + count)
    return b.constant(tuple(values), shape=(1, count), element_type=TensorProto.INT64)


def split_heads(b: GraphBuilder, x: Value, heads: int) -> Value:
    """Turn [batch, tokens, features] into [batch, heads, tokens, features / heads]."""
    batch, tokens, features = x.shape
    return transpose(b, reshape(b, x, (batch, tokens, heads, features // heads)), (0, 2, 1, 3))


def attention(b: GraphBuilder, query: Value, key: Value, value: Value, mask: Value | None) -> Value:
    """Scaled dot-product attention over split heads; the result has its heads joined.

    Parameters
    ----------
    query : Value
        ``[batch, heads, new tokens, features / heads]``.
    key, value : Value
        ``[batch, heads, all tokens, features / heads]``.
    mask : Value or None
        Added to the scores.
    """
    batch, heads, tokens, features = query.shape
    scores = matmul(b, query, transpose(b, key, (0, 1, 3, 2)))
    scores = elementwise(b, "Div", scores, b.scalar(math.sqrt(features)))
    if mask is not None:
        scores = add(b, scores, mask)
    weights = b.node("Softmax", [scores], scores.shape, axis=-1)
    joined = transpose(b, matmul(b, weights, value), (0, 2, 1, 3))
    return reshape(b, joined, (batch, tokens, heads * features))


def causal_mask(b: GraphBuilder, tokens: int) -> Value:
    """Lowest number where a token would see a later one, else 0; computed from constants."""
    with b.scope("mask"):
        full = b.node(
            "ConstantOfShape",
            [b.integers((tokens, tokens))],
            (tokens, tokens),
            element_type=b.element_type,
            value=helper.make_tensor("value", b.element_type, (1,), (b.lowest,)),
        )
        diagonal = b.constant((1,), shape=(), element_type=TensorProto.INT64)
        return b.node("Trilu", [full, diagonal], full.shape, upper=1)


def feed_forward(
    b: GraphBuilder, x: Value, features: int, *, approximate: str, names: tuple[str, str]
) -> Value:
    """Widen to ``features``, apply Gelu (``none`` or ``tanh`` approximation) and narrow again."""
    hidden = linear(b, x, features, name=names[0])
    hidden = b.node("Gelu", [hidden], hidden.shape, approximate=approximate)
    return linear(b, hidden, x.shape[-1], name=names[1])
