"""Names and values as C99 text. Names come from models: whoever wrote those may mean harm."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from planner.export.minimalloc import distinct_names
from planner.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST_TEXT = 4095
"""Bytes of a string literal that every C99 compiler takes."""

_LONGEST_IDENTIFIER = 60
_LONGEST_NAME = 160
_WIDTH = 100


def identifier(name: str) -> str:
    """Return a name as the tail of a C identifier: letters, digits and single underscores."""
    tail = re.sub("[^0-9A-Za-z]+", "_", name[: 4 * _LONGEST_IDENTIFIER]).strip("_")
    return tail[:_LONGEST_IDENTIFIER].rstrip("_") or "unnamed"


def distinct_identifiers(names: Iterable[str], *, upper: bool = False) -> list[str]:
    """Return identifiers that differ, none of them ``COUNT``."""
    tails = [identifier(name) for name in names]
    return distinct_names(["COUNT", *(tail.upper() if upper else tail for tail in tails)])[1:]


def commented(text: str) -> str:
    """Return text that cannot end a comment, begin one or join lines: plain ASCII on one line."""
    plain = printable(text, _LONGEST_NAME).encode("ascii", "backslashreplace").decode()
    return re.sub(r"\*(?=/)|/(?=\*)|\?(?=\?)", r"\g<0> ", plain)


def name_literal(name: str) -> str:
    """Return a string literal of a name, printable and shortened in the middle if it is long."""
    return text_literal(printable(name, _LONGEST_NAME))


def text_literal(text: str) -> str:
    """Return a string literal of the UTF-8 bytes; a question mark could begin a trigraph."""
    return '"' + "".join(_escaped(byte) for byte in text.encode("utf-8", "replace")) + '"'


def _escaped(byte: int) -> str:
    if chr(byte) in '"\\?':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"


def unsigned(value: int) -> str:
    """Return an unsigned literal."""
    return f"{value}u" if value < 1 << 32 else f"{value}ull"


def signed(value: int) -> str:
    """Return a literal of 64 bits; the least of them has none of its own."""
    if value == -(1 << 63):
        return "-9223372036854775807ll - 1"
    return str(value) if abs(value) < 1 << 31 else f"{value}ll"


def single(value: float) -> str:
    """Return a literal of 32 bits that reads back as the same number."""
    if math.isnan(value):
        return "0.0f / 0.0f"
    if math.isinf(value):
        return f"{'-' if value < 0 else ''}1.0f / 0.0f"
    return f"{np.float32(value)!s}f"


def double(value: float) -> str:
    """Return a literal of 64 bits that reads back as the same number."""
    return repr(value) if math.isfinite(value) else single(value).replace("f", "")


ELEMENTS = {
    "float32": ("float", single),
    "float64": ("double", double),
    "bool": ("uint8_t", lambda value: str(int(value))),
    **{
        f"{sign}int{bits}": (f"{sign}int{bits}_t", integer)
        for sign, integer in (("", signed), ("u", unsigned))
        for bits in (8, 16, 32, 64)
    },
}
"""Element types that every C compiler has: their type, and how a number of it is written."""


def width_of(largest: int) -> str:
    """Return the narrowest unsigned type for numbers up to the largest."""
    bits = next(bits for bits in (8, 16, 32, 64) if largest < 1 << bits)
    return f"uint{bits}_t"


def wrapped(items: Sequence[str], indent: str = "    ") -> str:
    """Return the items with commas between them, in lines of at most 100 characters."""
    lines, line = [], indent
    for item in items:
        if line != indent and len(line) + len(item) + 1 > _WIDTH:
            lines.append(line.rstrip())
            line = indent
        line += f"{item}, "
    return "\n".join([*lines, line.rstrip()])
