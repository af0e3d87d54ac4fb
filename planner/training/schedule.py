"""A planned training step: what runs in which half, what crosses, what goes by way of the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem


class Offload(NamedTuple):
    """A saved storage that spends the time between its uses on the host.

    Attributes
    ----------
    storage : int
    copied_after : int
        Step of the forward half after which the copy to the host is issued; no later step reads it.
    freed_after : int
        Step of the forward half after which its bytes on the device are free; the computation
        waits there for the copy. ``len(forward)`` is the moment between the halves.
    fetched_before : int
        Step of the backward half before which its bytes are taken again and the copy back is
        issued. The computation waits for the copy where it is first read.
    """

    storage: int
    copied_after: int
    freed_after: int
    fetched_before: int


@dataclass(frozen=True)
class TrainingSchedule:
    """One training step in order; it says all that an executor needs.

    Attributes
    ----------
    forward : tuple of int
        Operators of the forward half in order of execution.
    backward : tuple of int
        Operators of the backward half, recomputed forward operators among them. Each execution
        brings to life all storages that the operator writes; a storage lives from then to its last
        read before the operator's next execution in the same half.
    saved : tuple of int
        Storages handed from the forward to the backward half, ascending. Forward outputs cross in
        any case and are not among them.
    offloads : tuple of Offload
        Of saved storages.
    """

    forward: tuple[int, ...]
    backward: tuple[int, ...]
    saved: tuple[int, ...]
    offloads: tuple[Offload, ...] = ()

    def operator_at(self, step: int) -> int | None:
        """Return what runs at a step of the whole schedule; None between the halves.

        Steps are those of `planner.training.memory`: the forward half's, one for the moment between
        the halves, then the backward half's.
        """
        middle = len(self.forward)
        if step == middle:
            return None
        return self.forward[step] if step < middle else self.backward[step - middle - 1]


def recompute_ps(problem: TrainingProblem, schedule: TrainingSchedule) -> int:
    """Picoseconds of all executions beyond the first one of each operator."""
    run = np.array([*schedule.forward, *schedule.backward], dtype=np.int64)
    executions = np.bincount(run, minlength=len(problem.duration_ps))
    return int((np.maximum(executions - 1, 0) * problem.duration_ps).sum())


def step_ps(problem: TrainingProblem, schedule: TrainingSchedule) -> int:
    """Picoseconds of all executions, one after the other."""
    run = np.array([*schedule.forward, *schedule.backward], dtype=np.int64)
    return int(problem.duration_ps[run].sum())
