"""The Transformer: encoder and decoder of "Attention is all you need"."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnx import TensorProto

from frontends.zoo.attention import (
    attention,
    causal_mask,
    embedding,
    layer_norm,
    linear,
    matmul,
    split_heads,
)
from frontends.zoo.builder import GraphBuilder
from frontends.zoo.operators import add, concat, elementwise, relu, transpose
from planner.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value

_FEATURES = 512
_HIDDEN = 2048
_HEADS = 8
_EPSILON = 1e-6
_LONGEST_WAVE = 10_000


def transformer(
    *,
    batch: int = 1,
    sequence: int = 512,
    layers: int = 6,
    vocabulary: int = 37_000,
    dtype: str = "float32",
) -> ModelProto:
    """Transformer (base): ``sequence`` tokens in, as many so far in the other language, logits out.

    The tokens' table serves both languages and the classifier, which transposes it. Sines and
    cosines of the positions stand in two halves, not alternately, and are computed from constants.
    Every token may see every one of the source; none is padding. Token ids are int64 whatever the
    element type of the network.

    At the defaults: 3.71e10 multiply-accumulates; 63,082,496 parameters (published: 65e6). At one
    byte per element and without overwriting, the largest operator footprint, and the minimum peak,
    is the classifier: 19,206,144 bytes. With ``vocabulary=0``: 4,194,304, where attention scores
    are scaled, and 4,718,592.

    Vaswani et al., Attention Is All You Need, NeurIPS 2017 (arXiv 1706.03762).

    Parameters
    ----------
    sequence : int
        Tokens of either language.
    layers : int
        Layers of the encoder, and of the decoder.
    vocabulary : int
        Tokens of both languages together; 0 leaves out embeddings and classifier: inputs and
        output are then features, [batch, sequence, 512].

    Raises
    ------
    UsageError
        If an option is out of range.
    """
    if layers < 1:
        raise UsageError(f"transformer: layers={layers} must be at least 1.")
    if vocabulary < 0:
        raise UsageError(f"transformer: vocabulary={vocabulary} must not be negative.")
    b = GraphBuilder("transformer", dtype=dtype)
    table = b.parameter("tokens.weight", (vocabulary, _FEATURES)) if vocabulary else None
    shape = (batch, sequence) if vocabulary else (batch, sequence, _FEATURES)
    kind = TensorProto.INT64 if vocabulary else None
    source, target = (b.input(name, shape, kind) for name in ("source", "target"))
    if table is not None:
        waves = _positions(b, sequence)
        source, target = (_embed(b, table, ids, waves) for ids in (source, target))
    for layer in range(layers):
        with b.scope(f"encoder{layer}"):
            source = _feed_forward(b, _attend(b, source, source, None, "self"))
    mask = causal_mask(b, sequence)
    for layer in range(layers):
        with b.scope(f"decoder{layer}"):
            target = _attend(b, target, target, mask, "self")
            target = _feed_forward(b, _attend(b, target, source, None, "cross"))
    if table is None:
        b.output("features", target)
    else:
        with b.scope("classifier"):
            logits = matmul(b, target, transpose(b, table, (1, 0)))
        b.output("logits", logits)
    return b.model()


def _positions(b: GraphBuilder, sequence: int) -> Value:
    """Sines and cosines of [sequence] positions, from constants, exact for any element type."""
    half = _FEATURES // 2
    kind = TensorProto.FLOAT
    with b.scope("positions"):
        bounds = [b.constant((value,), shape=(), element_type=kind) for value in (0, sequence, 1)]
        place = b.node("Range", bounds, (sequence,))
        place = b.node("Unsqueeze", [place, b.integers((1,))], (sequence, 1))
        rates = b.constant(
            [_LONGEST_WAVE ** (-index / half) for index in range(half)],
            shape=(1, half),
            element_type=kind,
        )
        angles = elementwise(b, "Mul", place, rates)
        waves = concat(b, [b.node(op, [angles], angles.shape) for op in ("Sin", "Cos")], axis=1)
        return b.node(
            "Cast", [waves], waves.shape, element_type=b.element_type, to=int(b.element_type)
        )


def _embed(b: GraphBuilder, table: Value, ids: Value, waves: Value) -> Value:
    with b.scope(ids.name):
        x = embedding(b, table, ids)
        x = elementwise(b, "Mul", x, b.scalar(math.sqrt(_FEATURES)))
        return add(b, x, waves)


def _attend(b: GraphBuilder, x: Value, seen: Value, mask: Value | None, scope: str) -> Value:
    """Attention of ``x`` to ``seen``, added to ``x`` and normalised."""
    with b.scope(scope):
        query, key, value = (
            split_heads(b, linear(b, operand, _FEATURES, name=name), _HEADS)
            for operand, name in ((x, "query"), (seen, "key"), (seen, "value"))
        )
        attended = attention(b, query, key, value, mask)
        x = add(b, x, linear(b, attended, _FEATURES, name="output"))
        return layer_norm(b, x, name="norm", epsilon=_EPSILON)


def _feed_forward(b: GraphBuilder, x: Value) -> Value:
    with b.scope("feed_forward"):
        hidden = relu(b, linear(b, x, _HIDDEN, name="widen"))
        x = add(b, x, linear(b, hidden, _FEATURES, name="narrow"))
        return layer_norm(b, x, name="norm", epsilon=_EPSILON)
