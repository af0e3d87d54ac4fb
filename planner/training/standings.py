"""Who leads the race for a training step: plans judged, bounds, and the result."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import InvalidPlanError
from planner.problem import Status
from planner.training.checker import check_training
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.result import TrainingContender, TrainingResult
from planner.training.schedule import recompute_ps
from planner.training.seed import Seed
from planner.training.simulator import simulate_training

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.training.frontier import FrontierPoint
    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule

SAVE_ALL = "save-all"


class Leader(NamedTuple):
    """The best plan so far, and by how much it misses the budget."""

    name: str
    schedule: TrainingSchedule
    excess_bytes: int
    extra_ps: int


class Standings:
    """The plans of one race. Threads offer them; the lock makes one of them the best.

    Attributes
    ----------
    seeds : list of Seed
        All plans offered, over the budget or not, without those that go by way of the host.
    peak_bound_bytes, extra_bound_ps : int
        Proven: no plan has a lower peak; none within the budget takes less extra time.
    bound_name : str
        Which method proved the latter.
    frontier : tuple of FrontierPoint
        The cheapest plans known at all peaks, by falling peak.
    frontier_complete : bool
        Whether nobody who made it was cut short by the deadline.
    impossible : bool
        Proven: nothing keeps the budget.
    """

    def __init__(
        self,
        problem: TrainingProblem,
        budget_bytes: int,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self._problem, self._budget = problem, budget_bytes
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._best: tuple[tuple[int, int, int], str, TrainingSchedule] | None = None
        self._contenders: dict[str, TrainingContender] = {}
        self.seeds: list[Seed] = []
        self.peak_bound_bytes = 0
        self.extra_bound_ps = 0
        self.impossible = False
        self.bound_name = "none"
        self.frontier: tuple[FrontierPoint, ...] = ()
        self.frontier_complete = False

    def save_everything(self) -> None:
        """Offer the plan that recomputes nothing."""
        schedule = just_in_time(self._problem, self._problem.boundary.tolist())
        self.consider(SAVE_ALL, schedule)

    def consider(self, name: str, schedule: TrainingSchedule) -> None:
        """Price a schedule, and offer it."""
        peak = memory_profile(self._problem, schedule).peak_bytes
        self.offer(Seed(name, schedule, peak, recompute_ps(self._problem, schedule)))

    def offer(self, seed: Seed) -> None:
        """Judge a plan: it counts if it is legal and costs what it says.

        Raises
        ------
        InvalidPlanError
            If it is illegal; whoever made it has failed.
        """
        name, schedule, peak, recomputed = seed
        extra = recomputed
        if schedule.offloads:
            extra += simulate_training(self._problem, schedule).stall_ps
        key = (max(0, peak - self._budget), extra, peak)
        with self._lock:
            leads = self._best is None or key < self._best[0]
        if leads:
            violations = check_training(self._problem, schedule, peak)
            if violations:
                raise InvalidPlanError(f"{name} is not legal: {violations[0].message}")
            if recomputed < (actual := recompute_ps(self._problem, schedule)):
                raise InvalidPlanError(f"{name} recomputes {actual:,} ps, not {recomputed:,}.")
        with self._lock:
            if not schedule.offloads:
                self.seeds.append(seed)
            if self._best is None or key < self._best[0]:
                self._best = (key, name, schedule)
                self._announce(f"{name}: peak {peak:,} B, {extra / 1e9:.3f} ms extra")
            contender = name.split(" ")[0]
            status = "feasible" if peak <= self._budget else "over budget"
            before = self._contenders.get(contender)
            if before is None or before.peak_bytes is None or key < self._key(before):
                self._contenders[contender] = (
                    before or TrainingContender(contender, status)
                )._replace(status=status, peak_bytes=peak, extra_ps=extra)

    def offer_or_fail(self, seed: Seed) -> None:
        """Judge a plan of somebody else; an illegal one is reported."""
        try:
            self.offer(seed)
        except InvalidPlanError as error:
            self.report(seed.name.split(" ")[0], "failed", str(error))

    def _key(self, contender: TrainingContender) -> tuple[int, int, int]:
        peak, extra = contender.peak_bytes or 0, contender.extra_ps or 0
        return max(0, peak - self._budget), extra, peak

    def _announce(self, line: str) -> None:
        if self._on_progress is not None:
            self._on_progress(line)

    def report(self, name: str, status: str, note: str = "", cpu_s: float = 0.0) -> None:
        """Note how a contender's job ended; what it found stays, and CPU seconds add up."""
        with self._lock:
            found = self._contenders.get(name)
            if found is None:
                found = TrainingContender(name, status)
            elif status in ("optimal", "failed"):
                found = found._replace(status=status)
            self._contenders[name] = found._replace(
                note=note or found.note, cpu_s=found.cpu_s + cpu_s
            )

    def best(self) -> Leader:
        """Return the best plan."""
        with self._lock:
            if self._best is None:
                raise AssertionError("the plan that saves everything is offered first")
            (excess, extra, _), name, schedule = self._best
            return Leader(name, schedule, excess, extra)

    def settled(self) -> bool:
        """Whether nobody can do better, or it is proven that nothing keeps the budget."""
        _, _, excess, extra = self.best()
        return self.impossible or (not excess and extra <= self.extra_bound_ps)

    def result(self, wall_s: float, *, interrupted: bool) -> TrainingResult:
        """Return what is known by now."""
        name, schedule, excess, extra = self.best()
        if excess:
            status = Status.INFEASIBLE if self.impossible else Status.UNKNOWN
        else:
            status = Status.OPTIMAL if extra <= self.extra_bound_ps else Status.FEASIBLE
        with self._lock:
            return TrainingResult(
                problem=self._problem,
                budget_bytes=self._budget,
                schedule=schedule,
                status=status,
                contender=name,
                peak_bound_bytes=self.peak_bound_bytes,
                extra_bound_ps=0 if excess else self.extra_bound_ps,
                bound_name=self.bound_name,
                contenders=tuple(self._contenders.values()),
                frontier=self.frontier,
                frontier_complete=self.frontier_complete,
                wall_s=wall_s,
                interrupted=interrupted,
            )
