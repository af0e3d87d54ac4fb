"""Untrusted JSON objects: every value is checked when it is read, and errors name its place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

from planner.errors import BadFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from enum import StrEnum

LARGEST_INTEGER = (1 << 53) - 1

Choice = TypeVar("Choice", bound="StrEnum")
Item = TypeVar("Item")


class Fields:
    """A JSON object whose errors name the file, the field and the value."""

    def __init__(self, values: Any, file: str, where: str) -> None:
        self.file = file
        self.where = where
        if not isinstance(values, dict):
            raise BadFileError(f"{file}: {where or 'the document'} is not an object.")
        self.values: dict[str, Any] = values

    def error(self, key: str, text: str) -> BadFileError:
        """Return the error that names a key of this object."""
        return BadFileError(f"{self.file}: {self.where}{'.' if self.where else ''}{key}: {text}")

    def only(self, *keys: str, optional: tuple[str, ...] = ()) -> None:
        """Require the keys and refuse others, ``x-`` keys apart."""
        for key in keys:
            if key not in self.values:
                raise self.error(key, "missing.")
        if len(self.values) > len(keys):
            for key in self.values:
                if key not in keys and key not in optional and not key.startswith("x-"):
                    raise self.error(key, "unknown field.")

    def _typed(self, key: str, kind: type[Item], name: str) -> Item:
        value = self.values[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"{excerpt(value)} is not {name}.")
        return value

    def text(self, key: str) -> str:
        """Read a string."""
        return self._typed(key, str, "text")

    def texts(self, key: str) -> Iterator[str]:
        """Read a list of strings, one by one."""
        for index, value in enumerate(self._typed(key, list, "a list")):
            if not isinstance(value, str):
                raise self.error(f"{key}[{index}]", f"{excerpt(value)} is not text.")
            yield value

    def flag(self, key: str) -> bool:
        """Read a boolean."""
        return self._typed(key, bool, "true or false")

    def integer(self, key: str, least: int = 0, most: int = LARGEST_INTEGER) -> int:
        """Read an integer within limits."""
        value = self._typed(key, int, "an integer")
        if not least <= value <= most:
            raise self.error(key, f"{value:,} is outside {least:,} to {most:,}.")
        return value

    def integer_or_null(self, key: str) -> int | None:
        """Read an integer of at least 0, or null."""
        return None if self.values[key] is None else self.integer(key)

    def seconds(self, key: str) -> float:
        """Read a finite number of at least 0."""
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, f"{excerpt(value)} is not a number.")
        if not 0 <= value <= LARGEST_INTEGER or not math.isfinite(value):
            raise self.error(key, f"{value:g} is not a finite, positive number of seconds.")
        return float(value)

    def seconds_or_null(self, key: str) -> float | None:
        """Read seconds, or null."""
        return None if self.values[key] is None else self.seconds(key)

    def choice(self, key: str, choices: type[Choice]) -> Choice:
        """Read one of the values of an enumeration."""
        value = self.text(key)
        try:
            return choices(value)
        except ValueError:
            raise self.error(key, f"{value!r} is none of {', '.join(choices)}.") from None

    def object(self, key: str) -> Fields:
        """Read an object."""
        return Fields(self.values[key], self.file, f"{self.where}.{key}" if self.where else key)

    def entries(self, key: str) -> Iterator[Fields]:
        """Read a list of objects, one by one."""
        prefix = f"{self.where}.{key}" if self.where else key
        for index, value in enumerate(self._typed(key, list, "a list")):
            yield Fields(value, self.file, f"{prefix}[{index}]")

    def mapping(self, key: str, read: Callable[[Fields, str], Item]) -> dict[str, Item]:
        """Read an object whose keys are free and whose values are read alike."""
        fields = self.object(key)
        return {name: read(fields, name) for name in fields.values}


def require_format(root: Fields, name: str, *versions: int) -> None:
    """Refuse documents of another format or version."""
    if root.values.get("format") != name:
        raise root.error("format", f'{excerpt(root.values.get("format"))} is not "{name}".')
    if "version" not in root.values:
        raise root.error("version", "missing.")
    if root.integer("version") not in versions:
        read = " and ".join(map(str, versions))
        raise root.error(
            "version", f"{root.integer('version')}. This planner reads version {read}."
        )


def excerpt(value: Any) -> str:
    """Show the beginning of a value in a message."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
