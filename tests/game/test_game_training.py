"""`plan train-agent --player program-order`: the same seed the same bytes, stops, and its score."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from planner.bench.game_programs import game_programs
from planner.bench.latency_programs import training_programs
from planner.bench.latency_statistics import geometric_mean
from planner.cli.main import main
from planner.errors import UsageError
from planner.testing.mapping_problems import random_mapping_problem
from rl.portfolio_training import TrainingProgram
from rl.program_order import FEATURE_VERSION, KIND, SHIPPED, Play, load_network
from rl.program_order_results import curves_csv, weights_file
from rl.program_order_run import LEFT_OUT, NetworkRun, game_score, run_network_training
from rl.program_order_training import Progress, Training, begin, settings, train
from rl.weights import load_weights
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from pathlib import Path

# Of the network that is shipped, on the programs of the family that it has not seen: latency
# without and with search ÷ that of the XLA-style decode.
PINNED = {"policy": 0.9962, "search": 1.0060}
# Losses of policy and value in the sixth step towards it: what comes before is the same, too.
SIXTH_STEP = (0.020125, 57.7626)
SHORT = Training(
    steps=4,
    games=2,
    batch=16,
    validate_every=2,
    how=Play(simulations=4, horizon=4, noise=1.0),
    hidden=(8,),
)
# Of names, in order: what is shipped was learned from these.
TRAINING_PROGRAMS = "6337ca57f539c211b7ef1e390a663503ff1ab9f5318321c5c9d12f980c68bc63"


def programs(count: int = 9) -> list[TrainingProgram]:
    """Small random programs of three families."""
    return [
        TrainingProgram(
            f"p{seed}",
            f"graph{seed % 6}",
            f"family{seed % 3}",
            random_mapping_problem(seed, buffers=10, rows=24, accesses=5),
        )
        for seed in range(count)
    ]


def run_of(
    seed: int = 5,
    *,
    of: list[TrainingProgram] | None = None,
    hold_out: str = "family1",
    checkpoint: Path | None = None,
    resume: bool = False,
    stop_after: int | None = None,
) -> NetworkRun:
    told = []
    stated = programs() if of is None else of
    return run_network_training(
        stated,
        stated,
        SHORT,
        seed,
        hold_out=hold_out,
        checkpoint=checkpoint,
        resume=resume,
        should_stop=lambda: stop_after is not None and len(told) >= stop_after,
        on_progress=told.append,
    )


def test_what_agents_are_trained_on_stays_whatever_the_suite_becomes() -> None:
    names = [program.name for program in training_programs()]
    assert len(names) == 227
    assert hashlib.sha256("\n".join(names).encode()).hexdigest() == TRAINING_PROGRAMS
    learned = game_programs()
    assert len({program.name for program in learned}) == 46
    assert len({program.graph for program in learned}) == 23


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert weights_file(run_of(5)) == weights_file(run_of(5)) != weights_file(run_of(6))


# In the middle, after the last step, and while it is scored.
@pytest.mark.parametrize("stop_after", [0, 2, 4, 5])
def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(
    tmp_path: Path, stop_after: int
) -> None:
    checkpoint = tmp_path / "checkpoint.npz"
    part = run_of(checkpoint=checkpoint, stop_after=stop_after)
    assert not part.is_complete
    assert not part.scores
    assert part.progress.steps == min(stop_after, SHORT.steps)
    assert len(curves_csv(part).splitlines()) == 1 + part.progress.steps
    whole = run_of(checkpoint=checkpoint, resume=checkpoint.exists())
    assert weights_file(whole) == weights_file(run_of())


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.npz"
    run_of(5, checkpoint=checkpoint)
    with pytest.raises(UsageError, match="its seed is not that of this run"):
        run_of(6, checkpoint=checkpoint, resume=True)
    with pytest.raises(UsageError, match="its programs is not that of this run"):
        run_of(5, of=programs(8)[:7], checkpoint=checkpoint, resume=True)


def test_what_is_scored_is_never_learned_from() -> None:
    """Damage to the family left out changes its score alone."""
    plain = run_of()
    others = [
        program._replace(problem=random_mapping_problem(900 + turn, buffers=9, rows=15))
        if program.family == "family1"
        else program
        for turn, program in enumerate(programs())
    ]
    changed = run_of(of=others)
    before, after = plain.progress.network, changed.progress.network
    assert np.array_equal(before.parameters, after.parameters)
    assert {score.family for score in plain.scores} == {"family1"}
    assert plain.scores != changed.scores


def test_families_that_are_not_there_or_are_all_there_is_cannot_be_left_out() -> None:
    with pytest.raises(UsageError, match="There are: family0, family1, family2"):
        run_of(hold_out="cnn")
    one = [program._replace(family="cnn") for program in programs()]
    with pytest.raises(UsageError, match="no program to learn from"):
        run_of(of=one, hold_out="cnn")


def test_the_command_goes_on_to_the_file_of_an_uninterrupted_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(directory: Path, *more: str) -> list[str]:
        player = ["--player", "program-order"]
        return ["train-agent", *player, "--smoke", "-q", "-o", str(directory), *more]

    assert main(command(tmp_path, "--hold-out", "rnn")) == 2
    assert "There are: cnn, " in capsys.readouterr().err
    assert main(command(tmp_path / "a", "--time-limit", "0.001")) == 0
    assert "the time limit has passed" in capsys.readouterr().err
    assert not list((tmp_path / "a").iterdir())
    assert main(command(tmp_path / "a", "--resume", "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["complete"]
    assert {program["family"] for program in document["programs_scored"]} == {LEFT_OUT}
    suffixes = ["csv", "json", "npz", "png", "svg"]
    files = sorted((tmp_path / "a").iterdir())
    assert [path.name for path in files] == [f"program_order.{suffix}" for suffix in suffixes]
    content = (tmp_path / "a" / "program_order.npz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == document["sha256"]
    load_network(tmp_path / "a" / "program_order.npz")


def test_the_network_shipped_says_how_it_was_made_and_what_it_scores() -> None:
    weights = load_weights(SHIPPED, kind=KIND, feature_version=FEATURE_VERSION)
    assert weights.training["seed"] == 0
    assert weights.training["settings"] == settings(Training())
    assert weights.training["hold_out"] == LEFT_OUT
    assert weights.training["steps"] == Training().steps
    assert set(weights.score) == {"validation", LEFT_OUT}
    assert set(weights.score[LEFT_OUT]) == {"policy", "search"}


@pytest.mark.slow
def test_the_network_shipped_scores_on_the_unseen_family_what_its_file_says() -> None:
    unseen = [program for program in training_programs() if program.family == LEFT_OUT]
    scores = [
        game_score(load_network(), TrainingProgram(p.name, p.graph, p.family, p.build()))
        for p in unseen
    ]
    found = {
        "policy": geometric_mean([score.policy for score in scores]),
        "search": geometric_mean([score.search for score in scores]),
    }
    assert found == pytest.approx(PINNED, abs=1e-3)
    weights = load_weights(SHIPPED, kind=KIND, feature_version=FEATURE_VERSION)
    in_file = {name: of["ratio"] for name, of in weights.score[LEFT_OUT].items()}
    assert found == pytest.approx(in_file, abs=1e-3)


@pytest.mark.slow
def test_training_by_the_default_seed_begins_as_that_of_the_network_shipped_did() -> None:
    """All of its steps take minutes."""
    seen = [program.build() for program in game_programs() if program.family != LEFT_OUT]
    deadline = Deadline(math.inf)

    def end_after_six(progress: Progress) -> None:
        if progress.steps == 6:
            deadline.cancel.set()

    start = begin(Training(), 0)
    done = train(Training(), start, seen, [], deadline=deadline, on_step=end_after_six)
    assert done.curves[-1][1:3] == pytest.approx(SIXTH_STEP, rel=1e-4)
