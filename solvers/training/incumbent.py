"""The best schedule of a training step that an exact solver has, and what is proven of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.errors import InvalidPlanError
from planner.problem import Outcome, Status
from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps
from solvers.training.stages import least_base

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from solvers.training.stages import StagedGrid


class Incumbent:
    """The best schedule within the budget so far, and what is proven."""

    def __init__(
        self,
        problem: TrainingProblem,
        budget_bytes: int,
        schedule: TrainingSchedule | None,
        lower_bound: int,
    ) -> None:
        self.problem = problem
        self.budget = budget_bytes
        self.best: TrainingSchedule | None = None
        self.cost_ps: int | None = None
        self.lower_bound = lower_bound
        self.infeasible = False
        self.statistics: dict[str, Any] = {"cpu_s": 0.0}
        if schedule is not None:
            self.offer(schedule)

    def is_settled(self, grid: StagedGrid) -> bool:
        """Whether nothing is left to be found, by the bound or for lack of room."""
        self.infeasible = least_base(self.problem, grid) > self.budget
        return self.infeasible or self.cost_ps == self.lower_bound

    def offer(self, schedule: TrainingSchedule) -> bool:
        """Take a schedule if it is better; return whether it can run within the budget."""
        try:
            peak = memory_profile(self.problem, schedule).peak_bytes
        except InvalidPlanError:
            # What a solver holds when its time is up need not satisfy the program.
            return False
        if peak > self.budget:
            return False
        cost = recompute_ps(self.problem, schedule)
        if self.cost_ps is None or cost < self.cost_ps:
            self.best, self.cost_ps = schedule, cost
        return True

    def outcome(self, **statistics: Any) -> Outcome[TrainingSchedule]:
        """Return the best, with the words that are proven."""
        found = {**self.statistics, **statistics}
        if self.infeasible:
            return Outcome(Status.INFEASIBLE, None, statistics=found)
        if self.best is None:
            return Outcome(Status.UNKNOWN, None, self.lower_bound, found)
        status = Status.OPTIMAL if self.cost_ps == self.lower_bound else Status.FEASIBLE
        return Outcome(status, self.best, self.lower_bound, found)
