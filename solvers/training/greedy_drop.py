"""The classical greedy choice: drop what frees most bytes per second of recomputation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.training.retention import Retention
from solvers._native import training_greedy_drop
from solvers.training.native_model import index_array, native_model

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem
    from solvers.protocol import Deadline


def greedy_drop(problem: TrainingProblem, budget_bytes: int, *, deadline: Deadline) -> Retention:
    """Return what is still saved when the peak fits the budget, or when it is least.

    Starts from `TrainingProblem.boundary`. While the peak is above the budget, the saved storage
    with most bytes per picosecond of further recomputation, given what was dropped before, is
    dropped. Nothing is ever saved in its place, which is why the greedy choice gets stuck where
    recomputed values fill the backward half. At the deadline the drops so far stand.
    """
    saved, repeated = training_greedy_drop(
        native_model(problem),
        index_array(problem.boundary.tolist()),
        target=budget_bytes,
        time_limit_s=deadline.remaining_s(),
        cancel=deadline.cancel,
    )
    return Retention(frozenset(saved.tolist()), frozenset(repeated.tolist()))
