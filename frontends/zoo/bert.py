"""BERT-base, the encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from frontends.zoo.attention import (
    attention,
    embedding,
    feed_forward,
    layer_norm,
    linear,
    positions,
    split_heads,
)
from frontends.zoo.builder import GraphBuilder
from frontends.zoo.operators import add, elementwise
from planner.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value

_FEATURES = 768
_HEADS = 12
_LAYERS = 12
_VOCABULARY = 30522
_POSITIONS = 512
_EPSILON = 1e-12


def bert_base(*, batch: int = 1, sequence: int = 128, dtype: str = "float32") -> ModelProto:
    """BERT-base (uncased) with pooler: token ids, mask and segment ids in, features out.

    109,482,240 parameters. Token ids are int64 whatever the element type of the network.

    Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language
    Understanding, NAACL 2019 (arXiv 1810.04805).

    Raises
    ------
    UsageError
        If the sequence is longer than 512 tokens.
    """
    if sequence > _POSITIONS:
        raise UsageError(f"bert_base: sequence={sequence:,} must be at most {_POSITIONS}.")
    b = GraphBuilder("bert_base", dtype=dtype)
    ids, mask, segments = (
        b.input(name, (batch, sequence), TensorProto.INT64)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    x = _embeddings(b, ids, segments)
    score_mask = _score_mask(b, mask)
    for layer in range(_LAYERS):
        with b.scope(f"layer{layer}"):
            x = _encoder_layer(b, x, score_mask)
    with b.scope("pooler"):
        first = b.node(
            "Gather",
            [x, b.constant((0,), shape=(), element_type=TensorProto.INT64)],
            (batch, _FEATURES),
            axis=1,
        )
        pooled = linear(b, first, _FEATURES, name="dense")
        pooled = b.node("Tanh", [pooled], pooled.shape)
    b.output("last_hidden_state", x)
    b.output("pooler_output", pooled)
    return b.model()


def _embeddings(b: GraphBuilder, ids: Value, segments: Value) -> Value:
    with b.scope("embeddings"):
        words = embedding(b, b.parameter("word.weight", (_VOCABULARY, _FEATURES)), ids)
        kinds = embedding(b, b.parameter("token_type.weight", (2, _FEATURES)), segments)
        table = b.parameter("position.weight", (_POSITIONS, _FEATURES))
        x = add(b, words, kinds)
        x = add(b, x, embedding(b, table, positions(b, 0, ids.shape[1])))
        return layer_norm(b, x, name="norm", epsilon=_EPSILON)


def _score_mask(b: GraphBuilder, mask: Value) -> Value:
    """Turn 1 for a token and 0 for padding into 0 and the lowest number."""
    batch, tokens = mask.shape
    shape = (batch, 1, 1, tokens)
    with b.scope("mask"):
        expanded = b.node("Unsqueeze", [mask, b.integers((1, 2))], shape)
        cast = b.node(
            "Cast", [expanded], shape, element_type=b.element_type, to=int(b.element_type)
        )
        inverted = elementwise(b, "Sub", b.scalar(1), cast)
        return elementwise(b, "Mul", inverted, b.scalar(b.lowest))


def _encoder_layer(b: GraphBuilder, x: Value, mask: Value) -> Value:
    with b.scope("attention"):
        query, key, value = (
            split_heads(b, linear(b, x, _FEATURES, name=name), _HEADS)
            for name in ("query", "key", "value")
        )
        attended = attention(b, query, key, value, mask)
        x = add(b, linear(b, attended, _FEATURES, name="output"), x)
        x = layer_norm(b, x, name="norm", epsilon=_EPSILON)
    widened = feed_forward(
        b, x, 4 * _FEATURES, approximate="none", names=("intermediate", "output")
    )
    return layer_norm(b, add(b, widened, x), name="norm", epsilon=_EPSILON)
