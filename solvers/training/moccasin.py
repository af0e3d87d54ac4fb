"""Moccasin (arXiv 2304.14463) for training steps: retention intervals in CP-SAT."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from planner.training.sequences import schedule_of
from solvers.cp_sat import LARGEST_SUM, new_solver, solve_until
from solvers.milp.highs import ortools_available
from solvers.training.checkmate_relaxation import relaxed_bound
from solvers.training.incumbent import Incumbent
from solvers.training.moccasin_model import MoccasinModel
from solvers.training.slots import execution_times, number_slots
from solvers.training.stages import stage_sequences, staged_grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import Outcome
    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from solvers.protocol import Availability, Deadline
    from solvers.training.stages import StagedGrid

MOST_OPERATORS = 1_500
"""Operators beyond which no model is built."""

_RELAXATION_SHARE = 0.3


class MoccasinTraining:
    """Least recomputation with so many copies of each operator, in the staged grid.

    ``optimal`` and ``infeasible`` stand for all schedules, and so only where a bound says it; what
    is proven for so many copies in the grid stands in the statistics, see `solve`.
    """

    name = "moccasin"

    def __init__(self, copies: int = 2, *, forward_again: bool = True) -> None:
        """Choose how far the search goes.

        Parameters
        ----------
        copies : int
            How often each operator may run; those that the incumbent runs more often, that often.
        forward_again : bool
            Whether the forward half may run anything twice.
        """
        self._copies = copies
        self._forward_again = forward_again

    def available(self) -> Availability:
        """Needs ortools."""
        return ortools_available()

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
        """Solve, or hand back the best by the deadline.

        Parameters
        ----------
        problem : TrainingProblem
        budget_bytes : int
        deadline : Deadline
        seed : int
        incumbent : TrainingSchedule or None
            The search starts from it if it is one of the grid.
        lower_bound : int
            Proven, on the recomputation of any schedule within the budget, in picoseconds.
        on_progress : callable or None

        Returns
        -------
        Outcome
            ``lower_bound`` in picoseconds. Statistics: ``cpu_s``, ``branches``, ``conflicts``,
            ``copies``; ``copies_bound``, below which no schedule of the grid with so many copies
            is; ``copies_infeasible``, True if it is proven that there is none within the budget;
            ``staged_bound``, below which no schedule of the grid is, by Checkmate's relaxation, or
            if it follows from the former; ``stopped`` with the reason where nothing was searched.

        Raises
        ------
        ImportError
            If ortools cannot be loaded.
        """
        state = Incumbent(problem, budget_bytes, incumbent, lower_bound)
        grid = staged_grid(problem, forward_again=self._forward_again)
        if state.is_settled(grid) or deadline.expired():
            return state.outcome()
        if reason := _refused(problem, budget_bytes):
            return state.outcome(stopped=reason)
        known = None
        if state.best is not None:
            known = execution_times(grid, number_slots(grid), state.best)
        copies = dict.fromkeys(grid.producer.values(), 1)
        for operator in copies:
            if problem.recomputable[operator]:
                copies[operator] = max(self._copies, len(known[operator]) if known else 0)
        share = deadline.within(deadline.remaining_s() * _RELAXATION_SHARE)
        # Of the whole grid, for what is said of it below.
        staged = relaxed_bound(problem, staged_grid(problem), budget_bytes, deadline=share)
        bound = max(staged, lower_bound)
        statistics = state.statistics
        if state.cost_ps is None or state.cost_ps > bound:
            model = MoccasinModel(problem, grid, budget_bytes, copies)
            model.bound(bound)
            if known is not None:
                model.hint(known)
            _search(model, state, deadline, seed, on_progress)
        found = max(bound, statistics.get("copies_bound", 0))
        if self._forward_again and _is_enough(problem, grid, copies, found):
            staged = max(staged, found)
        return state.outcome(copies=self._copies, copies_bound=found, staged_bound=staged)


def _refused(problem: TrainingProblem, budget_bytes: int) -> str:
    count = len(problem.reads)
    if count > MOST_OPERATORS:
        return f"{count:,} operators are more than the {MOST_OPERATORS:,} of the model"
    span = int(problem.duration_ps.sum()) // (math.gcd(*problem.duration_ps.tolist()) or 1)
    if max(budget_bytes, span) > LARGEST_SUM:
        return "the numbers are too large for the model"
    return ""


def _is_enough(
    problem: TrainingProblem, grid: StagedGrid, copies: dict[int, int], cost_ps: int
) -> bool:
    """Whether no schedule that costs less can run any operator more often."""
    places = dict.fromkeys(copies, 0)
    for stage in grid.stages:
        for operator in stage.operators:
            if operator in places:
                places[operator] += 1
    return all(
        most >= places[operator] or most * int(problem.duration_ps[operator]) >= cost_ps
        for operator, most in copies.items()
    )


def _search(
    model: MoccasinModel,
    state: Incumbent,
    deadline: Deadline,
    seed: int,
    on_progress: Callable[[str], None] | None,
) -> None:
    from ortools.sat.python import cp_model

    problem = state.problem
    solver: Any = new_solver(seed)
    solver.parameters.linearization_level = 2
    search = solve_until(solver, model.model, deadline)
    statistics = state.statistics
    statistics.update(
        cpu_s=search.cpu_s, branches=solver.num_branches, conflicts=solver.num_conflicts
    )
    statistics["copies_infeasible"] = search.status == cp_model.INFEASIBLE
    if search.status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        executed = model.ran(solver)
        state.offer(schedule_of(problem, *stage_sequences(model.grid, executed)))
        units = math.ceil(solver.best_objective_bound - 1e-6)
        statistics["copies_bound"] = max(0, units) * model.ps_unit
        if on_progress is not None and state.cost_ps is not None:
            on_progress(f"{state.cost_ps:,} ps of recomputation")
