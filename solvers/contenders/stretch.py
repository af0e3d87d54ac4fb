"""Let copies overlap with computation: start loads earlier, finish stores later, in free bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from planner.cost import operator_cost
from planner.plans import Placement, Plan, Transfer, TransferKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.problem import PlanningProblem

# A copy may wait in its engine's queue, so it gets more steps than it needs by itself.
_SLACK = 2.0


def stretch_transfers(problem: PlanningProblem, plan: Plan) -> Plan:
    """Widen the step ranges of copies until computation can hide them.

    Addresses do not change: bytes of the nearest memory that nobody uses before a load are
    reserved earlier, and bytes that nobody uses after a store or spill are held longer. The peak
    of live bytes may rise, the arena does not.
    """
    near = plan.target.nearest.name
    occupancy = _Occupancy(plan, near)
    seconds = [operator_cost(problem.graph, plan.target, o).seconds for o in plan.order]
    elapsed = np.concatenate([[0.0], np.cumsum(seconds)])
    ready: dict[int, int] = {}
    transfers: list[Transfer] = []
    for transfer in plan.transfers:
        needed = _SLACK * _seconds(plan, transfer)
        if transfer.source == near:
            latest = int(np.searchsorted(elapsed, elapsed[transfer.start] + needed))
            end = min(max(latest, transfer.end), len(plan.order))
            transfer = transfer._replace(
                end=occupancy.hold_longer(transfer.storage, transfer.end, end)
            )
            ready[transfer.storage] = transfer.end
        else:
            earliest = int(np.searchsorted(elapsed, elapsed[transfer.end] - needed, "right")) - 1
            start = max(earliest, ready.get(transfer.storage, 0), 0)
            if transfer.kind is TransferKind.RELOAD and transfer.storage not in ready:
                start = max(start, occupancy.first_step(transfer.storage))
            transfer = transfer._replace(
                start=occupancy.reserve_earlier(transfer.storage, transfer.end, start)
            )
        transfers.append(transfer)
    others = [p for p in plan.placements if p.memory != near]
    return replace(
        plan,
        placements=tuple(sorted([*occupancy.placements(), *others])),
        transfers=tuple(sorted(transfers, key=lambda t: (t.start, t.end, t.kind, t.storage))),
    )


def _seconds(plan: Plan, transfer: Transfer) -> float:
    link = plan.target.link(transfer.source, transfer.destination)
    if link is None:
        return 0.0
    return link.setup_s + plan.storages[transfer.storage].size_bytes / link.bandwidth


class _Occupancy:
    """Placements of one memory as arrays, so that free bytes are found in one sweep each."""

    def __init__(self, plan: Plan, memory: str) -> None:
        self._memory = memory
        own = [p for p in plan.placements if p.memory == memory]
        self._storage = np.array([p.storage for p in own], dtype=np.int64)
        self._low = np.array([p.offset for p in own], dtype=np.int64)
        sizes = [plan.storages[p.storage].size_bytes for p in own]
        self._high = self._low + np.array(sizes, dtype=np.int64)
        self._start = np.array([p.start for p in own], dtype=np.int64)
        self._end = np.array([p.end for p in own], dtype=np.int64)

    def placements(self) -> list[Placement]:
        """Return the placements as they are now."""
        return [
            Placement(int(s), self._memory, int(low), int(start), int(end))
            for s, low, start, end in zip(
                self._storage, self._low, self._start, self._end, strict=True
            )
        ]

    def first_step(self, storage: int) -> int:
        """Return the step at which a storage first arrives."""
        return int(self._start[self._storage == storage].min())

    def reserve_earlier(self, storage: int, step: int, wanted: int) -> int:
        """Extend the placement that begins at ``step`` back towards ``wanted``."""
        own = self._find(storage, self._start == step)
        if own is None or wanted >= step:
            return step
        before = self._in_the_way(own) & (self._end <= step)
        free_from = int(self._end[before].max(initial=0))
        self._start[own] = max(wanted, free_from)
        return int(self._start[own])

    def hold_longer(self, storage: int, step: int, wanted: int) -> int:
        """Extend the placement that ends at ``step`` forward towards ``wanted``."""
        own = self._find(storage, self._end == step)
        if own is None or wanted <= step:
            return step
        after = self._in_the_way(own) & (self._start >= step)
        free_until = int(self._start[after].min(initial=wanted))
        self._end[own] = min(wanted, free_until)
        return int(self._end[own])

    def _find(self, storage: int, where: NDArray[np.bool_]) -> int | None:
        found = np.flatnonzero((self._storage == storage) & where)
        return int(found[0]) if len(found) else None

    def _in_the_way(self, own: int) -> NDArray[np.bool_]:
        """Placements that may share no step with this one: same bytes, or same storage."""
        same_bytes = (self._low < self._high[own]) & (self._low[own] < self._high)
        blocking = same_bytes | (self._storage == self._storage[own])
        blocking[own] = False
        return blocking
