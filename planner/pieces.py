"""Storages cut into pieces wherever a placement or transfer is about a part of them."""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain
from typing import TYPE_CHECKING

from planner.plans import part_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.graph import Graph
    from planner.plans import ByteRange, Placement, Transfer


class Pieces:
    """Numbers the pieces of each storage; one whose parts nobody names is a single piece."""

    def __init__(
        self, graph: Graph, placements: Sequence[Placement], transfers: Sequence[Transfer]
    ) -> None:
        self._storages = graph.storages
        parts: dict[int, set[ByteRange]] = {}
        for held in (*placements, *transfers):
            if held.part is not None:
                parts.setdefault(held.storage, set()).add(held.part)
        # Bytes at which each storage is cut, its ends included.
        self._cuts = {
            storage: sorted({0, graph.storages[storage].size_bytes, *chain.from_iterable(own)})
            for storage, own in parts.items()
        }

    def of(self, held: Placement | Transfer) -> range:
        """Pieces of its storage that a placement or transfer is about."""
        cuts = self._cuts.get(held.storage)
        if cuts is None:
            return range(1)
        part = part_of(held, self._storages[held.storage].size_bytes)
        return range(bisect_left(cuts, part.begin), bisect_left(cuts, part.end))

    def all_of(self, storage: int) -> range:
        """All pieces of a storage."""
        return range(len(self._cuts[storage]) - 1) if storage in self._cuts else range(1)

    def name(self, storage: int, piece: int) -> str:
        """Name of a storage, and which of its bytes are meant if not all."""
        name, cuts = self._storages[storage].name, self._cuts.get(storage)
        if cuts is None:
            return name
        return f"bytes [{cuts[piece]:,}, {cuts[piece + 1]:,}) of {name}"
