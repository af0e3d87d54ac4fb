"""A finished plan of a training step that a search may start from or hand on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from planner.training.schedule import TrainingSchedule


class Seed(NamedTuple):
    """A schedule with its figures.

    Attributes
    ----------
    name : str
        Where it comes from.
    schedule : TrainingSchedule
    peak_bytes : int
    recompute_ps : int
    """

    name: str
    schedule: TrainingSchedule
    peak_bytes: int
    recompute_ps: int
