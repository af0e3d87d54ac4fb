"""Names and values as C text: nothing that a model contains becomes code."""

from __future__ import annotations

import math
import re
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.export.c_names import c_prefix
from planner.export.c_text import (
    commented,
    distinct_identifiers,
    identifier,
    name_literal,
    signed,
    single,
    text_literal,
    width_of,
)

from .c_compiler import STRICT, compiler

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = [
    "*/ int main(void) { return 1; } /*",
    "??/",
    "a\\",
    'quote " and \\" end',
    "line\nbreak\r\n#include </etc/passwd>",
    "\x00\x1b[2J\u202e\U0001f600",
    "int",
    "",
    "9",
    "COUNT",
    "count",
    "*/*/**//",
    "%s%n",
    "x" * 9000,
    "??" * 4000,
]


@given(st.text())
def test_an_identifier_is_one(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_]{1,60}", identifier(name))
    assert re.fullmatch(r"[a-z][a-z0-9_]*", c_prefix(name))


@given(st.lists(st.sampled_from(["a", "A", "a_2", "a-2", "a_2_2", "count", "", "unnamed"])))
def test_identifiers_differ_and_none_is_the_count(names: list[str]) -> None:
    found = distinct_identifiers(names, upper=True)
    assert len({*found, "COUNT"}) == len(names) + 1


@given(st.text() | st.sampled_from(HOSTILE))
def test_a_comment_stays_one(text: str) -> None:
    shown = commented(text)
    assert (shown.isascii() and shown.isprintable()) or not shown
    assert not any(ending in shown for ending in ("*/", "/*", "??"))


def test_the_compiler_reads_back_what_was_written(tmp_path: Path) -> None:
    """Strings, integers and floats at their limits, and hostile text in comments and names."""
    integers = [0, -1, 1 << 31, -(1 << 63), (1 << 63) - 1]
    reals = [0.1, -0.0, 1e-45, 3.4028234663852886e38, math.inf, -math.inf, 1 / 3]
    reals = [struct.unpack("f", struct.pack("f", real))[0] for real in reals]
    texts = [text.encode("utf-8", "replace").decode() for text in HOSTILE if len(text) < 4096]
    source = "\n".join(
        [
            "#include <stdint.h>",
            "#include <stdio.h>",
            *(f"/* {commented(text)} */" for text in HOSTILE),
            f"static const int64_t integers[] = {{{', '.join(map(signed, integers))}}};",
            f"static const float reals[] = {{{', '.join(map(single, [*reals, math.nan]))}}};",
            f"static const char *const texts[] = {{{', '.join(map(text_literal, texts))}}};",
            f"static const char *const names[] = {{{', '.join(map(name_literal, HOSTILE))}}};",
            "int main(void)",
            "{",
            f"    fwrite(integers, 8, {len(integers)}, stdout);",
            f"    fwrite(reals, 4, {len(reals)}, stdout);",
            *(
                f"    fwrite(texts[{at}], 1, {len(text.encode())}, stdout);"
                for at, text in enumerate(texts)
            ),
            f"    return names[{len(HOSTILE) - 1}] == 0"
            f" || reals[{len(reals)}] == reals[{len(reals)}];",
            "}",
            "",
        ]
    )
    (tmp_path / "t.c").write_text(source)
    command = [compiler(), *STRICT, "t.c", "-o", "t"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    printed = subprocess.run([tmp_path / "t"], capture_output=True, timeout=60)
    assert printed.returncode == 0
    wanted = struct.pack(f"={len(integers)}q{len(reals)}f", *integers, *reals)
    assert printed.stdout == wanted + b"".join(text.encode() for text in texts)


@pytest.mark.parametrize(
    ("largest", "bits"), [(0, 8), (255, 8), (256, 16), (65535, 16), (65536, 32), (1 << 32, 64)]
)
def test_widths_grow_with_the_numbers(largest: int, bits: int) -> None:
    assert width_of(largest) == f"uint{bits}_t"
