"""One race for a pipeline schedule: who builds, who bounds, who searches, and when."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from planner.pipelining.construction import built, crash
from planner.pipelining.problem import PipelineObjective
from planner.pipelining.result import (
    NOT_NEEDED,
    OVER_LIMIT,
    ContenderReport,
)
from planner.pipelining.screening import glance
from planner.pipelining.standings import Standings
from planner.race_thread import RaceThread, wait_for
from planner.registry import SOLVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from planner.interruption import Interruption
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from planner.pipelining.screening import Glance
    from planner.problem import Outcome
    from solvers.pipeline.constructors.catalogue import Constructor
    from solvers.protocol import Deadline

FALLBACK = "sequential"
MODULO, SEARCH, EXACT = "modulo", "search", "exact"
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
    """One call of `race`. Contenders run in threads; what they offer is judged in the standings."""

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
        self.standings = Standings(problems, on_progress)

    def run(self, interruption: Interruption) -> None:
        """Do all there is to do, or as much as time allows."""
        from solvers.pipeline.bounds.least_memory import why_infeasible

        for name, problem in self._problems.items():
            if proof := why_infeasible(problem):
                self.standings.rule_out(name, proof)
        if not self.standings.possible:
            return
        interruption.hold_or_raise()
        self._in_threads("constructors", [self._construct], interruption)
        self.prove(interruption)
        jobs = self._search_jobs()
        if self._searches and not self.standings.settled() and not interruption.heard:
            self._in_threads("search", jobs, interruption)
        else:
            for name in self._searches:
                for placement in self._problems:
                    self.standings.report(
                        ContenderReport(name, placement, "skipped", note=NOT_NEEDED)
                    )

    def prove(self, interruption: Interruption) -> None:
        """Bound the objective in every placement."""
        if not interruption.heard:
            self._in_threads("bound", [self._bound], interruption)

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
            owes=lambda: not self.standings.has_schedule,
            settled=lambda: name == "search" and self.standings.settled(),
        )
        for thread in threads:
            if thread.error is not None:
                self.standings.report(_failed(name, "", thread.error))

    def _construct(self) -> None:
        """Build all and judge them, the cheapest at a glance first."""
        open_still = {p: self._problems[p] for p in self.standings.possible}
        made: list[tuple[ContenderReport, PipelineSchedule, Glance | None]] = []
        for report, schedule in built(self._constructors, open_still, FALLBACK, self._deadline):
            if schedule is None:
                self.standings.report(report)
            else:
                made.append((report, schedule, glance(open_still[report.placement], schedule)))
        for report, schedule, seen in sorted(
            made, key=lambda one: (one[2] is None, 0 if one[2] is None else one[2].cost)
        ):
            if seen is None and self.standings.has_schedule and self._deadline.expired():
                self.standings.report(report._replace(note="no time was left to check it"))
            else:
                self._report_judged(report, schedule, seen)

    def _report_judged(
        self, report: ContenderReport, schedule: PipelineSchedule, seen: Glance | None
    ) -> None:
        wall, cpu = time.monotonic(), time.thread_time()
        try:
            status, cost, peak, note = self.standings.judge(
                report.placement, report.name, schedule, seen
            )
            report = report._replace(status=status, value_ticks=cost, peak_bytes=peak, note=note)
            if status == OVER_LIMIT:
                self._offload(report, schedule)
        except Exception as error:  # who crashes loses, the race goes on
            report = report._replace(status="failed", note=crash(error))
        self.standings.report(
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
        status, cost, peak, note = self.standings.offer(
            report.placement, name, replace(moved, name=name)
        )
        self.standings.report(
            report._replace(name=name, status=status, value_ticks=cost, peak_bytes=peak, note=note)
        )

    def _search_beyond_limits(self, placement: str, deadline: Deadline) -> None:
        """Search for schedules that need more than there is, and offload the excess."""
        problem = self._problems[placement]
        search = SOLVERS["pipeline"][SEARCH].load()
        seeds = [replace(schedule, copies=()) for schedule in self.standings.beyond(placement)]
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
                lower_bound=self.standings.bound_ticks(placement),
            )
            if outcome.solution is not None:
                words = "none" if factor is None else f"{factor:g} times as much"
                report = ContenderReport(SEARCH, placement, "feasible", note=f"limits: {words}")
                self._offload(report, outcome.solution)

    def _bound(self) -> None:
        from solvers.pipeline.bounds.best import pipeline_bound

        left = self.standings.possible
        for number, placement in enumerate(left):
            problem = self._problems[placement]
            share = _BOUND_SHARE * self._deadline.remaining_s() / (len(left) - number)
            try:
                found = pipeline_bound(problem, deadline=self._deadline.within(share))
            except Exception as error:  # without it the ideal time is the bound
                self.standings.report(_failed("bound", placement, error))
                continue
            if found.schedule is not None and EXACT in self._searches:
                self.standings.offer(placement, EXACT, found.schedule)
            whole = problem.objective is PipelineObjective.MAKESPAN
            self.standings.raise_bound(
                placement, found.makespan if whole else found.longest_stage, found.name
            )

    def _search_jobs(self) -> list[Callable[[], None]]:
        """Small problems each have all the time, for proofs; large ones share that of one job."""
        left = self.standings.possible
        if all(self._is_small(name) for name in left):
            return [partial(self._search, name, self._deadline) for name in left]
        return [partial(self._search_in_turns, left)]

    def _is_small(self, placement: str) -> bool:
        problem = self._problems[placement]
        return 3 * len(problem.stages) * problem.microbatches <= _EXACT_PASSES

    def _search_in_turns(self, placements: Sequence[str]) -> None:
        """Try the less promising placements for a while; the rest of the time is the best one's."""

        def promise(placement: str) -> tuple[float, int]:
            return self.standings.least_cost(placement), self.standings.bound_ticks(placement)

        *others, best = sorted(placements, key=promise, reverse=True)
        for placement in others:
            share = _OTHERS_SHARE / len(others) * self._deadline.remaining_s()
            self._search(placement, self._deadline.within(share))
        self._search(best, self._deadline)

    def _search(self, placement: str, deadline: Deadline) -> None:
        """Let the searches have a placement: modulo scheduling, then annealing, then CP-SAT."""
        small = self._is_small(placement)
        exact = EXACT in self._searches and small
        if MODULO in self._searches and self.standings.is_open(placement):
            self._solve(MODULO, placement, deadline.within(deadline.remaining_s() * _MODULO_SHARE))
        elif MODULO in self._searches:
            self.standings.report(ContenderReport(MODULO, placement, "skipped", note=NOT_NEEDED))
        if SEARCH in self._searches and self._problems[placement].offloading is not None:
            try:
                self._search_beyond_limits(placement, deadline)
            except Exception as error:  # who crashes loses, the race goes on
                self.standings.report(_failed(f"{SEARCH}+offload", placement, error))
        if SEARCH in self._searches and self.standings.is_open(placement):
            share = _SEARCH_SHARE if exact else 1.0
            self._solve(SEARCH, placement, deadline.within(deadline.remaining_s() * share))
        elif SEARCH in self._searches:
            self.standings.report(ContenderReport(SEARCH, placement, "skipped", note=NOT_NEEDED))
        if exact and self.standings.is_open(placement) and not deadline.expired():
            self._solve(EXACT, placement, deadline)
        elif EXACT in self._searches:
            note = NOT_NEEDED if small else "too many passes to be exact"
            self.standings.report(ContenderReport(EXACT, placement, "skipped", note=note))

    def _solve(self, name: str, placement: str, deadline: Deadline) -> None:
        problem = self._problems[placement]
        seeds = self.standings.seeds(placement)
        bound = self.standings.bound_ticks(placement)
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
            report = self.standings.judge_outcome(name, placement, outcome)
        except Exception as error:  # who crashes loses, the race goes on
            report = _failed(name, placement, error)
        self.standings.report(
            report._replace(wall_s=time.monotonic() - wall, cpu_s=time.thread_time() - cpu)
        )


def _failed(name: str, placement: str, error: Exception) -> ContenderReport:
    return ContenderReport(name, placement, "failed", note=crash(error))
