"""Write files so that each is complete or absent, and several all or none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import BadFileError

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_whole(contents: Mapping[Path, str | bytes]) -> None:
    """Write text as UTF-8 and bytes as they are, into directories that exist.

    Raises
    ------
    BadFileError
        If one of the files cannot be written. Then none is.
    """
    staged: list[tuple[str, Path]] = []
    path = Path()
    try:
        for path, content in contents.items():
            if path.exists() and not path.is_file():
                # Renaming would put a file in the place of a device or a pipe.
                kind = "a directory" if path.is_dir() else "not a regular file"
                raise BadFileError(f"{path} is {kind}: nothing was written.")
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            staged.append((temporary, path))
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
        umask = os.umask(0)
        os.umask(umask)
        for temporary, path in staged:
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, path)
    except OSError as error:
        raise BadFileError(f"{path}: cannot be written: {error.strerror or error}.") from None
    finally:
        for temporary, _ in staged:
            Path(temporary).unlink(missing_ok=True)
