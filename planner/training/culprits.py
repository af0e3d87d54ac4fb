"""What is live at one step of a training schedule, largest first: why the peak is what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.training.memory import lifetimes

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule


class Culprit(NamedTuple):
    """A storage, or the workspace of the operator that runs, live at a step.

    Attributes
    ----------
    name : str
    size_bytes : int
    role : str
        ``saved``, ``recomputed``, ``forward``, ``forward output``, ``gradient flow``, ``gradient``,
        ``tangent`` or ``workspace``.
    """

    name: str
    size_bytes: int
    role: str


def step_name(problem: TrainingProblem, schedule: TrainingSchedule, step: int) -> str:
    """Name of the operator of a step, or of the moment between the halves."""
    operator = schedule.operator_at(step)
    return "between forward and backward" if operator is None else problem.operator_names[operator]


def culprits(
    problem: TrainingProblem, schedule: TrainingSchedule, step: int
) -> tuple[Culprit, ...]:
    """Return what is live at a step of the whole schedule, largest first."""
    middle = len(schedule.forward)
    found = [
        Culprit(
            problem.storage_names[storage],
            int(problem.size_bytes[storage]),
            _role(problem, schedule, storage, in_backward=first > middle),
        )
        for storage, first, last in lifetimes(problem, schedule)
        if first <= step <= last and problem.size_bytes[storage]
    ]
    operator = schedule.operator_at(step)
    if operator is not None and (workspace := int(problem.workspace_bytes[operator])):
        found.append(Culprit(problem.operator_names[operator], workspace, "workspace"))
    return tuple(sorted(found, key=lambda culprit: (-culprit.size_bytes, culprit.name)))


def _role(
    problem: TrainingProblem, schedule: TrainingSchedule, storage: int, *, in_backward: bool
) -> str:
    producer = problem.producer[storage]
    if producer < 0:
        return "tangent"
    if problem.is_backward[producer]:
        return "gradient" if storage in problem.gradients else "gradient flow"
    if storage in problem.forward_outputs:
        return "forward output"
    if storage in schedule.saved:
        return "saved"
    return "recomputed" if in_backward else "forward"
