"""GPT-2 (small): a prompt at once, or one token with a key/value cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from frontends.zoo.attention import (
    attention,
    causal_mask,
    embedding,
    feed_forward,
    layer_norm,
    linear,
    matmul,
    positions,
    split_heads,
)
from frontends.zoo.builder import GraphBuilder
from frontends.zoo.operators import add, concat, transpose
from planner.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value

_FEATURES = 768
_HEADS = 12
_LAYERS = 12
_VOCABULARY = 50257
_POSITIONS = 1024
_EPSILON = 1e-5


def gpt2_decode(*, batch: int = 1, cached: int = 127, dtype: str = "float32") -> ModelProto:
    """GPT-2 that reads one new token and ``cached`` earlier ones from a key/value cache.

    25 inputs (``input_ids``; ``past.L.key`` and ``past.L.value`` for each layer L) and 25 outputs
    (``logits``; ``present.L.key`` and ``present.L.value``). In ONNX, past and present both exist.
    124,439,808 parameters; the classifier is the transposed token table, and like real exports
    the graph transposes that constant while it runs. Token ids are int64 whatever the element
    type of the network.

    Radford et al., Language Models are Unsupervised Multitask Learners, 2019.

    Raises
    ------
    UsageError
        If there is no cached token, or more than 1,023.
    """
    if not 1 <= cached < _POSITIONS:
        raise UsageError(f"gpt2_decode: cached={cached:,} must be from 1 to {_POSITIONS - 1:,}.")
    b = GraphBuilder("gpt2_decode", dtype=dtype)
    ids = b.input("input_ids", (batch, 1), TensorProto.INT64)
    shape = (batch, _HEADS, cached, _FEATURES // _HEADS)
    past = [
        (b.input(f"past.{layer}.key", shape), b.input(f"past.{layer}.value", shape))
        for layer in range(_LAYERS)
    ]
    return _language_model(b, ids, past)


def gpt2_prefill(*, batch: int = 1, sequence: int = 128, dtype: str = "float32") -> ModelProto:
    """GPT-2 that reads a whole prompt: logits of every token, and the cache to decode with.

    Outputs as for `gpt2_decode`, which also names the source.

    Raises
    ------
    UsageError
        If the sequence is longer than 1,024 tokens.
    """
    if sequence > _POSITIONS:
        raise UsageError(f"gpt2_prefill: sequence={sequence:,} must be at most {_POSITIONS:,}.")
    b = GraphBuilder("gpt2_prefill", dtype=dtype)
    return _language_model(b, b.input("input_ids", (batch, sequence), TensorProto.INT64), None)


def _language_model(
    b: GraphBuilder, ids: Value, past: list[tuple[Value, Value]] | None
) -> ModelProto:
    tokens = b.parameter("wte.weight", (_VOCABULARY, _FEATURES))
    table = b.parameter("wpe.weight", (_POSITIONS, _FEATURES))
    first = past[0][0].shape[2] if past else 0
    place = embedding(b, table, positions(b, first, ids.shape[1]))
    x = add(b, embedding(b, tokens, ids), place)
    # one new token may attend to every cached one
    mask = None if past else causal_mask(b, ids.shape[1])
    present = []
    for layer in range(_LAYERS):
        with b.scope(f"h{layer}"):
            x, cache = _decoder_layer(b, x, past[layer] if past else None, mask)
        present.append(cache)
    x = layer_norm(b, x, name="ln_f", epsilon=_EPSILON)
    with b.scope("lm_head"):
        logits = matmul(b, x, transpose(b, tokens, (1, 0)))
    b.output("logits", logits)
    for layer, (key, value) in enumerate(present):
        b.output(f"present.{layer}.key", key)
        b.output(f"present.{layer}.value", value)
    return b.model()


def _decoder_layer(
    b: GraphBuilder, x: Value, past: tuple[Value, Value] | None, mask: Value | None
) -> tuple[Value, tuple[Value, Value]]:
    with b.scope("attn"):
        joined = linear(
            b, layer_norm(b, x, name="ln_1", epsilon=_EPSILON), 3 * _FEATURES, name="c_attn"
        )
        parts = b.node_with_results("Split", [joined], [x.shape] * 3, axis=2, num_outputs=3)
        query, key, value = (split_heads(b, part, _HEADS) for part in parts)
        if past is not None:
            key = concat(b, [past[0], key], axis=2)
            value = concat(b, [past[1], value], axis=2)
        attended = attention(b, query, key, value, mask)
        x = add(b, linear(b, attended, _FEATURES, name="c_proj"), x)
    with b.scope("mlp"):
        normal = layer_norm(b, x, name="ln_2", epsilon=_EPSILON)
        widened = feed_forward(
            b, normal, 4 * _FEATURES, approximate="tanh", names=("c_fc", "c_proj")
        )
    return add(b, x, widened), (key, value)
