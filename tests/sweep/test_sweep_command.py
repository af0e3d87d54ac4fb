"""``plan solve`` with a range of capacities, as users and their scripts see it."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from planner.cli.main import main

RESNET8 = str(Path(__file__).parents[2] / "examples" / "models" / "resnet8.onnx")
SCHEMA = json.loads(files("planner").joinpath("schema", "sweep.schema.json").read_text())
RANGE = ["-t", "npu-1m", "--memory", "sram=64KiB:1MiB"]


def test_the_table_has_a_row_for_each_point(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([RESNET8, *RANGE]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert any(line.startswith("needs     131,072 B") for line in lines)
    assert any(line.startswith("traffic   none from 196,608 B") for line in lines)
    rows = [line for line in lines if line.lstrip()[:1].isdigit()]
    assert "does not fit" in rows[0] and rows[0].split()[0] == "65,536"
    assert rows[-1].split()[0] == "1,048,576" and "optimal" in rows[-1]
    assert captured.err == ""


def test_json_is_one_object_of_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", RESNET8, *RANGE, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    jsonschema.validate(result, SCHEMA)
    assert result["format"] == "planner.sweep" and result["version"] == 1
    assert result["zero_traffic_bytes"] == 196_608
    assert result["largest_operator"]["bytes"] == result["footprint_capacity_bytes"] == 131_072


def test_the_three_files_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([RESNET8, *RANGE, "-o", str(tmp_path), "-q"]) == 0
    assert "wrote" in capsys.readouterr().out
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["resnet8.sweep.csv", "resnet8.sweep.html", "resnet8.sweep.json"]
    document = json.loads((tmp_path / "resnet8.sweep.json").read_text())
    jsonschema.validate(document, SCHEMA)
    with (tmp_path / "resnet8.sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["capacity_bytes"]) for row in rows] == [
        point["capacity_bytes"] for point in document["points"]
    ]
    assert [row["traffic_bytes"] for row in rows] == [
        "" if point["traffic_bytes"] is None else str(point["traffic_bytes"])
        for point in document["points"]
    ]
    assert "<svg" in (tmp_path / "resnet8.sweep.html").read_text()


def test_an_output_that_cannot_be_written_is_exit_6_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "resnet8.sweep.csv").mkdir()
    assert main([RESNET8, *RANGE, "-o", str(tmp_path), "-q"]) == 6
    captured = capsys.readouterr()
    assert "sram from 64 KiB" in captured.out, "what took long to find is shown all the same"
    assert "wrote" not in captured.out and "is a directory" in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["resnet8.sweep.csv"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--memory", "sram=1KiB:2KiB"], 3, "No order can do better"),
        (["--memory", "sram=2MiB:1MiB"], 2, "above its end"),
        (["--memory", "sram=1MiB:2MiB", "--memory", "dram=1GiB:2GiB"], 2, "One memory"),
        (["--memory", "sram=1MiB:2MiB", "--memory", "sram=1MiB"], 2, "give it once"),
        (["--memory", "dram=1GiB:2GiB"], 2, "nearest"),
        (["--memory", "tcm=1MiB:2MiB"], 2, "no memory 'tcm'"),
        (["--memory", "sram=1MiB:2MiB", "--objective", "peak"], 2, "does not depend"),
    ],
)
def test_errors_are_one_line_with_their_exit_code(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([RESNET8, "-t", "npu-1m", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and words in captured.err
    assert "internal error" not in captured.err


def test_another_memory_can_be_fixed_beside_the_range(capsys: pytest.CaptureFixture[str]) -> None:
    far = ["--memory", "dram=64KiB"]
    assert main([RESNET8, "-t", "npu-1m", "--memory", "sram=192KiB:256KiB:2", *far]) == 3
    assert "dram" in capsys.readouterr().err


def test_verbose_tells_every_point(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([RESNET8, *RANGE, "-v"]) == 0
    assert "1 MiB: done" in capsys.readouterr().err


def test_interrupted_sweeps_print_the_points_so_far_and_exit_130(tmp_path: Path) -> None:
    """The exact contender takes for ever, so the sweep is still at its first capacity."""
    script = (
        "import sys, time, solvers.contenders.exact as exact\n"
        "def slow(self, problem, board, *, deadline, seed):\n"
        "    print('searching', file=sys.stderr, flush=True)\n"
        "    while not deadline.cancel.is_set(): time.sleep(0.02)\n"
        "    return 'stopped'\n"
        "exact.Exact.run = slow\n"
        "from planner.cli.main import main\n"
        f"raise SystemExit(main([{RESNET8!r}, *{RANGE!r}, '-q', '-o', {str(tmp_path)!r},\n"
        "    '--solver', 'exact', '--time-limit', '600']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().strip() == "searching"
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, error
    assert "interrupted" in error
    assert "196,608" in out
    assert json.loads((tmp_path / "resnet8.sweep.json").read_text())["interrupted"] is True
