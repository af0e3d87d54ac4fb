"""A whole run of training: the portfolio to ship, then the same without each family in turn.

What is shipped has seen every family, so its own score would say nothing. The score is that of
portfolios which were learned in the same way without the family they are tested on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.errors import UsageError
from rl.portfolio_scores import BUDGETS, program_scores, static_order
from rl.portfolio_training import Training, stated_pool, train, training_pool
from rl.training_checkpoint import identity, read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rl.portfolio import Entry
    from rl.portfolio_scores import ProgramScore
    from rl.portfolio_training import Settings, TrainingProgram

# Learned from all families.
EVERYTHING = "all"
_CHECKPOINT_EVERY_S = 5.0


class Run(NamedTuple):
    """How far a run came.

    Attributes
    ----------
    identity : dict
        All that its result depends on.
    trainings : dict of str to Training
        By the family left out; ``all`` for none.
    scores : tuple of ProgramScore
        Of the families that were left out of a finished training.
    is_complete : bool
    """

    identity: dict[str, Any]
    trainings: dict[str, Training]
    scores: tuple[ProgramScore, ...]
    is_complete: bool

    def portfolio(self) -> tuple[Entry, ...]:
        """Return the portfolio that the run is about: that of its first training."""
        return next(iter(self.trainings.values()), Training()).portfolio()


def run_training(
    programs: Sequence[TrainingProgram],
    settings: Settings,
    seed: int,
    *,
    hold_out: str | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    threads: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Run:
    """Train on everything and without each family, or without one alone.

    Parameters
    ----------
    hold_out : str or None
        The family to leave out. None: none, and afterwards each of them.
    checkpoint : path or None
        Where to write how far it is, every few seconds and at the end.
    resume : bool
        Go on from there.

    Raises
    ------
    UsageError
        If the family is unknown or the only one, or the checkpoint is of another run.
    BadFileError
        If the checkpoint is damaged or cannot be written.
    """
    families = list(dict.fromkeys(program.family for program in programs))
    if hold_out is not None and hold_out not in families:
        raise UsageError(
            f"no program is of the family {hold_out!r}. There are: {', '.join(families)}."
        )
    if hold_out is not None and len(families) == 1:
        raise UsageError(f"without {hold_out} there is no program to learn from.")
    of = identity(programs, settings, seed, hold_out)
    trainings = read_checkpoint(checkpoint, of) if checkpoint is not None and resume else {}
    written_at = time.monotonic()

    def save() -> None:
        nonlocal written_at
        if checkpoint is not None:
            write_checkpoint(checkpoint, of, trainings)
            written_at = time.monotonic()

    if hold_out is not None:
        left_out = [hold_out]
    else:
        left_out = [EVERYTHING, *(families if len(families) > 1 else [])]
    scores: list[ProgramScore] = []
    for turn, family in enumerate(left_out):
        if should_stop():
            return Run(of, trainings, tuple(scores), is_complete=False)
        seen = [program for program in programs if program.family != family]
        pool = stated_pool(training_pool(seen, settings, seed))
        # More entries than are scored would be learned for nothing.
        scored = settings._replace(entries=min(settings.entries, BUDGETS[-1]))
        wanted = settings if turn == 0 else scored

        def on_step(training: Training, family: str = family, wanted: Settings = wanted) -> None:
            trainings[family] = training
            on_progress(_progress(family, training, wanted))
            if time.monotonic() - written_at >= _CHECKPOINT_EVERY_S:
                save()

        training = train(
            pool,
            wanted,
            seed,
            training=trainings.get(family),
            threads=threads,
            should_stop=should_stop,
            on_step=on_step,
        )
        trainings[family] = training
        save()
        if len(training.entries) < wanted.entries:
            return Run(of, trainings, tuple(scores), is_complete=False)
        if family != EVERYTHING:
            unseen = [program for program in programs if program.family == family]
            order = static_order(pool, scored.entries)
            entries = training.entries[: scored.entries]
            scores += program_scores(entries, order, unseen, stated_pool(unseen))
    return Run(of, trainings, tuple(scores), is_complete=True)


def _progress(family: str, training: Training, settings: Settings) -> str:
    what = "all families" if family == EVERYTHING else f"without {family}"
    point = training.curve[-1]
    return (
        f"{what}: entry {point.entry + 1} of {settings.entries}, "
        f"step {point.step} of {settings.steps_of(point.entry)}, "
        f"{100 * point.cost:+.2f} % above the best static decode"
    )
