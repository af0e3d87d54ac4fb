"""External data is untrusted: check where it claims to be before anything is read."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING

from frontends.onnx.dtypes import element_bits
from planner.errors import BadFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

_DRIVE = re.compile(r"[A-Za-z]:")


def check_external_data(model: ModelProto, folder: Path | None) -> None:
    """Refuse a model whose external data is not inside its folder.

    Parameters
    ----------
    folder : Path or None
        Where the model file lies; None for a model in memory, whose locations are judged by
        their text alone.

    Raises
    ------
    BadFileError
        If a location is absolute, names a drive, climbs with ``..``, leaves the folder through
        a symbolic link, or is something other than a regular file. An absent file is fine.
    """
    checked: set[str] = set()
    for tensor in model_tensors(model):
        if not tensor.external_data:
            continue
        for entry in tensor.external_data:
            if isinstance(entry.value, bytes):  # protobuf's way to say that it is no text
                raise BadFileError(f'tensor "{tensor.name}": external data is not UTF-8 text.')
            if entry.key == "location" and entry.value not in checked:
                _check_location(tensor.name, entry.value, folder)
                checked.add(entry.value)


def _check_location(tensor: str, location: str, folder: Path | None) -> None:
    where = f'tensor "{tensor}": external data "{location}"'
    parts = re.split(r"[/\\]", location)
    if location[:1] in ("/", "\\") or _DRIVE.match(location) or ".." in parts:
        raise BadFileError(f"{where} is outside the model's folder. Refused.")
    if "\0" in location:
        raise BadFileError(f"{where} is not a file name. Refused.")
    if folder is None:
        return
    try:
        base = folder.resolve()
        target = (base / location).resolve()
        inside = target.is_relative_to(base)
        irregular = target != base and target.exists() and not target.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long
        raise BadFileError(f"{where} cannot be resolved ({error}). Refused.") from None
    if not inside:
        raise BadFileError(f"{where} is outside the model's folder. Refused.")
    if irregular:
        raise BadFileError(f"{where} is not a regular file. Refused.")


def read_external(tensor: TensorProto, folder: Path) -> bytes | None:
    """Bytes of a tensor stored in a file of the model's folder; None if there is no such file.

    `check_external_data` has vouched for the location.

    Raises
    ------
    BadFileError
        If the file is shorter than the tensor says, or the length is not that of its shape.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = folder / location
    if not location or not path.is_file():
        return None
    where = f'tensor "{tensor.name}": external data "{location}"'
    bits = math.prod(tensor.dims) * element_bits(tensor.data_type)
    wanted = -(-bits // 8)
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", wanted))
    except ValueError:
        raise BadFileError(f"{where}: offset and length must be whole numbers.") from None
    if length != wanted:
        raise BadFileError(
            f"{where} has {length:,} bytes, its shape and type need {wanted:,}. Refused."
        )
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if offset < 0 or offset + length > size:
                raise BadFileError(
                    f"{where} ends at byte {offset + length:,} of a file of {size:,} bytes."
                )
            file.seek(offset)
            return file.read(length)
    except OSError as error:
        raise BadFileError(f"{where} cannot be read: {error.strerror}.") from None


def model_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """All tensors stored in a model: initializers and attributes, bodies and functions too."""
    graphs: list[GraphProto] = [model.graph]
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node, graphs)
    while graphs:
        graph = graphs.pop()
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield sparse.values
            yield sparse.indices
        for node in graph.node:
            yield from _node_tensors(node, graphs)


def _node_tensors(node: NodeProto, graphs: list[GraphProto]) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield attribute.sparse_tensor.values
            yield attribute.sparse_tensor.indices
        if attribute.HasField("g"):
            graphs.append(attribute.g)
        graphs.extend(attribute.graphs)
