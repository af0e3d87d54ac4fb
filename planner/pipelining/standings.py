"""How a race for a pipeline schedule stands: the best, what is proven, and what was reported."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

from planner.errors import InvalidPlanError
from planner.pipelining.checking.checker import check_pipeline
from planner.pipelining.checking.violation import PipelineViolationKind
from planner.pipelining.delayed_starts import best_timeline, cost_ticks
from planner.pipelining.memory import device_memory
from planner.pipelining.result import OVER_LIMIT, BoundReport, ContenderReport, PipelineResult
from planner.pipelining.schedule import PassKind
from planner.pipelining.screening import glance
from planner.pipelining.simulator import bubble_rate
from planner.problem import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from planner.interruption import Interruption
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from planner.pipelining.screening import Glance
    from planner.pipelining.simulator import PipelineTimeline
    from planner.problem import Outcome

_MEMORY_KINDS = (PipelineViolationKind.MEMORY, PipelineViolationKind.HOST)


class Standings:
    """What threads offer, judged; the lock makes one schedule the best.

    Parameters
    ----------
    problems : mapping of str to PipelineProblem
        By the name of the placement.
    on_progress : callable or None
        Receives one line per improvement.
    """

    def __init__(
        self,
        problems: Mapping[str, PipelineProblem],
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self._problems = problems
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._best: tuple[int, str, str, PipelineTimeline] | None = None
        self._seeds: dict[str, list[tuple[int, PipelineSchedule]]] = {p: [] for p in problems}
        self._beyond: dict[str, list[PipelineSchedule]] = {p: [] for p in problems}
        self._bounds: dict[str, BoundReport] = {
            name: BoundReport(name, problem.ideal_ticks, "busiest device")
            for name, problem in problems.items()
        }
        self._impossible: dict[str, str] = {}
        self._reports: list[ContenderReport] = []

    @property
    def has_schedule(self) -> bool:
        """Whether a legal schedule has been offered."""
        return self._best is not None

    @property
    def possible(self) -> list[str]:
        """The placements that are not proven to have no schedule."""
        return [name for name in self._problems if name not in self._impossible]

    def rule_out(self, placement: str, proof: str) -> None:
        """Take a placement out that has no schedule, with the reason."""
        self._impossible[placement] = proof

    def seeds(self, placement: str) -> list[PipelineSchedule]:
        """Return the placement's schedules that fit, the cheapest first."""
        with self._lock:
            return [schedule for _, schedule in sorted(self._seeds[placement], key=lambda s: s[0])]

    def beyond(self, placement: str) -> list[PipelineSchedule]:
        """Return the placement's schedules that need more memory than there is."""
        with self._lock:
            return list(self._beyond[placement])

    def least_cost(self, placement: str) -> float:
        """Return the cost of the placement's best schedule, infinity without one."""
        return min([cost for cost, _ in self._seeds[placement]], default=math.inf)

    def bound_ticks(self, placement: str) -> int:
        """Return the least that the placement's objective is proven to be."""
        return self._bounds[placement].ticks

    def raise_bound(self, placement: str, ticks: int, name: str) -> None:
        """Take note of a bound, if it is the best."""
        with self._lock:
            if ticks > self._bounds[placement].ticks:
                self._bounds[placement] = BoundReport(placement, ticks, name)

    def is_open(self, placement: str) -> bool:
        """Whether the placement may have a better schedule than the best of all."""
        return self._best is None or self._bounds[placement].ticks < self._best[0]

    def settled(self) -> bool:
        """Whether no placement can do better than the best schedule."""
        return self._best is not None and self._best[0] <= self._least_bound()

    def _least_bound(self) -> int:
        return min(b.ticks for p, b in self._bounds.items() if p not in self._impossible)

    def report(self, report: ContenderReport) -> None:
        """Take note of what a contender did."""
        with self._lock:
            self._reports.append(report)

    def offer(
        self, placement: str, name: str, schedule: PipelineSchedule
    ) -> tuple[str, int | None, int | None, str]:
        """Judge a schedule; return its status, cost, peak and a remark."""
        return self.judge(placement, name, schedule, glance(self._problems[placement], schedule))

    def judge(
        self, placement: str, name: str, schedule: PipelineSchedule, seen: Glance | None
    ) -> tuple[str, int | None, int | None, str]:
        """As `offer`, for a schedule that `glance` has seen: simulated if it may be the best."""
        problem = self._problems[placement]
        if seen is not None and seen.over_limit:
            with self._lock:
                self._beyond[placement].append(schedule)
            return OVER_LIMIT, seen.cost, max(seen.peaks), seen.over_limit
        if seen is not None and self._best is not None and self._best[0] <= seen.cost:
            with self._lock:
                self._seeds[placement].append((seen.cost, schedule))
            return "feasible", seen.cost, max(seen.peaks), ""
        if problem.sharding is not None and not any(schedule.units):
            return "skipped", None, None, "it does not say when sharded weights are gathered"
        if problem.vocabulary is not None and not _computes_the_output_layer(schedule):
            return (
                "skipped",
                None,
                None,
                "it has no passes for a vocabulary layer split over all devices",
            )
        try:
            timeline = best_timeline(problem, schedule)
        except InvalidPlanError as error:
            return "failed", None, None, f"illegal: {error}"
        cost = cost_ticks(problem, timeline)
        violations = check_pipeline(problem, timeline)
        peak = max(profile.peak for profile in device_memory(problem, timeline))
        if violations:
            over = all(violation.kind in _MEMORY_KINDS for violation in violations)
            if over:
                with self._lock:
                    self._beyond[placement].append(schedule)
            note = violations[0].message
            return (
                (OVER_LIMIT if over else "failed"),
                cost,
                peak,
                note if over else f"illegal: {note}",
            )
        with self._lock:
            self._seeds[placement].append((cost, schedule))
            better = self._best is None or cost < self._best[0]
            if better:
                self._best = (cost, placement, name, timeline)
        if better and self._on_progress is not None:
            where = f" ({placement})" if len(self._problems) > 1 else ""
            self._on_progress(f"{name}{where}: bubble {100 * bubble_rate(problem, cost):.2f} %")
        return "feasible", cost, peak, ""

    def judge_outcome(
        self, name: str, placement: str, outcome: Outcome[PipelineSchedule]
    ) -> ContenderReport:
        """Take a solver's outcome, its proofs too; return the report of it."""
        if outcome.lower_bound is not None:
            self.raise_bound(placement, outcome.lower_bound, name)
        report = ContenderReport(
            name, placement, outcome.status.value, bound_ticks=outcome.lower_bound
        )
        if outcome.solution is None:
            if outcome.status is Status.INFEASIBLE and not self._seeds[placement]:
                self.rule_out(placement, "no schedule fits: proven by exhaustive search.")
            return report
        status, cost, peak, note = self.offer(placement, name, outcome.solution)
        if status == "feasible" and cost is not None and cost <= self._bounds[placement].ticks:
            status = Status.OPTIMAL.value
        return report._replace(status=status, value_ticks=cost, peak_bytes=peak, note=note)

    def result(self, interruption: Interruption) -> PipelineResult:
        """Return what there is."""
        doubts = self._drop_refuted_bounds()
        possible = self.possible
        bounds = tuple(self._bounds[name] for name in possible)
        # Threads that outlive their time may still write.
        with self._lock:
            best, reports = self._best, tuple(self._reports)
        if best is None:
            if possible and interruption.heard:
                raise KeyboardInterrupt
            _require_a_working_solver(reports)
            name = next(iter(possible or self._problems))
            return PipelineResult(
                problem=self._problems[name],
                placement=name,
                timeline=None,
                status=Status.UNKNOWN if possible else Status.INFEASIBLE,
                bound_ticks=min((bound.ticks for bound in bounds), default=0),
                bounds=bounds,
                contenders=reports,
                interrupted=interruption.heard,
                notes=tuple(dict.fromkeys(self._impossible.values())),
            )
        cost, placement, name, timeline = best
        bound = min(cost, self._least_bound())
        return PipelineResult(
            problem=self._problems[placement],
            placement=placement,
            timeline=timeline,
            status=Status.OPTIMAL if cost == bound else Status.FEASIBLE,
            bound_ticks=bound,
            contender=name,
            bounds=bounds,
            contenders=reports,
            interrupted=interruption.heard,
            notes=(*(f"{p}: {proof}" for p, proof in self._impossible.items()), *doubts),
        )

    def _drop_refuted_bounds(self) -> list[str]:
        """Do not pass a wrong proof off as one: fall back to the ideal time, and say so."""
        doubts = []
        with self._lock:
            for placement, found in self._seeds.items():
                least = min((cost for cost, _ in found), default=None)
                bound = self._bounds[placement]
                if least is not None and bound.ticks > least:
                    ideal = self._problems[placement].ideal_ticks
                    self._bounds[placement] = BoundReport(placement, ideal, "busiest device")
                    doubts.append(
                        f"{placement}: the bound of {bound.ticks:,} ticks from {bound.name} is "
                        f"refuted by a schedule of {least:,}, and left out. This is a bug."
                    )
        return doubts


def _computes_the_output_layer(schedule: PipelineSchedule) -> bool:
    first = schedule.passes[0]
    return any(item.kind is PassKind.VOCABULARY_FORWARD for item in first)


def _require_a_working_solver(reports: Sequence[ContenderReport]) -> None:
    """Do not pass a bug off as a problem without a schedule."""
    ran = [report for report in reports if report.status != "skipped"]
    if ran and all(report.status == "failed" for report in ran):
        raise RuntimeError("; ".join(f"{report.name} failed: {report.note}" for report in ran))
