"""Plans over the whole range of budgets, from saving everything down to the least peak."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.training.frontier import FrontierPoint
from solvers.protocol import Deadline
from solvers.training.local_search import PRICE, LocalSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from planner.training.problem import TrainingProblem
    from planner.training.retention import Retention
    from planner.training.schedule import TrainingSchedule
    from planner.training.seed import Seed

SEARCH = "search"
STEP = 0.99
"""From one target to the next."""
_EVALUATIONS_PER_OPERATOR = 4
_FEWEST_EVALUATIONS = 1_000
_ATTEMPTS = 8
"""At a target that is missed: after the first one on the whole profile, each with bytes above the
target dearer than in the last."""
_DEARER = 2.0
_GRACE_S = 0.5
"""For the greedy choice when the deadline has come: a plan for the budget is better than none."""


class Descent(NamedTuple):
    """A frontier of peak against recomputation.

    Attributes
    ----------
    rungs : tuple of FrontierPoint
        By falling peak and growing recomputation. The last one has the least peak found.
    complete : bool
        False if the deadline came before every target had its walks.
    evaluations : int
        Moves tried.
    """

    rungs: tuple[FrontierPoint, ...]
    complete: bool
    evaluations: int

    def at(self, budget_bytes: int) -> FrontierPoint | None:
        """Return the rung of least recomputation that fits; its peak falls with the budget."""
        return next((rung for rung in self.rungs if rung.peak_bytes <= budget_bytes), None)


def descend(
    problem: TrainingProblem,
    budget_bytes: int,
    *,
    seeds: Sequence[Seed] = (),
    deadline: Deadline,
    seed: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> Descent:
    """Return plans for all budgets from saving everything down to the least peak.

    Target k is 0.99^k of the peak of saving the whole boundary. Targets are searched downwards, as
    far as they can be met, and then upwards, each with the same number of evaluations and from the
    best choice known for it, be it a greedy one, a seed's, or one that an earlier walk passed. All
    choices seen make the frontier, and so do the seeds' own plans. So the frontier does not depend
    on the budget, and peaks fall with budgets.

    Parameters
    ----------
    budget_bytes : int
        What matters if there is no time for all. Where nothing has to be recomputed for it,
        nothing is searched. Where the last rung is above it, no plan was found for it.
    seeds : sequence of Seed
    seed : int
        Of the random walks.
    on_progress : function of str, optional
    """
    search = LocalSearch(problem)
    complete = True
    if search.everything_saved.peak_bytes > budget_bytes:
        for one in seeds:
            search.offer_schedule(one.schedule)
        complete = _search(search, deadline, seed, on_progress)
        if not complete:
            grace = Deadline(_GRACE_S)
            grace.cancel = deadline.cancel
            search.offer_greedy(budget_bytes, deadline=grace)
    return Descent(tuple(_frontier(search, seeds)), complete, search.evaluations)


def _search(
    search: LocalSearch,
    deadline: Deadline,
    seed: int,
    on_progress: Callable[[str], None] | None,
) -> bool:
    """Walk down and up all targets; False if the deadline came first."""
    operators = len(search.problem.duration_ps)
    effort = max(_FEWEST_EVALUATIONS, _EVALUATIONS_PER_OPERATOR * operators)
    walks = 0

    def walk(target: int, attempt: int = 0) -> None:
        nonlocal walks
        walks += 1
        walk_seed = (seed * 1_000_003 + walks) % 2**64
        search.walk(
            target,
            effort,
            deadline=deadline,
            seed=walk_seed,
            price=PRICE * _DEARER**attempt,
            whole_profile=attempt > 0,
        )
        if on_progress is not None:
            on_progress(f"target {target:,} bytes, least peak {search.least_peak_bytes():,}")

    met: list[int] = []
    for target in _targets(search.everything_saved.peak_bytes):
        search.offer_greedy(target, deadline=deadline)
        attempt = 0
        while attempt < _ATTEMPTS and not deadline.expired():
            least = search.least_peak_bytes()
            walk(target, attempt)
            if search.least_peak_bytes() <= target:
                break
            attempt = attempt + 1 if search.least_peak_bytes() == least else min(attempt, 1)
        if deadline.expired():
            return False
        if search.least_peak_bytes() > target:
            break
        met.append(target)
    for target in reversed(met):
        walk(target)
        if deadline.expired():
            return False
    return True


def _targets(greatest: int) -> Iterable[int]:
    step = 1
    while (target := int(greatest * STEP**step)) > 0:
        yield target
        step += 1


def _frontier(search: LocalSearch, seeds: Sequence[Seed]) -> list[FrontierPoint]:
    plans: list[tuple[int, int, str, Retention | TrainingSchedule]] = [
        (one.recompute_ps, one.peak_bytes, SEARCH, one.retention) for one in search.frontier()
    ]
    plans += [(one.recompute_ps, one.peak_bytes, one.name, one.schedule) for one in seeds]
    # Of equally good ones the search's own is the more compact.
    plans.sort(key=lambda plan: plan[:2])
    rungs: list[FrontierPoint] = []
    for recompute, peak, name, plan in plans:
        if not rungs or peak < rungs[-1].peak_bytes:
            target = rungs[-1].peak_bytes - 1 if rungs else peak
            rungs.append(FrontierPoint(search.problem, target, name, peak, recompute, plan))
    return rungs
