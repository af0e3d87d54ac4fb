"""The example examples/train_budget.py, run as a user runs it, on models of one layer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAM = EXAMPLES / "train_budget.py"


class Trained(NamedTuple):
    """A run of the example: what it printed of a model, and the file of its numbers."""

    output: str
    numbers: dict[str, Any]
    folder: Path

    def row(self, share: str) -> str:
        """Return the table's row of a budget."""
        (found,) = [line for line in self.output.splitlines() if line.split()[:1] == [share]]
        return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("trained")
    done = run("--layers", "1", "--steps", "3", "--budgets", "0.85", "0.1", "-o", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("All well.\n")
    parts = done.stdout.split("ResNet-like")
    return {
        model: Trained(
            part, json.loads((folder / f"train_budget_{model}.json").read_text()), folder
        )
        for model, part in zip(("gpt2", "resnet"), parts, strict=True)
    }


@pytest.fixture(scope="module")
def gpt2(both: dict[str, Trained]) -> Trained:
    return both["gpt2"]


@pytest.fixture(scope="module")
def resnet(both: dict[str, Trained]) -> Trained:
    return both["resnet"]


def test_the_measured_peak_keeps_the_target_and_is_the_predicted_one(gpt2: Trained) -> None:
    kept = gpt2.numbers["rows"][0]
    assert kept["measured_peak_bytes"] <= kept["target_bytes"]
    assert kept["measured_peak_bytes"] == pytest.approx(kept["predicted_peak_bytes"], rel=0.01)
    assert kept["measured_peak_bytes"] < gpt2.numbers["eager"]["measured_peak_bytes"]


def test_steps_equal_those_of_the_eager_model_bit_for_bit(gpt2: Trained) -> None:
    kept = gpt2.numbers["rows"][0]
    assert kept["gradient_difference"] == kept["state_difference"] == 0
    assert kept["losses"] == gpt2.numbers["eager"]["losses"]
    assert len(set(kept["losses"])) == 3  # it does train


def test_running_statistics_of_batch_norm_equal_those_of_the_eager_model(resnet: Trained) -> None:
    kept = resnet.numbers["rows"][0]
    assert kept["recompute_s"] > 0
    assert kept["state_difference"] == kept["gradient_difference"] == 0
    assert kept["losses"] == resnet.numbers["eager"]["losses"]
    assert kept["measured_peak_bytes"] <= kept["target_bytes"]
    assert kept["measured_peak_bytes"] == pytest.approx(kept["predicted_peak_bytes"], rel=0.05)


def test_the_table_has_a_row_for_each_budget(gpt2: Trained) -> None:
    kept = gpt2.numbers["rows"][0]
    share, target, predicted, measured, *_ = gpt2.row("85.0%").replace(",", "").split()
    assert share == "85.0%"
    assert int(target) == kept["target_bytes"]
    assert int(predicted) == kept["predicted_peak_bytes"]
    assert int(measured) == kept["measured_peak_bytes"]
    assert gpt2.row("85.0%").count("bit-equal") == 3
    assert gpt2.row("eager").split()[1:] == [
        f"{gpt2.numbers['eager']['measured_peak_bytes']:,}",
        "1.00",
    ]


def test_a_budget_that_nothing_keeps_is_a_row_that_says_what_is_needed(gpt2: Trained) -> None:
    refused = gpt2.numbers["rows"][1]
    least = gpt2.numbers["curves"]["least_peak_bytes"]
    assert least > refused["target_bytes"]
    assert f"it is proven that {least:,} are needed" in refused["refusal"]
    assert "The least peak found is" in refused["refusal"]
    assert gpt2.row("10.0%").endswith(refused["refusal"])


def test_the_picture_is_of_curves_that_no_bound_contradicts(gpt2: Trained) -> None:
    curves = gpt2.numbers["curves"]
    theirs = list(curves["torch"].values())
    assert len(theirs) > 1 and len(curves["ours"]) > 1
    for peak, spent in [*curves["ours"], *theirs]:
        assert peak >= curves["least_peak_bytes"]
        for budget, needed in curves["bounds"]:
            assert peak > budget or spent >= needed * (1 - 1e-9)
    for one, other in pairwise(curves["ours"]):
        assert one[0] < other[0] and one[1] > other[1]


def test_a_picture_is_drawn(gpt2: Trained) -> None:
    pytest.importorskip("matplotlib")
    assert (gpt2.folder / "train_budget_gpt2.png").read_bytes().startswith(b"\x89PNG")
    assert b"</svg>" in (gpt2.folder / "train_budget_gpt2.svg").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--budgets", "0"],
        ["--budgets", "nan"],
        ["--budgets", "1.5"],
        ["--budgets", "half"],
        ["--budgets"],
        ["--steps", "2"],
        ["--layers", "0"],
        ["--layers", "1e9"],
        ["--time-limit", "-1"],
        ["--model", "vgg"],
        ["--device", "tpu"],
        ["unexpected"],
    ],
)
def test_nonsense_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as left:
        example().main(arguments)
    assert left.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_is_refused_before_anything_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert example().main(["-o", str(tmp_path / "file" / "folder")]) == 6
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ")


def test_without_torch_the_example_says_what_to_install() -> None:
    hidden = "import runpy, sys; sys.modules['torch'] = None; runpy.run_path(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", hidden, str(PROGRAM)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "error: this needs PyTorch. Install it with: pip install 'tensor-planner[torch]'"
    ]


@pytest.mark.slow
def test_the_default_run_keeps_every_target_of_both_models() -> None:
    pytest.importorskip("torch")
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("bit-equal") >= 3 * 6
    assert "OVER THE TARGET" not in done.stdout


@pytest.mark.slow
def test_more_budgets_than_torch_compiles_for_one_function_by_default() -> None:
    pytest.importorskip("torch")
    shares = [f"{0.95 - 0.02 * step:.2f}" for step in range(10)]
    done = run("--model", "resnet", "--layers", "1", "--steps", "3", "--budgets", *shares)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("bit-equal") == 3 * len(shares)


def example() -> Any:
    pytest.importorskip("torch")
    sys.path.insert(0, str(EXAMPLES))
    try:
        return import_module("train_budget")
    finally:
        sys.path.remove(str(EXAMPLES))
