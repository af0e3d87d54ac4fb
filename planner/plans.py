"""A plan: plain data with everything needed to check, simulate, draw and execute it.

Time is counted in steps: step ``t`` runs operator ``order[t]``, ``n`` operators give steps
``0 .. n - 1``. Boundary ``t`` is the instant before step ``t``; boundary ``n`` is the end.

A **placement** ``[start, end)`` reserves the bytes ``[offset, offset + size)`` of one memory for
one storage during those steps. Placements of one memory that share a step share no byte, with one
exception: an in-place pair, whose two placements have the same offset and share exactly the step
of its operator.

A placement or transfer may be about a **part** of the storage: its bytes ``[begin, end)``. The
offset is that of the storage's first byte all the same, so the part lies at
``[offset + begin, offset + end)``. Placements of one storage in one memory that share a step have
the same offset and disjoint parts; while an operator uses the storage they cover all of it. So a
part of a storage can be away, and others use its bytes, while the rest stays.

A **transfer** copies a storage between two memories. It begins no earlier than boundary
``start`` and is finished before step ``end`` begins; ``start == end`` is a copy in the gap between
two steps, for which the compute engine waits. It reads a placement that is valid at boundary
``start`` and holds until boundary ``end``, and fills a placement that is reserved from boundary
``start`` on. At one boundary, copies out of the nearest memory come before copies into it, so
bytes freed by a spill can be filled by a reload at the same boundary; the farther copy that a
copy into the nearest memory reads is held for step ``end`` as well.

A **move** is a transfer from the nearest memory to itself, where the target has such a link. It
takes place in the gap between two steps, ``0 < start == end < n``: it reads a placement that ends
there and fills one of the same storage that begins there. At one boundary, moves come after copies
out of the nearest memory and before copies into it, and run one after another in the order of the
plan; a move may overlap its own source, but not the source of a later one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from planner.graph import Graph, ModelReference, StorageKind
    from planner.target import Target


class TransferKind(StrEnum):
    """Why bytes move.

    ``fetch`` and ``store`` are compulsory, ``spill`` and ``reload`` are traffic, a ``move`` stays
    inside the nearest memory.
    """

    FETCH = "fetch"
    STORE = "store"
    SPILL = "spill"
    RELOAD = "reload"
    MOVE = "move"


class ByteRange(NamedTuple):
    """Bytes ``[begin, end)``."""

    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Number of bytes."""
        return self.end - self.begin

    def intersects(self, other: ByteRange) -> bool:
        """Whether the two share a byte."""
        return self.begin < other.end and other.begin < self.end


class Placement(NamedTuple):
    """Bytes ``[offset, offset + size)`` of ``memory`` hold ``storage`` in steps [start, end).

    With a ``part`` only those bytes of the storage: ``[offset + begin, offset + end)``.
    """

    storage: int
    memory: str
    offset: int
    start: int
    end: int
    part: ByteRange | None = None


class Transfer(NamedTuple):
    """A copy of ``storage`` from ``source`` to ``destination`` within boundaries [start, end].

    With a ``part`` only of those bytes of the storage.
    """

    storage: int
    source: str
    destination: str
    start: int
    end: int
    kind: TransferKind
    part: ByteRange | None = None


def part_of(held: Placement | Transfer, storage_bytes: int) -> ByteRange:
    """Bytes of a storage of that size which a placement or transfer is about."""
    return ByteRange(0, storage_bytes) if held.part is None else held.part


def addresses_of(placement: Placement, storage_bytes: int) -> ByteRange:
    """Bytes of its memory that a placement of a storage of that size reserves."""
    part = part_of(placement, storage_bytes)
    return ByteRange(placement.offset + part.begin, placement.offset + part.end)


class InPlace(NamedTuple):
    """Operator index, and the storages: ``output`` is written over the dying ``input``."""

    operator: int
    output: int
    input: int


def boundary_rank(transfer: Transfer, near: str) -> int:
    """Rank of a transfer among those of one boundary; ``near`` names the nearest memory.

    Out of it first, into it last; moves inside it and copies between farther memories in between.
    """
    outwards, inwards = transfer.source == near, transfer.destination == near
    return 1 if outwards == inwards else 0 if outwards else 2


def covers(parts: Iterable[ByteRange], storage_bytes: int) -> bool:
    """Whether the parts are all of a storage of that size together."""
    reached = 0
    for part in sorted(parts):
        if part.begin > reached:
            return False
        reached = max(reached, part.end)
    return reached >= storage_bytes


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor as the plan file names it: its byte range inside the storage."""

    name: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PlannedStorage:
    """A storage as the plan file names it, so that a plan can be drawn without its model."""

    name: str
    size_bytes: int
    kind: StorageKind
    is_output: bool
    tensors: tuple[PlannedTensor, ...]


class PlannedOperator(NamedTuple):
    """An operator as the plan file names it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a plan costs, and the proven bounds. Sizes in bytes, times in seconds.

    Attributes
    ----------
    peak_bytes, arena_bytes : mapping of memory name to int
        Most bytes live at once (unrounded; constants apart); highest used address.
    traffic_bytes : int
        Non-compulsory transfers: spills, reloads and operands used in a farther memory.
    compulsory_bytes : int
        Fetches of graph inputs and stores of graph outputs.
    relocated_bytes : int
        Moved inside the nearest memory; no traffic.
    latency_s, compute_s, stall_s : float or None
        Simulated; None where the target gives no rates.
    peak_lower_bound_bytes, traffic_lower_bound_bytes : int or None
        No legal plan for this graph and target has less; None where no bound was computed. Plans
        that spill parts may have less traffic, unless ``partial_spills`` is among the settings.
    latency_lower_bound_s : float or None
    cost_source : str
        ``roofline``, ``measured`` or ``none``.
    """

    peak_bytes: Mapping[str, int]
    arena_bytes: Mapping[str, int]
    traffic_bytes: int
    compulsory_bytes: int
    latency_s: float | None = None
    compute_s: float | None = None
    stall_s: float | None = None
    peak_lower_bound_bytes: int | None = None
    traffic_lower_bound_bytes: int | None = None
    latency_lower_bound_s: float | None = None
    cost_source: str = "none"
    relocated_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who made a plan, and how. ``wall_s`` is not part of a plan's identity."""

    contender: str
    status: str
    objective: str
    seed: int = 0
    wall_s: float = 0.0
    planner_version: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """Order, placements and transfers of one model on one target. See the module's text.

    Attributes
    ----------
    order : tuple of int
        Operator indices, one per step.
    storages : tuple of PlannedStorage
        Those of the graph, same indices, constants included.
    placements : tuple of Placement
        Sorted. Constants have none.
    operators : tuple of PlannedOperator
        Those of the graph, same indices; empty where only indices are known.
    """

    model: ModelReference
    target: Target
    order: tuple[int, ...]
    storages: tuple[PlannedStorage, ...]
    placements: tuple[Placement, ...]
    transfers: tuple[Transfer, ...]
    in_place: tuple[InPlace, ...]
    metrics: Metrics
    provenance: Provenance
    operators: tuple[PlannedOperator, ...] = ()


def planned_storages(graph: Graph) -> tuple[PlannedStorage, ...]:
    """Describe a graph's storages for a plan."""
    tensors: list[list[PlannedTensor]] = [[] for _ in graph.storages]
    for tensor in graph.tensors:
        tensors[tensor.storage].append(
            PlannedTensor(tensor.name, tensor.offset_bytes, tensor.size_bytes)
        )
    return tuple(
        PlannedStorage(s.name, s.size_bytes, s.kind, s.is_output, tuple(tensors[i]))
        for i, s in enumerate(graph.storages)
    )
