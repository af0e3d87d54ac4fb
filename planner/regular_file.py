"""Open a file that somebody names: never a pipe or a device, never more than a stated size."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from planner.errors import BadFileError

if TYPE_CHECKING:
    import os


def open_regular(path: str | os.PathLike[str], largest_bytes: int) -> BinaryIO:
    """Open a regular file for reading.

    Raises
    ------
    BadFileError
        If the file is missing, unreadable, no regular file, or larger than ``largest_bytes``.
    """
    path = Path(path)
    try:
        # Opening a pipe or a device could wait forever, so look before.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise BadFileError(f"{path} is {kind}.")
        if status.st_size > largest_bytes:
            raise BadFileError(f"{path.name}: larger than {largest_bytes:,} bytes. Refused.")
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadFileError(f"{path}: {reason}.") from None


def read_regular(path: str | os.PathLike[str], largest_bytes: int) -> bytes:
    """Return all of a regular file, see `open_regular`."""
    with open_regular(path, largest_bytes) as file:
        data = file.read(largest_bytes + 1)
    if len(data) > largest_bytes:  # it has grown, or is one of those whose size is not known
        raise BadFileError(f"{Path(path).name}: larger than {largest_bytes:,} bytes. Refused.")
    return data
