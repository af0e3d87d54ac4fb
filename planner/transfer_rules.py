"""Rules about copies, each by itself: links, intervals, labels. Used by the checker."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from planner.graph import StorageKind
from planner.plans import ByteRange, TransferKind, part_of
from planner.violation import Violation, ViolationKind, part_fault, part_name, transfer_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.graph import Graph
    from planner.plans import Plan, Transfer
    from planner.target import Target


def transfer_violations(
    graph: Graph, target: Target, plan: Plan
) -> tuple[list[Transfer], list[Violation]]:
    """Judge each transfer by itself. Return those that can be replayed."""
    steps = len(plan.order)
    memories = {memory.name: memory for memory in target.memories}
    good: list[Transfer] = []
    violations: list[Violation] = []
    for transfer in plan.transfers:
        index, source, destination, start, end, _, _ = transfer
        if not 0 <= index < len(graph.storages):
            text = f"a transfer names storage {index:,}; there are {len(graph.storages):,}"
            violations.append(Violation(ViolationKind.UNKNOWN, text, start))
            continue
        storage = graph.storages[index]
        found: list[tuple[ViolationKind, str]] = []
        unknown = [name for name in (source, destination) if name not in memories]
        if unknown:
            found.append((ViolationKind.UNKNOWN, f"memory {unknown[0]!r} does not exist"))
        else:
            if target.link(source, destination) is None:
                text = f"{target.name} has no link from {source} to {destination}"
                found.append((ViolationKind.TRANSFER, text))
            if not memories[destination].writable:
                found.append((ViolationKind.READ_ONLY, f"{destination} is not writable"))
        if storage.kind is StorageKind.CONSTANT:
            found.append((ViolationKind.CONSTANT, "constants never move"))
        if not 0 <= start <= end <= steps:
            text = f"boundaries {start:,} to {end:,}; the plan has boundaries 0 to {steps:,}"
            found.append((ViolationKind.TRANSFER, text))
        elif source == destination and not 0 < start == end < steps:
            text = (
                f"boundaries {start:,} to {end:,}; a move takes place at one boundary between two "
                "steps"
            )
            found.append((ViolationKind.TRANSFER, text))
        fault = part_fault(transfer.part, storage.size_bytes)
        if fault:
            found.append((ViolationKind.PART, fault))
        what = transfer_name(graph, transfer)
        violations += [Violation(kind, f"{what}: {text}", start, (index,)) for kind, text in found]
        if not found:
            good.append(transfer)
    return good, violations + _transfer_kinds(graph, target, good)


def _transfer_kinds(graph: Graph, target: Target, transfers: Sequence[Transfer]) -> list[Violation]:
    """Require the label that the copy deserves.

    The first copy of a graph input out of the caller's memory is a fetch, the last copy of a graph
    output into it a store, where that memory is not the nearest: first and last for each of the
    bytes it copies. All others are spills (to a farther memory), reloads, or moves (inside one).
    """
    rank = {memory.name: index for index, memory in enumerate(target.memories)}
    outside = target.io_memory
    compulsory: dict[int, TransferKind] = {}
    if rank[outside] > 0:
        in_time = sorted(
            range(len(transfers)), key=lambda i: (transfers[i].end, transfers[i].start, i)
        )
        fetched, stored = _Bytes(), _Bytes()
        for position in in_time:
            transfer = transfers[position]
            storage = graph.storages[transfer.storage]
            if storage.kind is StorageKind.INPUT and transfer.source == outside:
                part = part_of(transfer, storage.size_bytes)
                if fetched.add(transfer.storage, part):
                    compulsory[position] = TransferKind.FETCH
        for position in reversed(in_time):
            transfer = transfers[position]
            storage = graph.storages[transfer.storage]
            if storage.is_output and transfer.destination == outside:
                part = part_of(transfer, storage.size_bytes)
                if stored.add(transfer.storage, part):
                    compulsory[position] = TransferKind.STORE
    violations = []
    for position, transfer in enumerate(transfers):
        farther = rank[transfer.destination] > rank[transfer.source]
        other = TransferKind.SPILL if farther else TransferKind.RELOAD
        if transfer.destination == transfer.source:
            other = TransferKind.MOVE
        expected = compulsory.get(position, other)
        if transfer.kind != expected:
            text = (
                f"the copy of {part_name(graph, transfer)} from {transfer.source} to "
                f"{transfer.destination} at boundary {transfer.start} is a {expected}, not a "
                f"{transfer.kind}"
            )
            violations.append(
                Violation(ViolationKind.TRANSFER_KIND, text, transfer.start, (transfer.storage,))
            )
    return violations


class _Bytes:
    """Which bytes of which storages have been seen."""

    def __init__(self) -> None:
        self._seen: dict[int, list[ByteRange]] = {}

    def add(self, storage: int, part: ByteRange) -> bool:
        """Take a part in; return whether none of its bytes had been seen."""
        seen = self._seen.setdefault(storage, [])
        at = bisect_left(seen, part)
        first = at
        while first > 0 and seen[first - 1].end > part.begin:
            first -= 1
        last = at
        while last < len(seen) and seen[last].begin < part.end:
            last += 1
        known = seen[first:last]
        if known:
            part = ByteRange(min(part.begin, known[0].begin), max(part.end, known[-1].end))
        seen[first:last] = [part]
        return not known
