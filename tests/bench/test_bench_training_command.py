"""The command `plan bench training`: what it prints and writes, Ctrl-C, PyTorch missing."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from planner.bench import training_cases
from planner.cli.main import main

from .tiny_steps import TINY

if TYPE_CHECKING:
    from pathlib import Path

    from planner.training.problem import TrainingProblem


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the quick set be one step."""
    monkeypatch.setattr(training_cases, "_SMALL", (TINY,))


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: nothing to plan")


def test_the_command_plans_executes_and_writes_everything(
    torch, tiny, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing drawn")
    arguments = ["--solver", "greedy", "--time-limit", "5", "-o", str(tmp_path)]
    assert main(["bench", "training", *arguments]) == 0
    captured = capfd.readouterr()
    assert "greedy alone" in captured.out
    assert "executing\n" in captured.err
    assert "USDT" not in captured.err  # the profiler keeps quiet
    suffixes = ("html", "json", "png", "svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"training.{s}" for s in suffixes]
    document = json.loads((tmp_path / "training.json").read_text())
    assert (document["format"], document["version"]) == ("planner.bench-training", 1)
    assert (document["cases"], document["interrupted"], document["notes"]) == ("quick", False, [])
    (described,) = document["results"]
    assert abs(described["eager_bytes"] - described["unplanned_bytes"]) <= 64
    labels = [target["label"] for target in described["targets"]]
    assert labels[0] == "80 %"
    assert set(labels[1:]) <= {"below torch"}
    for target in described["targets"]:
        assert target["met"]
        assert target["execution"]["exact"]
        assert abs(target["execution"]["peak_bytes"] - target["peak_bytes"]) <= 64
        assert target["bound_s"] <= target["recompute_s"]
        assert {run["name"] for run in target["parts"]} >= {"greedy", "block-dp", "ladder"}
        assert [run["name"] for run in target["alone"]] == ["greedy"]
    assert "<script" not in (tmp_path / "training.html").read_text()


def test_steps_without_data_are_planned_but_not_executed(
    torch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        training_cases, "_SMALL", (TINY._replace(is_executed=False, shares=(0.9,)),)
    )
    assert main(["bench", "training", "--json", "-q", "--time-limit", "5"]) == 0
    (described,) = json.loads(capsys.readouterr().out)["results"]
    assert described["eager_bytes"] is None
    assert described["targets"][0]["met"]
    assert described["targets"][0]["execution"] is None


def test_ctrl_c_shows_the_targets_so_far(
    torch, tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    import solvers.training.ladder as ladder

    ready = ladder.descend

    def pressed(problem: TrainingProblem, budget_bytes: int, *, deadline: Any, **rest: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        while not deadline.expired():
            time.sleep(0.01)
        return ready(problem, budget_bytes, deadline=deadline, **rest)

    monkeypatch.setattr(ladder, "descend", pressed)
    arguments = ["--time-limit", "60", "-o", str(tmp_path), "-q"]
    assert main(["bench", "training", *arguments]) == 130
    captured = capsys.readouterr()
    assert "tiny" in captured.out
    assert captured.err == "plan: interrupted; these are the results until then\n"
    document = json.loads((tmp_path / "training.json").read_text())
    assert document["interrupted"]
    (described,) = document["results"]
    assert len(described["targets"]) == 1


def test_without_torch_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("planner.torch.find_spec", lambda _: None)
    assert main(["bench", "training"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "plan bench training needs PyTorch" in captured.err
    assert "pip install 'tensor-planner[torch]'" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "all"], "no set of cases 'all'"),
        (["--network", "gpt"], "no network 'gpt' in quick"),
        (["--network", "gpt2-deep"], "no network 'gpt2-deep' in quick"),
        (["--solver", "simplex"], "no training solver 'simplex'"),
        (["--solver", ","], "no solver is named"),
        (["--data", "."], "--data is an option of plan bench offsets"),
        (["--decodes", "3"], "--decodes is an option of plan bench latency, not of training"),
        (["--parameters"], "--parameters is an option of plan bench cosma"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "training", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
