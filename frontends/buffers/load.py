"""One call for every format in which buffers come."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.packing.problem import MemorySpace, PackingProblem
from planner.regular_file import open_regular

if TYPE_CHECKING:
    import os

LARGEST_FILE_BYTES = 1 << 28

_FORMATS = {".csv": "csv", ".json": "json", ".log": "log", ".txt": "log"}
_BEGINNING_BYTES = 4096


def load_buffers(
    path: str | os.PathLike[str], *, capacity: int | None = None, alignment: int = 1
) -> PackingProblem:
    """Read buffers from MiniMalloc's CSV, our JSON, or a malloc/free log.

    The suffix ``.csv``, ``.json``, ``.log`` or ``.txt`` tells the format, and where it is none of
    them, the beginning of the file.

    Parameters
    ----------
    path : path
    capacity : int or None
        Bytes of the one memory; None for the file's own, or for none.
    alignment : int
        Every offset is a multiple of it too.

    Raises
    ------
    BadFileError
        If the file is missing, no regular file, too large or malformed. Of text formats the
        message begins ``FILE:LINE:``.
    UsageError
        If capacity or alignment is out of range, or a capacity is given for several memories.
    """
    # Before the file is read: what is wrong with it here is wrong with the arguments.
    memory = PackingProblem((), (MemorySpace(capacity=capacity, alignment=alignment),)).memories[0]
    form = format_of(path)
    if form == "csv":
        from frontends.buffers.csv import read_csv

        return read_csv(path, memory)
    if form == "json":
        from planner.packing.file import read_packing

        problem = read_packing(path).problem
    else:
        from frontends.buffers.malloc_log import read_malloc_log

        problem = read_malloc_log(path)
    return _constrained(problem, memory)


def format_of(path: str | os.PathLike[str]) -> str:
    """Return ``csv``, ``json`` or ``log``, by the suffix or else by the beginning of the file.

    Raises
    ------
    BadFileError
        If the suffix is none of ours and the file is missing, no regular file or too large.
    """
    return _FORMATS.get(Path(path).suffix.lower()) or _format_of_content(path)


def _format_of_content(path: str | os.PathLike[str]) -> str:
    with open_regular(path, LARGEST_FILE_BYTES) as file:
        beginning = file.read(_BEGINNING_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if beginning.startswith(b"{"):
        return "json"
    return "log" if beginning.startswith((b"#", b"malloc ", b"free ")) else "csv"


def _constrained(problem: PackingProblem, memory: MemorySpace) -> PackingProblem:
    """Return the problem with a capacity in place of its own, and with an alignment more."""
    if memory.capacity is None and memory.alignment == 1:
        return problem
    if memory.capacity is not None and len(problem.memories) > 1:
        raise UsageError(
            f"a capacity of {memory.capacity:,} bytes is given; the file has "
            f"{len(problem.memories)} memories with capacities of their own. Leave it out."
        )
    return replace(
        problem,
        memories=tuple(
            own._replace(
                capacity=own.capacity if memory.capacity is None else memory.capacity,
                alignment=math.lcm(own.alignment, memory.alignment),
            )
            for own in problem.memories
        ),
    )
