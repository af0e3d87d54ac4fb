"""A model file or a model in memory, checked as untrusted input: names, shapes and types only."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from onnx import ModelProto

from frontends.onnx.skim import drop_large_payloads
from planner.errors import BadFileError

if TYPE_CHECKING:
    from typing import BinaryIO

KEEP_PAYLOAD_BYTES = 4096
"""Larger tensor payloads are left out: no shape or axis list is that long."""

MAX_WHOLE_BYTES = 2 << 30
"""A model file of this size cannot be parsed with its weights."""

SKIM_ABOVE_BYTES = 8 << 20
"""Smaller files are parsed whole: that is faster than a walk in Python."""


def load_model(
    path: str | os.PathLike[str], skim_above_bytes: int = SKIM_ABOVE_BYTES
) -> tuple[ModelProto, str]:
    """Parse a model file without reading external data, whatever the file's size.

    Parameters
    ----------
    skim_above_bytes : int
        From this file size on, large tensor payloads are left out before parsing.

    Returns
    -------
    ModelProto
        Complete but for the payloads of large tensors.
    str
        SHA-256 of the file, in hex.

    Raises
    ------
    BadFileError
        If the file is missing, not a regular file, empty, truncated or no ONNX model.
    """
    path = Path(path)
    try:
        # Opening a pipe or a device could wait forever, so look before.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise BadFileError(f"{path} is {kind}. Give the path of an ONNX model file.")
        with path.open("rb") as file:
            content, digest = _read(file, skim_above_bytes)
    except BadFileError as error:
        if str(error).startswith(str(path)):
            raise
        raise BadFileError(f"{path} is no ONNX model: {error}") from None
    except FileNotFoundError:
        raise BadFileError(f"{path} does not exist.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadFileError(f"{path} cannot be read: {reason}.") from None
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise BadFileError(
            f"{path} is no ONNX model: truncated, malformed or nested too deeply."
        ) from None
    if not model.HasField("graph"):
        raise BadFileError(f"{path} is no ONNX model: it holds no graph.")
    if not model.ir_version:
        raise BadFileError(f"{path} is no ONNX model: its ir_version is absent or 0.")
    return model, digest


def load_whole_model(path: str | os.PathLike[str]) -> ModelProto:
    """Parse a model file with the weights that are in it; data in other files is not read.

    Raises
    ------
    BadFileError
        As for `load_model`, and if the file is too large for protobuf.
    """
    model, _ = load_model(path)
    size = Path(path).stat().st_size
    if size <= SKIM_ABOVE_BYTES:
        return model
    if size >= MAX_WHOLE_BYTES:
        raise BadFileError(
            f"{path} has {size:,} bytes: protobuf reads less than {MAX_WHOLE_BYTES:,} at once. Put "
            "the weights into a file of their own (onnx.save with save_as_external_data=True)."
        )
    whole = ModelProto()
    try:
        whole.ParseFromString(Path(path).read_bytes())
    except (OSError, DecodeError):
        raise BadFileError(f"{path} changed while it was read.") from None
    return whole


def _read(file: BinaryIO, skim_above_bytes: int) -> tuple[bytes, str]:
    """Content without large payloads, and the SHA-256 of all of it."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise BadFileError("the file is empty.")
    if size <= skim_above_bytes:
        content = file.read()
        return content, hashlib.sha256(content).hexdigest()
    mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return drop_large_payloads(mapped, KEEP_PAYLOAD_BYTES), hashlib.sha256(mapped).hexdigest()
