"""Let copies overlap with computation: start loads earlier, finish stores later, in free bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from planner.cost import operator_cost
from planner.plans import Plan, TransferKind, addresses_of, part_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from planner.plans import ByteRange, Placement, Transfer
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
    ready: dict[tuple[int, ByteRange | None], int] = {}
    transfers: list[Transfer] = []
    for transfer in plan.transfers:
        if transfer.kind is TransferKind.MOVE:
            transfers.append(transfer)
            continue
        needed = _SLACK * _seconds(plan, transfer)
        if transfer.source == near:
            latest = int(np.searchsorted(elapsed, elapsed[transfer.start] + needed))
            end = min(max(latest, transfer.end), len(plan.order))
            transfer = transfer._replace(end=occupancy.hold_longer(transfer, end))
            ready[transfer.storage, transfer.part] = transfer.end
        else:
            earliest = int(np.searchsorted(elapsed, elapsed[transfer.end] - needed, "right")) - 1
            copied = (transfer.storage, transfer.part)
            start = max(earliest, ready.get(copied, 0), 0)
            if transfer.kind is TransferKind.RELOAD and copied not in ready:
                start = max(start, occupancy.first_step(transfer.storage))
            transfer = transfer._replace(start=occupancy.reserve_earlier(transfer, start))
        transfers.append(transfer)
    others = [p for p in plan.placements if p.memory != near]
    return replace(
        plan,
        placements=tuple(sorted([*occupancy.placements(), *others])),
        transfers=in_time(transfers),
    )


def _seconds(plan: Plan, transfer: Transfer) -> float:
    link = plan.target.link(transfer.source, transfer.destination)
    if link is None:
        return 0.0
    size = part_of(transfer, plan.storages[transfer.storage].size_bytes).size_bytes
    return link.setup_s + size / link.bandwidth


class _Occupancy:
    """Placements of one memory as arrays, so that free bytes are found in one sweep each."""

    def __init__(self, plan: Plan, memory: str) -> None:
        self._memory = memory
        own = [p for p in plan.placements if p.memory == memory]
        self._storage = np.array([p.storage for p in own], dtype=np.int64)
        held = [addresses_of(p, plan.storages[p.storage].size_bytes) for p in own]
        self._own = own
        self._offset = np.array([p.offset for p in own], dtype=np.int64)
        self._low = np.array([addresses.begin for addresses in held], dtype=np.int64)
        self._high = np.array([addresses.end for addresses in held], dtype=np.int64)
        self._in_parts = np.array([p.part is not None for p in own], dtype=bool)
        self._start = np.array([p.start for p in own], dtype=np.int64)
        self._end = np.array([p.end for p in own], dtype=np.int64)

    def placements(self) -> list[Placement]:
        """Return the placements as they are now."""
        return [
            placement._replace(start=int(start), end=int(end))
            for placement, start, end in zip(self._own, self._start, self._end, strict=True)
        ]

    def first_step(self, storage: int) -> int:
        """Return the step at which a storage first arrives."""
        return int(self._start[self._storage == storage].min())

    def reserve_earlier(self, transfer: Transfer, wanted: int) -> int:
        """Extend the placement that a copy fills back towards ``wanted``."""
        step = transfer.end
        own = self._find(transfer, self._start == step)
        if own is None or wanted >= step:
            return step
        before = self._in_the_way(own) & (self._end <= step)
        free_from = int(self._end[before].max(initial=0))
        self._start[own] = max(wanted, free_from)
        return int(self._start[own])

    def hold_longer(self, transfer: Transfer, wanted: int) -> int:
        """Extend the placement that a copy reads forward towards ``wanted``."""
        step = transfer.end
        own = self._find(transfer, self._end == step)
        if own is None or wanted <= step:
            return step
        after = self._in_the_way(own) & (self._start >= step)
        free_until = int(self._start[after].min(initial=wanted))
        self._end[own] = min(wanted, free_until)
        return int(self._end[own])

    def _find(self, transfer: Transfer, where: NDArray[np.bool_]) -> int | None:
        found = np.flatnonzero((self._storage == transfer.storage) & where)
        return next((int(i) for i in found if self._own[i].part == transfer.part), None)

    def _in_the_way(self, own: int) -> NDArray[np.bool_]:
        """Placements that may share no step with this one.

        Same addresses, or the same storage at another offset or whole.
        """
        same_bytes = (self._low < self._high[own]) & (self._low[own] < self._high)
        apart = (self._offset == self._offset[own]) & self._in_parts & self._in_parts[own]
        blocking = same_bytes | ((self._storage == self._storage[own]) & ~apart)
        blocking[own] = False
        return blocking


def in_time(transfers: Iterable[Transfer]) -> tuple[Transfer, ...]:
    """Sort transfers by time; the moves of one boundary stay in the order in which they run."""

    def key(transfer: Transfer) -> tuple[object, ...]:
        if transfer.kind is TransferKind.MOVE:
            return (transfer.start, transfer.end, transfer.kind.value)
        part = transfer.part or ()
        return (transfer.start, transfer.end, transfer.kind.value, transfer.storage, part)

    return tuple(sorted(transfers, key=key))
