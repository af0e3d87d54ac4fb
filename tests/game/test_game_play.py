"""The mapping game: every line of play ends, in a legal mapping of just the latency it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.mapping_problem import MappingProblem, MappingSolution
from planner.mapping_replay import replay
from planner.testing.mapping_problems import random_mapping_problem
from solvers._native import MappingGame
from solvers.mapping.decoders import NO_WINDOW
from solvers.mapping.native import Decoded, native_model

MODES = ("program-order", "paper", "any-order")
WINDOWS = (1, 3, NO_WINDOW)

problems = st.builds(
    random_mapping_problem,
    st.integers(0, 1 << 30),
    buffers=st.integers(1, 12),
    rows=st.integers(2, 30),
    accesses=st.integers(1, 8),
)


def solution(game: MappingGame) -> MappingSolution:
    return Decoded(game.residencies(), game.latency, 0).solution()


def one_buffer(**changed: object) -> MappingProblem:
    """Written in row 0, read in rows 1 and 3; four rows without arithmetic."""

    def ticks(*values: int) -> np.ndarray:
        return np.array(values, dtype=np.int64)

    fields = {
        "tick_s": 1.0,
        "capacity": 8,
        "alignment": 1,
        "size": ticks(8),
        "has_copy": np.array([False]),
        "copy_in": ticks(4),
        "copy_out": ticks(4),
        "access_row": np.array([0, 1, 3], dtype=np.int32),
        "access_buffer": np.array([0, 0, 0], dtype=np.int32),
        "writes": np.array([True, False, False]),
        "fast": ticks(1, 1, 1),
        "slow": ticks(10, 10, 10),
        "arithmetic": ticks(0, 0, 0, 0),
        "overhead": ticks(0, 0, 0, 0),
        "other_fast": ticks(0, 0, 0, 0),
        "other_slow": ticks(0, 0, 0, 0),
        "touches_fast": np.zeros(4, dtype=bool),
        "touches_slow": np.zeros(4, dtype=bool),
    }
    return MappingProblem(**{**fields, **changed})  # pyright: ignore[reportArgumentType]


@settings(max_examples=300, deadline=None)
@given(
    problem=problems,
    mode=st.sampled_from(MODES),
    window=st.sampled_from(WINDOWS),
    rng=st.randoms(use_true_random=False),
)
def test_any_play_ends_in_a_legal_mapping(
    problem: MappingProblem, mode: str, window: int, rng: object
) -> None:
    """No state without a legal action: the game goes on until all accesses are decided."""
    game = MappingGame(native_model(problem), mode, window)
    assert game.latency == problem.all_slow
    gained = 0
    moves = 0
    while not game.done:
        legal = np.flatnonzero(game.mask()).tolist()
        assert legal
        seen = game.observation()
        assert np.isfinite(seen).all()
        assert np.abs(seen).max() <= 8
        gained += game.play(rng.choice(legal))  # pyright: ignore[reportAttributeAccessIssue]
        moves += 1
    assert replay(problem, solution(game).residencies) == game.latency
    assert problem.all_slow - gained == game.latency
    assert not game.mask().any()
    if mode == "program-order":
        assert moves <= 2 * problem.accesses
    if mode != "paper":
        assert game.backups == 0
    assert game.backups <= problem.accesses


@settings(max_examples=60, deadline=None)
@given(problem=problems, mode=st.sampled_from(MODES), seed=st.integers(0, 1 << 62))
def test_random_play_in_the_kernel_is_legal_and_repeatable(
    problem: MappingProblem, mode: str, seed: int
) -> None:
    model = native_model(problem)
    games = [MappingGame(model, mode, NO_WINDOW) for _ in range(2)]
    for game, observe in zip(games, (False, True), strict=True):
        game.play_random(seed, observe=observe, time_limit_s=60.0, cancel=None)
        assert game.done
    assert solution(games[0]) == solution(games[1])
    assert replay(problem, solution(games[0]).residencies) == games[0].latency


@settings(max_examples=60, deadline=None)
@given(problem=problems, mode=st.sampled_from(MODES), seed=st.integers(0, 1 << 62))
def test_a_copy_is_a_position_of_its_own(problem: MappingProblem, mode: str, seed: int) -> None:
    game = MappingGame(native_model(problem), mode, NO_WINDOW)
    before, mask, seen = solution(game), game.mask(), game.observation()
    other = game.copy()
    other.play_random(seed, observe=False, time_limit_s=60.0, cancel=None)
    assert solution(game) == before
    assert np.array_equal(game.mask(), mask)
    assert np.array_equal(game.observation(), seen)
    game.play_random(seed, observe=False, time_limit_s=60.0, cancel=None)
    assert solution(game) == solution(other)


def test_keeping_is_forced_without_room_for_the_write_back() -> None:
    """Row 1, served fast, leaves one tick, and row 2 none; the write-back takes four."""
    game = MappingGame(native_model(one_buffer()), "program-order", NO_WINDOW)
    assert game.play(1) == 27
    assert game.done
    assert solution(game).residencies == ((0, 0, 2, 0, 4, 0),)
    assert game.latency == replay(one_buffer(), solution(game).residencies) == 3


def test_a_release_writes_back_while_other_rows_run() -> None:
    problem = one_buffer(overhead=np.array([0, 0, 3, 0], dtype=np.int64))
    for action, residency in ((0, (0, 0, 1, 0, 3, 0)), (1, (0, 0, 2, 0, 4, 0))):
        game = MappingGame(native_model(problem), "program-order", NO_WINDOW)
        assert game.play(1) == 18
        assert game.play(action) == 9 * action
        assert game.done
        assert solution(game).residencies == (residency,)
        assert replay(problem, solution(game).residencies) == game.latency


def test_a_window_bounds_copies() -> None:
    problem = one_buffer(
        has_copy=np.array([True]),
        writes=np.array([False, False, False]),
        overhead=np.array([1, 1, 1, 1], dtype=np.int64),
        access_row=np.array([1, 2, 3], dtype=np.int32),
        copy_in=np.array([2], dtype=np.int64),
    )
    wide = MappingGame(native_model(problem), "program-order", NO_WINDOW)
    wide.play(1)
    assert wide.latency < problem.all_slow
    # One row of room does not do for a copy, so nothing is ever offered.
    narrow = MappingGame(native_model(problem), "program-order", 1)
    assert narrow.done


def test_in_the_paper_mode_a_lost_buffer_is_dropped_where_it_was_placed_first() -> None:
    """Two buffers of the whole memory: producing the second takes the bytes of the first."""

    def ticks(*values: int) -> np.ndarray:
        return np.array(values, dtype=np.int64)

    problem = one_buffer(
        size=ticks(8, 8),
        has_copy=np.array([False, False]),
        copy_in=ticks(4, 4),
        copy_out=ticks(40, 40),
        access_row=np.array([0, 1, 2, 3], dtype=np.int32),
        access_buffer=np.array([0, 1, 0, 1], dtype=np.int32),
        writes=np.array([True, True, False, False]),
        fast=ticks(1, 1, 1, 1),
        slow=ticks(10, 10, 10, 10),
    )
    game = MappingGame(native_model(problem), "paper", NO_WINDOW)
    no_copy = 1
    assert game.mask().tolist() == [False, True, True]
    assert game.play(no_copy) == 9
    # Now the second one is produced where the first one lies: row 2 has no legal action.
    assert game.play(no_copy) == -9
    assert game.backups == 1
    assert game.latency == 40
    # Back in row 0, which was dropped for good; the second buffer may be placed now.
    game.play(no_copy)
    assert game.done
    assert game.backups == 1
    assert replay(problem, solution(game).residencies) == game.latency == 22


def test_actions_that_are_not_legal_are_refused() -> None:
    game = MappingGame(native_model(one_buffer()), "program-order", NO_WINDOW)
    for action in (-1, 2, 1 << 30):
        with pytest.raises(ValueError, match="not legal"):
            game.play(action)
    while not game.done:
        game.play(1)
    with pytest.raises(ValueError, match="is over"):
        game.play(0)
    for mode, window in (("other", 3), ("paper", 0)):
        with pytest.raises(ValueError, match=r"mode|window"):
            MappingGame(native_model(one_buffer()), mode, window)


def test_a_game_keeps_its_model_alive() -> None:
    game = MappingGame(native_model(one_buffer()), "program-order", NO_WINDOW)
    other = game.copy()
    del game
    other.play_random(1, observe=True, time_limit_s=60.0, cancel=None)
    assert other.done
