"""Weights that are absent are drawn from a seed; weights that are there can be left out.

A stripped tensor keeps name, dims and element type, has ``data_location = EXTERNAL`` with the
location ``__stripped__``, and keeps mean, standard deviation, minimum and maximum of its values as
JSON in ``doc_string``. What is drawn depends on the seed, the tensor's name and those figures
alone, so it does not change when other tensors come or go. A tensor that was drawn says from which
seed, in the same place: stripping draws it again, and where it is equal leaves what there was.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from frontends.onnx.drawn_weights import (
    FLOATS,
    INTEGERS,
    STRIPPED,
    description,
    drawn_content,
    is_stripped,
    stated_figures,
)
from frontends.onnx.dtypes import STRING, is_element_type
from frontends.onnx.external import (
    check_external_data,
    model_tensors,
    read_external,
    tensor_bytes,
)
from planner.errors import BadFileError, UsageError
from planner.free_memory import free_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from onnx import GraphProto

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


class _Constant(NamedTuple):
    """A weight that a ``ConstantOfShape`` makes: position of the node, and what it makes."""

    node: int
    tensor: TensorProto


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
    UsageError
        If the seed is negative.
    BadFileError
        If external data lies outside the folder or is too short, if an absent weight is of a type
        that cannot be drawn, or if the weights do not fit into this machine's memory.
    """
    if seed < 0:
        raise UsageError(f"seed {seed}: must be at least 0.")
    check_external_data(model, folder)
    filled = ModelProto()
    filled.CopyFrom(model)
    absent = [(name, t) for name, t, _ in model_tensors(filled) if _is_absent(name, t)]
    constants = list(_constant_weights(filled.graph))
    _check_memory([*absent, *((c.tensor.name, c.tensor) for c in constants)])
    tensors = size = 0
    for name, tensor in absent:
        content = None if folder is None else read_external(tensor, folder)
        if content is None:
            content = drawn_content(name, tensor, seed)
            tensors += 1
            size += len(content)
            if is_stripped(tensor) or not tensor.doc_string:
                tensor.doc_string = json.dumps({**stated_figures(name, tensor), "seed": seed})
        _fill(tensor, content)
    for constant in constants:
        _fill(constant.tensor, drawn_content(constant.tensor.name, constant.tensor, seed))
    _replace_nodes(filled, constants)
    return Refilled(filled, tensors, size, len(constants))


def strip(model: ModelProto, *, folder: Path | None = None) -> Stripped:
    """Return a copy of a model without the values of its large weights.

    Structure, names, shapes, types and all tensors up to `KEEP_BYTES` stay; of the others their
    statistics stay. `hydrate` is the reverse, as far as there can be one. Tensors that could not
    be drawn are not stripped. Those in a file beside the model are judged as if they were in it.

    Parameters
    ----------
    folder : Path or None
        Where the model file lies; None takes what is stored outside the model as absent.

    Raises
    ------
    BadFileError
        If external data lies outside the folder or is too short, or if a tensor is malformed.
    """
    check_external_data(model, folder)
    bare = ModelProto()
    bare.CopyFrom(model)
    tensors = size = 0
    for name, tensor, _ in model_tensors(bare):
        if is_stripped(tensor):
            continue
        absent = _is_absent(name, tensor)
        content = read_external(tensor, folder) if absent and folder is not None else None
        known = content is not None or not absent
        is_drawable = tensor.data_type in {*FLOATS, *INTEGERS}
        own = tensor_bytes(name, tensor) if is_drawable else 0
        if not is_drawable or (known and own <= KEEP_BYTES):
            if content is not None:
                _fill(tensor, content)
            continue
        if known:
            tensor.doc_string = description(name, tensor, content)
        else:
            tensor.ClearField("doc_string")
        _clear_payload(tensor)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=STRIPPED)
        tensors += 1
        size += own
    return Stripped(bare, tensors, size)


def counted(number: int, what: str = "") -> str:
    """How many: ``1 weight``, ``2 constant weights``."""
    return f"{number:,} {what}weight{'s' if number != 1 else ''}"


def _is_absent(name: str, tensor: TensorProto) -> bool:
    """Whether the values are not in the model itself."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return True
    if any(len(getattr(tensor, payload)) for payload in _PAYLOADS):
        return False
    if not is_element_type(tensor.data_type) or tensor.data_type == STRING:
        return False
    return tensor_bytes(name, tensor) > 0


def _fill(tensor: TensorProto, content: bytes) -> None:
    _clear_payload(tensor)
    tensor.ClearField("data_location")
    tensor.raw_data = content


def _clear_payload(tensor: TensorProto) -> None:
    for name in (*_PAYLOADS, "external_data"):
        tensor.ClearField(name)


def _check_memory(tensors: Sequence[tuple[str, TensorProto]]) -> None:
    """Refuse what cannot be, before anything is allocated."""
    needed = sum(tensor_bytes(name, tensor) for name, tensor in tensors)
    free = free_bytes()
    if 3 * needed > free:  # the weights, the file made of them, and what is on its way
        name, largest = max(tensors, key=lambda item: tensor_bytes(*item))
        raise BadFileError(
            f"{counted(len(tensors))} without data take {needed:,} bytes "
            f'({tensor_bytes(name, largest):,} of them tensor "{name}"), and three times that to '
            f"fill in. {free:,} bytes of memory are free. Refused."
        )


_LARGEST_CONSTANT = 1e4
# Their floating-point operands decide shapes.
_SHAPED_BY_VALUES = frozenset({"Range", "Resize", "Upsample"})


def _constant_weights(graph: GraphProto) -> Iterator[_Constant]:
    """The weights that a ``ConstantOfShape`` of an initializer makes at the top level."""
    shapes = {tensor.name: tensor for tensor in graph.initializer}
    kept = {value.name for value in graph.output}
    for node in graph.node:
        if node.op_type in _SHAPED_BY_VALUES or (node.op_type == "Cast" and not _is_float(node)):
            kept.update(node.input)
    for position, node in enumerate(graph.node):
        if node.op_type != "ConstantOfShape" or not node.input or not node.output:
            continue
        shape, name = shapes.get(node.input[0]), node.output[0]
        if shape is None or name in kept or not _is_float(node) or _is_mask(node):
            continue
        dims = _whole_numbers(shape)
        if dims is not None:
            yield _Constant(position, TensorProto(name=name, data_type=_made(node), dims=dims))


def _made(node: NodeProto) -> int:
    """Element type that a ``ConstantOfShape`` or a ``Cast`` makes."""
    for attribute in node.attribute:
        if attribute.name in ("value", "to"):
            return attribute.t.data_type or attribute.i
    return TensorProto.FLOAT


def _is_float(node: NodeProto) -> bool:
    return _made(node) in FLOATS


def _is_mask(node: NodeProto) -> bool:
    """Whether a constant is so large that it is what masks are made of, and no weight."""
    values = [_value(a.t) for a in node.attribute if a.name == "value"]
    return any(abs(value) > _LARGEST_CONSTANT for value in values)


def _value(tensor: TensorProto) -> float:
    try:
        return float(numpy_helper.to_array(tensor).reshape(-1)[0])
    except (ValueError, TypeError, IndexError, OSError):
        return math.inf


def _whole_numbers(tensor: TensorProto) -> list[int] | None:
    """Values of a vector of int64 that is stored in the model; None of anything else."""
    if tensor.data_type != TensorProto.INT64 or len(tensor.dims) != 1:
        return None
    try:
        return numpy_helper.to_array(tensor).tolist()
    except (ValueError, TypeError, OSError):
        return None


def _replace_nodes(model: ModelProto, constants: Sequence[_Constant]) -> None:
    """Put weights in the place of the nodes that made them."""
    if not constants:
        return
    graph = model.graph
    replaced = {constant.node for constant in constants}
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in graph.node]
    del graph.node[:]
    graph.node.extend(node for i, node in enumerate(nodes) if i not in replaced)
    graph.initializer.extend(constant.tensor for constant in constants)
    if model.ir_version < 4:  # up to then an initializer had to be an input as well
        graph.input.extend(
            helper.make_tensor_value_info(c.tensor.name, c.tensor.data_type, c.tensor.dims)
            for c in constants
        )
