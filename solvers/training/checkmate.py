"""Checkmate (arXiv 1910.02653) for training steps: its integer program, and its rounding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.training.sequences import schedule_of
from solvers.milp.pulp_process import pulp_available, solve_by_pulp
from solvers.training.checkmate_model import (
    checkmate_model,
    schedule_of_point,
    two_phases,
)
from solvers.training.incumbent import Incumbent
from solvers.training.stages import grid_entries, least_base, stage_sequences, staged_grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import Outcome
    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from solvers.milp.program import Answer
    from solvers.protocol import Availability, Deadline
    from solvers.training.checkmate_model import CheckmateModel
    from solvers.training.stages import StagedGrid

MOST_ENTRIES = 60_000
"""Operators and operands of all stages beyond which no program is built."""

_NO_TIME = "stopped at the deadline"
# Up to so many units of memory and time a proof in floating point is trusted; solvers let a row be
# off by 1e-6.
_TRUSTED_UNITS = 2**20
_THRESHOLDS = (0.5, 0.3, 0.1, 0.7, 0.9, 0.02)
# The rounding's program gets less than the budget, for rounded solutions need more than it.
_ALLOWANCES = (0.0, 0.1, 0.2)


class CheckmateTraining:
    """Checkmate's integer program through PuLP: least recomputation in the staged grid.

    `solvers.milp.pulp_process.solve_by_pulp` says with which solver. ``optimal`` and ``infeasible``
    stand for all schedules, and so only where a bound says it; what is proven in the grid stands in
    the statistics, see `solve`.
    """

    name = "checkmate"

    def available(self) -> Availability:
        """Needs pulp."""
        return pulp_available()

    def solve(
        self,
        problem: TrainingProblem,
        budget_bytes: int,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: TrainingSchedule | None = None,
        lower_bound: int = 0,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[TrainingSchedule]:
        """Solve, or hand back the best by the deadline. The seed is not used.

        Parameters
        ----------
        problem : TrainingProblem
        budget_bytes : int
        deadline : Deadline
        seed : int
        incumbent : TrainingSchedule or None
            Handed back if nothing better is found; not shown to the program.
        lower_bound : int
            Proven, on the recomputation of any schedule within the budget, in picoseconds.
        on_progress : callable or None

        Returns
        -------
        Outcome
            ``lower_bound`` in picoseconds. Statistics: ``cpu_s``, ``rows``, ``columns``,
            ``solver``; ``staged_bound``, the least recomputation in the grid, if proven;
            ``staged_infeasible``, True if it is proven that the grid has no schedule within the
            budget; ``stopped`` with the reason where it has not run to its end.
        """
        state = Incumbent(problem, budget_bytes, incumbent, lower_bound)
        grid = staged_grid(problem)
        if state.is_settled(grid) or deadline.expired():
            return state.outcome()
        if reason := _refused(grid):
            return state.outcome(stopped=reason)
        model = checkmate_model(problem, grid, budget_bytes, deadline=deadline)
        if model is None:
            return state.outcome(stopped=_NO_TIME)
        answer = solve_by_pulp(model.program, "checkmate", deadline=deadline)
        state.statistics.update(_statistics(model, answer))
        if answer.values is not None:
            state.offer(schedule_of_point(problem, grid, model, answer.values))
        span_ps = sum(map(int, problem.duration_ps)) // model.ps_unit
        if max(model.most_units, span_ps) <= _TRUSTED_UNITS:
            if answer.optimal:
                staged = round(answer.bound) * model.ps_unit - grid.paid_ps
                state.statistics["staged_bound"] = staged
            state.statistics["staged_infeasible"] = answer.infeasible
        return state.outcome()


class CheckmateRounding:
    """Checkmate's linear relaxation, rounded in two phases: what is kept, then what that demands.

    Several thresholds for what is kept, at the budget and at less of it; the best one that its
    exact peak lets pass.
    """

    name = "checkmate-rounding"

    def available(self) -> Availability:
        """Needs pulp."""
        return pulp_available()

    def solve(
        self,
        problem: TrainingProblem,
        budget_bytes: int,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: TrainingSchedule | None = None,
        lower_bound: int = 0,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[TrainingSchedule]:
        """Solve; parameters and statistics are those of `CheckmateTraining.solve`.

        Besides: ``rounded``, how many roundings were tried, ``fitting``, how many were within the
        budget. ``staged_bound`` is never given: what is in floating point here proves nothing.
        """
        state = Incumbent(problem, budget_bytes, incumbent, lower_bound)
        grid = staged_grid(problem)
        if state.is_settled(grid) or deadline.expired():
            return state.outcome()
        if reason := _refused(grid):
            return state.outcome(stopped=reason)
        least = least_base(problem, grid)
        rounded = fitting = 0
        for turn, allowance in enumerate(_ALLOWANCES):
            budget = budget_bytes - math.floor(allowance * (budget_bytes - least))
            model = checkmate_model(problem, grid, budget, deadline=deadline)
            if model is None:
                state.statistics["stopped"] = _NO_TIME
                break
            relaxed = model.program._replace(integer=np.zeros(len(model.program.cost), dtype=bool))
            share = deadline.within(deadline.remaining_s() / (len(_ALLOWANCES) - turn))
            answer = solve_by_pulp(relaxed, "checkmate", deadline=share)
            state.statistics.update(_statistics(model, answer))
            if answer.values is None:
                break
            for threshold in _THRESHOLDS:
                kept = {k for k, column in model.kept.items() if answer.values[column] > threshold}
                sequences = stage_sequences(grid, two_phases(grid, kept))
                rounded += 1
                fitting += state.offer(schedule_of(problem, *sequences))
        return state.outcome(rounded=rounded, fitting=fitting)


def _refused(grid: StagedGrid) -> str:
    entries = grid_entries(grid)
    if entries > MOST_ENTRIES:
        return (
            f"{entries:,} entries in all stages are more than the {MOST_ENTRIES:,} of the program"
        )
    return ""


def _statistics(model: CheckmateModel, answer: Answer) -> dict[str, Any]:
    sizes = {"rows": len(model.program.row_names), "columns": len(model.program.names)}
    statistics = {**sizes, **answer.statistics}
    if not answer.optimal and not answer.infeasible:
        statistics.setdefault("stopped", "stopped at its time limit")
    return statistics
