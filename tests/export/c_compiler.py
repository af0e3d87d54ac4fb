"""The system's C compiler, as strict as it gets and with sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiler() -> str:
    """Return the compiler, or skip the test."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return name
    pytest.skip("there is no C compiler here: the exported C is not compiled")


def build(folder: Path, sources: Sequence[str], *options: str) -> Path:
    """Compile the sources of a folder into a program; the test fails on any warning."""
    program = folder / "program"
    command = [compiler(), *STRICT, *SANITIZERS, *options, *sources, "-lm", "-o", str(program)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[:4000]
    return program


def execute(program: Path, *arguments: str) -> str:
    """Run a program; the test fails where a sanitizer or the program itself complains."""
    # Addresses that nobody can reach are no leaks of the exported code, which has no heap.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(
        [str(program), *arguments],
        cwd=program.parent,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-4000:])
    return done.stdout
