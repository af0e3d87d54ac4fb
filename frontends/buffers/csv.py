"""MiniMalloc's CSV of buffers, read as untrusted input: every fault has a line and a reason.

The columns are those of google/minimalloc: a header in any order, lifetimes half-open under
``upper``, with their last time included under ``end``.
"""

from __future__ import annotations

import csv
import io
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from frontends.buffers.load import LARGEST_FILE_BYTES
from planner.errors import BadFileError, UsageError
from planner.packing.problem import Buffer, Gap, MemorySpace, PackingProblem, buffer_fault
from planner.plan_fields import excerpt
from planner.regular_file import open_regular

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

MAX_BUFFERS = 1_000_000
MAX_GAPS = 1_000_000

_COLUMNS = {
    **dict.fromkeys(("id", "buffer", "buffer_id"), "id"),
    **dict.fromkeys(("lower", "begin", "start"), "lower"),
    **dict.fromkeys(("upper", "end"), "upper"),
    **{name: name for name in ("size", "alignment", "hint", "gaps", "offset")},
}
_REQUIRED = ("id", "lower", "upper", "size")
_HINT = (
    "Columns are id (or buffer, buffer_id), lower (or begin, start), upper (or end, included in "
    "the lifetime), size; and if wanted alignment, hint, gaps, offset"
)
# Nine cells as long as the csv module allows: what is longer is refused as a cell.
_LONGEST_LINE = 1 << 21
_MOST_DIGITS = 19  # 2**62 has 19
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_GAP = re.compile(r"(-?[0-9]{1,19})-(-?[0-9]{1,19})(?:@([0-9]{1,19}):([0-9]{1,19}))?", re.ASCII)


class _Columns(NamedTuple):
    """Where each column stands; -1 where it is absent. ``inclusive`` is added to ends of time."""

    id: int
    lower: int
    upper: int
    size: int
    alignment: int
    hint: int
    gaps: int
    offset: int
    inclusive: int


def read_csv(
    path: str | os.PathLike[str],
    memory: MemorySpace = MemorySpace(),  # noqa: B008
) -> PackingProblem:
    """Read buffers for one memory. A header without rows is a problem without buffers.

    Raises
    ------
    BadFileError
        If the file is missing, no regular file, too large or malformed. The message begins
        ``FILE:LINE:`` and says what is wrong there.
    """
    path = Path(path)
    with (
        open_regular(path, LARGEST_FILE_BYTES) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
    ):
        records = _records(text, path)
        line, header = next(records, (1, []))
        if not header:
            raise _fault(path, 1, f"the file is empty. {_HINT}")
        try:
            columns = _columns(header)
            buffers: list[Buffer] = []
            lines: list[int] = []
            gaps = 0
            for line, cells in records:
                if len(cells) != len(header):
                    raise ValueError(f"{len(cells)} cells under {len(header)} columns")
                buffer = _buffer(cells, columns)
                gaps += len(buffer.gaps)
                if gaps > MAX_GAPS:
                    raise ValueError(f"more than {MAX_GAPS:,} gaps in one file. Refused")
                buffers.append(buffer)
                lines.append(line)
        except ValueError as error:
            raise _fault(path, line, str(error)) from None
    try:
        return PackingProblem(tuple(buffers), (memory,))
    except UsageError as error:
        seen: dict[str, int] = {}
        for line, buffer in zip(lines, buffers, strict=True):
            if (fault := buffer_fault(buffer)) is not None:
                raise _fault(path, line, f"buffer {excerpt(buffer.name)}: {fault}") from None
            if (first := seen.setdefault(buffer.name, line)) != line:
                reason = f"id {excerpt(buffer.name)} is that of line {first:,} too"
                raise _fault(path, line, reason) from None
        raise BadFileError(f"{path}: {error}") from None


def ends_are_inclusive(path: str | os.PathLike[str]) -> bool:
    """Whether the last time of a lifetime is part of it: its column is ``end``, not ``upper``.

    Raises
    ------
    BadFileError
        If the header cannot be read, as for `read_csv`.
    """
    path = Path(path)
    with (
        open_regular(path, LARGEST_FILE_BYTES) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
    ):
        line, header = next(_records(text, path), (1, []))
        try:
            return bool(_columns(header).inclusive)
        except ValueError as error:
            raise _fault(path, line, str(error)) from None


def _fault(path: Path, line: int, reason: str) -> BadFileError:
    return BadFileError(f"{path}:{line}: {reason}.")


def _records(text: io.TextIOWrapper, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line, from 1, and cells of every record; empty lines are none."""
    reader = csv.reader(iter(partial(text.readline, _LONGEST_LINE), ""), strict=True)
    line = 1
    try:
        for cells in reader:
            if line > MAX_BUFFERS + 1:
                raise _fault(path, line, f"more than {MAX_BUFFERS:,} buffers. Refused")
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise _fault(path, line, f"not CSV: {error}") from None
    except UnicodeDecodeError:
        raise _undecodable(path) from None


def _undecodable(path: Path) -> BadFileError:
    """Find the line again: text is decoded in larger pieces."""
    with open_regular(path, LARGEST_FILE_BYTES) as file:
        for line, encoded in enumerate(file, 1):
            try:
                encoded.decode()
            except UnicodeDecodeError as error:
                return _fault(path, line, f"not UTF-8 text: byte {encoded[error.start]:#04x}")
    return _fault(path, 1, "not UTF-8 text")


def _columns(header: list[str]) -> _Columns:
    """Find the columns.

    Raises
    ------
    ValueError
        If one is missing, unknown or there twice.
    """
    names = [name.strip() for name in header]
    found: dict[str, int] = {}
    for place, name in enumerate(names):
        if "\0" in name:
            raise ValueError("a NUL byte: this is no text file")
        if name not in _COLUMNS:
            raise ValueError(f"column {excerpt(name)} is unknown. {_HINT}")
        if (first := found.setdefault(_COLUMNS[name], place)) != place:
            raise ValueError(f"columns {names[first]!r} and {name!r} both give {_COLUMNS[name]}")
    for name in _REQUIRED:
        if name not in found:
            raise ValueError(f"column {name!r} is missing. {_HINT}")
    places = (found.get(field, -1) for field in _Columns._fields[:-1])
    return _Columns(*places, inclusive=names[found["upper"]] == "end")


def _buffer(cells: list[str], columns: _Columns) -> Buffer:
    """Read one row.

    Raises
    ------
    ValueError
        If a cell is malformed.
    """
    label, lower, upper, size, alignment, hint, gaps, offset, inclusive = columns
    name = cells[label].strip()
    if "\0" in name:
        raise ValueError("id holds a NUL byte")
    return Buffer(
        name,
        _integer("lower", cells[lower]),
        _integer("upper", cells[upper]) + inclusive,
        _integer("size", cells[size]),
        1 if alignment < 0 else _integer("alignment", cells[alignment]),
        () if gaps < 0 else _gaps(cells[gaps], inclusive),
        None if offset < 0 else _integer_or_none("offset", cells[offset]),
        None if hint < 0 else _integer_or_none("hint", cells[hint]),
    )


def _integer(column: str, cell: str) -> int:
    if len(cell) < _MOST_DIGITS and cell.isascii() and cell.isdigit():
        return int(cell)
    text = cell.strip()
    if not text:
        raise ValueError(f"{column} is empty")
    if _INTEGER.fullmatch(text) is None:
        digits = text.removeprefix("-")
        large = digits.isascii() and digits.isdigit()
        reason = "is too large for 62 bits" if large else "is not an integer"
        raise ValueError(f"{column} {excerpt(text)} {reason}")
    return int(text)


def _integer_or_none(column: str, cell: str) -> int | None:
    """-1 stands for none."""
    if not cell.strip():
        raise ValueError(f"{column} is empty; -1 stands for none")
    value = _integer(column, cell)
    return None if value == -1 else value


def _gaps(cell: str, inclusive: int) -> tuple[Gap, ...]:
    gaps = []
    for text in cell.split():
        match = _GAP.fullmatch(text)
        if match is None:
            raise ValueError(
                f"gap {excerpt(text)} is malformed; gaps look like 3-5 or 3-5@0:64, with spaces "
                "between them"
            )
        lower, upper, begin, end = match.groups()
        window = None if begin is None else (int(begin), int(end))
        gaps.append(Gap(int(lower), int(upper) + inclusive, window))
    return tuple(gaps)
