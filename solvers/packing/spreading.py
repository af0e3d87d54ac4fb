"""Which group in which memory, by bytes in use alone: a first choice, and bounds on every one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from planner.packing.problem import PackingProblem
    from solvers.packing.groups import Group
    from solvers.packing.loads import Loads

# Times whose excess is added up to a bound.
_MOST_TIMES = 256


class Spread(NamedTuple):
    """A memory for each group, and the number of the order in which they went there."""

    choice: list[int]
    order: int


def spread(
    problem: PackingProblem,
    groups: Sequence[Group],
    loads: Loads,
    *,
    orders: Iterable[int] = range(4),
    permille: int = 1000,
) -> Spread:
    """Choose a memory for each group so that bytes in use keep to the capacities, if possible.

    Groups go, in several orders, to the first of their memories that has room while they live;
    the choice that exceeds the capacities least, then displaces least, wins.

    Parameters
    ----------
    orders : iterable of int
        Those to try.
    permille : int
        Part of the capacities that bytes in use may take.
    """
    capacities = [
        None if memory.capacity is None else memory.capacity * permille // 1000
        for memory in problem.memories
    ]

    def size(group: int) -> int:
        return loads.largest(group)

    def span(group: int) -> int:
        return sum(load.last - load.first for load in loads.of_group[group])

    # A byte that leaves costs the same wherever it is, so that short lives keep most; ahead of
    # that, large groups are hard to find room for later.
    keys: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda group: (-size(group), span(group)),
        lambda group: (span(group), -size(group)),
        lambda group: (size(group) * span(group), -size(group)),
        lambda group: (loads.first(group), -size(group)),
    )
    found = []
    for order in orders:
        key = keys[order]
        ranked = sorted(range(len(groups)), key=lambda g: (len(groups[g].memories) > 1, key(g)))
        excess, choice = _first_with_room(capacities, groups, loads, ranked)
        found.append((excess, displaced_bytes(groups, choice), order, choice))
    *_, order, choice = min(found)
    return Spread(choice, order)


def _first_with_room(
    capacities: Sequence[int | None],
    groups: Sequence[Group],
    loads: Loads,
    ranked: Sequence[int],
) -> tuple[int, list[int]]:
    busy = np.zeros((len(capacities), loads.sections), dtype=np.int64)
    choice = [0] * len(groups)
    total = 0
    for group in ranked:
        least = None
        for memory in groups[group].memories:
            excess = loads.excess(busy[memory], group, capacities[memory])
            if least is None or excess < least[0]:
                least = (excess, memory)
            if not excess:
                break
        assert least is not None
        total += least[0]
        choice[group] = least[1]
        loads.add(busy[least[1]], group)
    return total, choice


def displaced_bytes(groups: Sequence[Group], choice: Sequence[int]) -> int:
    """Return the bytes that a choice displaces."""
    return sum(
        group.displaced[group.memories.index(memory)]
        for group, memory in zip(groups, choice, strict=True)
    )


def fewest_displaced(problem: PackingProblem, groups: Sequence[Group], loads: Loads) -> int:
    """Return a lower bound on the bytes that every packing displaces.

    Each group displaces at least what it does in its best memory. Besides, at any one time, the
    groups that are best off in a memory and do not fit into it have to leave; one whose leaving
    displaces no fewer bytes than it has in use makes at least its room. What several times ask for
    adds up if no group counts twice: at a later time only those that begin after the earlier one.
    """
    best: list[list[int]] = [[] for _ in problem.memories]
    for index, group in enumerate(groups):
        stays = len(group.displaced) == 1
        if stays or group.displaced[1] - group.displaced[0] >= loads.largest(index):
            best[group.memories[0]].append(index)
    capped = [
        (memory.capacity, members)
        for memory, members in zip(problem.memories, best, strict=True)
        if memory.capacity is not None and members
    ]
    least = sum(group.displaced[0] for group in groups)
    excess = np.zeros(loads.sections, dtype=np.int64)
    for capacity, members in capped:
        excess += np.maximum(loads.total(members) - capacity, 0)
    if not excess.any():
        return least
    times = _highest_of_each_stretch(excess)
    # Row i, column j: what exceeds at time j if only those count that begin after time i - 1.
    gain = np.zeros((len(times) + 1, len(times)), dtype=np.int64)
    for capacity, members in capped:
        gain += np.maximum(_begun_since(loads, members, times) - capacity, 0)
    total = np.zeros(len(times) + 1, dtype=np.int64)
    for time in range(len(times)):
        total[time + 1] = (total[: time + 1] + gain[: time + 1, time]).max()
    return least + int(total.max())


def _highest_of_each_stretch(excess: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cut the sections into stretches; return the sections of the largest excess, where any."""
    stretches = np.array_split(np.arange(len(excess)), min(len(excess), _MOST_TIMES))
    highest = np.array([stretch[excess[stretch].argmax()] for stretch in stretches])
    return highest[excess[highest] > 0]


def _begun_since(
    loads: Loads, members: Sequence[int], times: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the bytes that members have in use at each time, row by row fewer members.

    Returns
    -------
    int64 array of shape [times + 1, times]
        Row 0 counts all; row i those whose first use begins after time i - 1.
    """
    change = np.zeros((len(times) + 2, len(times) + 1), dtype=np.int64)
    for member in members:
        rows = int(np.searchsorted(times, loads.first(member), side="left"))
        for first, last, bytes_ in loads.of_group[member]:
            begin, end = np.searchsorted(times, (first, last)).tolist()
            if begin < end:
                change[0, begin] += bytes_
                change[rows + 1, begin] -= bytes_
                change[0, end] -= bytes_
                change[rows + 1, end] += bytes_
    return change.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]


class Occupation:
    """Groups in memories, and the bytes in use there.

    Attributes
    ----------
    choice : list of int
        Memory of each group.
    busy : int64 array of shape [memories, sections]
    """

    def __init__(self, problem: PackingProblem, loads: Loads, choice: Sequence[int]) -> None:
        self._problem = problem
        self._loads = loads
        self.choice = list(choice)
        self.busy = np.stack(
            [loads.total(self.members(memory)) for memory in range(len(problem.memories))]
        )

    def members(self, memory: int) -> list[int]:
        """Return the groups in a memory, ascending."""
        return [group for group, chosen in enumerate(self.choice) if chosen == memory]

    def move(self, group: int, memory: int) -> None:
        """Put a group into another memory."""
        self._loads.add(self.busy[self.choice[group]], group, -1)
        self._loads.add(self.busy[memory], group)
        self.choice[group] = memory

    def excess(self, group: int, memory: int) -> int:
        """Return by how many bytes the capacity would be exceeded with one more group."""
        return self._loads.excess(self.busy[memory], group, self._problem.memories[memory].capacity)
