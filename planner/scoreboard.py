"""What the contenders of a race share: the best plan so far and the proven bounds."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from planner.checker import check
from planner.errors import InvalidPlanError
from planner.problem import Objective
from planner.result import Bounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.plans import Plan
    from planner.problem import PlanningProblem
    from solvers.protocol import Deadline


_POLL_S = 0.05


def objective_value(plan: Plan, objective: Objective) -> float:
    """Return the number that the objective minimises: bytes, or seconds for latency."""
    metrics = plan.metrics
    if objective is Objective.PEAK:
        return metrics.peak_bytes.get(plan.target.nearest.name, 0)
    if objective is Objective.TRAFFIC:
        return metrics.traffic_bytes
    return metrics.latency_s if metrics.latency_s is not None else float("inf")


def rank(plan: Plan, objective: Objective) -> tuple[float, float, float]:
    """Key by which plans are compared; smaller is better.

    Under the peak objective a plan that moves nothing comes before one that spills; of equal peaks
    the smaller arena, which is what has to be provided, wins.
    """
    near, metrics = plan.target.nearest.name, plan.metrics
    arena = metrics.arena_bytes.get(near, 0)
    if objective is Objective.PEAK:
        return (metrics.traffic_bytes, metrics.peak_bytes.get(near, 0), arena)
    latency = metrics.latency_s if metrics.latency_s is not None else 0.0
    if objective is Objective.TRAFFIC:
        return (metrics.traffic_bytes, arena, latency)
    return (latency, metrics.traffic_bytes, arena)


class Entry(NamedTuple):
    """The best plan of one contender and when it came."""

    plan: Plan
    wall_s: float


class Scoreboard:
    """Collects plans and bounds from all contenders. Safe to use from any thread.

    Parameters
    ----------
    problem : PlanningProblem
    on_progress : callable or None
        Called with one line whenever the best plan or the bound improves.
    """

    def __init__(
        self, problem: PlanningProblem, on_progress: Callable[[str], None] | None = None
    ) -> None:
        self._problem = problem
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._best: tuple[str, Entry] | None = None
        self._entries: dict[str, Entry] = {}
        self._bounds = Bounds()

    def offer(self, contender: str, plan: Plan) -> bool:
        """Enter a plan; return whether it is the best so far.

        Raises
        ------
        InvalidPlanError
            If the plan is illegal: the contender has a bug and loses.
        """
        violations = check(self._problem.graph, self._problem.target, plan)
        if violations:
            raise InvalidPlanError(f"made an illegal plan: {violations[0].message}")
        objective = self._problem.objective
        entry = Entry(plan, time.monotonic() - self._started)
        with self._lock:
            own = self._entries.get(contender)
            if own is None or rank(plan, objective) < rank(own.plan, objective):
                self._entries[contender] = entry
            improved = self._best is None or rank(plan, objective) < rank(
                self._best[1].plan, objective
            )
            if improved:
                self._best = (contender, entry)
        if improved and self._on_progress is not None:
            self._on_progress(f"{contender}: {objective_value(plan, objective):,.6g}")
        return improved

    def credit(self, contender: str) -> None:
        """Enter the best plan for a contender that has proved it optimal."""
        with self._lock:
            if self._best is not None:
                self._entries.setdefault(contender, self._best[1])

    def raise_bounds(self, bounds: Bounds) -> None:
        """Merge proven lower bounds; the higher of two known values stays."""

        def higher(a: float | None, b: float | None) -> float | None:
            return b if a is None else a if b is None else max(a, b)

        with self._lock:
            known = self._bounds
            self._bounds = Bounds(
                **{
                    name: higher(getattr(known, name), getattr(bounds, name))
                    for name in ("peak_bytes", "footprint_bytes", "traffic_bytes", "latency_s")
                }
            )

    @property
    def bounds(self) -> Bounds:
        """The best bounds so far."""
        with self._lock:
            return self._bounds

    @property
    def best(self) -> Plan | None:
        """The best plan so far, its metrics carrying the bounds proven so far."""
        with self._lock:
            if self._best is None:
                return None
            plan, bounds = self._best[1].plan, self._bounds
        return with_bounds(plan, bounds)

    def entry(self, contender: str) -> Entry | None:
        """Return the best plan of one contender."""
        with self._lock:
            return self._entries.get(contender)

    def wait_until_settled(self, deadline: Deadline) -> bool:
        """Wait until the deadline at most; return whether no plan is better than the best one."""
        while not self.settled() and not deadline.expired():
            time.sleep(min(_POLL_S, deadline.remaining_s()))
        return self.settled()

    def settled(self) -> bool:
        """Whether no plan is better than the best one."""
        plan = self.best
        if plan is None:
            return False
        metrics, near = plan.metrics, plan.target.nearest
        if metrics.traffic_bytes > 0:
            # Which of the plans of least traffic it is does not matter much.
            least = metrics.traffic_lower_bound_bytes
            traffic_counts = self._problem.objective is Objective.TRAFFIC
            return traffic_counts and least is not None and metrics.traffic_bytes <= least
        bound = metrics.peak_lower_bound_bytes
        if bound is None:
            return False
        aligned = -(-bound // near.alignment_bytes) * near.alignment_bytes
        arena_proven = metrics.arena_bytes.get(near.name, 0) <= aligned
        if self._problem.objective is Objective.PEAK:
            return arena_proven and metrics.peak_bytes.get(near.name, 0) <= bound
        if self._problem.objective is Objective.LATENCY:
            return arena_proven and metrics.latency_s == metrics.latency_lower_bound_s
        return arena_proven


def with_bounds(plan: Plan, bounds: Bounds) -> Plan:
    """Return the plan with the bounds that hold for it written into its metrics.

    The peak bound of plans that move nothing says nothing of a plan that spills; such a plan is
    measured against the largest operator.
    """
    moves = plan.metrics.traffic_bytes > 0
    metrics = replace(
        plan.metrics,
        peak_lower_bound_bytes=bounds.footprint_bytes if moves else bounds.peak_bytes,
        traffic_lower_bound_bytes=bounds.traffic_bytes,
        latency_lower_bound_s=bounds.latency_s,
    )
    return replace(plan, metrics=metrics)
