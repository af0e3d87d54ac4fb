"""From the order of execution in both halves to a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.training.schedule import TrainingSchedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.training.problem import TrainingProblem


def schedule_of(
    problem: TrainingProblem, forward: Sequence[int], backward: Sequence[int]
) -> TrainingSchedule:
    """Return the schedule that saves just what its backward half reads and does not compute."""
    known = {*problem.forward_outputs.tolist(), *problem.tangents.tolist()}
    saved: set[int] = set()
    for operator in backward:
        saved.update(s for s in problem.reads.row(operator).tolist() if s not in known)
        known.update(problem.writes.row(operator).tolist())
    saved.update(s for s in problem.gradients.tolist() if s not in known)
    return TrainingSchedule(tuple(forward), tuple(backward), tuple(sorted(saved)))
