"""A whole run of training of the program-order player, and its score on the family left out."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from planner.errors import UsageError
from rl.program_order import Play, play
from rl.program_order_training import (
    begin,
    load_checkpoint,
    save_checkpoint,
    settings,
    train,
)
from rl.programs import perturbed
from rl.training_checkpoint import programs_digest
from solvers.mapping.decoders import XLA_STYLE, decode_static
from solvers.mapping.native import native_model
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from planner.mapping_problem import MappingProblem
    from rl.portfolio_training import TrainingProgram
    from rl.program_order import Network
    from rl.program_order_training import Progress, Training

# What is shipped was learned without it.
LEFT_OUT = "segmentation"
_VALIDATION_PROGRAMS = 40
# The same for every seed, so that scores of seeds compare.
_VALIDATION_SEED = 99
_CHECKPOINT_EVERY_S = 5.0


class GameScore(NamedTuple):
    """Latencies on a program, divided by that of the XLA-style decode.

    Attributes
    ----------
    name, graph, family : str
        Of the program.
    policy : float
        Of the network's likelier actions.
    search : float
        Of tree search as `Play` has it by default.
    """

    name: str
    graph: str
    family: str
    policy: float
    search: float


class NetworkRun(NamedTuple):
    """How far a run came.

    Attributes
    ----------
    identity : dict
        All that its result depends on.
    progress : Progress
    scores : tuple of GameScore
        Of the family left out, once all steps are done.
    is_complete : bool
    """

    identity: dict[str, Any]
    progress: Progress
    scores: tuple[GameScore, ...]
    is_complete: bool


def run_network_training(
    programs: Sequence[TrainingProgram],
    whole: Sequence[TrainingProgram],
    training: Training,
    seed: int,
    *,
    hold_out: str = LEFT_OUT,
    checkpoint: Path | None = None,
    resume: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> NetworkRun:
    """Train without a family and score on it.

    Parameters
    ----------
    programs : sequence of TrainingProgram
        To learn from, those of the family apart.
    whole : sequence of TrainingProgram
        Of which those of the family are scored.
    hold_out : str
        The family to leave out.
    checkpoint : path or None
        Where to write how far it is, every few seconds and when it ends.
    resume : bool
        Go on from there.
    should_stop : callable
        Asked between two steps.

    Raises
    ------
    UsageError
        If the family is unknown or the only one, or the checkpoint is of another run.
    BadFileError
        If the checkpoint is damaged or cannot be written.
    """
    unseen = [program for program in whole if program.family == hold_out]
    seen = [program for program in programs if program.family != hold_out]
    if not unseen:
        known = dict.fromkeys(program.family for program in whole)
        raise UsageError(
            f"no program is of the family {hold_out!r}. There are: {', '.join(known)}."
        )
    if not seen:
        raise UsageError(f"without {hold_out} there is no program to learn from.")
    of = {
        "settings": settings(training),
        "seed": seed,
        "hold_out": hold_out,
        "programs": programs_digest(seen),
        "programs_scored": programs_digest(unseen),
    }
    problems = [program.problem for program in seen]
    if checkpoint is not None and resume:
        progress = load_checkpoint(checkpoint, training, of)
    else:
        progress = begin(training, seed)
    deadline, written_at = Deadline(math.inf), time.monotonic()

    def on_step(progress: Progress) -> None:
        nonlocal written_at
        last = progress.curves[-1]
        on_progress(
            f"without {hold_out}, step {last.step} of {training.steps}, "
            f"policy loss {last.policy_loss:.3f}, value loss {last.value_loss:.1f}"
        )
        if checkpoint is not None and time.monotonic() - written_at >= _CHECKPOINT_EVERY_S:
            save_checkpoint(checkpoint, training, progress, of)
            written_at = time.monotonic()
        if should_stop():
            deadline.cancel.set()

    if should_stop():
        return NetworkRun(of, progress, (), is_complete=False)
    drawn = _validation(problems)
    progress = train(training, progress, problems, drawn, deadline=deadline, on_step=on_step)
    if checkpoint is not None:
        save_checkpoint(checkpoint, training, progress, of)
    scores: list[GameScore] = []
    if progress.steps == training.steps:
        for program in unseen:
            if should_stop():
                break
            on_progress(f"scoring {program.graph}")
            scores.append(game_score(progress.network, program))
    is_complete = len(scores) == len(unseen)
    return NetworkRun(of, progress, tuple(scores) if is_complete else (), is_complete)


def game_score(network: Network, program: TrainingProgram) -> GameScore:
    """Play a program with and without search, whatever time it takes."""
    model, never = native_model(program.problem), Deadline(math.inf)
    static = decode_static(model, XLA_STYLE, never).latency
    policy, search = (
        play(model, network, how, deadline=never).decoded.latency / static
        for how in (Play(simulations=0), Play())
    )
    return GameScore(program.name, program.graph, program.family, policy, search)


def _validation(problems: Sequence[MappingProblem]) -> list[MappingProblem]:
    """Draw programs of the families learned from, to follow the training by."""
    rng = np.random.default_rng(_VALIDATION_SEED)
    return [perturbed(problems[turn % len(problems)], rng) for turn in range(_VALIDATION_PROGRAMS)]
