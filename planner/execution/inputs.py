"""Values for graph inputs: the caller's, or drawn from a seed."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from planner.errors import UsageError
from planner.execution.sessions import ort_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.execution.sessions import ValueType

_LARGEST_INTEGER = 1
"""Integers are often indices, types or lengths: 0 and 1 are valid for most."""


def given_input(name: str, values: Any, type_: ValueType) -> Any:
    """Return the caller's values for an input as an OrtValue.

    Raises
    ------
    UsageError
        If shape or element type is not that of the input.
    """
    array = np.asarray(values)
    dtype = helper.tensor_dtype_to_np_dtype(type_.element)
    if array.shape != type_.shape or array.dtype != dtype:
        raise UsageError(
            f"input {name!r}: the values are {_sketch(array.shape, array.dtype)}, the plan "
            f"expects {_sketch(type_.shape, dtype)}."
        )
    return ort_value(_packed(array), type_)


def drawn_input(name: str, type_: ValueType, seed: int) -> Any:
    """Draw values: floats normal, integers 0 or 1, 8-bit integers over their range, bools true."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    dtype = helper.tensor_dtype_to_np_dtype(type_.element)
    if type_.element == TensorProto.BOOL:
        values = np.ones(type_.shape, dtype=dtype)
    elif np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        small = limits.bits == 8
        low, high = (limits.min, limits.max) if small else (0, _LARGEST_INTEGER)
        values = rng.integers(low, high, type_.shape, endpoint=True).astype(dtype)
    elif np.issubdtype(dtype, np.inexact) or dtype.kind == "V":
        values = rng.standard_normal(type_.shape).astype(dtype)
    else:
        values = rng.standard_normal(type_.shape).astype(np.float32).astype(dtype)
    return ort_value(_packed(values), type_)


def constant_input(type_: ValueType, number: int) -> Any:
    """Return one number everywhere: what is left where drawn integers are out of range."""
    dtype = helper.tensor_dtype_to_np_dtype(type_.element)
    return ort_value(_packed(np.full(type_.shape, number).astype(dtype)), type_)


def is_integer(type_: ValueType) -> bool:
    """Whether an input may be an index."""
    return np.issubdtype(helper.tensor_dtype_to_np_dtype(type_.element), np.integer)


def inputs_from(
    types: Mapping[str, ValueType], given: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Values of all inputs as OrtValues.

    Raises
    ------
    UsageError
        If a given name is no input, or its values do not fit.
    """
    for name in given:
        if name not in types:
            raise UsageError(f"no input {name!r}. There are: {', '.join(types)}.")
    return {
        name: given_input(name, given[name], type_)
        if name in given
        else drawn_input(name, type_, seed)
        for name, type_ in types.items()
    }


def _packed(values: Any) -> bytes:
    """Bytes as ONNX stores them: elements of less than a byte side by side."""
    return numpy_helper.from_array(np.asarray(values)).raw_data


def _sketch(shape: tuple[int, ...], dtype: Any) -> str:
    return f"{'x'.join(map(str, shape)) or 'scalar'} {dtype}"
