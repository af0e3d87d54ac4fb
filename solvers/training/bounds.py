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
    from solvers.training.moments import Moments

_SEGMENTS = 8
_BEST_GUESSES = 6
_WHOLE = 3
_EFFORT = 0.5
"""CP-SAT's deterministic time for each program, about seconds."""
_SEVERAL = (4, 8, 16, 32, 64)
"""How many moments are taken together, one after the other."""
_LARGEST_PROGRAM = 600
_LARGEST_NEAR_LEAST_PEAK = 3000
_NEAR = 1.2
"""Several moments add to the best one where the budget is hardly above the least peak."""


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
    at, the best of them in whole numbers, and with others. The effort is fixed, so the answer is the same wherever
    the deadline allows for it; it always holds.
    """
    known = moments(problem)
    least = least_peak(problem, known, deadline=deadline)
    if budget_bytes < least:
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
    ranked = [moment for bound, moment in sorted(found, reverse=True) if bound]
    largest = _LARGEST_NEAR_LEAST_PEAK if budget_bytes <= _NEAR * least else _LARGEST_PROGRAM
    questions = [[moment] for moment in ranked[:_WHOLE]]
    if ranked:
        questions += [_several(known, ranked, count) for count in _SEVERAL]
    for chosen in questions:
        if deadline.expired():
            return best
        program = moment_program(problem, known, budget_bytes, chosen)
        if len(chosen) > 1 and len(program.cost) > largest:
            return best
        name = "memory at one moment" if len(chosen) == 1 else "memory at several moments"
        bound = whole_bound(program, _EFFORT, deadline=deadline)
        if bound is None:
            return RecomputeBound(None, name)
        if bound > (best.recompute_ps or 0):
            best = RecomputeBound(bound, name)
    return best


def _several(known: Moments, ranked: list[int], count: int) -> list[int]:
    """Return moments, half of them the best ones and half spread, each the fullest of its part."""
    base = known.base_bytes
    parts = np.array_split(np.arange(len(base)), count - count // 2)
    spread = {int(part[base[part].argmax()]) for part in parts if len(part)}
    return sorted(spread.union(ranked[: count // 2]))


def _promising(guess: NDArray[np.float64]) -> list[int]:
    """Return moments of highest guesses, from each part of the backward half at least one."""
    parts = np.array_split(np.arange(len(guess)), _SEGMENTS)
    chosen = {int(part[guess[part].argmax()]) for part in parts if len(part)}
    chosen.update(np.argsort(-guess, kind="stable")[:_BEST_GUESSES].tolist())
    return sorted(m for m in chosen if guess[m] > 0)
