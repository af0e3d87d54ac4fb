"""docs/malloc_game.md: its example runs, and its table covers all that is seen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from solvers._native import MAPPING_GAME_FEATURES

if TYPE_CHECKING:
    import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "malloc_game.md"


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert code is not None
    exec(compile(code[1], str(DOCUMENT), "exec"), {})
    assert "of what could be gained" in capsys.readouterr().out


def test_every_number_that_is_seen_is_documented() -> None:
    covered: list[int] = []
    for cell in re.findall(r"^\| ([\d, -]+) \|", DOCUMENT.read_text(), re.MULTILINE):
        for part in cell.split(", "):
            first, _, last = part.partition("-")
            covered += range(int(first), int(last or first) + 1)
    assert covered[-MAPPING_GAME_FEATURES:] == list(range(MAPPING_GAME_FEATURES))
