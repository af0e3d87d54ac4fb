"""A finished schedule that others may start from or have to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from planner.training.schedule import TrainingSchedule


class Seed(NamedTuple):
    """A schedule with what it costs.

    Attributes
    ----------
    name : str
        Who made it, and of what: ``torch 0.35``, ``block-dp``.
    schedule : TrainingSchedule
    peak_bytes, recompute_ps : int
        As `planner.training.memory` and `planner.training.schedule` count them.
    """

    name: str
    schedule: TrainingSchedule
    peak_bytes: int
    recompute_ps: int
