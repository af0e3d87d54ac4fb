"""The memories of a plan as arenas of the planned sizes, addressed by storage and tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.execution.arena import Arena
from planner.execution.result import Mismatch
from planner.free_memory import free_bytes
from planner.plans import ByteRange

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from planner.graph import Graph
    from planner.instructions import Location
    from planner.plans import Plan


class WrongError(Exception):
    """The plan went wrong; holds the `Mismatch`."""

    def __init__(self, mismatch: Mismatch) -> None:
        super().__init__(mismatch.message)
        self.mismatch = mismatch


class PlannedMemory:
    """One arena per memory of a plan's target.

    Raises
    ------
    MemoryError
        If this machine does not have that much, before any of it is written.
    """

    def __init__(self, graph: Graph, plan: Plan) -> None:
        self._graph, self._plan = graph, plan
        sizes = {m.name: plan.metrics.arena_bytes.get(m.name, 0) for m in plan.target.memories}
        if sum(sizes.values()) > free_bytes():
            raise MemoryError
        self._arenas = {name: Arena(name, size) for name, size in sizes.items()}

    def range_of(self, tensor: int) -> ByteRange:
        """Bytes of its storage that a tensor covers."""
        described = self._graph.tensors[tensor]
        begin = described.offset_bytes
        return ByteRange(begin, begin + described.size_bytes)

    def tensor_place(self, tensor: int, location: Location, step: int) -> NDArray[np.uint8]:
        """Bytes of a tensor whose storage lies there, as `place`."""
        storage = self._graph.tensors[tensor].storage
        return self.place(storage, location, self.range_of(tensor), step)

    def place(
        self, storage: int, location: Location, part: ByteRange, step: int
    ) -> NDArray[np.uint8]:
        """Bytes of an arena, without a copy.

        Raises
        ------
        WrongError
            If the arena ends before: that is an error of the plan.
        """
        addresses, arena = _addresses(location, part), self._arenas[location.memory]
        if not arena.holds(addresses):
            name = self._graph.storages[storage].name
            text = (
                f"step {step}: {name} at {addresses_text(addresses)} leaves the arena of "
                f"{location.memory}, which has {len(arena.content):,} B"
            )
            raise WrongError(Mismatch(text, step, name, location.memory, addresses))
        return arena.at(addresses)

    def wrote(self, storage: int, location: Location, part: ByteRange, writer: str) -> None:
        """Remember who wrote a part of a storage."""
        name = self._graph.storages[storage].name
        self._arenas[location.memory].note_write(_addresses(location, part), writer, name)

    def writers(self, memory: str, addresses: ByteRange) -> str:
        """Who wrote these bytes last, as text."""
        found = self._arenas[memory].writers(addresses)
        shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        return shown or "nobody"

    def release(self, storage: int, location: Location, part: ByteRange) -> None:
        """Poison bytes that no longer belong to a storage."""
        addresses, arena = _addresses(location, part), self._arenas[location.memory]
        if arena.holds(addresses):
            arena.release(addresses, self._graph.storages[storage].name)

    def planned_bytes(self) -> dict[str, int]:
        """Sizes of the arenas that the plan uses."""
        return {
            name: len(arena.content) for name, arena in self._arenas.items() if arena.content.size
        }

    def written_bytes(self) -> dict[str, int]:
        """Of the same arenas, the bytes up to the highest one that was ever written."""
        return {name: self._arenas[name].written_bytes() for name in self.planned_bytes()}

    def require_guards(self) -> None:
        """Find what kernels wrote outside of all planned addresses.

        Raises
        ------
        WrongError
            If there is such a byte.
        """
        for name, arena in self._arenas.items():
            size = len(arena.content)
            if arena.written_bytes() > size or not arena.is_intact_below():
                text = f"bytes outside the arena of {name} ({size:,} B) were written"
                raise WrongError(Mismatch(text, len(self._plan.order), "", name))


def addresses_text(addresses: ByteRange) -> str:
    """Return ``bytes [4,096, 8,192)``."""
    return f"bytes [{addresses.begin:,}, {addresses.end:,})"


def _addresses(location: Location, part: ByteRange) -> ByteRange:
    return ByteRange(location.offset + part.begin, location.offset + part.end)
