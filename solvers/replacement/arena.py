"""Replacement in an arena with addresses, decided step by step: always finds a legal plan."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import combinations
from typing import TYPE_CHECKING

from planner.problem import Episode
from solvers.replacement.episodes import evict_everything, solution
from solvers.replacement.eviction import Block, Policy, Residents, choose_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from planner.problem import ReplacementSolution
    from solvers.protocol import Deadline
    from solvers.replacement.demand import Demand

# With more operands than this, only the cheapest ones are considered for moving, not all subsets.
SUBSET_OPERANDS = 6


class _Arena:
    """Blocks by address, and the episodes that ended."""

    def __init__(self, demand: Demand, policy: Policy) -> None:
        self.demand = demand
        self.policy = policy
        self.residents = Residents(demand)
        self.blocks: list[Block] = []
        self.resident: dict[int, tuple[int, int]] = {}
        self.episodes: list[Episode] = []

    def insert(self, storage: int, offset: int, start: int) -> None:
        block = Block(offset, offset + self.demand.rounded[storage], storage)
        insort(self.blocks, block)
        self.resident[storage] = (offset, start)
        self.residents.enter(storage)

    def remove(self, storage: int) -> int:
        """Take a storage out; its address."""
        offset, start = self.resident.pop(storage)
        self.residents.leave(storage)
        block = Block(offset, offset + self.demand.rounded[storage], storage)
        del self.blocks[bisect_left(self.blocks, block)]
        last_use = self.residents.last_use[storage]
        if last_use >= start:
            self.episodes.append(Episode(storage, start, last_use + 1, offset))
        return offset

    def evict(self, storage: int) -> None:
        """Take a storage out that is read back later."""
        self.remove(storage)
        self.residents.copied[storage] = True

    def best_fit(self, size: int) -> int | None:
        """Address of the smallest hole that is large enough, the lowest of equals."""
        best: tuple[int, int] | None = None
        low = 0
        for block in self.blocks:
            room = block.start - low
            if room >= size and (best is None or room < best[0]):
                best = (room, low)
            low = block.end
        room = self.demand.capacity - low
        if room >= size and (best is None or room < best[0]):
            best = (room, low)
        return None if best is None else best[1]

    def clear(self, low: int, high: int) -> None:
        """Evict every block that touches the addresses [low, high)."""
        first = bisect_right(self.blocks, low, key=lambda block: block.end)
        last = bisect_left(self.blocks, high, key=lambda block: block.start)
        for block in self.blocks[first:last]:
            self.evict(block.storage)

    def bring_in(self, step: int, owners: Sequence[int]) -> None:
        """Make all owners of a step resident, at the cost of others and at worst of moves."""
        missing = [s for s in owners if s not in self.resident]
        missing.sort(key=lambda s: (-self.demand.rounded[s], s))
        for storage in missing:
            size = self.demand.rounded[storage]
            offset = self.best_fit(size)
            if offset is None:
                offset = choose_window(
                    self.policy, self.residents, self.blocks, self.demand.capacity, step, size
                )
                if offset is None:
                    self.rearrange(step, owners, missing)
                    return
                self.clear(offset, offset + size)
            self.insert(storage, offset, step)

    def rearrange(self, step: int, owners: Sequence[int], missing: Sequence[int]) -> None:
        """Place the missing owners where owners alone are in the way: move some of those.

        A moved storage is written out, if it has no copy, and read back elsewhere.
        """
        for storage in missing:
            if storage in self.resident:
                self.remove(storage)
        present = [s for s in owners if s in self.resident]
        for moved in _subsets_by_cost(self.residents, present):
            stay = [s for s in present if s not in moved]
            places = self.places_between(stay, [*missing, *moved])
            if places is not None:
                for storage in moved:
                    self.evict(storage)
                for storage, offset in places.items():
                    self.clear(offset, offset + self.demand.rounded[storage])
                    self.insert(storage, offset, step)
                return

    def places_between(
        self, fixed: Sequence[int], arriving: Sequence[int]
    ) -> dict[int, int] | None:
        """Addresses for arriving storages between fixed ones, all others ignored."""
        edges = sorted(
            (self.resident[s][0], self.resident[s][0] + self.demand.rounded[s]) for s in fixed
        )
        holes, low = [], 0
        for start, end in edges:
            holes.append([low, start])
            low = end
        holes.append([low, self.demand.capacity])
        places = {}
        for storage in sorted(arriving, key=lambda s: (-self.demand.rounded[s], s)):
            size = self.demand.rounded[storage]
            fitting = [hole for hole in holes if hole[1] - hole[0] >= size]
            if not fitting:
                return None
            hole = min(fitting, key=lambda hole: hole[1] - hole[0])
            places[storage] = hole[0]
            hole[0] += size
        return places


def _subsets_by_cost(residents: Residents, storages: Sequence[int]) -> Iterable[Sequence[int]]:
    """Sets of storages to try moving, cheapest first; the last one is all of them."""
    ordered = sorted(storages, key=lambda s: (residents.leaving_costs(s), s))
    if len(ordered) > SUBSET_OPERANDS:
        return (ordered[:count] for count in range(len(ordered) + 1))
    subsets = [c for count in range(len(ordered) + 1) for c in combinations(ordered, count)]
    return sorted(subsets, key=lambda c: sum(residents.leaving_costs(s) for s in c))


def simulate_arena(
    demand: Demand,
    policy: Policy,
    deadline: Deadline,
    dropped: Set[tuple[int, int]] = frozenset(),
) -> ReplacementSolution:
    """Assign addresses as storages arrive (best fit), evict by policy when none is free.

    Whatever is missing is placed in the smallest hole. Without one, a window is cleared of
    storages the step does not need. If the step's own operands leave no window, the cheapest set
    of them moves. Moving all of them side by side always works, so a demand that is not
    infeasible gets a legal solution: after the deadline simply the one that keeps nothing.

    Parameters
    ----------
    dropped : set of (storage, use step)
        Storages that leave after those uses in any case: the plan of another solver, which the
        arena then only repairs.
    """
    arena = _Arena(demand, policy)
    residents = arena.residents
    for step, operands in enumerate(demand.operands):
        if step % 64 == 0 and deadline.expired():
            return evict_everything(demand)
        arena.bring_in(step, demand.owners[step])
        residents.pass_step(step, operands, demand.following[step])
        for output, source in demand.overwritten_at.get(step, ()):
            arena.insert(output, arena.remove(source), step)
        for storage, after in zip(operands, demand.following[step], strict=True):
            if storage in residents:
                if after == demand.steps:
                    arena.remove(storage)
                elif (storage, step) in dropped:
                    arena.evict(storage)
    return solution(demand, arena.episodes)
