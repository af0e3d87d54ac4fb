"""``plan pack``: reports, exit codes, bad arguments, interruption."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from frontends.buffers import load_buffers
from planner.cli.main import main
from planner.packing import race as packing_race
from planner.packing.file import read_packing, write_packing
from planner.packing.problem import Buffer, PackingProblem
from planner.problem import Status

if TYPE_CHECKING:
    from .buffer_files import Write

ROOT = Path(__file__).parent.parent.parent


def hard(count: int = 500) -> str:
    """Random buffers that greedy does not settle."""
    rng = random.Random(11)
    rows = []
    for index in range(count):
        lower = rng.randrange(400)
        rows.append(f"b{index},{lower},{lower + rng.randint(5, 90)},{rng.randint(1, 10**6)}")
    return "id,lower,upper,size\n" + "\n".join(rows) + "\n"


# --- what is printed --------------------------------------------------------------------------


def test_the_report_names_the_height_and_its_proof(write: Write, capsys) -> None:
    assert main(["pack", write()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "buffers   easy.csv   3 buffers  times [0, 9)"
    assert lines[1].startswith("height    5,120 B   lower bound 5,120 (optimal)")
    assert lines[2] == "peak at   time 1: b0 4,096  b1 1,024"
    assert lines[-1] == "checked   legal"


def test_json_is_one_object_and_nothing_else(write: Write, capsys) -> None:
    assert main(["pack", write(), "--json", "-v"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["format"], result["version"]) == ("planner.pack-result", 1)
    assert (result["height_bytes"], result["status"], result["fits"]) == (5120, "optimal", True)
    assert result["checked"] is True


def test_quiet_leaves_stderr_empty(write: Write, capsys) -> None:
    assert main(["pack", write(), "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_a_capacity_that_suffices_is_told_with_what_is_free(write: Write, capsys) -> None:
    assert main(["pack", write(), "--capacity", "6KiB"]) == 0
    assert "capacity 6,144 (fits, 1,024 free)" in capsys.readouterr().out


def test_alignment_is_that_of_every_offset(write: Write, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    csv = write("id,lower,upper,size\na,0,9,5\nb,0,9,7\nc,0,9,9\n")
    assert main(["pack", csv, "--alignment", "8", "-o", str(out)]) == 0
    stored = read_packing(out)
    assert stored.solution is not None and stored.solution.packing is not None
    assert not stored.solution.packing.offset.astype(int).__mod__(8).any()


def test_hostile_names_are_escaped(tmp_path: Path, capsys) -> None:
    name = "\x1b[31mred\n\u202e"
    path = tmp_path / "hostile.json"
    write_packing(PackingProblem((Buffer(name, 0, 1, 8), Buffer("b", 0, 2, 8))), path)
    assert main(["pack", str(path), "-o", str(tmp_path / "out.html")]) == 0
    out = capsys.readouterr().out
    assert r"\x1b[31mred\n\u202e" in out
    assert not set(out) & {"\x1b", "\u202e"}
    assert not set((tmp_path / "out.html").read_text(encoding="utf-8")) & {"\x1b", "\u202e"}


# --- what does not fit ------------------------------------------------------------------------


def test_what_cannot_fit_is_exit_3_with_the_proof(write: Write, capsys) -> None:
    assert main(["pack", write(), "--capacity", "5000"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in (
        "does not fit: 5,120 bytes of memory are needed at time 1 (b0 4,096 + b1 1,024)",
        "it has 5,000, 120 too few. No packing can do better.",
    ):
        assert text in captured.err
    assert len(captured.err.splitlines()) == 1


def test_the_capacity_that_is_suggested_is_enough(write: Write, capsys) -> None:
    assert main(["pack", write(), "--capacity", "5000"]) == 3
    suggested = re.search(r"--capacity (\w+)", capsys.readouterr().err)
    assert suggested
    assert main(["pack", write(), "--capacity", suggested.group(1), "-q"]) == 0


def test_json_is_printed_for_what_does_not_fit_too(write: Write, capsys) -> None:
    assert main(["pack", write(), "--capacity", "5000", "--json"]) == 3
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["status"], result["fits"]) == ("infeasible", False)
    assert result["checked"] is False
    assert result["capacity_bytes"] == 5000
    assert "does not fit" in captured.err
    # A known height is that of a packing, so above the bound.
    for entry in (result, *result["memories"]):
        height = entry["height_bytes"]
        assert height is None or height >= entry["lower_bound_bytes"]


def test_a_fixed_buffer_above_the_capacity_is_named(write: Write, capsys) -> None:
    source = write("id,lower,upper,size,offset\na,0,4,100,5000\nb,0,4,10,-1\n")
    assert main(["pack", source, "--capacity", "1KiB"]) == 3
    assert capsys.readouterr().err == (
        "plan: does not fit with the fixed offsets: a [5,000, 5,100) ends 4,076 bytes above the "
        "capacity 1,024 of memory.\n"
    )


def test_one_buffer_is_not_several(write: Write, capsys) -> None:
    memories = ["--memory", "near=4KiB", "--memory", "far=1MiB"]
    assert main(["pack", write("id,lower,upper,size\na,0,1,8\n", "one.csv"), *memories]) == 0
    out = capsys.readouterr().out
    assert "1 buffer " in out and "1 buffers" not in out


def test_what_was_only_not_found_is_not_called_impossible(
    write: Write, capsys, monkeypatch
) -> None:
    def without_proof(*given, **options):
        found = race(*given, **options)
        memory = found.memories[0]._replace(height_bytes=5200, lower_bound_bytes=5000)
        return replace(found, packing=None, status=Status.UNKNOWN, memories=(memory,))

    race = packing_race.race
    monkeypatch.setattr(packing_race, "race", without_proof)
    assert main(["pack", write(), "--capacity", "5120", "--json"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["status"] == "unknown"
    assert "no packing found within 30 s: the best needs 5,200 bytes of memory, 80" in captured.err


def test_an_interruption_before_it_fits_is_exit_130(write: Write, capsys, monkeypatch) -> None:
    def stopped(*given, **options):
        found = race(*given, **options)
        memory = found.memories[0]._replace(height_bytes=5200, lower_bound_bytes=5000)
        return replace(
            found, packing=None, status=Status.UNKNOWN, memories=(memory,), interrupted=True
        )

    race = packing_race.race
    monkeypatch.setattr(packing_race, "race", stopped)
    assert main(["pack", write(), "--capacity", "5120"]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "interrupted; no packing found within" in captured.err
    assert "80 more than its 5,120" in captured.err


def test_nothing_is_written_of_what_cannot_fit(write: Write, tmp_path: Path) -> None:
    suffixes = ("csv", "json", "html", "lp")
    outputs = [arg for s in suffixes for arg in ("-o", str(tmp_path / f"out.{s}"))]
    assert main(["pack", write(), "--capacity", "5000", *outputs]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["easy.csv"]


# --- memories ---------------------------------------------------------------------------------


def test_a_csv_can_be_packed_into_several_memories(write: Write, capsys) -> None:
    given = ["--memory", "near=4KiB", "--memory", "far=1MiB"]
    assert main(["pack", write(), *given, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [memory["name"] for memory in result["memories"]] == ["near", "far"]
    assert result["displaced_bytes"] == 1024


def test_a_capacity_of_a_json_file_can_be_replaced(tmp_path: Path, capsys) -> None:
    path = tmp_path / "two.json"
    path.write_text(
        json.dumps(
            {
                "format": "planner.packing",
                "version": 1,
                "memories": [{"name": "sram", "capacity": 8}, {"name": "dram"}],
                "buffers": [
                    {"name": "a", "lower": 0, "upper": 2, "size": 64, "memories": ["sram"]}
                ],
            }
        )
    )
    assert main(["pack", str(path), "-q"]) == 3
    capsys.readouterr()
    assert main(["pack", str(path), "--memory", "sram=64"]) == 0
    assert main(["pack", str(path), "--memory", "vram=64"]) == 2
    assert "--memory vram" in capsys.readouterr().err


# --- bad arguments and files ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--solver", "exact,magic"], "magic"),
        (["--solver", ","], "no solver is named"),
        (["-o", "out.txt"], ".csv, .json, .html, .lp"),
        (["--capacity", "lots"], "lots"),
        (["--capacity", "-1"], "-1"),
        (["--alignment", "0"], "'0'"),
        (["--alignment", "9" * 400], "9999"),
        (["--time-limit", "0"], "'0'"),
        (["--memory", "memory"], "NAME=VALUE"),
        (["--memory", "a=1MiB", "--memory", "a=2MiB"], "give it once"),
        (["--memory", "a=1MiB", "--capacity", "1MiB"], "--capacity and --memory"),
        (["--seed", "x"], "--seed"),
        (["-q", "-v"], "not allowed"),
    ],
)
def test_bad_arguments_are_exit_2(arguments: list[str], said: str, write: Write, capsys) -> None:
    assert main(["pack", write(), *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.out == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("id,lower,upper\n", "size"),
        ("id,lower,upper,size\na,0,1,-1\n", ":2:"),
        ("id,lower,upper,size\na,3,3,1\n", ":2:"),
        ("id,lower,upper,size\na,0,1,1\na,0,1,1\n", "'a'"),
        ("id,lower,upper,size\na,0,1,99999999999999999999\n", ":2:"),
    ],
)
def test_bad_files_are_exit_6_with_the_reason(text: str, said: str, write: Write, capsys) -> None:
    assert main(["pack", write(text, "bad.csv")]) == 6
    error = capsys.readouterr().err
    assert "bad.csv" in error and said in error
    assert len(error.splitlines()) == 1


def test_files_that_are_not_there_are_exit_6(tmp_path: Path, write: Write, capsys) -> None:
    assert main(["pack", str(tmp_path / "absent.csv")]) == 6
    assert main(["pack", str(tmp_path)]) == 6
    assert main(["pack", write(), "-o", str(tmp_path / "nowhere" / "out.csv")]) == 6
    assert "nowhere" in capsys.readouterr().err


# --- the whole process ------------------------------------------------------------------------


def test_an_easy_problem_needs_no_optimiser(write: Write) -> None:
    """Loading one alone would take longer than everything else together."""
    code = (
        "import sys\nfrom planner.cli.main import main\n"
        f"assert main(['pack', {write()!r}, '-q']) == 0\n"
        "print([m for m in ('ortools', 'pulp', 'onnx', 'networkx') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_ctrl_c_hands_back_the_best_packing_so_far(write: Write, tmp_path: Path) -> None:
    """Greedy's packing is there, the search is made to take until it is stopped."""
    out = tmp_path / "out.csv"
    given = ["--time-limit", "600", "--solver", "exact", "-v", "-o", str(out)]
    script = (
        "import time\n"
        "from planner.cli.main import main\n"
        "from solvers.offsets.exact import ExactOffsets\n"
        "ready = ExactOffsets.solve\n"
        "def slow(self, problem, *, deadline, **options):\n"
        "    while not deadline.expired(): time.sleep(0.01)\n"
        "    return ready(self, problem, deadline=deadline, **options)\n"
        "ExactOffsets.solve = slow\n"
        f"raise SystemExit(main({['pack', write(hard(), 'hard.csv'), *given]}))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline()  # the first packing is there
        process.send_signal(signal.SIGINT)
        report, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "checked   legal" in report
    assert "interrupted; this is the best packing until then" in errors
    assert all(buffer.offset is not None for buffer in load_buffers(out).buffers)
