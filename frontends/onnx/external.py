"""The tensors stored in a model or in files beside it.

External data is untrusted: where it claims to be is checked before anything is read.
"""

from __future__ import annotations

import math
import os
import re
import stat
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import EncodeError
from onnx import TensorProto

from frontends.onnx.dtypes import (
    MAX_RANK,
    STRING,
    element_bits,
    element_name,
    is_element_type,
)
from frontends.onnx.load import KEEP_PAYLOAD_BYTES, MAX_WHOLE_BYTES
from planner.errors import BadFileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from onnx import AttributeProto, GraphProto, ModelProto

_DRIVE = re.compile(r"[A-Za-z]:")
_PAGE_BYTES = 4096
"""Where data in a file of its own begins: runtimes map it into memory by pages."""

_GRAPH_BYTES = 64 << 20
"""What is left of a model file for everything but weights before these get a file of their own."""


class StoredTensor(NamedTuple):
    """A tensor stored in a model.

    Attributes
    ----------
    name : str
        Its own; for an attribute without one the first result of the node.
    tensor : TensorProto
    is_initializer : bool
        Whether runtimes read its data from a file of its own: not that of attributes.
    """

    name: str
    tensor: TensorProto
    is_initializer: bool


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
    for _, tensor, _ in model_tensors(model):
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
    where = f'tensor "{tensor.name}": external data "{location}"'
    if not location or not (folder / location).is_file():
        return None
    wanted = tensor_bytes(tensor.name, tensor)
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", wanted))
    except ValueError:
        raise BadFileError(f"{where}: offset and length must be whole numbers.") from None
    if length != wanted:
        raise BadFileError(
            f"{where} has {length:,} bytes, its shape and type need {wanted:,}. Refused."
        )
    try:
        with open(_open_inside(folder, location, where), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if offset < 0:
                raise BadFileError(f"{where} begins at byte {offset:,}.")
            if offset + length > size:
                raise BadFileError(
                    f"{where} ends at byte {offset + length:,} of a file of {size:,} bytes."
                )
            file.seek(offset)
            return file.read(length)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadFileError(f"{where} cannot be read: {reason}.") from None


def _open_inside(folder: Path, location: str, where: str) -> int:
    """File descriptor of a regular file in the folder, even if links changed since the check."""
    base = folder.resolve()
    target = (base / location).resolve()
    if not target.is_relative_to(base):
        raise BadFileError(f"{where} is outside the model's folder. Refused.")
    # No link is followed at the end of a resolved path, and a pipe put there cannot block.
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(target, os.O_RDONLY | flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadFileError(f"{where} is not a regular file. Refused.")
    return descriptor


def tensor_bytes(name: str, tensor: TensorProto) -> int:
    """Bytes that a tensor's shape and type need, as raw data.

    Raises
    ------
    BadFileError
        If it has a negative dimension, too many of them, or a type without a fixed size.
    """
    if not is_element_type(tensor.data_type) or tensor.data_type == STRING:
        kind = element_name(tensor.data_type)
        raise BadFileError(f'tensor "{name}" is of {kind}, which has no fixed size in bytes.')
    if len(tensor.dims) > MAX_RANK or min(tensor.dims, default=0) < 0:
        raise BadFileError(
            f'tensor "{name}" has a negative dimension or more than {MAX_RANK:,} of them. Refused.'
        )
    return (math.prod(tensor.dims) * element_bits(tensor.data_type) + 7) // 8


def file_contents(model: ModelProto, path: Path) -> dict[Path, bytes]:
    """What to write so that runtimes can load the model from ``path``.

    One file where protobuf can hold it; else the initializers go, as external data, to one
    file beside it. They then leave ``model`` as well.

    Raises
    ------
    BadFileError
        If the model is too large even so.
    """
    movable = [
        tensor
        for _, tensor, is_initializer in model_tensors(model)
        if is_initializer and tensor.HasField("raw_data")
    ]
    contents: dict[Path, bytes] = {}
    if sum(tensor_bytes(t.name, t) for t in movable) > MAX_WHOLE_BYTES - _GRAPH_BYTES:
        beside = data_path(path)
        contents[beside] = _moved_out(movable, beside.name)
    try:
        content = model.SerializeToString()
    except (EncodeError, ValueError):
        content = None
    if content is None or len(content) >= MAX_WHOLE_BYTES:
        raise BadFileError(
            f"{path} would be larger than {MAX_WHOLE_BYTES:,} bytes, which protobuf cannot read."
        )
    return {**contents, path: content}


def check_output(output: Path, source: Path, model: ModelProto) -> None:
    """Refuse to write over a file that the model is made of, unless it is the model by its name.

    Raises
    ------
    UsageError
        If the output, or its data file, is one of those.
    """
    if os.path.abspath(output) == os.path.abspath(source):
        return
    locations = {
        entry.value
        for _, tensor, _ in model_tensors(model)
        for entry in tensor.external_data
        if entry.key == "location" and isinstance(entry.value, str) and "\0" not in entry.value
    }
    for file in (source, *(source.parent / location for location in sorted(locations))):
        for written in (output, data_path(output)):
            if _is_same(file, written):
                raise UsageError(f"-o {output} would overwrite {file}, which the model needs.")


def _is_same(file: Path, other: Path) -> bool:
    try:
        return file.samefile(other)
    except OSError:  # one of them does not exist
        return False


def data_path(path: Path) -> Path:
    """Where `file_contents` puts weights that do not fit into the model file."""
    return path.with_name(f"{path.name}.data")


def _moved_out(tensors: list[TensorProto], location: str) -> bytes:
    """Contents of a data file; the tensors refer to it from now on."""
    data = BytesIO()
    for tensor in tensors:
        content = tensor.raw_data
        if len(content) <= KEEP_PAYLOAD_BYTES:
            continue
        data.write(bytes(-data.tell() % _PAGE_BYTES))
        offset = data.tell()
        data.write(content)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": location, "offset": str(offset), "length": str(len(content))}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
    return data.getvalue()


def model_tensors(model: ModelProto) -> Iterator[StoredTensor]:
    """All tensors stored in a model: initializers and attributes, bodies and functions too."""
    graphs: list[GraphProto] = [model.graph]
    for training in model.training_info:
        graphs += [training.initialization, training.algorithm]
    for function in model.functions:
        for attribute in function.attribute_proto:
            yield from _attribute_tensors(attribute, attribute.name, graphs)
        for node in function.node:
            for attribute in node.attribute:
                yield from _attribute_tensors(attribute, _first(node.output), graphs)
    while graphs:
        graph = graphs.pop()
        for tensor in graph.initializer:
            yield StoredTensor(tensor.name, tensor, True)
        for sparse in graph.sparse_initializer:
            yield StoredTensor(sparse.values.name, sparse.values, False)
            yield StoredTensor(sparse.values.name, sparse.indices, False)
        for node in graph.node:
            for attribute in node.attribute:
                yield from _attribute_tensors(attribute, _first(node.output), graphs)


def _first(names: Sequence[str]) -> str:
    return next(iter(names), "")


def _attribute_tensors(
    attribute: AttributeProto, owner: str, graphs: list[GraphProto]
) -> Iterator[StoredTensor]:
    """Tensors of an attribute; its graphs are left for later."""
    stored = [attribute.t] if attribute.HasField("t") else []
    stored.extend(attribute.tensors)
    sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
    for tensor in (*sparse, *attribute.sparse_tensors):
        stored += [tensor.values, tensor.indices]
    for tensor in stored:
        yield StoredTensor(tensor.name or owner, tensor, False)
    if attribute.HasField("g"):
        graphs.append(attribute.g)
    graphs.extend(attribute.graphs)
