"""Training steps with a host: which saved storages go by way of it, and which are recomputed."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from planner.training.just_in_time import just_in_time
from planner.training.schedule import TrainingSchedule, recompute_ps
from solvers.training.offload_sets import Offloading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.training.problem import TrainingProblem
    from solvers.protocol import Deadline

_SEARCHED = 3
"""Schedules of which `mixed_plan` tries more than the constructed sets."""
_RETENTIONS = 1000
"""Neighbouring sets of saved storages tried by `mixed_plan`."""


def offload_plan(
    problem: TrainingProblem,
    schedule: TrainingSchedule,
    budget_bytes: int,
    *,
    deadline: Deadline,
) -> TrainingSchedule | None:
    """Return the schedule with offloads that keep its peak to the budget and stall it least.

    Same inputs, same answer, unless the deadline ends the search.

    Parameters
    ----------
    schedule : TrainingSchedule
        Its own offloads are forgotten.
    budget_bytes : int
        Above parameters, buffers and inputs.

    Returns
    -------
    TrainingSchedule or None
        Without offloads if none is needed. None if no set of offloads was found that meets the
        budget; where the host is large enough, there is none.
    """
    found = Offloading(problem, schedule, budget_bytes).search(deadline)
    return None if found is None else replace(schedule, offloads=found.offloads)


def mixed_plan(
    problem: TrainingProblem,
    schedules: Sequence[TrainingSchedule],
    budget_bytes: int,
    *,
    deadline: Deadline,
) -> TrainingSchedule | None:
    """Return the schedule that keeps, recomputes and offloads at the least extra time found.

    Extra time is that of recomputation and of stalls. The best of the given schedules, each with
    offloads where it exceeds the budget, is improved by saving more or fewer storages.

    Parameters
    ----------
    schedules : starting points, best from the least recomputation to the least peak
        Past the deadline only the last one is looked at.

    Returns
    -------
    TrainingSchedule or None
        None if none of them meets the budget.
    """
    found: list[_Mix] = []
    for number, schedule in enumerate(schedules, 1):
        if not deadline.expired() or (number == len(schedules) and not found):
            found += _mixed(problem, schedule, budget_bytes)
    if not found:
        return None
    found.sort(key=_Mix.extra)
    for mix in found[:_SEARCHED]:
        found += _mixed(problem, mix.planned, budget_bytes, deadline)
    best = _neighbours(problem, min(found, key=_Mix.extra), budget_bytes, deadline)
    polished = _mixed(problem, best.planned, budget_bytes, deadline)
    return min((*polished, best), key=_Mix.extra).planned


class _Mix(NamedTuple):
    planned: TrainingSchedule
    recompute_ps: int
    stall_ps: int

    def extra(self) -> int:
        return self.recompute_ps + self.stall_ps


def _mixed(
    problem: TrainingProblem,
    schedule: TrainingSchedule,
    budget_bytes: int,
    deadline: Deadline | None = None,
) -> list[_Mix]:
    """Return the schedule with offloads, if there are any: constructed, or searched for."""
    offloading = Offloading(problem, schedule, budget_bytes)
    found = offloading.constructed() if deadline is None else offloading.search(deadline)
    if found is None:
        return []
    planned = replace(schedule, offloads=found.offloads)
    return [_Mix(planned, recompute_ps(problem, schedule), found.stall_ps)]


def _neighbours(
    problem: TrainingProblem, best: _Mix, budget_bytes: int, deadline: Deadline
) -> _Mix:
    """Save one storage fewer, or one more, while that makes the step shorter."""
    outputs = set(problem.forward_outputs.tolist())
    sizes, producer = problem.size_bytes, problem.producer
    results = [
        storage
        for operator in problem.forward_operators.tolist()
        for storage in problem.writes.row(operator).tolist()
        if storage not in outputs
    ]

    def worth(storage: int) -> float:
        return int(problem.duration_ps[producer[storage]]) / max(1, int(sizes[storage]))

    def better(changed: Iterable[int]) -> _Mix:
        neighbour = just_in_time(problem, set(changed) ^ set(best.planned.saved))
        if recompute_ps(problem, neighbour) >= best.extra():
            return best
        return min((best, *_mixed(problem, neighbour, budget_bytes)), key=_Mix.extra)

    tried = 0
    before = None
    while before is not best and best.extra():
        before = best
        saved = set(best.planned.saved)
        moved = {offload.storage for offload in best.planned.offloads}
        # First what is cheap to recompute and waits on the link, then what is dear and recomputed.
        order = sorted(
            results,
            key=lambda s: (s not in moved, s in saved, worth(s) if s in saved else -worth(s), s),
        )
        for storage in order:
            if tried >= _RETENTIONS or deadline.expired():
                return best
            tried += 1
            best = better((storage,))
    chance = random.Random(0)
    while best.extra() and tried < _RETENTIONS and not deadline.expired():
        tried += 1
        here = set(best.planned.saved)
        saved = sorted(here, key=lambda s: (worth(s), s))
        others = sorted(set(results) - here, key=lambda s: (-worth(s), s))
        leave = _preferred(chance, saved, chance.randint(1, 3))
        enter = _preferred(chance, others, chance.randint(1, 2))
        best = better((*leave, *enter))
    return best


def _preferred(chance: random.Random, storages: Sequence[int], count: int) -> set[int]:
    """Return a few of them, the first ones more often than the last."""
    if not storages:
        return set()
    return {storages[int(len(storages) * chance.random() ** 2)] for _ in range(count)}
