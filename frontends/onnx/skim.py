"""Read a model file of any size without its weights.

Protobuf parses at most 2 GiB, and planning needs no weights. This walk over the wire format keeps
every field of a `ModelProto` except the payloads of large tensors, so that what is left is small.
A tensor whose payload was left out is marked as stored elsewhere (`data_location = EXTERNAL`).

The wire format is that of https://protobuf.dev/programming-guides/encoding: a message is a
sequence of fields, each a varint tag (field number and wire type) and a payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from frontends.onnx.nodes import MAX_NODES
from planner.errors import BadFileError

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5

# onnx.proto: field numbers that lead to tensors, by message.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 25: "FunctionProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
# float_data, int32_data, string_data, int64_data, raw_data, double_data, uint64_data
_TENSOR_PAYLOADS = frozenset({4, 5, 6, 7, 9, 10, 11})
# data_location (field 14, varint) = EXTERNAL
_MARK_EXTERNAL = bytes([14 << 3 | _VARINT, 1])
_MAX_DEPTH = 100  # as protobuf's own parser
# Fields of one message: a graph has nodes, declared values and stored tensors, all bounded later.
_MAX_FIELDS = 8 * MAX_NODES


class _Field(NamedTuple):
    number: int
    wire_type: int
    payload: int  # first byte of the payload
    end: int


def drop_large_payloads(data: memoryview, keep_bytes: int) -> bytes:
    """A serialised `ModelProto` without the payloads of tensors larger than ``keep_bytes``.

    Parameters
    ----------
    data : memoryview of bytes
        A whole model file; only the parts that are kept are touched.
    keep_bytes : int
        Payloads up to this size stay: small tensors carry shapes and axes.

    Raises
    ------
    BadFileError
        If the bytes are not a well-formed sequence of fields.
    """
    return b"".join(_rewrite(data, 0, len(data), "ModelProto", keep_bytes, 0))


def _rewrite(
    data: memoryview, start: int, end: int, message: str, keep_bytes: int, depth: int
) -> list[bytes | memoryview]:
    """Pieces of the message in ``[start, end)``; runs of untouched fields stay one piece."""
    if depth > _MAX_DEPTH:
        raise BadFileError("messages are nested more than 100 levels deep. Refused.")
    children = _MESSAGES[message]
    pieces: list[bytes | memoryview] = []
    kept_from = position = start
    dropped = False
    fields = nodes = 0
    is_graph = message == "GraphProto"
    while position < end:
        field = _read_field(data, position, end)
        fields += 1
        nodes += is_graph and field.number == 1
        if nodes > MAX_NODES:
            raise BadFileError(f"a graph in it has more than {MAX_NODES:,} nodes. Refused.")
        if fields > _MAX_FIELDS:
            raise BadFileError(f"a {message} in it has more than {_MAX_FIELDS:,} fields. Refused.")
        size = field.end - field.payload
        child = children.get(field.number)
        large = field.wire_type == _LENGTH_DELIMITED and size > keep_bytes
        if large and child is not None:
            pieces.append(data[kept_from:position])
            inner = _rewrite(data, field.payload, field.end, child, keep_bytes, depth + 1)
            pieces.append(_varint(field.number << 3 | _LENGTH_DELIMITED))
            pieces.append(_varint(sum(map(len, inner))))
            pieces.extend(inner)
            kept_from = field.end
        elif large and message == "TensorProto" and field.number in _TENSOR_PAYLOADS:
            pieces.append(data[kept_from:position])
            kept_from = field.end
            dropped = True
        position = field.end
    pieces.append(data[kept_from:end])
    if dropped:
        pieces.append(_MARK_EXTERNAL)
    return pieces


def _read_field(data: memoryview, position: int, end: int) -> _Field:
    tag, payload = _read_varint(data, position, end)
    wire_type = tag & 7
    if wire_type == _VARINT:
        _, field_end = _read_varint(data, payload, end)
    elif wire_type == _FIXED64:
        field_end = payload + 8
    elif wire_type == _FIXED32:
        field_end = payload + 4
    elif wire_type == _LENGTH_DELIMITED:
        size, payload = _read_varint(data, payload, end)
        field_end = payload + size
    else:
        raise BadFileError(f"malformed: wire type {wire_type} at byte {position:,}.")
    if field_end > end or tag >> 3 == 0:
        raise BadFileError(f"truncated or malformed at byte {position:,}.")
    return _Field(tag >> 3, wire_type, payload, field_end)


def _read_varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    """Value and the position behind it."""
    value = shift = 0
    for at in range(position, min(end, position + 10)):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    raise BadFileError(f"truncated or malformed at byte {position:,}.")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
