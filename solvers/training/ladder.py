"""Plans over the whole range of budgets, from saving everything downwards, rung by rung."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.training.just_in_time import just_in_time
from solvers.training.greedy_drop import greedy_drop
from solvers.training.local_search import PRICE, KeptChoice, LocalSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from planner.training.seed import Seed
    from solvers.protocol import Deadline

SEARCH, SAVE_EVERYTHING, GREEDY = "search", "save-everything", "greedy-drop"
STEP = 0.99
_EVALUATIONS_PER_OPERATOR = 15
_FEWEST_EVALUATIONS = 3_000
_ATTEMPTS = 4
"""At a target that is missed, until the ladder ends: each dearer above the target than the last."""
_DEARER = 4.0


class Rung(NamedTuple):
    """The plan of one canonical target.

    Attributes
    ----------
    target_bytes : int
    name : str
        Who found the plan: ``search``, ``save-everything``, or the name of a seed.
    schedule : TrainingSchedule
    peak_bytes : int
        At most the target.
    recompute_ps : int
    """

    target_bytes: int
    name: str
    schedule: TrainingSchedule
    peak_bytes: int
    recompute_ps: int


class Descent(NamedTuple):
    """A frontier of peak against recomputation.

    Attributes
    ----------
    rungs : tuple of Rung
        Targets and peaks fall. The last one is the least peak found.
    complete : bool
        False if the deadline came before the budget, or the least peak, was reached.
    evaluations : int
        Moves tried.
    """

    rungs: tuple[Rung, ...]
    complete: bool
    evaluations: int

    def at(self, budget_bytes: int) -> Rung | None:
        """Return the first rung whose peak fits; a smaller budget never gives a higher peak."""
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
    """Return plans for all canonical targets down to the budget.

    Target k is 0.99^k of the peak of saving the whole boundary. Each is searched with the same
    number of evaluations, from the plan of the target before or from the best seed, whichever is
    cheaper. A plan that fits the next target as well stays. A seed's own plan wins where it costs
    less. So a rung depends on problem, seeds and seed, not on the budget: peaks fall with budgets.
    Where a target is missed, several times, with bytes above it ever dearer, the ladder ends.

    Parameters
    ----------
    budget_bytes : int
        Where the descent may stop. If the last rung is above it, none was found.
    seeds : sequence of Seed
    seed : int
        Of the random walks.
    on_progress : function of str, optional
    """
    ladder = _Ladder(problem, seeds, deadline, seed, on_progress)
    complete = ladder.climb_down(budget_bytes)
    if not complete:
        ladder.add_greedy(budget_bytes)
    return Descent(tuple(ladder.rungs), complete, ladder.search.evaluations)


class _Ladder:
    def __init__(
        self,
        problem: TrainingProblem,
        seeds: Sequence[Seed],
        deadline: Deadline,
        seed: int,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self.problem, self.deadline, self.seed = problem, deadline, seed
        self.on_progress = on_progress
        self.search = LocalSearch(problem)
        self.seeds = sorted(seeds, key=lambda one: (one.recompute_ps, one.peak_bytes))
        self.starts = [self.search.retention_of(one.schedule) for one in self.seeds]
        self.current = self.search.everything_saved
        self.effort = max(_FEWEST_EVALUATIONS, _EVALUATIONS_PER_OPERATOR * len(problem.duration_ps))
        self.rungs: list[Rung] = []
        self._add(self.current.peak_bytes, SAVE_EVERYTHING, self.current)

    def climb_down(self, budget_bytes: int) -> bool:
        """Add rungs down to the budget or to the least peak; False if time ran out."""
        highest = self.rungs[0].target_bytes
        step, attempts = 1, 0
        while self.rungs[-1].peak_bytes > budget_bytes and attempts < _ATTEMPTS:
            target = int(highest * STEP**step)
            if self.rungs[-1].peak_bytes > target:
                before = self.rungs[-1].peak_bytes
                self._search(target, step, PRICE * _DEARER**attempts)
                if self.deadline.expired():
                    return self.rungs[-1].peak_bytes <= budget_bytes
                if self.rungs[-1].peak_bytes > target:
                    # What came nearest is kept as a start for the next attempt.
                    progress = self.rungs[-1].peak_bytes < before
                    attempts = 1 if progress and attempts > 0 else attempts + 1
                    continue
            self._hold(target)
            step, attempts = step + 1, 0
        return True

    def add_greedy(self, budget_bytes: int) -> None:
        """Without time for more, add the greedy choice for the budget itself if that helps."""
        choice = self.search.evaluated(greedy_drop(self.problem, budget_bytes))
        last = self.rungs[-1]
        if choice.peak_bytes < last.peak_bytes:
            self._add(max(budget_bytes, choice.peak_bytes), GREEDY, choice)

    def _search(self, target: int, step: int, price: float) -> None:
        greedy = self.search.evaluated(greedy_drop(self.problem, target))
        starts = [self.current, greedy, *self.starts]
        scale = price * self.search.picoseconds_per_byte
        start = min(
            starts, key=lambda one: one.recompute_ps + scale * max(0, one.peak_bytes - target)
        )
        walked = self.search.improved(
            start,
            target,
            self.effort,
            deadline=self.deadline,
            seed=self.seed * 1_000_003 + step,
            price=price,
        )
        found = min((walked, greedy), key=lambda one: one.score(target))
        known = next((one for one in self.seeds if one.peak_bytes <= target), None)
        if known is not None and (0, known.recompute_ps, known.peak_bytes) < found.score(target):
            self.rungs.append(
                Rung(target, known.name, known.schedule, known.peak_bytes, known.recompute_ps)
            )
            self.current = self.starts[self.seeds.index(known)]
        elif found.peak_bytes < self.rungs[-1].peak_bytes:
            self.current = found
            self._add(max(target, found.peak_bytes), GREEDY if found is greedy else SEARCH, found)
        if self.on_progress is not None:
            last = self.rungs[-1]
            self.on_progress(
                f"peak {last.peak_bytes:,} bytes of at most {target:,}, "
                f"recomputation {last.recompute_ps:,} ps"
            )

    def _hold(self, target: int) -> None:
        """Let the last plan stand for a target that it meets as well."""
        if self.rungs[-1].target_bytes > target:
            self.rungs.append(self.rungs[-1]._replace(target_bytes=target))

    def _add(self, target: int, name: str, choice: KeptChoice) -> None:
        schedule = just_in_time(self.problem, *choice.retention)
        self.rungs.append(Rung(target, name, schedule, choice.peak_bytes, choice.recompute_ps))
