"""ONNX element types: their names and how many bytes a tensor of them takes."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

MAX_BYTES = 1 << 53
"""Sizes beyond this are refused: solvers and plan files count exactly up to here, as doubles do."""

MAX_RANK = 1000
"""Tensors of more dimensions are refused before their elements are counted."""

_SHOWN_DIMS = 16
STRING = 8
BOOL = 9
INT64 = 7

# TensorProto.DataType -> (name, bits per element). Numbers, because older releases of onnx do
# not know the newest names. A string has no fixed size.
_ELEMENT_TYPES = {
    1: ("float32", 32),
    2: ("uint8", 8),
    3: ("int8", 8),
    4: ("uint16", 16),
    5: ("int16", 16),
    6: ("int32", 32),
    7: ("int64", 64),
    STRING: ("string", 0),
    9: ("bool", 8),
    10: ("float16", 16),
    11: ("float64", 64),
    12: ("uint32", 32),
    13: ("uint64", 64),
    14: ("complex64", 64),
    15: ("complex128", 128),
    16: ("bfloat16", 16),
    17: ("float8e4m3fn", 8),
    18: ("float8e4m3fnuz", 8),
    19: ("float8e5m2", 8),
    20: ("float8e5m2fnuz", 8),
    21: ("uint4", 4),
    22: ("int4", 4),
    23: ("float4e2m1", 4),
    24: ("float8e8m0", 8),
    25: ("uint2", 2),
    26: ("int2", 2),
    27: ("float6e2m3", 6),
    28: ("float6e3m2", 6),
}
_NUMBERS = {name: number for number, (name, _) in _ELEMENT_TYPES.items()}


class TensorType(NamedTuple):
    """A concrete shape and an element type (``TensorProto.DataType``)."""

    shape: tuple[int, ...]
    element: int

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the dense tensor, sub-byte elements packed without row padding."""
        return (self.elements * _ELEMENT_TYPES[self.element][1] + 7) // 8

    @property
    def dtype(self) -> str:
        """Element type by name, ``float32``."""
        return _ELEMENT_TYPES[self.element][0]

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape[:_SHOWN_DIMS])) or "scalar"
        if len(self.shape) > _SHOWN_DIMS:
            shape += f"x... ({len(self.shape):,} dimensions)"
        return f"{shape} {self.dtype}"


def is_element_type(number: int) -> bool:
    """Whether the number is an element type with a known size (strings included)."""
    return number in _ELEMENT_TYPES


def element_name(number: int) -> str:
    """Name of an element type, ``type 99`` for an unknown one."""
    return _ELEMENT_TYPES[number][0] if number in _ELEMENT_TYPES else f"type {number}"


def element_number(name: str) -> int | None:
    """``TensorProto.DataType`` of a name such as ``float32``; None for an unknown name."""
    return _NUMBERS.get(name)


def element_bits(number: int) -> int:
    """Bits per element; 0 for strings."""
    return _ELEMENT_TYPES[number][1]


def element_names() -> list[str]:
    """Names of all element types that a tensor in memory can have."""
    return [name for name in _NUMBERS if name != "string"]
