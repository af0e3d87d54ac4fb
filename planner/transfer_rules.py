"""Rules about copies, each by itself: links, intervals, labels. Used by the checker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.graph import StorageKind
from planner.plans import TransferKind
from planner.violation import Violation, ViolationKind

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
        index, source, destination, start, end, _ = transfer
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
        what = f"{transfer.kind} of {storage.name} from {source} to {destination}"
        violations += [Violation(kind, f"{what}: {text}", start, (index,)) for kind, text in found]
        if not found:
            good.append(transfer)
    return good, violations + _transfer_kinds(graph, target, good)


def _transfer_kinds(graph: Graph, target: Target, transfers: Sequence[Transfer]) -> list[Violation]:
    """Require the label that the copy deserves.

    The first copy of a graph input out of the caller's memory is a fetch, the last copy of a graph
    output into it a store, where that memory is not the nearest. All others are spills (to a
    farther memory) and reloads.
    """
    rank = {memory.name: index for index, memory in enumerate(target.memories)}
    outside = target.io_memory
    compulsory: dict[int, TransferKind] = {}
    if rank[outside] > 0:
        fetched: set[int] = set()
        stores: dict[int, int] = {}
        for position in sorted(
            range(len(transfers)), key=lambda i: (transfers[i].end, transfers[i].start, i)
        ):
            transfer = transfers[position]
            storage = graph.storages[transfer.storage]
            is_input = storage.kind is StorageKind.INPUT
            if is_input and transfer.source == outside and transfer.storage not in fetched:
                fetched.add(transfer.storage)
                compulsory[position] = TransferKind.FETCH
            if storage.is_output and transfer.destination == outside:
                stores[transfer.storage] = position
        compulsory.update(dict.fromkeys(stores.values(), TransferKind.STORE))
    violations = []
    for position, transfer in enumerate(transfers):
        farther = rank[transfer.destination] > rank[transfer.source]
        other = TransferKind.SPILL if farther else TransferKind.RELOAD
        expected = compulsory.get(position, other)
        if transfer.kind != expected:
            text = (
                f"the copy of {graph.storages[transfer.storage].name} from {transfer.source} to "
                f"{transfer.destination} at boundary {transfer.start} is a {expected}, not a "
                f"{transfer.kind}"
            )
            violations.append(
                Violation(ViolationKind.TRANSFER_KIND, text, transfer.start, (transfer.storage,))
            )
    return violations
