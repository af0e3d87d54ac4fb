"""One plan of the frontier of peak against recomputation."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from planner.training.just_in_time import just_in_time
from planner.training.retention import Retention

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule


@dataclass(frozen=True)
class FrontierPoint:
    """One plan of a frontier.

    Attributes
    ----------
    target_bytes : int
        The greatest budget that it is the answer to.
    name : str
        Who found it: ``search``, or the name of a seed.
    peak_bytes : int
        The least budget that it is the answer to.
    recompute_ps : int
    plan : Retention or TrainingSchedule
        What is kept, or a seed's own schedule.
    """

    problem: TrainingProblem = field(repr=False, compare=False)
    target_bytes: int
    name: str
    peak_bytes: int
    recompute_ps: int
    plan: Retention | TrainingSchedule = field(repr=False)

    @cached_property
    def schedule(self) -> TrainingSchedule:
        """The plan in order of execution."""
        if isinstance(self.plan, Retention):
            return just_in_time(self.problem, *self.plan)
        return self.plan
