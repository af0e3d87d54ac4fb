"""Reads targets from TOML: those shipped with the package, by name, or the user's own files."""

from __future__ import annotations

import math
import os
import re
import tomllib
from decimal import Decimal
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import BadFileError, UsageError
from planner.measured import MeasuredCosts, OperatorFit
from planner.target import Compute, Link, Memory, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.resources.abc import Traversable

_LARGEST_FILE_BYTES = 1 << 22
_LARGEST_SIZE_BYTES = (1 << 53) - 1
_UNITS = {
    "": 1,
    "b": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([A-Za-z]*)", re.ASCII)

_TARGET_KEYS = (
    "name",
    "description",
    "operands_resident",
    "io_memory",
    "constant_memory",
    "memory",
    "link",
    "compute",
)
_MEMORY_KEYS = (
    "name",
    "capacity",
    "alignment",
    "read_bandwidth",
    "write_bandwidth",
    "latency_s",
    "writable",
)
_LINK_KEYS = ("from", "to", "bandwidth", "setup_s", "channels", "fifo")
_COMPUTE_KEYS = ("mac_rate", "vector_rate", "launch_overhead_s", "measured")
_MEASURED_KEYS = ("source", "seconds", "fits")
_FIT_KEYS = ("overhead_s", "mac_rate", "vector_rate", "bandwidth")
_ELEMENT_TYPE = re.compile(r"default|bool|string|(?:u?int|b?float|complex)\d+[a-z0-9]*", re.ASCII)


def parse_size(value: int | str) -> int:
    """Read a size in bytes: an integer, or text such as ``256KiB``, ``8GB`` or ``4096``.

    ``KiB``, ``MiB``, ... are powers of 1,024; ``kB``, ``MB``, ... are powers of 1,000.

    Raises
    ------
    UsageError
        If it is malformed, negative, not a whole number of bytes, or above 2^53.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise UsageError(f"size {value!r}: give bytes as an integer or as text like 256KiB.")
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip().replace("_", ""))
        unit = match[2].lower() if match else ""
        if unit in ("k", "m", "g", "t"):
            raise UsageError(
                f"size {value!r}: say {unit.upper()}iB (powers of 1,024) or {unit.upper()}B "
                "(powers of 1,000)."
            )
        if match is None or unit not in _UNITS:
            raise UsageError(f"size {value!r}: give bytes, or a number with KiB, MiB, GiB, MB, GB.")
        amount = Decimal(match[1]) * _UNITS[unit]
        if amount != int(amount):
            raise UsageError(f"size {value!r} is not a whole number of bytes.")
        value = int(amount)
    if value < 0:
        raise UsageError(f"size {value:,}: must not be negative.")
    if value > _LARGEST_SIZE_BYTES:
        raise UsageError(f"size {value:,}: more than {_LARGEST_SIZE_BYTES:,} bytes.")
    return value


def target_names() -> list[tuple[str, str]]:
    """Names and descriptions of the shipped targets, sorted by name."""
    return [
        (name, _parse(source.read_bytes(), source.name).description)
        for name, source in sorted(_shipped().items())
    ]


def read_target(name_or_path: str | os.PathLike[str]) -> Target:
    """Read a target.

    Parameters
    ----------
    name_or_path : str or path
        Name of a shipped target, or a file whose name ends in ``.toml``.

    Raises
    ------
    UsageError
        If no shipped target has that name.
    BadFileError
        If the file is missing, too large, or breaks a rule of the format; the message names the
        file, the field and the value.
    """
    if isinstance(name_or_path, os.PathLike) or name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        try:
            with path.open("rb") as stream:
                data = stream.read(_LARGEST_FILE_BYTES + 1)
        except OSError as error:
            raise BadFileError(f"{path}: {error.strerror or error}.") from None
        return _parse(data, path.name)
    shipped = _shipped()
    if name_or_path in shipped:
        source = shipped[name_or_path]
        return _parse(source.read_bytes(), source.name)
    close = get_close_matches(name_or_path, shipped, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise UsageError(
        f"no target {name_or_path!r}. There are: {', '.join(sorted(shipped))}; or give a .toml "
        f"file.{hint}"
    )


def _shipped() -> dict[str, Traversable]:
    folder = files("planner").joinpath("targets")
    return {
        entry.name.removesuffix(".toml"): entry
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }


def _parse(data: bytes, file: str) -> Target:
    if len(data) > _LARGEST_FILE_BYTES:
        raise BadFileError(f"{file}: larger than {_LARGEST_FILE_BYTES:,} bytes. Refused.")
    try:
        table = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadFileError(f"{file}: not a TOML file: {error}.") from None
    except ValueError as error:  # tomllib passes on what int() says of over-long integers
        raise BadFileError(f"{file}: {error}.") from None
    target = target_from_table(table, file)
    _require_rates(target, file)
    return target


def target_from_table(values: Mapping[str, Any], file: str, where: str = "") -> Target:
    """Build a target from the tables of a target file.

    Parameters
    ----------
    values : mapping
        As read from TOML.
    file, where : str
        File and table, for error messages.

    Raises
    ------
    BadFileError
        If a field is unknown, missing or wrong.
    """
    root = _Table(values, file, where)
    root.allow(_TARGET_KEYS)
    memories = tuple(_memory(entry) for entry in root.tables("memory"))
    if not memories:
        raise root.error("memory", "missing. Give at least one [[memory]], nearest first.")
    names = [memory.name for memory in memories]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise BadFileError(
                f'{file}: memory "{name}" is declared twice (entries {names.index(name) + 1} and '
                f"{index + 1}). Names must be unique."
            )
    links = tuple(_link(entry, names) for entry in root.tables("link"))
    _require_distinct(links, file)
    io_memory = _memory_name(root, "io_memory", names, names[0])
    for field, name in (("memory 1", names[0]), ("io_memory", io_memory)):
        if not memories[names.index(name)].writable:
            raise root.error(field, f'"{name}" is not writable. Operators write there.')
    compute = _compute(root.table("compute")) if "compute" in values else None
    operands_resident = root.flag("operands_resident", True)
    if compute is not None and compute.measured is not None and not operands_resident:
        raise root.error(
            "compute.measured",
            "times of operands in the nearest memory. They say nothing where operands_resident is "
            "false.",
        )
    return Target(
        name=root.text("name", Path(file).stem),
        memories=memories,
        links=links,
        compute=compute,
        operands_resident=operands_resident,
        io_memory=io_memory,
        constant_memory=_memory_name(root, "constant_memory", names, names[-1]),
        description=root.text("description", ""),
    )


class _Table:
    """A TOML table whose errors name the file, the field and the value."""

    def __init__(self, values: Mapping[str, Any], file: str, where: str) -> None:
        self.values = values
        self.file = file
        self.where = where

    def error(self, key: str, text: str) -> BadFileError:
        field = f"{self.where}.{key}" if self.where else key
        return BadFileError(f"{self.file}: {field}: {text}")

    def allow(self, keys: Sequence[str]) -> None:
        for key in self.values:
            if key not in keys:
                close = get_close_matches(key, keys, n=1)
                hint = f" Did you mean {close[0]}?" if close else f" Known: {', '.join(keys)}."
                raise self.error(key, f"unknown field.{hint}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self.values.get(key, default)
        if value is None:
            raise self.error(key, "missing.")
        if not isinstance(value, str) or not value.isprintable():
            raise self.error(key, f"{value!r} is not a line of text.")
        if default is None and not value:
            raise self.error(key, "must not be empty.")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"{value!r} is neither true nor false.")
        return value

    def integer(self, key: str, default: int) -> int:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(key, f"{value!r} is not a positive integer.")
        return value

    def size(self, key: str) -> int:
        try:
            return parse_size(self.values[key])
        except UsageError as error:
            raise self.error(key, str(error)) from None

    def number(self, key: str, default: float | None = None, *, positive: bool = True) -> float:
        value = self.values.get(key, default)
        if value is None:
            raise self.error(key, "missing.")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, f"{value!r} is not a number.")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or number < 0 or (positive and number == 0):
            wanted = "positive" if positive else "zero or positive"
            raise self.error(key, f"{number!r}: must be finite and {wanted}.")
        return number

    def table(self, key: str) -> _Table:
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, f"must be a table, [{key}].")
        return _Table(value, self.file, f"{self.where}.{key}" if self.where else key)

    def tables(self, key: str) -> list[_Table]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self.error(key, f"must be a list of tables, [[{key}]].")
        return [_Table(entry, self.file, f"{key} {i}") for i, entry in enumerate(value, 1)]


def _memory(table: _Table) -> Memory:
    table.allow(_MEMORY_KEYS)
    name = table.text("name")
    alignment = table.size("alignment") if "alignment" in table.values else 1
    if alignment < 1 or alignment & (alignment - 1):
        raise BadFileError(
            f'{table.file}: memory "{name}" has alignment {alignment:,}, which is not a power of '
            "two."
        )

    def bandwidth(key: str) -> float | None:
        return table.number(key) if key in table.values else None

    return Memory(
        name=name,
        capacity_bytes=table.size("capacity") if "capacity" in table.values else None,
        alignment_bytes=alignment,
        read_bandwidth=bandwidth("read_bandwidth"),
        write_bandwidth=bandwidth("write_bandwidth"),
        latency_s=table.number("latency_s", 0.0, positive=False),
        writable=table.flag("writable", True),
    )


def _link(table: _Table, names: Sequence[str]) -> Link:
    table.allow(_LINK_KEYS)
    source = _memory_name(table, "from", names)
    destination = _memory_name(table, "to", names)
    if source == destination != names[0]:
        raise table.error(
            "to",
            f'"{destination}" is also where the link comes from. Only the nearest memory, '
            f'"{names[0]}", can have a link to itself.',
        )
    return Link(
        source=source,
        destination=destination,
        bandwidth=table.number("bandwidth"),
        setup_s=table.number("setup_s", 0.0, positive=False),
        channels=table.integer("channels", 1),
        fifo=table.flag("fifo", True),
    )


def _memory_name(table: _Table, key: str, names: Sequence[str], default: str | None = None) -> str:
    name = table.text(key, default)
    if name not in names:
        raise table.error(key, f'no memory "{name}". There are: {", ".join(names)}.')
    return name


def _require_distinct(links: Sequence[Link], file: str) -> None:
    seen: set[tuple[str, str]] = set()
    for index, link in enumerate(links, 1):
        ends = (link.source, link.destination)
        if ends in seen:
            raise BadFileError(
                f"{file}: link {index}: {link.source} to {link.destination} is declared twice. "
                "Use channels for copies that run at once."
            )
        seen.add(ends)


def _compute(table: _Table) -> Compute:
    table.allow(_COMPUTE_KEYS)
    rates = table.table("mac_rate")
    for key in rates.values:
        if not _ELEMENT_TYPE.fullmatch(key):
            raise rates.error(key, "no element type. Use int8, float16, ... or default.")
    return Compute(
        mac_rate={key: rates.number(key) for key in rates.values},
        vector_rate=table.number("vector_rate", 0.0, positive=False),
        launch_overhead_s=table.number("launch_overhead_s", 0.0, positive=False),
        measured=_measured(table.table("measured")) if "measured" in table.values else None,
    )


def _measured(table: _Table) -> MeasuredCosts:
    table.allow(_MEASURED_KEYS)
    seconds, fits = table.table("seconds"), table.table("fits")
    return MeasuredCosts(
        source=table.text("source", ""),
        seconds={key: seconds.number(key, positive=False) for key in seconds.values},
        fits={key: _fit(fits.table(key)) for key in fits.values},
    )


def _fit(table: _Table) -> OperatorFit:
    table.allow(_FIT_KEYS)

    def rate(key: str) -> float | None:
        return table.number(key) if key in table.values else None

    return OperatorFit(
        overhead_s=table.number("overhead_s", 0.0, positive=False),
        mac_rate=rate("mac_rate"),
        vector_rate=rate("vector_rate"),
        bandwidth=rate("bandwidth"),
    )


def _require_rates(target: Target, file: str) -> None:
    """Refuse a [compute] table without everything that a simulated time needs."""
    if target.compute is None:
        return
    missing = []
    if "default" not in target.compute.mac_rate:
        missing.append("compute.mac_rate.default (multiply-accumulates per second)")
    if not target.compute.vector_rate:
        missing.append("compute.vector_rate (element operations per second)")
    for index, memory in enumerate(target.memories, 1):
        if memory.read_bandwidth is None:
            missing.append(f"memory {index}.read_bandwidth (bytes per second)")
        if memory.writable and memory.write_bandwidth is None:
            missing.append(f"memory {index}.write_bandwidth (bytes per second)")
    if missing:
        raise BadFileError(f"{file}: with [compute], give also {', '.join(missing)}.")
