"""How many bytes of a memory are in use when, and by whom: read off a packing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from planner.packing.problem import uses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.packing.problem import Packing, PackingProblem


@dataclass(frozen=True, slots=True)
class MemoryOccupancy:
    """One memory under a packing.

    Attributes
    ----------
    buffers : tuple of int
        What lies in it, in the problem's order.
    times : int64 array of shape [n + 1]
        Ascending; between two of them nothing begins or ends.
    live_bytes : int64 array of shape [n]
        Bytes in use from each of the times to the next. Bytes that buffers share count once.
    """

    buffers: tuple[int, ...]
    times: NDArray[np.int64]
    live_bytes: NDArray[np.int64]

    @property
    def peak_bytes(self) -> int:
        """Most bytes in use at once."""
        return int(self.live_bytes.max(initial=0))

    @property
    def peak_time(self) -> int | None:
        """The first time at which that many are; None for a memory without buffers."""
        return int(self.times[self.live_bytes.argmax()]) if len(self.live_bytes) else None


def packing_occupancies(problem: PackingProblem, packing: Packing) -> tuple[MemoryOccupancy, ...]:
    """Return one for each of the problem's memories."""
    sharing = _sharing(problem)
    memory_of = packing.memory.tolist()
    offset_of = packing.offset.tolist()
    buffers: list[list[int]] = [[] for _ in problem.memories]
    used: list[list[tuple[int, int, int, int, bool]]] = [[] for _ in problem.memories]
    for index, buffer in enumerate(problem.buffers):
        offset = offset_of[index]
        buffers[memory_of[index]].append(index)
        used[memory_of[index]] += [
            (lower, upper, offset + begin, offset + end, index in sharing)
            for lower, upper, begin, end in uses(buffer)
        ]
    return tuple(map(_occupancy, buffers, used))


def _sharing(problem: PackingProblem) -> set[int]:
    """Return the buffers that may share bytes with another one."""
    pairs = [(c.first, c.second) for c in problem.colocations]
    pairs += [(o.output, o.input) for o in problem.overlaps]
    return {problem.index[name] for pair in pairs for name in pair}


def _occupancy(buffers: list[int], used: list[tuple[int, int, int, int, bool]]) -> MemoryOccupancy:
    columns = np.array(used, dtype=np.int64).reshape(-1, 5)
    lower, upper, begin, end, shared = columns.T
    times = np.unique(columns[:, :2])
    growth = np.zeros(max(len(times), 1), dtype=np.int64)
    alone = shared == 0
    size = (end - begin)[alone]
    np.add.at(growth, np.searchsorted(times, lower[alone]), size)
    np.subtract.at(growth, np.searchsorted(times, upper[alone]), size)
    _add_union(growth, times, columns[~alone, :4])
    return MemoryOccupancy(tuple(buffers), times, np.cumsum(growth)[:-1])


def _add_union(
    growth: NDArray[np.int64], times: NDArray[np.int64], shared: NDArray[np.int64]
) -> None:
    """Add by how much the union of the bytes in use grows at each time.

    For every stretch of bytes between two ends it is counted how many use it.
    """
    bytes_ = np.unique(shared[:, 2:])
    length = np.diff(bytes_)
    users = np.zeros(len(length), dtype=np.int64)
    changes = [
        (int(row[column]), sign, int(row[2]), int(row[3]))
        for row in shared
        for column, sign in ((1, -1), (0, 1))
    ]
    for time, group in groupby(sorted(changes), key=itemgetter(0)):
        at = np.searchsorted(times, time)
        for _, sign, begin, end in group:
            stretch = slice(*np.searchsorted(bytes_, (begin, end)))
            before = users[stretch] > 0
            users[stretch] += sign
            after = users[stretch] > 0
            growth[at] += int(length[stretch][after].sum()) - int(length[stretch][before].sum())


def live_at(
    problem: PackingProblem, occupancy: MemoryOccupancy, time: int
) -> list[tuple[int, int]]:
    """Return the buffers in use at a time and how many bytes of each, most first."""
    live = [
        (index, end - begin)
        for index in occupancy.buffers
        for lower, upper, begin, end in uses(problem.buffers[index])
        if lower <= time < upper
    ]
    return sorted(live, key=lambda entry: (-entry[1], entry[0]))
