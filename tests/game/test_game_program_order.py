"""The program-order player: its network, its search, its training, and the plans it hands back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.mapping_replay import replay
from planner.problem import Status
from planner.testing.mapping_problems import random_mapping_problem
from rl.program_order import (
    ACTIONS,
    FEATURE_VERSION,
    KIND,
    Network,
    Play,
    ProgramOrder,
    load_network,
    network_of,
    play,
    untrained,
    weights_of,
)
from rl.program_order_training import (
    Progress,
    Training,
    begin,
    gradients,
    load_checkpoint,
    save_checkpoint,
    train,
    validation_score,
)
from rl.weights import WeightsError, load_weights, save_weights, weights_bytes
from solvers._native import MAPPING_GAME_FEATURES, mapping_play_program_order
from solvers.mapping.decoders import XLA_STYLE, decode_static
from solvers.mapping.native import native_model
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from pathlib import Path

    from planner.mapping_problem import MappingProblem

GREEDY = Play(simulations=0)
SHORT = Training(
    steps=4,
    games=2,
    batch=16,
    validate_every=2,
    how=Play(simulations=4, horizon=4, noise=1.0),
    hidden=(8,),
)


def problem_of(seed: int) -> MappingProblem:
    return random_mapping_problem(seed, buffers=10, rows=24, accesses=5)


def random_network(seed: int, hidden: tuple[int, ...] = (7, 5)) -> Network:
    count = len(untrained(hidden).parameters)
    parameters = 0.3 * np.random.default_rng(seed).standard_normal(count)
    return Network(hidden, parameters.astype(np.float32))


def forward(network: Network, seen: np.ndarray) -> np.ndarray:
    values = seen.astype(np.float64)
    for place, (weights, biases) in enumerate(network.layers()):
        values = values @ weights + biases
        if place < len(network.hidden):
            values = np.maximum(values, 0.0)
    return values


@pytest.mark.parametrize("hidden", [(), (9,), (7, 5)])
def test_the_kernel_computes_the_network(hidden: tuple[int, ...]) -> None:
    network = random_network(1, hidden)
    game = play(native_model(problem_of(3)), network, GREEDY, deadline=Deadline(60.0), record=True)
    assert len(game.row) > 3
    logits = forward(network, game.seen)[:, :ACTIONS]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(game.policy, shares, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    simulations=st.integers(0, 9),
    horizon=st.sampled_from((0, 3, 1000)),
    noise=st.sampled_from((0.0, 1.0)),
)
def test_any_search_ends_in_a_legal_mapping_and_the_same_seed_in_the_same(
    seed: int, simulations: int, horizon: int, noise: float
) -> None:
    problem = problem_of(seed)
    how = Play(simulations, horizon, noise)
    network = random_network(seed)
    results = [
        ProgramOrder(network, how).solve(problem, deadline=Deadline(60.0), seed=5).solution
        for _ in range(2)
    ]
    assert results[0] is not None
    assert results[0] == results[1]
    assert replay(problem, results[0].residencies) == results[0].latency


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_looking_at_both_actions_to_the_end_never_loses_to_not_looking(seed: int) -> None:
    """Each move is the better of two whole games by the policy, so games only get shorter."""
    model = native_model(problem_of(seed))
    network = untrained()
    greedy = play(model, network, GREEDY, deadline=Deadline(60.0)).decoded.latency
    how = Play(simulations=2, horizon=1 << 20, discount=1.0)
    assert play(model, network, how, deadline=Deadline(60.0)).decoded.latency <= greedy


def test_what_was_gained_adds_up() -> None:
    problem = problem_of(8)
    game = play(native_model(problem), untrained(), Play(), deadline=Deadline(60.0), record=True)
    gained = float(game.gained.sum()) * problem.all_slow / problem.rows
    assert gained == pytest.approx(problem.all_slow - game.decoded.latency, rel=1e-5)
    assert np.all(np.diff(game.row) >= 0)


def test_the_player_stops_searching_at_its_deadline_and_still_finishes() -> None:
    problem = random_mapping_problem(5, buffers=60, rows=200, accesses=9)
    deadline = Deadline(1e9)
    deadline.cancel.set()
    how = Play(simulations=1 << 30, horizon=1 << 20)
    outcome = ProgramOrder(untrained(), how).solve(problem, deadline=deadline)
    assert outcome.status is Status.FEASIBLE
    assert outcome.solution is not None
    assert replay(problem, outcome.solution.residencies) == outcome.solution.latency


def test_hybrid_takes_the_better_and_says_what_the_game_was_worth() -> None:
    told: list[str] = []
    better = 0
    for seed in range(40):
        problem = problem_of(seed)
        never = Network((), np.zeros((MAPPING_GAME_FEATURES + 1) * 3, np.float32))
        never.layers()[0][1][:] = (1.0, 0.0, 0.0)  # drops and releases
        static = decode_static(native_model(problem), XLA_STYLE, Deadline(60.0)).latency
        hybrid = ProgramOrder(never, GREEDY, hybrid=True).solve(
            problem, deadline=Deadline(60.0), on_progress=told.append
        )
        assert hybrid.solution is not None
        assert hybrid.solution.latency <= static
        assert f"{problem.all_slow * problem.tick_s * 1e6:,.3f} us" in told[-1]
        better += static < problem.all_slow
    assert better > 10


def test_a_better_incumbent_is_kept() -> None:
    problem = problem_of(4)
    found = ProgramOrder(untrained()).solve(problem, deadline=Deadline(60.0)).solution
    assert found is not None
    better = found._replace(latency=found.latency - 1)
    again = ProgramOrder(untrained()).solve(problem, deadline=Deadline(60.0), incumbent=better)
    assert again.solution == better


def test_gradients_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(2)
    network = random_network(2, (5,))
    seen = rng.standard_normal((6, MAPPING_GAME_FEATURES))
    policy = rng.dirichlet((1.0, 1.0), 6)
    value = rng.standard_normal(6)
    wide = replace(network, parameters=network.parameters.astype(np.float64))
    gradient, _ = gradients(wide, seen, policy, value)

    def loss(parameters: np.ndarray) -> float:
        cross, squared = gradients(replace(network, parameters=parameters), seen, policy, value)[1]
        return cross + 0.02 * squared

    for place in rng.choice(len(gradient), 40, replace=False):
        step = np.zeros(len(gradient))
        step[place] = 1e-6
        numeric = (loss(wide.parameters + step) - loss(wide.parameters - step)) / 2e-6
        assert gradient[place] == pytest.approx(numeric, abs=1e-6)


def test_training_goes_on_after_an_interruption_as_if_there_was_none(tmp_path: Path) -> None:
    programs = [problem_of(seed) for seed in range(3)]
    whole = train(SHORT, begin(SHORT, 9), programs, programs, deadline=Deadline(60.0))
    path = tmp_path / "checkpoint.npz"

    def save(progress: Progress) -> None:
        if progress.steps == 2:
            save_checkpoint(path, SHORT, progress)

    train(SHORT, begin(SHORT, 9), programs, programs, deadline=Deadline(60.0), on_step=save)
    resumed = load_checkpoint(path, SHORT)
    assert resumed.steps == 2
    resumed = train(SHORT, resumed, programs, programs, deadline=Deadline(60.0))
    assert np.array_equal(resumed.network.parameters, whole.network.parameters)
    assert np.array_equal(np.array(resumed.curves), np.array(whole.curves), equal_nan=True)
    assert whole.steps == 4
    assert np.isfinite(whole.curves[-1].score)
    assert not np.array_equal(whole.network.parameters, begin(SHORT, 9).network.parameters)


def test_training_improves_the_player() -> None:
    programs = [random_mapping_problem(seed, buffers=40, rows=60, accesses=4) for seed in range(12)]
    how = SHORT._replace(
        steps=40,
        games=8,
        rate=1e-2,
        batch=64,
        hidden=(16,),
        how=Play(simulations=4, horizon=16, noise=1.0),
    )
    before = begin(how, 3)
    after = train(how, before, programs, [], deadline=Deadline(600.0))
    scores = [
        validation_score(state.network, programs, Deadline(60.0), how=GREEDY)
        for state in (before, after)
    ]
    assert scores[1] < scores[0] - 0.01


def test_checkpoints_of_other_training_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, SHORT, begin(SHORT, 1))
    with pytest.raises(WeightsError, match="other settings"):
        load_checkpoint(path, SHORT._replace(rate=1.0))
    with pytest.raises(WeightsError, match="needed are"):
        load_network(path)


def test_no_step_is_half_done_at_the_deadline() -> None:
    deadline = Deadline(1e9)
    deadline.cancel.set()
    start = begin(SHORT, 1)
    assert train(SHORT, start, [problem_of(1)], [], deadline=deadline).steps == 0


def test_networks_come_back_from_files_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    network = random_network(6)
    weights = weights_of(network, training={"seed": 6}, score={})
    path = tmp_path / "network.npz"
    save_weights(path, weights)
    loaded = load_network(path)
    assert loaded.hidden == network.hidden
    assert np.array_equal(loaded.parameters, network.parameters)
    for hidden in (None, [7], [7, 0], [True, 5], "7"):
        with pytest.raises(WeightsError):
            network_of(replace(weights, network={"hidden": hidden}), path)


def test_the_kernel_refuses_networks_that_do_not_match() -> None:
    model = native_model(problem_of(1))
    for hidden, count in (((3,), 5), ((0,), 3), ((5000,), 3)):
        with pytest.raises(ValueError, match="layers"):
            mapping_play_program_order(
                model,
                hidden=hidden,
                parameters=np.zeros(count, np.float32),
                record=False,
                seed=0,
                time_limit_s=1.0,
                cancel=None,
                **GREEDY._asdict(),
            )


def test_a_missing_network_makes_the_player_unavailable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("rl.program_order.SHIPPED", tmp_path / "missing.npz")
    available, reason = ProgramOrder().available()
    assert not available
    assert "missing.npz" in reason


def test_the_shipped_network_is_small_and_better_than_none() -> None:
    from rl.program_order import SHIPPED

    weights = load_weights(SHIPPED, kind=KIND, feature_version=FEATURE_VERSION)
    assert len(weights_bytes(weights)) < 50_000
    assert {"seed", "settings", "programs"} <= weights.training.keys()
    ratios = []
    for seed in range(60):
        problem = random_mapping_problem(seed, buffers=40, rows=60, accesses=4)
        model = native_model(problem)
        latency = [
            play(model, network, GREEDY, deadline=Deadline(60.0)).decoded.latency
            for network in (load_network(), untrained())
        ]
        ratios.append(latency[0] / latency[1])
    assert np.exp(np.mean(np.log(ratios))) < 1.0
