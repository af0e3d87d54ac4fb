"""What a plan runs on: memories from nearest to farthest, links between them, compute rates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.measured import MeasuredCosts


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory of a target.

    Attributes
    ----------
    name : str
    capacity_bytes : int or None
        None: as large as needed.
    alignment_bytes : int
        Offsets are multiples of it; a power of two.
    read_bandwidth, write_bandwidth : float or None
        Bytes per second at which operators reach it; None where the target gives no rates.
    latency_s : float
        Seconds added once per operator that touches it.
    writable : bool
        False for flash: it holds constants only.
    """

    name: str
    capacity_bytes: int | None = None
    alignment_bytes: int = 1
    read_bandwidth: float | None = None
    write_bandwidth: float | None = None
    latency_s: float = 0.0
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """A copy engine in one direction.

    Attributes
    ----------
    source, destination : str
        Names of memories. Both are the nearest one where its content can be moved within it.
    bandwidth : float
        Bytes per second.
    setup_s : float
        Seconds before the first byte of each copy.
    channels : int
        Copies that may be in flight at once where they are served first in, first out; they share
        the bandwidth.
    fifo : bool
        True: first in, first out. False: all copies handed over are in flight, and the one that
        has to be finished first goes first (`planner.copy_engines`).
    """

    source: str
    destination: str
    bandwidth: float
    setup_s: float = 0.0
    channels: int = 1
    fifo: bool = True


@dataclass(frozen=True, slots=True)
class Compute:
    """Rates of the compute engine.

    Attributes
    ----------
    mac_rate : mapping of str to float
        Multiply-accumulates per second by element type; ``default`` for the others.
    vector_rate : float
        Element operations per second outside the MAC array.
    launch_overhead_s : float
        Seconds added to every operator that is not a view.
    measured : MeasuredCosts or None
        Measured times, which go before the rates.
    """

    mac_rate: Mapping[str, float] = field(default_factory=dict)
    vector_rate: float = 0.0
    launch_overhead_s: float = 0.0
    measured: MeasuredCosts | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A described machine.

    Attributes
    ----------
    name : str
    memories : tuple of Memory
        Nearest to the compute engine first.
    links : tuple of Link
    compute : Compute or None
        None: byte objectives only.
    operands_resident : bool
        True: every operand must be in the nearest memory while its operator runs (a scratchpad
        accelerator). False: operands may also be used in place in a farther memory.
    io_memory : str
        Where the caller puts graph inputs before step 0 and finds graph outputs after the last.
    constant_memory : str
        Where weights live; they are used from there and never move.
    description : str
        One line for ``plan targets``.
    """

    name: str
    memories: tuple[Memory, ...]
    links: tuple[Link, ...] = ()
    compute: Compute | None = None
    operands_resident: bool = True
    io_memory: str = ""
    constant_memory: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if not self.io_memory:
            object.__setattr__(self, "io_memory", self.memories[0].name)
        if not self.constant_memory:
            object.__setattr__(self, "constant_memory", self.memories[-1].name)

    @property
    def nearest(self) -> Memory:
        """The memory next to the compute engine."""
        return self.memories[0]

    @property
    def spill_memory(self) -> Memory | None:
        """The nearest farther memory with links from and to the nearest one; None if none."""
        pairs = {(link.source, link.destination) for link in self.links}
        near = self.nearest.name
        for memory in self.memories[1:]:
            if memory.writable and {(near, memory.name), (memory.name, near)} <= pairs:
                return memory
        return None

    @property
    def relocates(self) -> bool:
        """Whether storages can be moved inside the nearest memory."""
        return self.link(self.nearest.name, self.nearest.name) is not None

    def memory(self, name: str) -> Memory:
        """Look a memory up.

        Raises
        ------
        UsageError
            If the target has no memory of that name.
        """
        for memory in self.memories:
            if memory.name == name:
                return memory
        names = ", ".join(memory.name for memory in self.memories)
        raise UsageError(f"target {self.name!r} has no memory {name!r}. It has: {names}.")

    def link(self, source: str, destination: str) -> Link | None:
        """Return the link in that direction, or None."""
        for link in self.links:
            if (link.source, link.destination) == (source, destination):
                return link
        return None

    def with_capacities(self, capacities: Mapping[str, int | None]) -> Target:
        """Return a copy with other capacities.

        Raises
        ------
        UsageError
            If a name is unknown.
        """
        for name in capacities:
            self.memory(name)
        memories = tuple(
            replace(memory, capacity_bytes=capacities.get(memory.name, memory.capacity_bytes))
            for memory in self.memories
        )
        return replace(self, memories=memories)

    def activation_capacity(self, constant_bytes: int) -> int | None:
        """Bytes of the nearest memory left for activations; None if unlimited.

        Parameters
        ----------
        constant_bytes : int
            Bytes of the model's constants; they take room here only if they live here.
        """
        capacity = self.nearest.capacity_bytes
        if capacity is None or self.constant_memory != self.nearest.name:
            return capacity
        return capacity - constant_bytes
