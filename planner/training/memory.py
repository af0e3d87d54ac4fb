"""Bytes that a training schedule holds on the device, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.errors import InvalidPlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule


class Lifetime(NamedTuple):
    """One stay of a storage on the device, both ends included.

    Attributes
    ----------
    storage : int
    first, last : int
        Steps of the whole schedule: the forward half's, then one for the moment between the halves,
        then the backward half's.
    """

    storage: int
    first: int
    last: int


class MemoryProfile(NamedTuple):
    """Live bytes above parameters and inputs.

    Attributes
    ----------
    live_bytes : int64 array of shape [len(forward) + 1 + len(backward)]
        While each step runs, its workspace included. The step between the halves holds what
        crosses and the tangents.
    forward_steps : int
        Length of the forward half, and index of the step between the halves.
    """

    live_bytes: NDArray[np.int64]
    forward_steps: int

    @property
    def peak_bytes(self) -> int:
        """The most bytes live at once."""
        return int(self.live_bytes.max())

    @property
    def peak_step(self) -> int:
        """The first step at which the peak is reached."""
        return int(self.live_bytes.argmax())


def memory_profile(problem: TrainingProblem, schedule: TrainingSchedule) -> MemoryProfile:
    """Return what is live at each step.

    Raises
    ------
    InvalidPlanError
        If a step reads a storage that is not live.
    """
    steps = len(schedule.forward) + 1 + len(schedule.backward)
    change = np.zeros(steps + 1, dtype=np.int64)
    storages, firsts, lasts = (
        np.array(lifetimes(problem, schedule), dtype=np.int64).reshape(-1, 3).T
    )
    np.add.at(change, firsts, problem.size_bytes[storages])
    np.subtract.at(change, lasts + 1, problem.size_bytes[storages])
    live = np.cumsum(change[:-1])
    middle = len(schedule.forward)
    live[:middle] += problem.workspace_bytes[list(schedule.forward)]
    live[middle + 1 :] += problem.workspace_bytes[list(schedule.backward)]
    return MemoryProfile(live, middle)


def lifetimes(problem: TrainingProblem, schedule: TrainingSchedule) -> list[Lifetime]:
    """Return every stay of every storage on the device.

    Raises
    ------
    InvalidPlanError
        If a step reads a storage that is not live.
    """
    middle = len(schedule.forward)
    end = middle + len(schedule.backward)
    outputs = problem.forward_outputs.tolist()
    offloaded = {offload.storage: offload for offload in schedule.offloads}
    found: list[Lifetime] = []

    # Of each storage that something later reads, the last step that does.
    last_use = dict.fromkeys(problem.gradients.tolist(), end)
    found += _half(problem, schedule.backward, middle + 1, last_use, problem.storage_names)
    crossing = dict.fromkeys((*schedule.saved, *problem.tangents.tolist()), middle)
    for storage, last in last_use.items():
        if storage in crossing:
            crossing[storage] = last
        elif storage not in outputs:
            raise InvalidPlanError(
                f'the backward half reads "{problem.storage_names[storage]}", which is neither '
                "saved nor recomputed before."
            )
    for tangent in problem.tangents.tolist():
        found.append(Lifetime(tangent, middle, crossing.pop(tangent)))

    last_use = dict.fromkeys((*schedule.saved, *outputs), middle - 1)
    whole = dict.fromkeys(outputs, end)
    for storage, last in crossing.items():
        offload = offloaded.get(storage)
        if offload is None:
            whole[storage] = last
        else:
            whole[storage] = offload.freed_after
            found.append(Lifetime(storage, middle + 1 + offload.fetched_before, last))
    for life in _half(problem, schedule.forward, 0, last_use, problem.storage_names):
        if life.last == middle - 1 and life.storage in whole:
            life = life._replace(last=max(whole.pop(life.storage), life.first))
        found.append(life)
    if last_use:
        name = problem.storage_names[next(iter(last_use))]
        raise InvalidPlanError(f'the forward half needs "{name}" and does not compute it.')
    return found


def _half(
    problem: TrainingProblem,
    sequence: Sequence[int],
    first_step: int,
    last_use: dict[int, int],
    names: Sequence[str],
) -> list[Lifetime]:
    """Return lifetimes that begin in one half, latest first; ``last_use`` keeps what it lacks."""
    found: list[Lifetime] = []
    for step in range(len(sequence) - 1, -1, -1):
        operator = sequence[step]
        for storage in problem.write_rows[operator]:
            begin = first_step + step
            found.append(Lifetime(storage, begin, last_use.pop(storage, begin)))
        for storage in problem.read_rows[operator]:
            last_use.setdefault(storage, first_step + step)
    return found
