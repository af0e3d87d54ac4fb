"""Rules about moves inside the nearest memory: which may run after which. Used by the checker.

A part of `planner.checker`, which vouches for indices, memories and intervals first. That a move
has a source and a destination at all is judged by `planner.dataflow`, that its destination touches
nothing that stays by `planner.placement_rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.plans import ByteRange, TransferKind, part_of
from planner.violation import Violation, ViolationKind, part_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.graph import Graph
    from planner.plans import Placement, Transfer

_MOST_VIOLATIONS = 1_000


class _Move(NamedTuple):
    """A transfer with the addresses that it reads and those that it writes."""

    transfer: Transfer
    read: ByteRange
    written: ByteRange


def move_violations(
    graph: Graph, placements: Sequence[Placement], transfers: Sequence[Transfer]
) -> list[Violation]:
    """Find moves that overwrite what another one moves later at the same boundary.

    Parameters
    ----------
    transfers : sequence of Transfer
        In the order of the plan, in which the moves of one boundary run.
    """
    violations: list[Violation] = []
    for moves in _by_boundary(graph, placements, transfers):
        begin = np.array([move.read.begin for move in moves], dtype=np.int64)
        end = np.array([move.read.end for move in moves], dtype=np.int64)
        for at, (transfer, _, written) in enumerate(moves):
            later = slice(at + 1, len(moves))
            hits = np.flatnonzero((begin[later] < written.end) & (written.begin < end[later]))
            for hit in hits.tolist():
                other = moves[at + 1 + hit]
                text = (
                    f"boundary {transfer.start}: {part_name(graph, transfer)} moves to bytes "
                    f"[{written.begin:,}, {written.end:,}) of {transfer.destination} before "
                    f"{part_name(graph, other.transfer)} has moved from "
                    f"[{other.read.begin:,}, {other.read.end:,})"
                )
                storages = (transfer.storage, other.transfer.storage)
                violations.append(Violation(ViolationKind.OVERLAP, text, transfer.start, storages))
                if len(violations) == _MOST_VIOLATIONS:
                    return violations
    return violations


def _by_boundary(
    graph: Graph, placements: Sequence[Placement], transfers: Sequence[Transfer]
) -> Iterator[list[_Move]]:
    """Yield the moves of each boundary that have a source and a destination."""
    groups: dict[int, list[Transfer]] = {}
    for transfer in transfers:
        if transfer.kind is TransferKind.MOVE:
            groups.setdefault(transfer.start, []).append(transfer)
    if not groups:
        return
    ending = {(p.storage, p.memory, p.end): p.offset for p in placements}
    starting = {(p.storage, p.memory, p.start): p.offset for p in placements}
    for boundary, group in groups.items():
        moves = []
        for transfer in group:
            part = part_of(transfer, graph.storages[transfer.storage].size_bytes)
            old = ending.get((transfer.storage, transfer.source, boundary))
            new = starting.get((transfer.storage, transfer.destination, boundary))
            if old is not None and new is not None:
                read = ByteRange(old + part.begin, old + part.end)
                moves.append(_Move(transfer, read, ByteRange(new + part.begin, new + part.end)))
        yield moves
