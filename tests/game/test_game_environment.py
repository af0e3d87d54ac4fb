"""The Gymnasium environment: made from what people have, and as Gymnasium's checker wants it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from frontends import zoo
from planner.api import load
from planner.errors import BadFileError, UsageError
from planner.mapping_replay import replay
from planner.target_file import read_target
from planner.testing.mapping_problems import random_mapping_problem
from rl.environment import ENVIRONMENT_ID, MallocGameEnv

if TYPE_CHECKING:
    from pathlib import Path

    from planner.mapping_problem import MappingProblem

SMALL: dict[str, Any] = {"model": "resnet8", "memory": {"cmem": 1 << 16}}
MODES = ("program-order", "paper", "any-order")


def made(**arguments: Any) -> MallocGameEnv:
    environment = gymnasium.make(ENVIRONMENT_ID, **{**SMALL, **arguments}).unwrapped
    assert isinstance(environment, MallocGameEnv)
    return environment


def nothing_to_gain() -> MappingProblem:
    problem = random_mapping_problem(11, buffers=6, rows=12, accesses=4)
    return replace(problem, slow=problem.fast, slow_latency=problem.fast_latency)


@pytest.mark.parametrize("mode", MODES)
def test_gymnasium_accepts_the_environment(mode: str) -> None:
    check_env(made(mode=mode, render_mode="ansi"))


@pytest.mark.parametrize("mode", MODES)
def test_an_episode_ends_in_a_legal_mapping_and_returns_its_score(mode: str) -> None:
    environment = gymnasium.make(ENVIRONMENT_ID, **SMALL, mode=mode)
    seen, info = environment.reset(seed=3)
    environment.action_space.seed(3)
    returned, over = 0.0, False
    while not over:
        assert environment.observation_space.contains(seen)
        action = environment.action_space.sample(mask=info["action_mask"])
        seen, reward, over, truncated, info = environment.step(action)
        returned += float(reward)
        assert not truncated
    game = environment.unwrapped
    assert isinstance(game, MallocGameEnv)
    problem, solution = game.problem, game.solution()
    assert replay(problem, solution.residencies) == solution.latency == info["latency_ticks"]
    score = (problem.all_slow - solution.latency) / (problem.all_slow - problem.all_fast)
    assert returned == pytest.approx(score)
    assert not info["action_mask"].any()
    with pytest.raises(gymnasium.error.ResetNeeded):
        game.step(0)


def test_an_action_that_the_mask_forbids_changes_nothing() -> None:
    environment = made(mode="paper")
    _, before = environment.reset()
    forbidden = int(np.flatnonzero(before["action_mask"] == 0)[0])
    _, reward, over, _, after = environment.step(forbidden)
    assert (reward, over) == (0.0, False)
    assert np.array_equal(before["action_mask"], after["action_mask"])
    for nonsense in (3, -1, 0.5, None):
        with pytest.raises(gymnasium.error.InvalidAction):
            environment.step(nonsense)


def test_it_is_made_from_anything_that_can_be_planned(tmp_path: Path) -> None:
    proto = zoo.build("resnet8")
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    shape = made().problem.access_row.shape
    for model in (proto, path, str(path), load(proto), made().problem):
        assert made(model=model).problem.access_row.shape == shape
    target = read_target("tpuv4i").with_capacities({"cmem": 1 << 16})
    assert made(target=target, memory=None).problem.capacity == 1 << 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "resnet9"}, "neither a file nor a network of the zoo"),
        ({"model": 5}, "cannot plan a int"),
        ({"target": "npu-1m", "memory": None}, "nothing to map: operators of npu-1m"),
        ({"target": "host", "memory": None}, "nothing to map"),
        ({"memory": {"sram": 5}}, "sram"),
        ({"model": nothing_to_gain()}, "nothing to decide"),
        ({"mode": "any"}, "program-order, paper, any-order"),
        ({"window": 0}, "between 1 and"),
        ({"render_mode": "human"}, "render_mode"),
    ],
)
def test_what_cannot_be_played_is_refused_with_a_reason(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        MallocGameEnv(**{**SMALL, **arguments})


def test_missing_files_are_reported_as_such() -> None:
    with pytest.raises(BadFileError, match=r"missing\.onnx"):
        MallocGameEnv("missing.onnx")


def test_a_problem_is_taken_as_it_is() -> None:
    problem = random_mapping_problem(11, buffers=6, rows=12, accesses=4)
    assert MallocGameEnv(problem).problem is problem


def test_gymnasium_finds_it_by_module_and_rl_does_not_import_gymnasium() -> None:
    """Gymnasium has no entry points since 1.0: an environment is named with its module."""
    source = (
        "import sys, rl, rl.weights, rl.contender\n"
        "assert 'gymnasium' not in sys.modules\n"
        "import gymnasium\n"
        "made = gymnasium.make('rl.environment:planner/MallocGame-v0', model='resnet8', "
        "memory={'cmem': 1 << 16})\n"
        "made.reset(seed=1)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", source], check=True, timeout=120)


def test_text_shows_the_latency() -> None:
    environment = made(render_mode="ansi")
    environment.reset()
    assert "us if all is served slow" in str(environment.render())
    assert made().render() is None
