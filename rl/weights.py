"""Files of learned weights: arrays, and what they are, without pickles.

A file is an uncompressed ``.npz`` of at most 4 MiB. Its member ``metadata`` is a ``uint8`` array,
JSON in UTF-8: ``schema_version`` (of this layout), ``kind`` (what the weights are for),
``feature_version`` (of what the network sees), ``network``, ``training``, ``score``, and
``sha256`` of all other members.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.errors import BadFileError
from planner.regular_file import read_regular
from planner.whole_files import write_whole

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

    from numpy.typing import NDArray

SCHEMA_VERSION = 1
_METADATA = "metadata"
_LARGEST_BYTES = 1 << 22
_MOST_MEMBERS = 256
_ELEMENT_TYPES = ("float32", "float64", "int32", "int64", "uint8")
_DATE = (1980, 1, 1, 0, 0, 0)


class WeightsError(BadFileError):
    """A file of weights that is corrupt, foreign, too new, or for something else."""


@dataclass(frozen=True)
class Weights:
    """Learned arrays and what they are.

    Attributes
    ----------
    kind : str
        What they are for. Who loads them says which kind it needs.
    feature_version : int
        Of what the network sees: weights for other features are of no use.
    arrays : mapping of str to array
        Finite numbers.
    network, training, score : mappings
        JSON values: layer sizes and the like; algorithm, steps, seed, programs; what was measured.
    """

    kind: str
    feature_version: int
    arrays: Mapping[str, NDArray]
    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    score: Mapping[str, Any] = field(default_factory=dict)

    def require_shapes(self, shapes: Mapping[str, tuple[int, ...]], *, source: object = "") -> None:
        """Check that the arrays are exactly these.

        Raises
        ------
        WeightsError
            Naming the first array that is missing, unknown or of another shape.
        """
        where = f"{source}: " if source else ""
        for name in sorted({*shapes, *self.arrays}):
            if name not in self.arrays:
                raise WeightsError(f"{where}the array {name!r} is missing.")
            if name not in shapes:
                raise WeightsError(f"{where}there is no use for an array {name!r}.")
            if self.arrays[name].shape != shapes[name]:
                raise WeightsError(
                    f"{where}the array {name!r} has shape {self.arrays[name].shape}, "
                    f"needed is {shapes[name]}."
                )


def weights_bytes(weights: Weights) -> bytes:
    """Return the file's contents; the same weights give the same bytes.

    Raises
    ------
    ValueError
        If an array cannot be stored: its element type, or numbers that are not finite.
    """
    for name, array in weights.arrays.items():
        if name == _METADATA or array.dtype.name not in _ELEMENT_TYPES:
            raise ValueError(f"an array {name!r} of {array.dtype} cannot be stored")
        if not np.isfinite(array).all():
            raise ValueError(f"the array {name!r} has numbers that are not finite")
    metadata = {
        "schema_version": SCHEMA_VERSION,
        "kind": weights.kind,
        "feature_version": weights.feature_version,
        "network": dict(weights.network),
        "training": dict(weights.training),
        "score": dict(weights.score),
        "sha256": _digest(weights.arrays),
    }
    text = json.dumps(metadata, indent=1, sort_keys=True, allow_nan=False).encode()
    members = {_METADATA: np.frombuffer(text, dtype=np.uint8), **weights.arrays}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in sorted(members.items()):
            content = io.BytesIO()
            np.lib.format.write_array(
                content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False
            )
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _DATE), content.getvalue())
    return buffer.getvalue()


def save_weights(path: str | os.PathLike[str], weights: Weights) -> None:
    """Write a file of weights, complete or not at all.

    Raises
    ------
    BadFileError
        If it cannot be written.
    ValueError
        As `weights_bytes`.
    """
    write_whole({Path(path): weights_bytes(weights)})


def load_weights(
    source: str | os.PathLike[str] | Traversable, *, kind: str, feature_version: int
) -> Weights:
    """Read a file of weights and check it: nothing in it is run, and it cannot take much memory.

    Parameters
    ----------
    source : path or Traversable
        A file, or a resource of an installed package.
    kind : str
        What the weights have to be for.
    feature_version : int
        What they have to have been trained on.

    Raises
    ------
    WeightsError
        If they are missing, corrupt, for something else, or of another version; the message says
        which was found and which is needed.
    """
    name = Path(str(source)).name
    try:
        content = _content(source)
        members = _members(content)
    except BadFileError as error:
        raise WeightsError(str(error)) from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise WeightsError(
            f"{name}: not a file of weights: {error or type(error).__name__}."
        ) from None
    described = _described(name, members.pop(_METADATA, None))
    _check_version(name, "schema_version", described.get("schema_version"), SCHEMA_VERSION)
    if described.get("kind") != kind:
        raise WeightsError(f"{name}: weights for {described.get('kind')!r}, needed are {kind!r}.")
    _check_version(name, "feature_version", described.get("feature_version"), feature_version)
    if described.get("sha256") != _digest(members):
        raise WeightsError(f"{name}: the arrays are not those that were written (sha256 differs).")
    for member, array in members.items():
        if not np.isfinite(array).all():
            raise WeightsError(f"{name}: the array {member!r} has numbers that are not finite.")
    for key in ("network", "training", "score"):
        if not isinstance(described.get(key), dict):
            raise WeightsError(f"{name}: {key} in its metadata is not an object.")
    return Weights(
        kind,
        feature_version,
        members,
        described["network"],
        described["training"],
        described["score"],
    )


def _content(source: str | os.PathLike[str] | Traversable) -> bytes:
    if isinstance(source, (str, Path)) or hasattr(source, "__fspath__"):
        return read_regular(source, _LARGEST_BYTES)  # pyright: ignore[reportArgumentType]
    content = source.read_bytes()  # pyright: ignore[reportAttributeAccessIssue]
    if len(content) > _LARGEST_BYTES:
        raise WeightsError(f"{source}: larger than {_LARGEST_BYTES:,} bytes. Refused.")
    return content


def _members(content: bytes) -> dict[str, NDArray]:
    """Return the arrays, none of them larger than the file."""
    arrays: dict[str, NDArray] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_MEMBERS:
            raise ValueError(f"{len(entries):,} members, more than {_MOST_MEMBERS}")
        for entry in entries:
            name, dot, suffix = entry.filename.rpartition(".")
            if not dot or suffix != "npy" or name in arrays:
                raise ValueError(f"a member {entry.filename!r}")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(content):
                raise ValueError(f"the member {entry.filename!r} is compressed")
            arrays[name] = _array(name, archive.read(entry))
    return arrays


def _array(name: str, content: bytes) -> NDArray:
    """Read an array whose header has been checked, so that it allocates what the file holds."""
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"the array {name!r} has another format version than 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError(f"the array {name!r} is a pickle")
    if fortran or dtype.name not in _ELEMENT_TYPES or not dtype.isnative:
        raise ValueError(f"the array {name!r} has elements of {dtype}")
    if any(length < 0 for length in shape):
        raise ValueError(f"the array {name!r} has shape {shape}")
    data = stream.read()
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"the array {name!r} has {len(data):,} bytes, which is not {shape}")
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def _described(name: str, metadata: NDArray | None) -> dict[str, Any]:
    if metadata is None or metadata.dtype != np.uint8 or metadata.ndim != 1:
        raise WeightsError(f"{name}: not a file of weights: it has no metadata.")
    try:
        described = json.loads(metadata.tobytes().decode())
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{name}: its metadata is not JSON: {error}.") from None
    if not isinstance(described, dict):
        raise WeightsError(f"{name}: its metadata is not a JSON object.")
    return described


def _check_version(name: str, what: str, found: object, needed: int) -> None:
    if type(found) is not int:
        raise WeightsError(f"{name}: its metadata has no {what}.")
    if found != needed:
        age = "newer" if found > needed else "older"
        raise WeightsError(
            f"{name}: {what} {found} is {age} than {needed}, which this version reads. Use "
            f"{'a newer version' if found > needed else 'newer weights'}, or none."
        )


def _digest(arrays: Mapping[str, NDArray]) -> str:
    """Return the hash of names, element types, shapes and contents."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
