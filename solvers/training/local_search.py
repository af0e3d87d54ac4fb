"""Annealing over what a training step keeps, on the exact peak."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from planner.training.retention import Retention
from solvers._native import TrainingEvaluator, TrainingSearch, training_greedy_drop
from solvers.training.native_model import index_array, native_model

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from solvers.protocol import Deadline

PRICE = 4.0
"""Of a byte above the target, in what a byte costs near the target on the frontier so far."""
_HOTTEST, _COLDEST = 0.15, 0.0005
"""Temperatures, in what a hundredth of the greatest peak costs there."""
_NEAR = 0.03
"""How far from the target, in parts of it, that is measured."""
_LEAST_COST = 0.1
"""Of a byte, in mean picoseconds of the forward half per byte of the greatest peak."""


class KeptChoice(NamedTuple):
    """A choice with its figures.

    Attributes
    ----------
    retention : Retention
    peak_bytes, recompute_ps : int
    """

    retention: Retention
    peak_bytes: int
    recompute_ps: int


class LocalSearch:
    """Annealing walks on one training step, and the cheapest choice seen at each peak.

    Attributes
    ----------
    problem : TrainingProblem
    everything_saved : KeptChoice
        The boundary: nothing is recomputed. The greatest peak, and the first choice offered.
    """

    def __init__(self, problem: TrainingProblem) -> None:
        self.problem = problem
        self._model = native_model(problem)
        self._evaluator = TrainingEvaluator(self._model)
        self.everything_saved = self.evaluated(Retention(frozenset(problem.boundary.tolist())))
        greatest = self.everything_saved.peak_bytes
        self._search = TrainingSearch(self._model, greatest)
        forward_ps = int(problem.duration_ps[problem.forward_operators].sum())
        self._mean_cost = max(1, forward_ps) / max(1, greatest)
        self.offer(self.everything_saved.retention)

    @property
    def evaluations(self) -> int:
        """Moves tried so far."""
        return self._search.evaluations

    def evaluated(self, retention: Retention) -> KeptChoice:
        """Return the choice with its exact figures."""
        saved, repeated = index_array(retention.saved), index_array(retention.repeated)
        return KeptChoice(retention, *self._evaluator.evaluate(saved, repeated))

    def offer(self, retention: Retention) -> None:
        """Let walks start from a choice, and the frontier hold it."""
        self._search.offer(index_array(retention.saved), index_array(retention.repeated))

    def offer_schedule(self, schedule: TrainingSchedule) -> None:
        """Offer the choice nearest to a schedule: what it saves, and executes repeatedly."""
        forward = ~self.problem.is_backward
        producer = self.problem.producer
        executions = Counter(o for o in schedule.backward if forward[o])
        self.offer(
            Retention(
                frozenset(s for s in schedule.saved if producer[s] >= 0 and forward[producer[s]]),
                frozenset(o for o, times in executions.items() if times > 1),
            )
        )

    def offer_greedy(self, target_bytes: int, *, deadline: Deadline) -> None:
        """Offer what dropping greedily from everything saved comes to."""
        saved, repeated = training_greedy_drop(
            self._model,
            index_array(self.everything_saved.retention.saved),
            target=target_bytes,
            time_limit_s=deadline.remaining_s(),
            cancel=deadline.cancel,
        )
        self._search.offer(saved, repeated)

    def walk(
        self,
        target_bytes: int,
        evaluations: int,
        *,
        deadline: Deadline,
        seed: int = 0,
        price: float = PRICE,
        whole_profile: bool = False,
    ) -> None:
        """Anneal from the best known choice for a target.

        Parameters
        ----------
        evaluations : int
            Moves to try. Same calls, same frontier, unless the deadline cuts.
        price : float
            Of a byte above the target; see `PRICE`.
        whole_profile : bool
            Price bytes above the target at each step, not at the peak alone: where many steps are
            as high as the peak, that tells whether there are fewer.
        """
        cost = self._cost_near(target_bytes)
        hundredth = cost * self.everything_saved.peak_bytes / 100
        self._search.walk(
            target=target_bytes,
            evaluations=evaluations,
            seed=seed,
            price=price * cost,
            whole_profile=whole_profile,
            hottest=_HOTTEST * hundredth,
            coldest=_COLDEST * hundredth,
            time_limit_s=deadline.remaining_s(),
            cancel=deadline.cancel,
        )

    def least_peak_bytes(self) -> int:
        """Return the least peak seen."""
        return self._search.figures()[-2]

    def frontier(self) -> list[KeptChoice]:
        """Return choices that no other one seen beats in both figures, by falling peak."""
        return [
            KeptChoice(
                Retention(frozenset(saved.tolist()), frozenset(repeated.tolist())), peak, recompute
            )
            for (saved, repeated), peak, recompute in self._search.frontier()
        ]

    def _cost_near(self, target_bytes: int) -> float:
        """Picoseconds for which a byte less is had at the target, as far as is known."""
        figures = self._search.figures()
        peaks, costs = figures[::2], figures[1::2]
        higher = next(
            (i for i, peak in enumerate(peaks) if peak <= (1 + _NEAR) * target_bytes), None
        )
        lower = next(
            (i for i, peak in enumerate(peaks) if peak <= (1 - _NEAR) * target_bytes), None
        )
        if higher is None or lower is None:
            return 2 * self._mean_cost
        cost = (costs[lower] - costs[higher]) / (2 * _NEAR * max(1, target_bytes))
        return max(cost, _LEAST_COST * self._mean_cost)
