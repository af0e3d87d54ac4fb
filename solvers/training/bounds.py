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
    from solvers.milp.program import Program
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
    inquiry = _Inquiry(problem, budget_bytes, deadline)
    inquiry.run()
    return inquiry.best


def choice_at_fullest_moment(
    problem: TrainingProblem, budget_bytes: int, *, deadline: Deadline
) -> frozenset[int]:
    """Return what to save if the most promising moment were all that mattered; maybe nothing."""
    inquiry = _Inquiry(problem, budget_bytes, deadline)
    guess = pressure(problem, inquiry.known, budget_bytes)
    inquiry.ends([int(guess.argmax())])
    return inquiry.best.saved


class _Inquiry:
    """Questions about one budget, and the best answer so far."""

    def __init__(self, problem: TrainingProblem, budget_bytes: int, deadline: Deadline) -> None:
        self.problem = problem
        self.budget = budget_bytes
        self.deadline = deadline
        self.known = moments(problem)
        self.best = RecomputeBound(0, "none")
        self.cheapest = math.inf
        self.fullest: list[int] = []

    def run(self) -> None:
        """Ask until the bound is attained, or proves that nothing fits, or the effort is spent."""
        least = least_peak(self.problem, self.known, deadline=self.deadline)
        if self.budget < least:
            self.best = RecomputeBound(None, "least peak")
            return
        guess = pressure(self.problem, self.known, self.budget)
        first = int(guess.argmax())
        if guess[first] <= 0 or self.ends([first]):
            return
        ranked = self.ranked(guess)
        for moment in ranked[:_WHOLE]:
            if moment != first and self.ends([moment]):
                return
        near = self.budget <= _NEAR * least
        self.several(ranked, _LARGEST_NEAR_LEAST_PEAK if near else _LARGEST_PROGRAM)

    def program(self, chosen: list[int]) -> Program:
        return moment_program(self.problem, self.known, self.budget, chosen)

    def ranked(self, guess: NDArray[np.float64]) -> list[int]:
        """Return promising moments, best first, by what their relaxations prove."""
        found: list[tuple[float, int]] = []
        for moment in _promising(guess):
            if self.deadline.expired():
                break
            bound = linear_bound(self.program([moment]), deadline=self.deadline)
            found.append((math.inf if bound is None else bound, moment))
            if bound is not None and bound > (self.best.recompute_ps or 0):
                self.best = self.best._replace(
                    recompute_ps=bound, name="memory at one moment, continuous"
                )
        return [moment for bound, moment in sorted(found, reverse=True) if bound]

    def several(self, ranked: list[int], largest: int) -> None:
        """Take moments together: first where the last choice does not fit, then spread ones."""
        chosen = ranked[:1]
        spread = [4, 8]
        while chosen:
            fresh = [m for m in self.fullest if m not in chosen][:1]
            if not fresh and spread:
                parts = _spread(self.known, ranked, spread.pop(0))
                fresh = [m for m in parts if m not in chosen]
            chosen = sorted([*chosen, *fresh])
            if not fresh or len(chosen) > _MOST_MOMENTS or self.ends(chosen, largest):
                return

    def ends(self, chosen: list[int], largest: float = math.inf) -> bool:
        """Ask about some moments in whole numbers; return whether nothing is left to ask."""
        if self.deadline.expired():
            return True
        program = self.program(chosen)
        if len(program.cost) > largest:
            return True
        name = "memory at one moment" if len(chosen) == 1 else "memory at several moments"
        answer = whole_bound(program, _EFFORT, deadline=self.deadline)
        if answer.bound is None:
            self.best = RecomputeBound(None, name)
            return True
        if answer.bound > (self.best.recompute_ps or 0):
            self.best = self.best._replace(recompute_ps=answer.bound, name=name)
        if not answer.solved:
            return False
        saved = _saved(self.known, chosen[0], answer.ones)
        schedule = just_in_time(self.problem, saved)
        profile = memory_profile(self.problem, schedule)
        self.fullest = _above(self.problem, schedule, profile, self.budget)
        extra = recompute_ps(self.problem, schedule)
        if profile.peak_bytes <= self.budget and extra < self.cheapest:
            self.cheapest = extra
            self.best = self.best._replace(saved=saved)
        elif not self.best.saved:
            self.best = self.best._replace(saved=saved)
        return self.cheapest <= (self.best.recompute_ps or 0)


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


def _promising(guess: NDArray[np.float64]) -> list[int]:
    """Return moments of highest guesses, from each part of the backward half at least one."""
    parts = np.array_split(np.arange(len(guess)), _SEGMENTS)
    chosen = {int(part[guess[part].argmax()]) for part in parts if len(part)}
    chosen.update(np.argsort(-guess, kind="stable")[:_BEST_GUESSES].tolist())
    return sorted(m for m in chosen if guess[m] > 0)
