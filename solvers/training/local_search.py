"""Annealing over what a training step keeps, on the exact peak."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from planner.training.retention import Retention
from solvers._native import TrainingEvaluator, training_search
from solvers.training.native_model import index_array, native_model

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from solvers.protocol import Deadline

PRICE = 4.0
"""Of a byte above the target, in mean picoseconds of the forward half per byte of the peak."""
_HOTTEST, _COLDEST = 3e-3, 3e-5
"""Temperatures, in durations of the forward half."""


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

    def score(self, target_bytes: int) -> tuple[int, int, int]:
        """Bytes above a target, then recomputation, then the peak: less is better."""
        return max(0, self.peak_bytes - target_bytes), self.recompute_ps, self.peak_bytes


class LocalSearch:
    """Searches of one training step, over one native model.

    Attributes
    ----------
    problem : TrainingProblem
    everything_saved : KeptChoice
        The boundary.
    picoseconds_per_byte : float
        Of the forward half, per byte of that choice's peak: the unit of prices.
    evaluations : int
        Moves tried so far.
    """

    def __init__(self, problem: TrainingProblem) -> None:
        self.problem = problem
        self.evaluations = 0
        self._model = native_model(problem)
        self._evaluator = TrainingEvaluator(self._model)
        self._forward_ps = max(1, int(problem.duration_ps[problem.forward_operators].sum()))
        self.everything_saved = self.evaluated(Retention(frozenset(problem.boundary.tolist())))
        self.picoseconds_per_byte = self._forward_ps / max(1, self.everything_saved.peak_bytes)

    def evaluated(self, retention: Retention) -> KeptChoice:
        """Return the choice with its exact figures."""
        return KeptChoice(
            retention,
            *self._evaluator.evaluate(
                index_array(retention.saved), index_array(retention.repeated)
            ),
        )

    def retention_of(self, schedule: TrainingSchedule) -> KeptChoice:
        """Return the choice nearest to a schedule: what it saves and executes repeatedly."""
        forward = ~self.problem.is_backward
        executions = Counter(o for o in schedule.backward if forward[o])
        repeated = frozenset(o for o, times in executions.items() if times > 1)
        producer = self.problem.producer
        saved = (s for s in schedule.saved if producer[s] >= 0 and forward[producer[s]])
        return self.evaluated(Retention(frozenset(saved), repeated))

    def improved(
        self,
        start: KeptChoice,
        target_bytes: int,
        evaluations: int,
        *,
        deadline: Deadline,
        seed: int = 0,
        price: float = PRICE,
    ) -> KeptChoice:
        """Return the best choice by (bytes above the target, recomputation) on an annealing walk.

        Parameters
        ----------
        evaluations : int
            Moves to try. Same seed and evaluations, same answer, unless the deadline cuts.
        price : float
            Of a byte above the target; see `PRICE`.
        """
        (saved, repeated), peak, recompute, tried = training_search(
            self._model,
            index_array(start.retention.saved),
            index_array(start.retention.repeated),
            target=target_bytes,
            evaluations=evaluations,
            seed=seed,
            price=price * self.picoseconds_per_byte,
            hottest=_HOTTEST * self._forward_ps,
            coldest=_COLDEST * self._forward_ps,
            time_limit_s=deadline.remaining_s(),
            cancel=deadline.cancel,
        )
        self.evaluations += tried
        retention = Retention(frozenset(saved.tolist()), frozenset(repeated.tolist()))
        return KeptChoice(retention, peak, recompute)
