"""Optimal schedules of small pipelines, by CP-SAT questions between a bound and the best known."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from planner.pipelining.delayed_starts import best_timeline, cost_ticks
from planner.pipelining.memory import device_memory
from planner.pipelining.problem import PipelineObjective
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from planner.problem import Outcome, Status
from solvers.cp_sat import LARGEST_SUM, new_solver, solve_until
from solvers.milp.highs import ortools_available
from solvers.pipeline.bounds.best import analytic_bound, pipeline_bound
from solvers.pipeline.bounds.least_memory import why_infeasible
from solvers.pipeline.bounds.suffix import suffix_bound
from solvers.pipeline.exact_model import TargetModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.pipelining.problem import PipelineProblem
    from solvers.protocol import Availability, Deadline

MOST_PASSES = 6_000
"""Passes of all stages and microbatches beyond which no model is built."""

_BOUND_SHARE = 0.15
_FRONTS_SHARE = 0.3
_FRONTS_NODES = 300_000
# Deterministic seconds for the first question, doubled when a whole round of them stays open.
_FIRST_SLICE = 0.1
# Where between the bound and the best schedule to ask, in order.
_EIGHTHS = (4, 2, 6, 1, 7, 0, 8)


class CpPipeline:
    """Proves schedules optimal: one microbatch's passes may run anywhere that memory allows.

    Small pipelines with one stage per device are searched over fronts first, which closes most.
    Then it asks whether a schedule of at most so many ticks exists, first at the bound. Each answer
    moves the bound or the best schedule; questions that stay open are asked again with more time.
    """

    name = "cp"

    def available(self) -> Availability:
        """Whether ortools can be loaded."""
        return ortools_available()

    def refuses(self, problem: PipelineProblem) -> str | None:
        """Return why there is no model of a problem; None if there is one."""
        for name in ("offloading", "vocabulary", "sharding"):
            if getattr(problem, name) is not None:
                return f"the exact model knows no {name}"
        passes = 3 * len(problem.stages) * problem.microbatches
        if passes > MOST_PASSES:
            return f"{passes:,} passes are more than the {MOST_PASSES:,} of the exact model"
        most = problem.microbatches * max(
            sum(stage.work + 2 * stage.communication for stage in problem.stages),
            sum(stage.activation_bytes for stage in problem.stages),
        )
        if most > LARGEST_SUM:
            return "the numbers are too large for the exact model"
        return None

    def solve(
        self,
        problem: PipelineProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: PipelineSchedule | None = None,
        lower_bound: int | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[PipelineSchedule]:
        """Solve until proven or the deadline; never worse than the incumbent.

        Parameters
        ----------
        problem : PipelineProblem
        deadline : Deadline
        seed : int
        incumbent : PipelineSchedule or None
            One that fits the limits.
        lower_bound : int or None
            A proven bound on the objective; without it, one is computed first.
        on_progress : callable or None

        Returns
        -------
        Outcome
            ``lower_bound`` in ticks. Statistics: ``cpu_s``, ``questions``, and ``refused`` with the
            reason where there is no model.

        Raises
        ------
        ImportError
            If ortools cannot be loaded.
        """
        started_s = time.process_time()
        if why_infeasible(problem) is not None:
            return Outcome(Status.INFEASIBLE, None)
        refused = self.refuses(problem)
        if refused is not None:
            status = Status.UNKNOWN if incumbent is None else Status.FEASIBLE
            return Outcome(status, incumbent, lower_bound, {"refused": refused})
        search = _Search(problem, incumbent, seed, on_progress)
        search.raise_lower(analytic_bound(problem), lower_bound)
        search.fronts(deadline.within(deadline.remaining_s() * _FRONTS_SHARE))
        if lower_bound is None and search.open():
            share = deadline.within(deadline.remaining_s() * _BOUND_SHARE)
            bound = pipeline_bound(problem, deadline=share, enough=search.cost)
            search.raise_lower(bound, None)
        search.run(deadline)
        statistics = search.statistics | {"cpu_s": time.process_time() - started_s}
        status = Status.FEASIBLE if search.open() else Status.OPTIMAL
        return Outcome(status, search.best, search.lower, statistics)


def one_after_another(problem: PipelineProblem) -> PipelineSchedule:
    """Return the schedule that finishes each microbatch before it starts the next.

    It fits whatever limits a schedule without offloading can fit.
    """
    rows: list[list[Pass]] = [[] for _ in range(problem.devices)]
    for microbatch in range(problem.microbatches):
        for stage, device in enumerate(problem.device_of):
            rows[device].append(Pass(PassKind.FORWARD, stage, microbatch))
        for stage in reversed(range(len(problem.stages))):
            row = rows[problem.device_of[stage]]
            row.append(Pass(PassKind.BACKWARD, stage, microbatch))
            row.append(Pass(PassKind.WEIGHT, stage, microbatch))
    return PipelineSchedule(
        "one after another", problem.device_of, tuple(tuple(row) for row in rows)
    )


class _Search:
    """One run: the bound, the best schedule, and what was asked."""

    def __init__(
        self,
        problem: PipelineProblem,
        incumbent: PipelineSchedule | None,
        seed: int,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self.problem = problem
        self.seed = seed
        self.on_progress = on_progress
        self.lower = 0
        self.best = one_after_another(problem) if incumbent is None else incumbent
        self.cost = self.cost_of(self.best)
        self.found = False
        self.instant = any(
            min(stage.forward, stage.backward, stage.weight) == 0 for stage in problem.stages
        )
        self.statistics: dict[str, Any] = {"questions": 0}

    def cost_of(self, schedule: PipelineSchedule) -> int:
        return cost_ticks(self.problem, best_timeline(self.problem, schedule))

    def fits(self, schedule: PipelineSchedule) -> bool:
        """Whether memory suffices for passes without duration too, which the model leaves out."""
        memory = device_memory(self.problem, best_timeline(self.problem, schedule))
        return all(
            limit is None or profile.peak <= limit
            for profile, limit in zip(memory, self.problem.limits, strict=True)
        )

    def raise_lower(self, bound: Any, known: int | None) -> None:
        whole = self.problem.objective is PipelineObjective.MAKESPAN
        mine = bound.makespan if whole else bound.longest_stage
        self.lower = max(self.lower, mine, known or 0)

    def open(self) -> bool:
        return self.lower < self.cost

    def fronts(self, deadline: Deadline) -> None:
        """Search over fronts, which closes most pipelines of one stage per device."""
        if not self.open():
            return
        found = suffix_bound(
            self.problem,
            self.lower,
            deadline=deadline,
            enough=self.cost,
            most_nodes=_FRONTS_NODES,
        )
        if found.schedule is not None and found.cost is not None and found.cost < self.cost:
            self.best, self.cost = found.schedule, found.cost
        self.lower = max(self.lower, min(found.ticks, self.cost))

    def run(self, deadline: Deadline) -> None:
        slice_s = _FIRST_SLICE
        while self.open() and not deadline.expired():
            if not self.found:
                # Bounds are often met.
                self.ask(self.lower, 4 * slice_s, deadline)
            known = self.bisect(slice_s, deadline) if self.found else self.climb(slice_s, deadline)
            if not known:
                slice_s *= 2
                self.seed += 1

    def climb(self, slice_s: float, deadline: Deadline) -> bool:
        """Ask further and further above the bound until there is a schedule.

        Questions far above the optimum are harder than those close to it.
        """
        known, step = False, max(1, self.lower >> 8)
        while self.open() and not self.found and not deadline.expired():
            target = min(self.lower + step, self.cost - 1)
            known = self.ask(target, slice_s, deadline) or known
            if target == self.cost - 1 or step > self.lower:
                break
            step *= 4
        return known

    def bisect(self, slice_s: float, deadline: Deadline) -> bool:
        """Ask in the middle, and if that stays open, elsewhere."""
        for eighths in _EIGHTHS:
            target = self.lower + (self.cost - 1 - self.lower) * eighths // 8
            if deadline.expired() or self.ask(target, slice_s, deadline):
                return True
        return False

    def ask(self, target: int, slice_s: float, deadline: Deadline) -> bool:
        """Ask whether a schedule takes at most ``target`` ticks; return whether that is known."""
        from ortools.sat.python import cp_model
        from ortools.sat.python.cp_model_helper import SatParameters

        if not self.open():
            return True
        question = TargetModel(self.problem, target)
        for in_order in (True, False):
            solver = new_solver(self.seed)
            # What these take off the search is a factor of hundreds where costs are not small.
            solver.parameters.linearization_level = 0
            solver.parameters.use_dynamic_precedence_in_disjunctive = True
            # It claims proofs that are none where passes take no time (OR-Tools 9.15).
            solver.parameters.use_strong_propagation_in_disjunctive = not self.instant
            solver.parameters.max_deterministic_time = slice_s
            if in_order:
                # By time, as a list scheduler: schedules are found soon where there are many.
                solver.parameters.search_branching = SatParameters.SearchBranching.FIXED_SEARCH
            status = solve_until(solver, question.model, deadline).status
            if status != cp_model.UNKNOWN:
                break
        self.statistics["questions"] += 1
        if status == cp_model.INFEASIBLE:
            self.lower = target + 1
        elif status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            schedule = question.schedule(solver)
            if not self.fits(schedule):
                return False
            self.best, self.cost, self.found = schedule, self.cost_of(schedule), True
        else:
            return False
        if self.on_progress is not None:
            self.on_progress(f"between {self.lower:,} and {self.cost:,} ticks")
        return True
