"""The mallocGame as a Gymnasium environment, for those who train a player of their own.

Importing this module registers ``planner/MallocGame-v0``, and ``gymnasium.make`` does so by itself
given ``rl.environment:planner/MallocGame-v0``. It needs the extra ``rl``; nothing else imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from planner.errors import UsageError
from planner.mapping_problem import MappingProblem
from planner.problem import Objective, PlanningProblem
from planner.target import Target
from planner.target_file import read_target
from solvers._native import (
    MAPPING_GAME_FEATURES,
    MAPPING_GAME_OFFERED,
    MAPPING_GAME_SHOWN,
    MappingGame,
)
from solvers.mapping.decoders import NO_WINDOW
from solvers.mapping.native import Decoded, native_model
from solvers.mapping.program import mapping_program, why_not_mappable

try:
    import gymnasium
except ImportError as error:
    raise ImportError(
        f"{error}: the environment needs Gymnasium. Get it with: pip install 'tensor-planner[rl]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from planner.mapping_problem import MappingSolution

ENVIRONMENT_ID = "planner/MallocGame-v0"
# Number of actions, and of numbers in an observation.
_MODES = {
    "program-order": (2, MAPPING_GAME_FEATURES),
    "paper": (3, MAPPING_GAME_FEATURES),
    "any-order": (MAPPING_GAME_OFFERED + 1, MAPPING_GAME_OFFERED * MAPPING_GAME_SHOWN + 3),
}
_LARGEST = 8.0


class MallocGameEnv(gymnasium.Env):
    """Decide which accesses of a program the fast memory serves. See docs/malloc_game.md.

    An episode is a program. The return is the share of what serving everything fast would gain
    that the final mapping gains: ``(all_slow - latency) / (all_slow - all_fast)``. Nothing is
    random; ``reset(seed=...)`` seeds ``np_random`` alone. An action that ``info["action_mask"]``
    does not allow changes nothing and earns nothing.

    Parameters
    ----------
    model : path, onnx.ModelProto, Graph, MappingProblem, or name of a network of the zoo
    target : str, path or Target
        Whose operators take operands in either memory. Not looked at for a MappingProblem.
    memory : mapping of str to int
        Capacities in bytes that replace the target's.
    mode : {"program-order", "paper", "any-order"}
    window : int
        Rows that a copy may take.
    dims : mapping of str to int
        Sizes of symbolic dimensions of the model.
    render_mode : {"ansi"}, optional

    Raises
    ------
    PlannerError
        If the model cannot be read or lowered, if there is nothing to decide about it on the
        target, or if an argument is wrong.
    """

    # Gymnasium's name and type; its checker wants a rate, of which text makes no use.
    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        model: Any,
        *,
        target: str | Target = "tpuv4i",
        memory: Mapping[str, int] | None = None,
        mode: str = "program-order",
        window: int = NO_WINDOW,
        dims: Mapping[str, int] | None = None,
        render_mode: Literal["ansi"] | None = None,
    ) -> None:
        if mode not in _MODES:
            raise UsageError(f"mode {mode!r}: give one of {', '.join(_MODES)}.")
        if isinstance(window, bool) or not isinstance(window, int) or not 1 <= window <= NO_WINDOW:
            raise UsageError(f"window {window!r}: give between 1 and {NO_WINDOW:,} rows.")
        if render_mode not in (None, "ansi"):
            raise UsageError(f"render_mode {render_mode!r}: give 'ansi' or None.")
        self.problem = _problem(model, target, memory or {}, dims or {})
        self.render_mode = render_mode
        self._start = MappingGame(native_model(self.problem), mode, window)
        if self._start.done:
            raise UsageError(
                f"nothing to decide: of {self.problem.buffers:,} buffers, none gains by lying in "
                f"{self.problem.capacity:,} bytes of fast memory. Give it more with memory=..., "
                "or a larger model."
            )
        self._game = self._start.copy()
        actions, observed = _MODES[mode]
        self.action_space = gymnasium.spaces.Discrete(actions)
        self.observation_space = gymnasium.spaces.Box(-_LARGEST, _LARGEST, (observed,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin the game again."""
        super().reset(seed=seed)
        self._game = self._start.copy()
        return self._game.observation(), self._info()

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Play an action and all forced ones after it.

        Raises
        ------
        gymnasium.error.InvalidAction
            If it is none of the actions at all.
        gymnasium.error.ResetNeeded
            If the game is over.
        """
        if not self.action_space.contains(action):
            raise gymnasium.error.InvalidAction(
                f"action {action!r}: give a whole number below {self._game.actions}."
            )
        if self._game.done:
            raise gymnasium.error.ResetNeeded("the game is over. Call reset() to begin another.")
        gained = 0
        if self._game.mask()[int(action)]:
            gained = self._game.play(int(action))
        reward = gained / max(1, self.problem.all_slow - self.problem.all_fast)
        return self._game.observation(), reward, self._game.done, False, self._info()

    def solution(self) -> MappingSolution:
        """Return the mapping. It is legal when the game is over."""
        return Decoded(self._game.residencies(), self._game.latency, 0).solution()

    def render(self) -> str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the position as text, with ``render_mode="ansi"``."""
        if self.render_mode is None:
            return None
        problem, tick_us = self.problem, self.problem.tick_s * 1e6
        return (
            f"{self._game.latency * tick_us:,.3f} us now, "
            f"{problem.all_slow * tick_us:,.3f} us if all is served slow, "
            f"{problem.all_fast * tick_us:,.3f} us if all is served fast; "
            f"{len(self._game.residencies()) // 6:,} residencies"
        )

    def _info(self) -> dict[str, Any]:
        return {
            "action_mask": self._game.mask().astype(np.int8),
            "latency_s": self._game.latency * self.problem.tick_s,
            "latency_ticks": self._game.latency,
        }


def _problem(
    model: Any, target: str | Target, memory: Mapping[str, int], dims: Mapping[str, int]
) -> MappingProblem:
    """State the mapping problem of a model on a target, under the model's own order."""
    if isinstance(model, MappingProblem):
        problem = model
    else:
        machine = target if isinstance(target, Target) else read_target(target)
        if memory:
            machine = machine.with_capacities(memory)
        stated = PlanningProblem(_graph(model, dims), machine, Objective.LATENCY)
        reason = why_not_mappable(stated)
        if reason:
            raise UsageError(
                f"{machine.name}: there is nothing to map: {reason}. Use a target whose operators "
                "take operands in either memory, such as tpuv4i."
            )
        problem = mapping_program(stated, range(len(stated.graph.operators))).problem
    if problem.all_slow <= problem.all_fast:
        raise UsageError(
            f"nothing to decide: the {problem.rows:,} steps take as long with everything in the "
            "slow memory as with everything in the fast one."
        )
    return problem


def _graph(model: Any, dims: Mapping[str, int]) -> Any:
    from pathlib import Path

    from frontends import zoo
    from planner.api import load

    if isinstance(model, str) and not Path(model).exists():
        if model in zoo.names():
            model = zoo.build(model)
        elif not model.endswith(".onnx"):
            raise UsageError(
                f"model {model!r}: neither a file nor a network of the zoo, which has: "
                f"{', '.join(zoo.names())}."
            )
    return load(model, dims=dims, parameters=True)


gymnasium.register(id=ENVIRONMENT_ID, entry_point="rl.environment:MallocGameEnv")
