"""What docs/packing.md shows can be typed, and gives what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import planner
from frontends.buffers import load_buffers
from planner.cli.main import build_parser
from planner.packing.file import packing_from_json
from planner.registry import SOLVERS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "packing.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"the page shows no {language}"
    return found


def test_the_calls_run() -> None:
    for block in blocks("python"):
        shown: dict[str, planner.PackResult] = {}
        exec(block, shown)
        assert shown["result"].height_bytes <= 1024


def test_the_first_call_gives_what_its_comment_says() -> None:
    result = planner.pack([(0, 3, 4096), (1, 5, 1024)])
    assert f"result.offsets  # {result.offsets}\n" in blocks("python")[0]


def test_the_json_is_one_that_can_be_packed() -> None:
    (block,) = blocks("json")
    result = planner.pack(packing_from_json(block).problem)
    assert result.status.value == "optimal"


def test_the_csv_is_one_that_can_be_packed(tmp_path: Path) -> None:
    (block,) = (block for block in blocks("text") if block.startswith("id,"))
    path = tmp_path / "shown.csv"
    path.write_text(block)
    problem = load_buffers(path)
    assert [buffer.offset for buffer in problem.buffers] == [0, None, None]
    result = planner.pack(problem)
    assert (result.height_bytes, result.moved) == (832, 0)


@pytest.mark.parametrize("line", re.findall(r"^plan .*?(?=   |$)", PAGE, re.MULTILINE))
def test_the_commands_are_ones_that_the_parser_takes(line: str) -> None:
    build_parser().parse_args(line.split()[1:])


def test_every_solver_and_every_key_of_the_result_is_named() -> None:
    shown = planner.pack([(0, 1, 1)]).to_json()
    keys = {*shown, *shown["memories"][0], *shown["solvers"][0]}
    assert not [
        word for word in (*SOLVERS["offsets"], *keys) if not re.search(rf"\b{word}\b", PAGE)
    ]
