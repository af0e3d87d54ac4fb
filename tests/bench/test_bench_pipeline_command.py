"""The command `plan bench pipeline`: what it prints and writes, Ctrl-C, wrong arguments."""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from planner.bench import pipeline_cases, pipeline_runs
from planner.bench.pipeline_cases import PipelineCase
from planner.cli.main import main
from planner.problem import Outcome, Status
from planner.registry import SOLVERS, Entry

from .tiny_pipelines import TINY, without_searching_constructors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from planner.pipelining.problem import PipelineProblem


@pytest.fixture(scope="module", autouse=True)
def quick_constructors():
    with without_searching_constructors():
        yield


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the quick set be two cases."""
    cases = [PipelineCase(TINY, 1, "1"), PipelineCase(TINY._replace(microbatches=2), 1, "1")]
    monkeypatch.setattr(pipeline_cases, "_quick", lambda: iter(cases))


@pytest.fixture
def matplotlib() -> Any:
    return pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing drawn")


def test_the_command_prints_tables_and_writes_everything(
    matplotlib, tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["--network", "tiny", "--time-limit", "2", "-o", str(out)]
    assert main(["bench", "pipeline", *arguments]) == 0
    captured = capsys.readouterr()
    assert "tiny 2x3" in captured.out
    assert "tiny 2x2" in captured.out
    assert "tiny 2x3, v=1, 1x: published schedules\n" in captured.err
    suffixes = ("csv", "html", "json", "png", "svg")
    assert sorted(path.name for path in out.iterdir()) == [f"pipeline.{s}" for s in suffixes]
    document = json.loads((out / "pipeline.json").read_text())
    assert (document["format"], document["version"]) == ("planner.bench-pipeline", 1)
    assert (document["cases"], document["interrupted"], document["notes"]) == ("quick", False, [])
    assert [result["ours"]["checked"] for result in document["results"]] == [True, True]
    assert len((out / "pipeline.csv").read_text().splitlines()) > 10
    assert "<script" not in (out / "pipeline.html").read_text()


def test_without_matplotlib_only_the_chart_is_missing(
    tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = ["--network", "tiny", "--time-limit", "2", "-o", str(tmp_path)]
    assert main(["bench", "pipeline", *arguments]) == 0
    assert "note: no chart is drawn" in capsys.readouterr().err
    suffixes = ("csv", "html", "json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"pipeline.{s}" for s in suffixes]


class Interrupting:
    """Presses Ctrl-C in the second case, and waits for the end."""

    microbatches = 2

    def solve(self, problem: PipelineProblem, *, deadline: Any, **_: object) -> Outcome[Any]:
        if problem.microbatches == self.microbatches:
            signal.raise_signal(signal.SIGINT)
            while not deadline.expired():
                time.sleep(0.01)
        return Outcome(Status.UNKNOWN, None)


@pytest.fixture
def press_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Press it in the race of the case with so many microbatches."""

    def press(microbatches: int) -> None:
        monkeypatch.setattr(Interrupting, "microbatches", microbatches)
        monkeypatch.setattr(pipeline_runs, "interrupting_of_the_test", Interrupting, raising=False)
        home = "planner.bench.pipeline_runs:interrupting_of_the_test"
        monkeypatch.setitem(SOLVERS, "pipeline", {"search": Entry(home, "")})

        # Nothing is proven before the search.
        def unproven(self: object, interruption: object) -> None: ...

        monkeypatch.setattr("planner.pipelining.contest.Contest.prove", unproven)

    return press


def test_ctrl_c_shows_the_cases_so_far(
    press_ctrl_c, tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    press_ctrl_c(2)
    arguments = ["--network", "tiny", "--time-limit", "60", "-o", str(tmp_path), "-q"]
    assert main(["bench", "pipeline", *arguments]) == 130
    captured = capsys.readouterr()
    assert "tiny 2x3" in captured.out
    assert captured.err == "plan: interrupted; these are the results until then\n"
    document = json.loads((tmp_path / "pipeline.json").read_text())
    assert document["interrupted"]
    last = document["results"][-1]
    assert (last["microbatches"], len(document["results"])) == (2, 2)
    assert last["ours"]["checked"]
    assert last["ours"]["note"].endswith("interrupted")


def test_ctrl_c_before_the_first_case_writes_nothing(
    press_ctrl_c, tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    press_ctrl_c(3)  # those of the warm-up
    (tmp_path / "pipeline.json").write_text("of an earlier run")
    arguments = ["--network", "tiny", "--time-limit", "60", "-o", str(tmp_path), "-q"]
    assert main(["bench", "pipeline", *arguments]) == 130
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "plan: interrupted before the first result\n")
    assert (tmp_path / "pipeline.json").read_text() == "of an earlier run"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pipeline", "--cases", "all"], "no set of cases 'all'"),
        (["pipeline", "--network", "gpt"], "no network 'gpt' in quick"),
        (["pipeline", "--solver", ","], "no solver is named"),
        (["pipeline", "--data", "."], "--data is an option of plan bench offsets"),
        (["pipeline", "--dim", "a/b=1"], "--dim is an option of plan bench execution"),
        (["cosma", "--cases", "full"], "--cases is an option of plan bench pipeline"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
