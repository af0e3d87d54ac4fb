"""Plans from what the memory at one moment allows: optimal where they fit at all other moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps
from planner.training.seed import Seed
from solvers.training.bounds import choice_at_fullest_moment, peak_bound

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem
    from solvers.protocol import Deadline

_BUDGETS = 24


def moment_plans(problem: TrainingProblem, *, deadline: Deadline) -> list[Seed]:
    """Return plans over the whole range of budgets, dearest in bytes first.

    For budgets in equal proportions from the peak of saving the boundary down to the least peak.
    Their peaks may lie above the budgets that they were made for.
    """
    everything = memory_profile(problem, just_in_time(problem, problem.boundary.tolist()))
    highest, least = everything.peak_bytes, max(1, peak_bound(problem))
    seeds: list[Seed] = []
    for index in range(1, _BUDGETS + 1):
        if deadline.expired():
            break
        budget = int(highest * (least / highest) ** (index / _BUDGETS))
        saved = choice_at_fullest_moment(problem, budget, deadline=deadline)
        if saved:
            schedule = just_in_time(problem, saved)
            peak = memory_profile(problem, schedule).peak_bytes
            seeds.append(Seed("moments", schedule, peak, recompute_ps(problem, schedule)))
    return seeds
