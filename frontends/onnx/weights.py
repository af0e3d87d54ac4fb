"""Weights that are absent are drawn from a seed; weights that are there can be left out.

A stripped tensor keeps name, dims and element type, has ``data_location = EXTERNAL`` with the
location ``__stripped__``, and keeps mean, standard deviation, minimum and maximum of its values as
JSON in ``doc_string``. What is drawn depends on the seed, the tensor's name and those figures
alone, so it does not change when other tensors come or go.
"""

from __future__ import annotations

import json
import math
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from frontends.onnx.external import check_external_data, model_tensors, read_external
from planner.errors import BadFileError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    Array = NDArray[Any]

STRIPPED = "__stripped__"
KEEP_BYTES = 4096
"""Tensors up to this size are never stripped: shapes, scales, norm parameters, slice bounds."""

_PAYLOADS = (
    "raw_data",
    "float_data",
    "int32_data",
    "int64_data",
    "double_data",
    "uint64_data",
    "string_data",
)
_FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
)
_INTEGERS = frozenset({TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.INT32})
_DRAWN_STD = 0.05
_SMALLEST_STD = 1e-9


class Refilled(NamedTuple):
    """A model with all its weights, and how many of them were drawn.

    Attributes
    ----------
    model : ModelProto
    tensors, bytes : int
        Drawn because the data is absent.
    constants : int
        ``ConstantOfShape`` nodes that became random weights.
    """

    model: ModelProto
    tensors: int
    bytes: int
    constants: int


class Stripped(NamedTuple):
    """A model without its large weights, and what was left out."""

    model: ModelProto
    tensors: int
    bytes: int


def hydrate(model: ModelProto, *, folder: Path | None = None, seed: int = 0) -> Refilled:
    """Return a copy of a model in which every weight has values.

    Weights in a file beside the model are read from there; absent ones are drawn. Weights
    that a ``ConstantOfShape`` makes become random: constant weights hide faults.

    Parameters
    ----------
    folder : Path or None
        Where the model file lies; None draws everything stored outside the model.

    Raises
    ------
    BadFileError
        If external data lies outside the folder, is too short, or belongs to a type that cannot be
        drawn.
    """
    check_external_data(model, folder)
    filled = ModelProto()
    filled.CopyFrom(model)
    tensors = size = 0
    for tensor in model_tensors(filled):
        if not _is_absent(tensor):
            continue
        content = None if folder is None else read_external(tensor, folder)
        if content is None:
            values = drawn_values(tensor, seed)
            content = values.tobytes()
            tensors += 1
            size += len(content)
        _clear_payload(tensor)
        tensor.ClearField("data_location")
        tensor.ClearField("doc_string")
        tensor.raw_data = content
    return Refilled(filled, tensors, size, _randomise_constants(filled, seed))


def strip(model: ModelProto) -> Stripped:
    """Return a copy of a model without the values of its large weights.

    Structure, names, shapes, types and all tensors up to `KEEP_BYTES` stay; of the others their
    statistics stay. `hydrate` is the reverse, as far as there can be one.
    """
    bare = ModelProto()
    bare.CopyFrom(model)
    tensors = size = 0
    for tensor in model_tensors(bare):
        if tensor.data_type not in _FLOATS | _INTEGERS or is_stripped(tensor):
            continue
        own = math.prod(tensor.dims) * _item_bytes(tensor)
        absent = _is_absent(tensor)
        if own <= KEEP_BYTES and not absent:
            continue
        statistics = {"mean": 0.0, "std": _DRAWN_STD, "min": 0.0, "max": 0.0}
        if not absent:
            statistics = _statistics(numpy_helper.to_array(tensor))
        _clear_payload(tensor)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=STRIPPED)
        tensor.doc_string = json.dumps(statistics)
        tensors += 1
        size += own
    return Stripped(bare, tensors, size)


def is_stripped(tensor: TensorProto) -> bool:
    """Whether a tensor's values were left out by `strip`."""
    return any(e.key == "location" and e.value == STRIPPED for e in tensor.external_data)


def drawn_values(tensor: TensorProto, seed: int) -> Array:
    """Values for a tensor without any: normal, clipped to what is known of the original.

    Raises
    ------
    BadFileError
        If its element type has no such values.
    """
    if tensor.data_type not in _FLOATS | _INTEGERS:
        kind = TensorProto.DataType.Name(tensor.data_type).lower()
        raise BadFileError(
            f'tensor "{tensor.name}" has no data, and {kind} values cannot be drawn at random. '
            "Put the file with its data beside the model."
        )
    known = _known_statistics(tensor)
    rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
    is_integer = tensor.data_type in _INTEGERS
    std = max(known["std"], _SMALLEST_STD if is_integer else 0.0)
    values = rng.normal(known["mean"], std, tuple(tensor.dims))
    if known["max"] > known["min"]:
        values = np.clip(values, known["min"], known["max"])
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if is_integer:
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)


def _known_statistics(tensor: TensorProto) -> dict[str, float]:
    """Statistics in the doc string of a stripped tensor; of any other those of a usual weight."""
    known = {"mean": 0.0, "std": _DRAWN_STD, "min": 0.0, "max": 0.0}
    if not is_stripped(tensor) or not tensor.doc_string:
        return known
    try:
        stored = json.loads(tensor.doc_string)
        known.update({key: float(stored[key]) for key in known if key in stored})
    except (ValueError, TypeError, RecursionError):
        raise BadFileError(
            f'tensor "{tensor.name}": its statistics are no JSON of numbers: '
            f"{tensor.doc_string[:80]!r}."
        ) from None
    if not all(math.isfinite(value) for value in known.values()) or known["std"] < 0:
        raise BadFileError(f'tensor "{tensor.name}": its statistics are not finite numbers.')
    return known


def _statistics(values: Array) -> dict[str, float]:
    wide = values.astype(np.float64)
    wide = wide[np.isfinite(wide)]
    if not wide.size:
        return {"mean": 0.0, "std": _DRAWN_STD, "min": 0.0, "max": 0.0}
    figures = {"mean": wide.mean(), "std": wide.std(), "min": wide.min(), "max": wide.max()}
    return {key: float(f"{value:.6g}") for key, value in figures.items()}


def _is_absent(tensor: TensorProto) -> bool:
    """Whether the values are not in the model itself."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return True
    return math.prod(tensor.dims) > 0 and not any(getattr(tensor, name) for name in _PAYLOADS)


def _clear_payload(tensor: TensorProto) -> None:
    for name in (*_PAYLOADS, "external_data"):
        tensor.ClearField(name)


def _item_bytes(tensor: TensorProto) -> int:
    return helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _randomise_constants(model: ModelProto, seed: int) -> int:
    """Turn weights made by ``ConstantOfShape`` of an initializer into random initializers."""
    graph = model.graph
    shapes = {tensor.name: tensor for tensor in graph.initializer}
    kept, outputs = [], {value.name for value in graph.output}
    for node in graph.node:
        if (
            node.op_type != "ConstantOfShape"
            or not node.input
            or node.input[0] not in shapes
            or not node.output
            or node.output[0] in outputs
            or not _makes_floats(node)
        ):
            kept.append(node)
            continue
        shape = tuple(int(dim) for dim in numpy_helper.to_array(shapes[node.input[0]]))
        rng = np.random.default_rng([seed, zlib.crc32(node.output[0].encode())])
        if len(shape) > 1:
            values = rng.standard_normal(shape) * math.sqrt(2 / max(1, math.prod(shape[1:])))
        else:
            values = rng.uniform(0.5, 1.5, shape)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
    replaced = len(graph.node) - len(kept)
    if replaced:
        nodes = [type(node).FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(nodes)
    return replaced


def _makes_floats(node: Any) -> bool:
    return all(a.t.data_type == TensorProto.FLOAT for a in node.attribute if a.name == "value")
