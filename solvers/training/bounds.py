"""What no schedule of a training step can do better than: least peak, and least extra time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps
from solvers.training.least_peak import least_peak
from solvers.training.moment_bounds import linear_bound, pressure, whole_bound
from solvers.training.moment_program import held_name, moment_program
from solvers.training.moments import moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.training.memory import MemoryProfile
    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from solvers.protocol import Deadline
    from solvers.training.moments import Moments

_SEGMENTS = 8
_BEST_GUESSES = 6
_WHOLE = 3
_EFFORT = 0.5
"""CP-SAT's deterministic time for each program, about seconds."""
_MOST_MOMENTS = 16
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
    saved : frozenset of int
        What to save if the moments that were looked at were all that mattered: a good start for
        searches and, where `just_in_time` of it fits, often an optimum. Empty where unknown.
    """

    recompute_ps: int | None
    name: str
    saved: frozenset[int] = frozenset()


def peak_bound(problem: TrainingProblem) -> int:
    """Return bytes that no schedule's peak is below, whatever it recomputes or offloads."""
    return least_peak(problem, moments(problem))


def recompute_bound(
    problem: TrainingProblem, budget_bytes: int, *, deadline: Deadline
) -> RecomputeBound:
    """Return picoseconds that every schedule whose peak is within a budget recomputes for.

    Each moment of the backward half gives a bound of its own. Those that promise most are looked
    at, the best of them in whole numbers. Where the choice that it leads to exceeds the budget at
    other moments, these are taken together with it; where it does not, the bound is the optimum.
    The effort is fixed, so the answer is the same wherever the deadline allows for it; it holds in
    any case.
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
    cheapest = math.inf
    several: list[int] = []
    spread = [4, 8]
    while questions and not deadline.expired():
        chosen = questions.pop(0)
        program = moment_program(problem, known, budget_bytes, chosen)
        if len(chosen) > 1 and len(program.cost) > largest:
            break
        name = "memory at one moment" if len(chosen) == 1 else "memory at several moments"
        answer = whole_bound(program, _EFFORT, deadline=deadline)
        if answer.bound is None:
            return RecomputeBound(None, name)
        saved = _saved(known, chosen[0], answer.ones) if answer.ones else best.saved
        if answer.bound > (best.recompute_ps or 0):
            best = RecomputeBound(answer.bound, name, best.saved or saved)
        elif not best.saved:
            best = best._replace(saved=saved)
        if not answer.ones:
            continue
        schedule = just_in_time(problem, saved)
        profile = memory_profile(problem, schedule)
        extra = recompute_ps(problem, schedule)
        if profile.peak_bytes <= budget_bytes and extra < cheapest:
            cheapest = extra
            best = best._replace(saved=saved)
            if extra <= (best.recompute_ps or 0):
                return best
        if not several:
            several = list(chosen)
        if not questions:
            fullest = _above(problem, schedule, profile, budget_bytes)
            fresh = [moment for moment in fullest if moment not in several]
            if not fresh and spread:
                fresh = [m for m in _spread(known, ranked, spread.pop(0)) if m not in several]
            else:
                fresh = fresh[:1]
            if fresh and len(several) + len(fresh) <= _MOST_MOMENTS:
                several = sorted([*several, *fresh])
                questions.append(several)
    return best


def _spread(known: Moments, ranked: list[int], count: int) -> list[int]:
    """Return moments, half of them the best ones and half spread, each the fullest of its part."""
    base = known.base_bytes
    parts = np.array_split(np.arange(len(base)), count - count // 2)
    spread = {int(part[base[part].argmax()]) for part in parts if len(part)}
    return sorted(spread.union(ranked[: count // 2]))


def _above(
    problem: TrainingProblem,
    schedule: TrainingSchedule,
    profile: MemoryProfile,
    budget_bytes: int,
) -> list[int]:
    """Return the moments at or before which a schedule exceeds the budget, fullest first."""
    moments_at = np.cumsum([0, *problem.is_backward[list(schedule.backward)]])
    live = profile.live_bytes[profile.forward_steps :]
    # Recomputation belongs to the moment that it is for.
    ran = [True, *problem.is_backward[list(schedule.backward)].tolist()]
    most: dict[int, int] = {}
    for moment, done, bytes_live in zip(moments_at.tolist(), ran, live.tolist(), strict=True):
        of = moment if done else moment + 1
        most[of] = max(most.get(of, 0), bytes_live)
    return sorted((m for m in most if most[m] > budget_bytes), key=lambda m: (-most[m], m))


def _saved(known: Moments, moment: int, ones: frozenset[str]) -> frozenset[int]:
    """Return what is held at a moment, and what is read up to then."""
    before = frozenset().union(*known.wanted[: moment + 1])
    storages = range(len(known.first))
    return before.union(s for s in storages if held_name(s, moment) in ones)


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
