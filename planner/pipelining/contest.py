"""One race for a pipeline schedule: who builds, who bounds, who searches, and who is best."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from planner.errors import InvalidPlanError
from planner.pipelining.checking.checker import check_pipeline
from planner.pipelining.checking.violation import PipelineViolationKind
from planner.pipelining.construction import built, crash
from planner.pipelining.delayed_starts import best_timeline, cost_ticks
from planner.pipelining.memory import device_memory
from planner.pipelining.problem import PipelineObjective
from planner.pipelining.result import (
    NOT_NEEDED,
    OVER_LIMIT,
    BoundReport,
    ContenderReport,
    PipelineResult,
)
from planner.pipelining.schedule import PassKind
from planner.pipelining.screening import glance
from planner.pipelining.simulator import bubble_rate
from planner.problem import Status
from planner.race_thread import RaceThread, wait_for
from planner.registry import SOLVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from planner.interruption import Interruption
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from planner.pipelining.screening import Glance
    from planner.pipelining.simulator import PipelineTimeline
    from planner.problem import Outcome
    from solvers.pipeline.constructors.catalogue import Constructor
    from solvers.protocol import Deadline

FALLBACK = "sequential"
MODULO, SEARCH, EXACT = "modulo", "search", "exact"
_MEMORY_KINDS = (PipelineViolationKind.MEMORY, PipelineViolationKind.HOST)
# Exact models of more passes than this do not close in the time of a race.
_EXACT_PASSES = 160
# Of what time is left: for the bound, and for the search before an exact one.
_BOUND_SHARE = 0.3
_SEARCH_SHARE = 0.15
# Of what time is left: for modulo scheduling, and for every placement but the most promising.
_MODULO_SHARE = 0.04
_OTHERS_SHARE = 0.15
# What is searched for where the excess can be offloaded: multiples of the limits, None for none.
_BEYOND = (1.25, 1.5, 2.0, 3.0, 4.0, None)
_BEYOND_SHARE = 0.12


class Contest:
    """One call of `race`. Threads offer schedules; the lock makes one of them the best."""

    def __init__(
        self,
        problems: Mapping[str, PipelineProblem],
        chosen: tuple[tuple[Constructor, ...], tuple[str, ...]],
        deadline: Deadline,
        seed: int,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self._problems = problems
        self._constructors, self._searches = chosen
        self._deadline = deadline
        self._seed = seed
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

    def run(self, interruption: Interruption) -> None:
        """Do all there is to do, or as much as time allows."""
        from solvers.pipeline.bounds.least_memory import why_infeasible

        for name, problem in self._problems.items():
            if proof := why_infeasible(problem):
                self._impossible[name] = proof
        if len(self._impossible) == len(self._problems):
            return
        interruption.hold_or_raise()
        self._in_threads("constructors", [self._construct], interruption)
        self.prove(interruption)
        jobs = self._search_jobs()
        if self._searches and not self._settled() and not interruption.heard:
            self._in_threads("search", jobs, interruption)
        else:
            for name in self._searches:
                for placement in self._problems:
                    self._report(ContenderReport(name, placement, "skipped", note=NOT_NEEDED))

    def prove(self, interruption: Interruption) -> None:
        """Bound the objective in every placement."""
        if not interruption.heard:
            self._in_threads("bound", [self._bound], interruption)

    def offer(
        self, placement: str, name: str, schedule: PipelineSchedule
    ) -> tuple[str, int | None, int | None, str]:
        """Judge a schedule; return its status, cost, peak and a remark."""
        return self._judge(placement, name, schedule, glance(self._problems[placement], schedule))

    def _judge(
        self, placement: str, name: str, schedule: PipelineSchedule, seen: Glance | None
    ) -> tuple[str, int | None, int | None, str]:
        """Simulate and check a schedule, if it may be the best."""
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

    def result(self, interruption: Interruption) -> PipelineResult:
        """Return what there is."""
        doubts = self._drop_refuted_bounds()
        possible = [name for name in self._problems if name not in self._impossible]
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

    def _in_threads(
        self, name: str, jobs: Sequence[Callable[[], None]], interruption: Interruption
    ) -> None:
        threads = [RaceThread(f"{name} {number}", job) for number, job in enumerate(jobs)]
        for thread in threads:
            thread.start()
        wait_for(
            threads,
            self._deadline,
            interruption,
            owes=lambda: self._best is None,
            settled=lambda: name == "search" and self._settled(),
        )
        for thread in threads:
            if thread.error is not None:
                self._report(_failed(name, "", thread.error))

    def _least_bound(self) -> int:
        return min(b.ticks for p, b in self._bounds.items() if p not in self._impossible)

    def _settled(self) -> bool:
        """Whether no placement can do better than the best schedule."""
        return self._best is not None and self._best[0] <= self._least_bound()

    def _report(self, report: ContenderReport) -> None:
        with self._lock:
            self._reports.append(report)

    def _construct(self) -> None:
        """Build all and judge them, the cheapest at a glance first."""
        open_still = {p: one for p, one in self._problems.items() if p not in self._impossible}
        made: list[tuple[ContenderReport, PipelineSchedule, Glance | None]] = []
        for report, schedule in built(self._constructors, open_still, FALLBACK, self._deadline):
            if schedule is None:
                self._report(report)
            else:
                made.append((report, schedule, glance(open_still[report.placement], schedule)))
        for report, schedule, seen in sorted(
            made, key=lambda one: (one[2] is None, 0 if one[2] is None else one[2].cost)
        ):
            if seen is None and self._best is not None and self._deadline.expired():
                self._report(report._replace(note="no time was left to check it"))
            else:
                self._report_judged(report, schedule, seen)

    def _report_judged(
        self, report: ContenderReport, schedule: PipelineSchedule, seen: Glance | None
    ) -> None:
        wall, cpu = time.monotonic(), time.thread_time()
        try:
            status, cost, peak, note = self._judge(report.placement, report.name, schedule, seen)
            report = report._replace(status=status, value_ticks=cost, peak_bytes=peak, note=note)
            if status == OVER_LIMIT:
                self._offload(report, schedule)
        except Exception as error:  # who crashes loses, the race goes on
            report = report._replace(status="failed", note=crash(error))
        self._report(
            report._replace(
                wall_s=report.wall_s + time.monotonic() - wall,
                cpu_s=report.cpu_s + time.thread_time() - cpu,
            )
        )

    def _offload(self, report: ContenderReport, schedule: PipelineSchedule) -> None:
        """Offer a schedule that needs too much memory with what it takes to offload the excess."""
        from solvers.pipeline.offloading import with_offloading

        problem = self._problems[report.placement]
        moved = None if problem.offloading is None else with_offloading(problem, schedule)
        if moved is None:
            return
        name = f"{report.name}+offload"
        status, cost, peak, note = self.offer(report.placement, name, replace(moved, name=name))
        self._report(
            report._replace(name=name, status=status, value_ticks=cost, peak_bytes=peak, note=note)
        )

    def _search_beyond_limits(self, placement: str, deadline: Deadline) -> None:
        """Search for schedules that need more than there is, and offload the excess."""
        problem = self._problems[placement]
        search = SOLVERS["pipeline"][SEARCH].load()
        with self._lock:
            seeds = [replace(schedule, copies=()) for schedule in self._beyond[placement]]
        for factor in _BEYOND:
            limits = tuple(
                None if limit is None or factor is None else int(limit * factor)
                for limit in problem.limits
            )
            outcome = search.solve(
                replace(problem, limits=limits, offloading=None),
                deadline=deadline.within(_BEYOND_SHARE * deadline.remaining_s()),
                seed=self._seed,
                seeds=seeds,
                lower_bound=self._bounds[placement].ticks,
            )
            if outcome.solution is not None:
                words = "none" if factor is None else f"{factor:g} times as much"
                report = ContenderReport(SEARCH, placement, "feasible", note=f"limits: {words}")
                self._offload(report, outcome.solution)

    def _bound(self) -> None:
        from solvers.pipeline.bounds.best import pipeline_bound

        left = [name for name in self._problems if name not in self._impossible]
        for number, placement in enumerate(left):
            problem = self._problems[placement]
            share = _BOUND_SHARE * self._deadline.remaining_s() / (len(left) - number)
            try:
                found = pipeline_bound(problem, deadline=self._deadline.within(share))
            except Exception as error:  # without it the ideal time is the bound
                self._report(_failed("bound", placement, error))
                continue
            if found.schedule is not None and EXACT in self._searches:
                self.offer(placement, EXACT, found.schedule)
            whole = problem.objective is PipelineObjective.MAKESPAN
            self._raise_bound(
                placement, found.makespan if whole else found.longest_stage, found.name
            )

    def _raise_bound(self, placement: str, ticks: int, name: str) -> None:
        with self._lock:
            if ticks > self._bounds[placement].ticks:
                self._bounds[placement] = BoundReport(placement, ticks, name)

    def _search_jobs(self) -> list[Callable[[], None]]:
        """Small problems each have all the time, for proofs; large ones share that of one job."""
        left = [name for name in self._problems if name not in self._impossible]
        if all(self._is_small(name) for name in left):
            return [partial(self._search, name, self._deadline) for name in left]
        return [partial(self._search_in_turns, left)]

    def _is_small(self, placement: str) -> bool:
        problem = self._problems[placement]
        return 3 * len(problem.stages) * problem.microbatches <= _EXACT_PASSES

    def _search_in_turns(self, placements: Sequence[str]) -> None:
        """Try the less promising placements for a while; the rest of the time is the best one's."""

        def promise(placement: str) -> tuple[float, int]:
            costs = [cost for cost, _ in self._seeds[placement]]
            return min(costs, default=math.inf), self._bounds[placement].ticks

        *others, best = sorted(placements, key=promise, reverse=True)
        for placement in others:
            share = _OTHERS_SHARE / len(others) * self._deadline.remaining_s()
            self._search(placement, self._deadline.within(share))
        self._search(best, self._deadline)

    def _search(self, placement: str, deadline: Deadline) -> None:
        """Let the searches have a placement: modulo scheduling, then annealing, then CP-SAT."""
        small = self._is_small(placement)
        exact = EXACT in self._searches and small
        if MODULO in self._searches and self._is_open(placement):
            self._solve(MODULO, placement, deadline.within(deadline.remaining_s() * _MODULO_SHARE))
        elif MODULO in self._searches:
            self._report(ContenderReport(MODULO, placement, "skipped", note=NOT_NEEDED))
        if SEARCH in self._searches and self._problems[placement].offloading is not None:
            try:
                self._search_beyond_limits(placement, deadline)
            except Exception as error:  # who crashes loses, the race goes on
                self._report(_failed(f"{SEARCH}+offload", placement, error))
        if SEARCH in self._searches and self._is_open(placement):
            share = _SEARCH_SHARE if exact else 1.0
            self._solve(SEARCH, placement, deadline.within(deadline.remaining_s() * share))
        elif SEARCH in self._searches:
            self._report(ContenderReport(SEARCH, placement, "skipped", note=NOT_NEEDED))
        if exact and self._is_open(placement) and not deadline.expired():
            self._solve(EXACT, placement, deadline)
        elif EXACT in self._searches:
            note = NOT_NEEDED if small else "too many passes to be exact"
            self._report(ContenderReport(EXACT, placement, "skipped", note=note))

    def _is_open(self, placement: str) -> bool:
        """Whether the placement may have a better schedule than the best of all."""
        return self._best is None or self._bounds[placement].ticks < self._best[0]

    def _solve(self, name: str, placement: str, deadline: Deadline) -> None:
        problem = self._problems[placement]
        with self._lock:
            seeds = [schedule for _, schedule in sorted(self._seeds[placement], key=lambda s: s[0])]
        bound = self._bounds[placement].ticks
        wall, cpu = time.monotonic(), time.thread_time()
        try:
            solver = SOLVERS["pipeline"][name].load()
            outcome: Outcome[PipelineSchedule]
            if name == SEARCH:
                outcome = solver.solve(
                    problem,
                    deadline=deadline,
                    seed=self._seed,
                    seeds=seeds,
                    lower_bound=bound,
                    on_progress=self._on_progress,
                )
            else:
                outcome = solver.solve(
                    problem,
                    deadline=deadline,
                    seed=self._seed,
                    incumbent=seeds[0] if seeds else None,
                    lower_bound=bound,
                    on_progress=self._on_progress,
                )
            report = self._outcome(name, placement, outcome)
        except Exception as error:  # who crashes loses, the race goes on
            report = _failed(name, placement, error)
        self._report(
            report._replace(wall_s=time.monotonic() - wall, cpu_s=time.thread_time() - cpu)
        )

    def _outcome(
        self, name: str, placement: str, outcome: Outcome[PipelineSchedule]
    ) -> ContenderReport:
        if outcome.lower_bound is not None:
            self._raise_bound(placement, outcome.lower_bound, name)
        report = ContenderReport(
            name, placement, outcome.status.value, bound_ticks=outcome.lower_bound
        )
        if outcome.solution is None:
            if outcome.status is Status.INFEASIBLE and not self._seeds[placement]:
                self._impossible[placement] = "no schedule fits: proven by exhaustive search."
            return report
        status, cost, peak, note = self.offer(placement, name, outcome.solution)
        if status == "feasible" and cost is not None and cost <= self._bounds[placement].ticks:
            status = Status.OPTIMAL.value
        return report._replace(status=status, value_ticks=cost, peak_bytes=peak, note=note)


def _computes_the_output_layer(schedule: PipelineSchedule) -> bool:
    first = schedule.passes[0]
    return any(item.kind is PassKind.VOCABULARY_FORWARD for item in first)


def _failed(name: str, placement: str, error: Exception) -> ContenderReport:
    return ContenderReport(name, placement, "failed", note=crash(error))


def _require_a_working_solver(reports: Sequence[ContenderReport]) -> None:
    """Do not pass a bug off as a problem without a schedule."""
    ran = [report for report in reports if report.status != "skipped"]
    if ran and all(report.status == "failed" for report in ran):
        raise RuntimeError("; ".join(f"{report.name} failed: {report.note}" for report in ran))
