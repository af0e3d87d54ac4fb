"""External data is untrusted: check where it claims to be, without ever opening it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

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
