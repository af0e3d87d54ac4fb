from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .buffer_files import EASY

if TYPE_CHECKING:
    from pathlib import Path

    from .buffer_files import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str = EASY, name: str = "easy.csv") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write
