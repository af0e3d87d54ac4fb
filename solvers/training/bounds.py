"""What no schedule of a training step can do better: least peak, and least extra time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from solvers.milp.linear import GrowingProgram
from solvers.training.least_peak import least_peak
from solvers.training.moment_program import moment_program
from solvers.training.moments import moments

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem
    from solvers.protocol import Deadline


class RecomputeBound(NamedTuple):
    """Extra time that every schedule within a budget takes.

    Attributes
    ----------
    recompute_ps : int or None
        None if no schedule is within the budget.
    name : str
        Of the argument.
    """

    recompute_ps: int | None
    name: str


def peak_bound(problem: TrainingProblem) -> int:
    """Return bytes that no schedule's peak is below, whatever it recomputes or offloads."""
    return least_peak(problem, moments(problem))


def recompute_bound(
    problem: TrainingProblem, budget_bytes: int, *, deadline: Deadline
) -> RecomputeBound:
    known = moments(problem)
    if budget_bytes < least_peak(problem, known, deadline=deadline):
        return RecomputeBound(None, "peak")
    best = 0
    for moment in range(len(known.wanted)):
        if deadline.expired():
            break
        program = moment_program(problem, known, budget_bytes, [moment])
        if len(program.cost):
            answer = GrowingProgram(program).solve(deadline, dual=True)
            if answer.bound > best:
                best = math.ceil(answer.bound)
    return RecomputeBound(best, "moment")
