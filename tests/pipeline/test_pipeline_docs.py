"""What docs/pipeline.md shows can be typed, and gives what it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import planner
from planner.cli.main import main
from planner.pipelining.contest import FALLBACK
from planner.pipelining.costs import VocabularyTimes
from planner.pipelining.files.costs_file import _BYTES, _TIMES, parse_costs
from planner.pipelining.race import solver_names

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parent.parent.parent / "docs" / "pipeline.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^plan .*?(?=   |$)", PAGE, re.MULTILINE)


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"the page shows no {language}"
    return found


def the_costs() -> str:
    (block,) = (block for block in blocks("text") if block.startswith("forward_ms,"))
    return block


def test_the_call_runs() -> None:
    (block,) = blocks("python")
    shown: dict[str, planner.PipelineResult] = {}
    exec(block, shown)
    assert shown["result"].status in ("optimal", "feasible")


def test_the_costs_can_be_read() -> None:
    assert len(parse_costs(the_costs().encode(), "costs.csv")) == 4


def test_every_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the page: some read what others write."""
    monkeypatch.chdir(tmp_path)
    Path("costs.csv").write_text("\n".join(the_costs().splitlines()[:2]) + "\n")
    Path("theirs.csv").write_text("0F0,0B0\n1F0,1B0\n")
    models = Path(__file__).parent.parent.parent / "examples" / "models"
    shutil.copy(models / "resnet8.onnx", "model.onnx")
    assert len(COMMANDS) >= 10
    for command in COMMANDS:
        given = command.split()[1:]
        # What is shown is the command; the searches have tests of their own.
        if "--schedule" not in given:
            given += ["--solver", FALLBACK]
        assert main([*given, "--time-limit", "0.3"]) == 0, command
        assert '"checked": true' in (out := capsys.readouterr().out) or "legal" in out


def test_columns_keys_and_words_are_all_named() -> None:
    shown = planner.pipeline(
        [planner.StageCosts(1, 1, 1, 1, 1)], devices=1, microbatches=1, time_limit=1
    ).to_json()
    keys = {*shown, *shown["contenders"][0], *shown["bounds"][0]}
    words = (*keys, *_TIMES, *_BYTES, *VocabularyTimes._fields, FALLBACK)
    assert not [word for word in words if not re.search(rf"\b{word}\b", PAGE)]
    assert FALLBACK in solver_names()
