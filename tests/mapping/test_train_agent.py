"""`plan train-agent`: the same seed the same bytes, kills, stops, and what is learned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from planner.bench.latency_programs import chosen_programs, training_programs
from planner.cli.main import main
from planner.errors import BadFileError, UsageError
from planner.testing.mapping_problems import random_mapping_problem
from rl.evolution import advanced, begin, drawn
from rl.portfolio import load_portfolio, load_portfolio_weights
from rl.portfolio_scores import program_scores, static_order
from rl.portfolio_training import (
    Settings,
    TrainingProgram,
    log_latencies,
    stated_pool,
    train,
    training_pool,
)
from rl.training_checkpoint import programs_digest
from rl.training_results import weights_file
from rl.training_run import EVERYTHING, Run, run_training

if TYPE_CHECKING:
    from pathlib import Path

TINY = Settings(entries=2, steps=4, population=4, per_graph=2)
# Of the first 1, 2, 3 and 8 entries that are shipped, on the programs of the test.
PINNED = [0.9988, 0.9986, 0.9986, 0.9984]


def programs(count: int = 12) -> list[TrainingProgram]:
    """Small random programs of three families."""
    return [
        TrainingProgram(
            f"p{seed}",
            f"graph{seed % 6}",
            f"family{seed % 3}",
            random_mapping_problem(seed, buffers=12, rows=20, accesses=4),
        )
        for seed in range(count)
    ]


def zoo_programs(*graphs: str) -> list[TrainingProgram]:
    return [
        TrainingProgram(p.name, p.graph, p.family, p.build())
        for p in chosen_programs("quick", graphs)
    ]


def bytes_of(run: Run) -> bytes:
    return weights_file(run)


def test_evolution_finds_the_least_of_a_badly_scaled_bowl() -> None:
    goal, scale = np.arange(5.0), np.array([1.0, 3.0, 10.0, 0.3, 0.1])
    state = begin(np.zeros(5), 0.5)
    for step in range(150):
        vectors = drawn(state, 10, np.random.default_rng([3, step]))
        state = advanced(state, vectors, ((scale * (vectors - goal)) ** 2).sum(axis=1))
    assert np.abs(scale * (state.mean - goal)).max() < 1e-3


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_threads() -> None:
    runs = [run_training(programs(), TINY, 5, threads=threads) for threads in (1, 3)]
    assert all(run.is_complete for run in runs)
    assert bytes_of(runs[0]) == bytes_of(runs[1])
    assert bytes_of(runs[0]) != bytes_of(run_training(programs(), TINY, 6))


@pytest.mark.parametrize("stop_after", [1, 4, 5, 11])
def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(
    tmp_path: Path, stop_after: int
) -> None:
    checkpoint = tmp_path / "checkpoint.json"
    steps = 0

    def count(_: str) -> None:
        nonlocal steps
        steps += 1

    def ended() -> bool:
        return steps >= stop_after

    part = run_training(
        programs(), TINY, 5, checkpoint=checkpoint, should_stop=ended, on_progress=count
    )
    assert not part.is_complete
    assert part.portfolio()
    whole = run_training(programs(), TINY, 5, checkpoint=checkpoint, resume=True)
    assert bytes_of(whole) == bytes_of(run_training(programs(), TINY, 5))


def test_what_was_learned_until_a_stop_is_a_portfolio() -> None:
    steps = []
    part = run_training(
        programs(), TINY, 5, should_stop=lambda: len(steps) >= 2, on_progress=steps.append
    )
    assert not part.is_complete
    assert len(part.portfolio()) == 1
    assert not part.scores


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.json"
    run_training(programs(), TINY, 5, checkpoint=checkpoint)
    with pytest.raises(UsageError, match="its seed is not that of this run"):
        run_training(programs(), TINY, 6, checkpoint=checkpoint, resume=True)
    with pytest.raises(UsageError, match="its programs is not that of this run"):
        run_training(programs(11), TINY, 5, checkpoint=checkpoint, resume=True)


@pytest.mark.parametrize("damage", ["", "[]", "{", "no number", "short"])
def test_a_damaged_checkpoint_is_refused_with_a_message(tmp_path: Path, damage: str) -> None:
    checkpoint = tmp_path / "checkpoint.json"
    run_training(programs(), TINY, 5, checkpoint=checkpoint)
    document = json.loads(checkpoint.read_text())
    if damage == "no number":
        document["trainings"][EVERYTHING]["curve"][0][0] = "first"
    elif damage == "short":
        document["trainings"][EVERYTHING]["entries"][0]["weights"].pop()
    keeps_its_form = damage in ("no number", "short")
    checkpoint.write_text(json.dumps(document) if keeps_its_form else damage)
    with pytest.raises(BadFileError, match=r"checkpoint\.json"):
        run_training(programs(), TINY, 5, checkpoint=checkpoint, resume=True)


def test_families_that_are_not_there_or_are_all_there_is_cannot_be_left_out() -> None:
    with pytest.raises(UsageError, match="There are: family0, family1, family2"):
        run_training(programs(), TINY, 0, hold_out="cnn")
    one = [program._replace(family="cnn") for program in programs()]
    with pytest.raises(UsageError, match="no program to learn from"):
        run_training(one, TINY, 0, hold_out="cnn")


def test_what_is_scored_is_never_learned_from() -> None:
    """Damage to the family left out changes its score alone."""
    plain = run_training(programs(), TINY, 5, hold_out="family1")
    others = [
        program._replace(problem=random_mapping_problem(900 + turn, buffers=9, rows=15))
        if program.family == "family1"
        else program
        for turn, program in enumerate(programs())
    ]
    changed = run_training(others, TINY, 5, hold_out="family1")
    for before, after in zip(plain.portfolio(), changed.portfolio(), strict=True):
        assert np.array_equal(before.weights, after.weights)
        assert before.window == after.window
    assert {score.family for score in plain.scores} == {"family1"}
    assert plain.scores != changed.scores


def test_a_few_steps_improve_on_where_they_begin_and_more_entries_on_fewer() -> None:
    settings = Settings(entries=3, steps=8, population=6, per_graph=1)
    seen = zoo_programs("lraspp", "mobilenet_v2", "resnet8", "r2plus1d_18")
    pool = stated_pool(training_pool(seen, settings, 0))
    done = train(pool, settings, 0)
    of_entry = [[p.cost for p in done.curve if p.entry == entry] for entry in range(3)]
    assert of_entry[0][-1] < of_entry[0][0] - 1e-4
    assert of_entry[0][-1] > of_entry[1][-1] >= of_entry[2][-1]
    # The costs are those of the programs, decoded anew.
    best = np.min([log_latencies(pool.models, entry) for entry in done.entries], axis=0)
    cost = float((pool.share * (best - pool.static.min(axis=1))).sum())
    assert cost == pytest.approx(of_entry[2][-1], abs=1e-12)


def test_the_portfolio_shipped_beats_all_static_decodes_with_its_first_entries() -> None:
    """On fixed programs, which it has seen: its score elsewhere is in docs/train_agent.md."""
    entries = load_portfolio()
    fixed = zoo_programs("lraspp", "mobilenet_v2", "s3d", "gpt2_decode", "unet", "fcn_resnet50")
    pool = stated_pool(fixed)
    scores = program_scores(entries, static_order(pool, 8), fixed, pool)
    of_budget = np.exp(np.log([score.learned for score in scores]).mean(axis=0))
    assert of_budget == pytest.approx(PINNED, abs=1e-3)


def test_the_portfolio_shipped_says_how_it_was_made_and_what_it_scores() -> None:
    weights = load_portfolio_weights()
    assert weights.training["seed"] == 0
    assert weights.training["settings"] == Settings()._asdict()
    assert weights.training["hold_out"] is None
    assert set(weights.score) == {
        "cnn", "prefill", "decode", "segmentation", "video", "nas", "all of them",
    }  # fmt: skip
    assert weights.score["all of them"]["8"]["learned"] < 1.0


def command(directory: Path, *more: str) -> list[str]:
    return ["train-agent", "--smoke", "-q", "-o", str(directory), *more]


def test_the_command_writes_the_same_file_for_the_same_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = []
    for name in ("a", "b"):
        assert main(command(tmp_path / name, "--hold-out", "video", "--json")) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0] == documents[1]
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("a", "b")]
    pictures = ["training.png", "training.svg"]
    assert files[0] == files[1] == ["portfolio.npz", "training.csv", "training.json", *pictures]
    for file in files[0]:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    entries = load_portfolio(tmp_path / "a" / "portfolio.npz")
    assert [entry.window for entry in entries] == [e["window"] for e in documents[0]["portfolio"]]


def test_the_command_refuses_what_it_cannot_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "--seed", "-1")) == 2
    assert main(command(tmp_path, "--hold-out", "rnn")) == 2
    assert "There are: cnn, " in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(command(tmp_path / "file")) == 6
    (tmp_path / "training.checkpoint.json").write_text("{}")
    assert main(command(tmp_path)) == 2
    assert "Go on with --resume" in capsys.readouterr().err


def test_the_time_limit_ends_with_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "--time-limit", "0.001")) == 0
    assert "the time limit has passed" in capsys.readouterr().err
    assert not (tmp_path / "portfolio.npz").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_training_is_resumed_to_the_same_bytes(
    tmp_path: Path, how: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "planner.cli.main", *command(tmp_path / "a")],
        stderr=subprocess.PIPE,
        env=os.environ,
    )
    checkpoint = tmp_path / "a" / "training.checkpoint.json"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(how)
    _, said = process.communicate(timeout=120)
    assert process.returncode == (130 if how is signal.SIGINT else -how), said
    assert main(command(tmp_path / "a", "--resume")) == 0
    assert main(command(tmp_path / "b")) == 0
    assert not checkpoint.exists()
    first, second = ((tmp_path / name / "portfolio.npz").read_bytes() for name in "ab")
    assert first == second


@pytest.mark.slow
def test_the_first_entry_shipped_is_what_the_default_seed_learns() -> None:
    every = [TrainingProgram(p.name, p.graph, p.family, p.build()) for p in training_programs()]
    assert programs_digest(every) == load_portfolio_weights().training["programs"]
    settings = Settings()._replace(entries=1)
    learned = train(stated_pool(training_pool(every, settings, 0)), settings, 0, threads=2)
    shipped = load_portfolio()[0]
    assert learned.entries[0].window == shipped.window
    assert learned.entries[0].weights.tolist() == shipped.weights.tolist()
