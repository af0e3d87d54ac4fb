"""What every schedule of a training step holds at certain moments of its backward half."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.training.problem import TrainingProblem


class Moments(NamedTuple):
    """Moments that every schedule has: between the halves, at each backward operator, at the end.

    Moment 0 lies between the halves, moment ``i + 1`` is the run of backward operator ``i`` and the
    last one the last step of all.

    Attributes
    ----------
    first, last : int64 arrays of shape [storages]
        Moments from and to which a storage certainly stays on the device without a break;
        ``last < first`` where there are none.
    wanted : tuple of frozenset of int
        Of each moment, the forward storages that it reads itself, forward outputs apart.
    base_bytes : int64 array of shape [moments]
        Of all that is certainly on the device then, workspace included.
    through_bytes : int64 array of shape [moments]
        Of what certainly stays on the device from the moment before to this one.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    wanted: tuple[frozenset[int], ...]
    base_bytes: NDArray[np.int64]
    through_bytes: NDArray[np.int64]


def moments(problem: TrainingProblem) -> Moments:
    """Return what is certain at each moment.

    Certain are tangents and the results of backward operators up to their last reader, gradients to
    the end, forward outputs throughout; without a host also what the backward half reads and cannot
    be recomputed, from the moment between the halves on. What a moment reads is there, too.
    """
    operators = problem.backward_operators.tolist()
    count, end = len(problem.size_bytes), len(operators) + 1
    last_need = np.full(count, -1, dtype=np.int64)
    for moment, operator in enumerate(operators, start=1):
        last_need[problem.reads.row(operator)] = moment
    last_need[problem.gradients] = end

    first = np.zeros(count, dtype=np.int64)
    last = np.full(count, -1, dtype=np.int64)
    last[problem.tangents] = np.maximum(last_need[problem.tangents], 0)
    for moment, operator in enumerate(operators, start=1):
        written = problem.writes.row(operator)
        first[written] = moment
        last[written] = np.maximum(last_need[written], moment)
    outputs = problem.forward_outputs
    if problem.host is None:
        producer = problem.producer
        written = producer >= 0
        fixed = np.zeros(count, dtype=np.bool_)
        fixed[written] = ~(problem.recomputable | problem.is_backward)[producer[written]]
        last[fixed] = last_need[fixed]
    last[outputs] = end

    forward = np.ones(count, dtype=np.bool_)
    for operator in operators:
        forward[problem.writes.row(operator)] = False
    forward[problem.tangents] = False
    forward[outputs] = False
    demands = [[], *(problem.reads.row(o).tolist() for o in operators), problem.gradients.tolist()]
    wanted = tuple(frozenset(s for s in demand if forward[s]) for demand in demands)

    change = np.zeros(end + 2, dtype=np.int64)
    staying = last >= first
    np.add.at(change, first[staying], problem.size_bytes[staying])
    np.subtract.at(change, last[staying] + 1, problem.size_bytes[staying])
    base = np.cumsum(change[:-1])
    begun = np.zeros(end + 1, dtype=np.int64)
    np.add.at(begun, first[staying], problem.size_bytes[staying])
    through = base - begun
    base[1:end] += problem.workspace_bytes[operators]
    for moment, storages in enumerate(wanted):
        base[moment] += sum(
            int(problem.size_bytes[s]) for s in storages if not first[s] <= moment <= last[s]
        )
    return Moments(first, last, wanted, base, through)
