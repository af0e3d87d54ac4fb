"""Bounds on the extra time of a training step from the memory at a few of its moments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.cp_sat import LARGEST_SUM, new_solver, solve_until
from solvers.milp.linear import GrowingProgram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.training.problem import TrainingProblem
    from solvers.milp.program import Program
    from solvers.protocol import Deadline
    from solvers.training.moments import Moments


def pressure(problem: TrainingProblem, known: Moments, budget_bytes: int) -> NDArray[np.float64]:
    """Return a guess at what each moment will prove, in picoseconds; shape [moments].

    As if each storage that the backward half reads later were made again by its operator alone.
    """
    size = problem.size_bytes
    last = np.full(len(size), -1, dtype=np.int64)
    for moment, storages in enumerate(known.wanted):
        last[list(storages)] = moment
    items = np.flatnonzero((last >= 0) & (size > 0))
    cost = problem.duration_ps[problem.producer[items]].astype(np.float64)
    cost[~problem.recomputable[problem.producer[items]]] = np.inf
    items = items[np.argsort(cost / size[items], kind="stable")]
    cost = np.minimum(problem.duration_ps[problem.producer[items]], 2.0**62)
    room = budget_bytes - known.base_bytes
    if problem.host is not None:
        room = room + problem.host.capacity_bytes
    guess = np.zeros(len(room))
    for moment, storages in enumerate(known.wanted):
        free = (last[items] > moment) & ~np.isin(items, list(storages))
        free &= moment > known.last[items]
        bytes_dropped = np.cumsum(np.where(free, size[items], 0))
        excess = bytes_dropped[-1] - room[moment] if len(items) else 0
        if excess > 0:
            dropped = free & (bytes_dropped <= excess)
            guess[moment] = cost[dropped].sum() + excess * 1e-9
    return guess


def linear_bound(program: Program, *, deadline: Deadline) -> int | None:
    """Return a bound on a program's least cost from its continuous relaxation; None if not found.

    There is none if nothing satisfies the program, which is no proof of that in floating point.
    """
    if not len(program.cost):
        return 0
    bound = GrowingProgram(program).solve(deadline, dual=True).bound
    return max(0, math.ceil(bound)) if math.isfinite(bound) else None


class WholeAnswer(NamedTuple):
    """What CP-SAT says of a program.

    Attributes
    ----------
    bound : int or None
        On the least cost; None if nothing satisfies the program.
    solved : bool
        Whether a point was found.
    ones : frozenset of str
        Names of columns that are not 0 in the best one.
    """

    bound: int | None
    solved: bool = False
    ones: frozenset[str] = frozenset()


def whole_bound(program: Program, effort: float, *, deadline: Deadline) -> WholeAnswer:
    """Return a bound on a program's least cost from CP-SAT, which computes in whole numbers.

    Parameters
    ----------
    program : Program
        Of whole numbers.
    effort : float
        CP-SAT's deterministic time, about seconds.
    deadline : Deadline
    """
    from ortools.sat.python import cp_model

    # Costs rounded down, so that CP-SAT's sums stay small enough to be exact as doubles.
    unit = max(1, math.ceil(float((program.cost * program.upper).sum()) / LARGEST_SUM))
    model = cp_model.CpModel()
    columns = [
        model.new_int_var(int(lower), int(upper), "")
        for lower, upper in zip(program.lower.tolist(), program.upper.tolist(), strict=True)
    ]
    starts = np.searchsorted(program.row, np.arange(len(program.row_lower) + 1)).tolist()
    entries = list(zip(program.column.tolist(), program.value.tolist(), strict=True))
    for row, (lower, upper) in enumerate(
        zip(program.row_lower.tolist(), program.row_upper.tolist(), strict=True)
    ):
        terms = entries[starts[row] : starts[row + 1]]
        total = cp_model.LinearExpr.weighted_sum(
            [columns[column] for column, _ in terms], [int(value) for _, value in terms]
        )
        if math.isfinite(lower):
            model.add(total >= int(lower))
        if math.isfinite(upper):
            model.add(total <= int(upper))
    costs = [int(cost) // unit for cost in program.cost.tolist()]
    model.minimize(cp_model.LinearExpr.weighted_sum(columns, costs))
    solver = new_solver(0)
    solver.parameters.linearization_level = 2
    solver.parameters.max_deterministic_time = effort
    status = solve_until(solver, model, deadline).status
    if status == cp_model.INFEASIBLE:
        return WholeAnswer(None)
    bound = solver.best_objective_bound
    ones: frozenset[str] = frozenset()
    solved = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    if solved:
        named = zip(program.names, columns, strict=True)
        ones = frozenset(name for name, column in named if name and solver.value(column))
    least = max(0, math.floor(bound)) * unit if math.isfinite(bound) else 0
    return WholeAnswer(least, solved, ones)
