"""What no schedule of a training step can do better than: least peak, and least extra time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.training.least_peak import least_peak
from solvers.training.moment_bounds import linear_bound, pressure, whole_bound
from solvers.training.moment_program import moment_program
from solvers.training.moments import moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.training.problem import TrainingProblem
    from solvers.protocol import Deadline

_SEGMENTS = 8
_BEST_GUESSES = 6
_WHOLE = 3
_EFFORT = 0.5


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
    """Return picoseconds that every schedule whose peak is within a budget recomputes for.

    Each moment of the backward half gives a bound of its own. Those that promise most are looked
    at, the best of them in whole numbers. The effort is fixed, so the answer is the same wherever
    the deadline allows for it; it always holds.
    """
    known = moments(problem)
    if budget_bytes < least_peak(problem, known, deadline=deadline):
        return RecomputeBound(None, "least peak")
    best = RecomputeBound(0, "none")
    found: list[tuple[float, int]] = []
    for moment in _promising(pressure(problem, known, budget_bytes)):
        if deadline.expired():
            return best
        program = moment_program(problem, known, budget_bytes, [moment])
        bound = linear_bound(program, deadline=deadline)
        found.append((math.inf if bound is None else bound, moment))
        if bound is not None and bound > (best.recompute_ps or 0):
            best = RecomputeBound(bound, "memory at one moment, continuous")
    for guess, moment in sorted(found, reverse=True)[:_WHOLE]:
        if deadline.expired() or not guess:
            return best
        program = moment_program(problem, known, budget_bytes, [moment])
        bound = whole_bound(program, _EFFORT, deadline=deadline)
        if bound is None:
            return RecomputeBound(None, "memory at one moment")
        if bound > (best.recompute_ps or 0):
            best = RecomputeBound(bound, "memory at one moment")
    return best


def _promising(guess: NDArray[np.float64]) -> list[int]:
    """Return moments of highest guesses, from each part of the backward half at least one."""
    parts = np.array_split(np.arange(len(guess)), _SEGMENTS)
    chosen = {int(part[guess[part].argmax()]) for part in parts if len(part)}
    chosen.update(np.argsort(-guess, kind="stable")[:_BEST_GUESSES].tolist())
    return sorted(m for m in chosen if guess[m] > 0)
