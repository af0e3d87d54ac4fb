"""Packing problems and packings as JSON files: the same packing is the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.json_text import dump_json, parse_json
from planner.packing.decoding import decode_packing
from planner.packing.encoding import packing_object
from planner.plan_fields import Fields
from planner.regular_file import read_regular
from planner.whole_files import write_whole

if TYPE_CHECKING:
    import os

    from planner.packing.decoding import StoredPacking
    from planner.packing.encoding import PackingSolution
    from planner.packing.problem import PackingProblem

_LARGEST_FILE_BYTES = 1 << 28


def packing_to_json(problem: PackingProblem, solution: PackingSolution | None = None) -> str:
    """Return JSON text: sorted keys, two-space indent, final newline.

    Raises
    ------
    UsageError
        If a number is too large for the format, which counts in 53 bits.
    """
    return dump_json(packing_object(problem, solution))


def write_packing(
    problem: PackingProblem,
    path: str | os.PathLike[str],
    solution: PackingSolution | None = None,
) -> None:
    """Write a problem and, where there is one, its packing; the file appears whole or not at all.

    Raises
    ------
    BadFileError
        If the file cannot be written.
    UsageError
        As for `packing_to_json`.
    """
    write_whole({Path(path): packing_to_json(problem, solution)})


def read_packing(path: str | os.PathLike[str]) -> StoredPacking:
    """Read a problem and its packing. Whether that is legal is for `check_packing` to say.

    Raises
    ------
    BadFileError
        If the file is missing, no regular file, too large, not JSON, of another format version, or
        if a field is missing, unknown or out of range. The message names file, field and value.
    """
    return packing_from_json(read_regular(path, _LARGEST_FILE_BYTES), Path(path).name)


def packing_from_json(data: str | bytes, file: str = "packing") -> StoredPacking:
    """Read JSON text; ``file`` names it in error messages. See `read_packing`."""
    return decode_packing(Fields(parse_json(data, file), file, ""))
