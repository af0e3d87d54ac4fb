"""What planning a training step hands back: the schedule, its proofs, the frontier, the race."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from planner.training.culprits import Culprit, culprits, step_name
from planner.training.memory import MemoryProfile, memory_profile
from planner.training.problem import PICOSECONDS
from planner.training.schedule import recompute_ps
from planner.training.simulator import simulate_training

if TYPE_CHECKING:
    from planner.problem import Status
    from planner.training.frontier import FrontierPoint
    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from planner.training.simulator import TrainingTimeline


class TrainingContender(NamedTuple):
    """How one contender did.

    Attributes
    ----------
    name : str
    status : str
        ``optimal``, ``feasible``, ``over budget``, ``unknown``, ``skipped`` or ``failed``.
    peak_bytes, extra_ps : int or None
        Of its best plan: within the budget if it has one, else the one of the least peak.
    cpu_s : float
    note : str
        One sentence: why it was skipped or stopped.
    """

    name: str
    status: str
    peak_bytes: int | None = None
    extra_ps: int | None = None
    cpu_s: float = 0.0
    note: str = ""


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The best plan of a training step, checked, with bounds.

    Attributes
    ----------
    problem : TrainingProblem
    budget_bytes : int
    schedule : TrainingSchedule
        Of the least extra time within the budget; where no plan within it is known, of the least
        peak.
    status : Status
        ``infeasible`` only if it is proven that no schedule keeps the budget, ``unknown`` if none
        was found; ``optimal`` if none can take less extra time.
    contender : str
        Who made the schedule.
    peak_bound_bytes : int
        No schedule has a lower peak.
    extra_bound_ps : int
        No schedule within the budget takes less extra time.
    bound_name : str
    contenders : tuple of TrainingContender
    frontier : tuple of FrontierPoint
        The cheapest plans known at all peaks, by falling peak, without offloading.
    frontier_complete : bool
        False where time ran out: peaks may then not fall with budgets.
    wall_s : float
    interrupted : bool
    """

    problem: TrainingProblem
    budget_bytes: int
    schedule: TrainingSchedule
    status: Status
    contender: str
    peak_bound_bytes: int
    extra_bound_ps: int
    bound_name: str
    contenders: tuple[TrainingContender, ...] = ()
    frontier: tuple[FrontierPoint, ...] = ()
    frontier_complete: bool = True
    wall_s: float = 0.0
    interrupted: bool = False

    @cached_property
    def profile(self) -> MemoryProfile:
        """Live bytes at each step."""
        return memory_profile(self.problem, self.schedule)

    @cached_property
    def timeline(self) -> TrainingTimeline:
        """The simulated step."""
        return simulate_training(self.problem, self.schedule)

    @property
    def fits(self) -> bool:
        """Whether the schedule keeps the budget."""
        return self.predicted_peak_bytes <= self.budget_bytes

    @property
    def predicted_peak_bytes(self) -> int:
        """The most bytes live at once, above parameters, buffers and inputs."""
        return self.profile.peak_bytes

    @cached_property
    def recompute_s(self) -> float:
        """Seconds of all executions beyond the first of each operator."""
        return recompute_ps(self.problem, self.schedule) / PICOSECONDS

    @property
    def stall_s(self) -> float:
        """Seconds for which the computation waits for copies."""
        return self.timeline.stall_ps / PICOSECONDS

    @property
    def extra_s(self) -> float:
        """Seconds beyond those of the step with everything kept: recomputation and stalls."""
        return self.recompute_s + self.stall_s

    @cached_property
    def step_s(self) -> float:
        """Seconds of every operator that the step needs, run once."""
        run = {*self.schedule.forward, *self.schedule.backward}
        return sum(self.problem.duration_ps[list(run)].tolist()) / PICOSECONDS

    @property
    def extra_bound_s(self) -> float:
        """No schedule within the budget takes less extra time than this."""
        return self.extra_bound_ps / PICOSECONDS

    @property
    def gap(self) -> float:
        """Share of the extra time that may be avoidable; 0 if proven optimal."""
        return max(0.0, 1.0 - self.extra_bound_s / self.extra_s) if self.extra_s else 0.0

    @property
    def host_bytes(self) -> int:
        """The most bytes on the host at once."""
        return self.timeline.host_peak_bytes

    @property
    def peak_step(self) -> str:
        """The operator during which the peak is reached."""
        return step_name(self.problem, self.schedule, self.profile.peak_step)

    @cached_property
    def culprits(self) -> tuple[Culprit, ...]:
        """What is live at the peak, largest first."""
        return culprits(self.problem, self.schedule, self.profile.peak_step)
