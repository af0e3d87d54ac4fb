"""plan export as its users see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import planner
from frontends.buffers import load_buffers
from planner.cli.main import main
from planner.export.plan_buffers import planned_buffers
from planner.plans import addresses_of
from planner.testing import naive_plan, random_graph

MODELS = Path(__file__).parent.parent.parent / "examples" / "models"
RESNET8 = str(MODELS / "resnet8.onnx")


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    path = tmp_path / "p.json"
    planner.write_plan(planner.plan(RESNET8, target="npu-1m", solvers=["greedy"]).plan, path)
    return path


def test_c_is_written_beside_what_o_says(
    planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(planned), RESNET8, "--to", "c", "-o", str(tmp_path / "net.c")]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'net.h'} {tmp_path / 'net.c'}\n"
    assert "int net_run(" in (tmp_path / "net.h").read_text()


def test_c_takes_the_model(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(planned), "--to", "c"]) == 2
    assert "plan export PLAN.json MODEL.onnx --to c" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tflm", "executorch", "onnx", "nonsense"])
def test_a_format_that_is_not_there_is_refused_by_name(
    planned: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(planned), "--to", name]) == 2
    assert f"--to {name}: there is no such format yet. There are: c, minimalloc, perfetto." in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("to", ["c", "minimalloc", "perfetto"])
def test_an_illegal_plan_is_not_written(
    planned: Path, tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.loads(planned.read_text())
    text["placements"][3]["offset"] += 16
    planned.write_text(json.dumps(text))
    output = tmp_path / "out"
    output.mkdir()
    assert main(["export", str(planned), RESNET8, "--to", to, "-o", str(output)]) == 4
    assert "not legal" in capsys.readouterr().err
    assert not list(output.iterdir())


@pytest.mark.parametrize("to", ["c", "minimalloc", "perfetto"])
def test_a_plan_of_another_model_is_not_written(planned: Path, tmp_path: Path, to: str) -> None:
    other = str(MODELS / "mobilenet_v2.onnx")
    assert main(["export", str(planned), other, "--to", to, "-o", str(tmp_path / "x.c")]) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.json"]


@pytest.mark.parametrize("to", ["c", "minimalloc", "perfetto"])
def test_a_missing_directory_is_said(planned: Path, tmp_path: Path, to: str) -> None:
    output = str(tmp_path / "missing" / "x")
    assert main(["export", str(planned), RESNET8, "--to", to, "-o", output]) == 6


def test_the_csv_has_the_offsets_and_says_what_it_lacks(
    planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.csv"
    assert main(["export", str(planned), RESNET8, "--to", "minimalloc", "-o", str(path)]) == 0
    note = capsys.readouterr().err
    assert "transfers" in note and "Not checked" not in note
    plan = planner.read_plan(planned)
    problem = load_buffers(path)
    ends = [(buffer.offset or 0) + buffer.size for buffer in problem.buffers]
    assert max(ends) == plan.metrics.arena_bytes["sram"]


def test_the_csv_without_a_model_says_that_nothing_was_checked(
    planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(planned), "--to", "minimalloc", "-o", str(tmp_path)]) == 0
    assert "Not checked" in capsys.readouterr().err
    assert (tmp_path / "resnet8.csv").exists()


@pytest.mark.parametrize("seed", range(20))
def test_buffers_of_a_plan_are_a_legal_packing(seed: int) -> None:
    """At every step the same bytes are in use as in the plan, and no two buffers share one."""
    graph = random_graph(seed, 9)
    plan = naive_plan(graph, planner.read_target("npu-1m"), seed, split=0.4)
    buffers = planned_buffers(plan).problem.buffers
    for step in range(len(plan.order)):
        live = [b for b in buffers if b.lower <= step < b.upper]
        taken = [at for b in live for at in range(b.offset or 0, (b.offset or 0) + b.size)]
        assert len(taken) == len(set(taken))
        held = {
            at
            for p in plan.placements
            if p.memory == "sram" and p.start <= step < p.end
            for at in range(*addresses_of(p, plan.storages[p.storage].size_bytes))
        }
        assert set(taken) == held
    assert all((b.offset or 0) % b.alignment == 0 for b in buffers)


def test_the_trace_is_the_one_that_solve_writes(tmp_path: Path) -> None:
    assert main([RESNET8, "-t", "npu-1m", "-o", str(tmp_path), "-q"]) == 0
    plan = str(tmp_path / "resnet8.plan.json")
    other = tmp_path / "other.json"
    assert main(["export", plan, RESNET8, "--to", "perfetto", "-o", str(other)]) == 0
    assert other.read_text() == (tmp_path / "resnet8.trace.json").read_text()


def test_the_trace_without_a_model_counts_steps(planned: Path, tmp_path: Path) -> None:
    path = tmp_path / "steps.json"
    assert main(["export", str(planned), "--to", "perfetto", "-o", str(path)]) == 0
    events = json.loads(path.read_text())["traceEvents"]
    assert any(event.get("dur") == 1.0 for event in events)
