"""COSTS.csv: what one microbatch costs on each stage, as exact decimals."""

from __future__ import annotations

import csv
import io
import re
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import BadFileError
from planner.regular_file import read_regular

if TYPE_CHECKING:
    import os

_LARGEST_FILE_BYTES = 1 << 24
_MOST_ROWS = 1 << 13
_LONGEST_CELL = 64
# A day per pass, and bytes that JSON can count, are more than anybody has.
_LONGEST_S = 86_400
_MOST_BYTES = (1 << 53) - 1

_UNITS = {
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "us": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}
_TIMES = ("forward", "backward", "weight", "communication", "gather", "reduce")
_REQUIRED = ("forward", "backward", "weight", "activation_bytes")
_BYTES = ("activation_bytes", "kept_bytes", "parameter_bytes", "gradient_bytes")
_SHARDED = ("gather", "parameter_bytes")
_DECIMAL = re.compile(r"\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,2})?|\.\d{1,30}", re.ASCII)


class CostRow(NamedTuple):
    """One row: seconds, exactly, and bytes. See `read_costs`.

    Attributes
    ----------
    gather, reduce, parameter_bytes, gradient_bytes
        None where the weights are not sharded.
    """

    forward: Fraction
    backward: Fraction
    weight: Fraction
    communication: Fraction
    activation_bytes: int
    kept_bytes: int
    gather: Fraction | None = None
    reduce: Fraction | None = None
    parameter_bytes: int | None = None
    gradient_bytes: int | None = None


def read_costs(path: str | os.PathLike[str]) -> tuple[CostRow, ...]:
    """Read a file of costs.

    The first line names the columns, in any order: ``forward``, ``backward``, ``weight`` and,
    optionally, ``communication`` (0) as ``forward_s``, ``forward_ms``, ``forward_us`` or
    ``forward_ns``; ``activation_bytes`` and, optionally, ``kept_bytes`` (as many: what the
    gradient of the weights needs is not known, so all of it is held until then). For sharded
    weights ``gather`` with a unit and ``parameter_bytes``, and optionally ``reduce`` (as
    ``gather``) and ``gradient_bytes`` (as ``parameter_bytes``).

    Raises
    ------
    BadFileError
        If the file is missing, too large, no CSV, or if a column or a number makes no sense; the
        message names the line and the column.
    """
    return parse_costs(read_regular(path, _LARGEST_FILE_BYTES), Path(path).name)


def parse_costs(data: bytes, file: str) -> tuple[CostRow, ...]:
    """Read the bytes of such a file; ``file`` names it in messages. See `read_costs`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFileError(f"{file}: not UTF-8 text.") from None
    if "\0" in text:
        raise BadFileError(f"{file}: not a text file.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[CostRow] = []
    columns: list[_Column] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = _columns(cells, file)
                continue
            if len(rows) >= _MOST_ROWS:
                raise BadFileError(f"{file}: more than {_MOST_ROWS:,} stages. Refused.")
            rows.append(_row(columns, cells, f"{file}:{reader.line_num}"))
    except csv.Error as error:
        raise BadFileError(f"{file}:{reader.line_num}: {error}.") from None
    if not columns:
        raise BadFileError(f"{file}: empty. The first line must name the columns: {_wanted()}.")
    if not rows:
        raise BadFileError(f"{file}: no stages below the line that names the columns.")
    return tuple(rows)


def parse_time(text: str) -> Fraction:
    """Read a time with its unit, exactly, in seconds: ``1.5ms``.

    Raises
    ------
    ValueError
        If it is malformed, negative or more than a day.
    """
    amount = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text.strip()[len(amount) :]
    if unit not in _UNITS or not _DECIMAL.fullmatch(amount.strip()):
        raise ValueError(f"{text[:_LONGEST_CELL]!r} is no time, as 1.5ms is (s, ms, us or ns)")
    time = Fraction(amount.strip()) * _UNITS[unit]
    if time > _LONGEST_S:
        raise ValueError(f"{text[:_LONGEST_CELL]!r} is more than a day")
    return time


class _Column(NamedTuple):
    """A column's heading, the field it fills, and of times the unit in seconds."""

    heading: str
    field: str
    unit: Fraction | None


def _wanted() -> str:
    return "forward_ms, backward_ms, weight_ms, activation_bytes (or _s, _us, _ns)"


def _columns(cells: list[str], file: str) -> list[_Column]:
    columns: list[_Column] = []
    for cell in cells:
        heading = cell.strip()
        name, _, unit = heading.rpartition("_")
        if name in _TIMES and unit in _UNITS:
            column = _Column(heading, name, _UNITS[unit])
        elif heading in _BYTES:
            column = _Column(heading, heading, None)
        elif heading in _TIMES:
            raise BadFileError(
                f"{file}:1: column {heading!r} has no unit. Call it {heading}_s, {heading}_ms, "
                f"{heading}_us or {heading}_ns."
            )
        else:
            raise BadFileError(
                f"{file}:1: unknown column {heading[:_LONGEST_CELL]!r}. There are "
                f"{', '.join(_TIMES)} with _s, _ms, _us or _ns, and {', '.join(_BYTES)}."
            )
        for other in columns:
            if other.field == column.field:
                raise BadFileError(
                    f"{file}:1: columns {other.heading!r} and {heading!r} say the same."
                )
        columns.append(column)
    have = {column.field for column in columns}
    if missing := [name for name in _REQUIRED if name not in have]:
        raise BadFileError(f"{file}:1: no column for {', '.join(missing)}. Needed are {_wanted()}.")
    sharded = have & {"gather", "reduce", "parameter_bytes", "gradient_bytes"}
    if sharded and (missing := [name for name in _SHARDED if name not in have]):
        raise BadFileError(
            f"{file}:1: {', '.join(sorted(sharded))} without {', '.join(missing)}: sharded weights "
            "need both gather and parameter_bytes."
        )
    return columns


def _row(columns: list[_Column], cells: list[str], where: str) -> CostRow:
    if len(cells) != len(columns):
        raise BadFileError(f"{where}: {len(cells):,} cells in {len(columns):,} columns.")
    values: dict[str, Fraction] = {}
    for column, cell in zip(columns, cells, strict=True):
        values[column.field] = _number(column, cell.strip(), where)
    sizes = {name: int(values[name]) for name in _BYTES if name in values}
    kept = sizes.setdefault("kept_bytes", sizes["activation_bytes"])
    if kept > sizes["activation_bytes"]:
        raise BadFileError(
            f"{where}: kept_bytes {kept:,} are part of activation_bytes, "
            f"{sizes['activation_bytes']:,}, and cannot be more."
        )
    sharded = "gather" in values
    return CostRow(
        values["forward"],
        values["backward"],
        values["weight"],
        values.get("communication", Fraction(0)),
        sizes["activation_bytes"],
        kept,
        values.get("gather"),
        values.get("reduce", values.get("gather")),
        sizes.get("parameter_bytes"),
        sizes.get("gradient_bytes", sizes["parameter_bytes"]) if sharded else None,
    )


def _number(column: _Column, cell: str, where: str) -> Fraction:
    shown = cell if len(cell) <= _LONGEST_CELL else f"{cell[:_LONGEST_CELL]}..."
    if cell.startswith("-") and _DECIMAL.fullmatch(cell[1:]):
        raise BadFileError(f"{where}: {column.heading}: {shown} is negative.")
    if not _DECIMAL.fullmatch(cell):
        what = "empty" if not cell else f"{shown!r} is not a decimal number"
        raise BadFileError(f"{where}: {column.heading}: {what}.")
    value = Fraction(cell)
    if column.unit is None:
        if value.denominator != 1:
            raise BadFileError(f"{where}: {column.heading}: {shown} is no whole number of bytes.")
        if value > _MOST_BYTES:
            raise BadFileError(f"{where}: {column.heading}: {shown} bytes are more than 2^53.")
        return value
    value *= column.unit
    if value > _LONGEST_S:
        raise BadFileError(f"{where}: {column.heading}: {shown} is more than a day.")
    return value
