"""A plan: plain data with everything needed to check, simulate, draw and execute it.

Time is counted in steps: step ``t`` runs operator ``order[t]``, ``n`` operators give steps
``0 .. n - 1``. Boundary ``t`` is the instant before step ``t``; boundary ``n`` is the end.

A **placement** ``[start, end)`` reserves the bytes ``[offset, offset + size)`` of one memory for
one storage during those steps. Placements of one memory that share a step share no byte, with one
exception: an in-place pair, whose two placements have the same offset and share exactly the step
of its operator.

A **transfer** copies a whole storage between two memories. It begins no earlier than boundary
``start`` and is finished before step ``end`` begins; ``start == end`` is a copy in the gap between
two steps, for which the compute engine waits. It reads a placement that is valid at boundary
``start`` and holds until boundary ``end``, and fills a placement that is reserved from boundary
``start`` on. At one boundary, copies out of the nearest memory come before copies into it, so
bytes freed by a spill can be filled by a reload at the same boundary; the farther copy that a
copy into the nearest memory reads is held for step ``end`` as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.graph import Graph, ModelReference, StorageKind
    from planner.target import Target


class TransferKind(StrEnum):
    """Why bytes move. ``fetch`` and ``store`` are compulsory, the others are traffic."""

    FETCH = "fetch"
    STORE = "store"
    SPILL = "spill"
    RELOAD = "reload"


class Placement(NamedTuple):
    """Bytes ``[offset, offset + size)`` of ``memory`` hold ``storage`` in steps [start, end)."""

    storage: int
    memory: str
    offset: int
    start: int
    end: int


class Transfer(NamedTuple):
    """A copy of ``storage`` from ``source`` to ``destination`` within boundaries [start, end]."""

    storage: int
    source: str
    destination: str
    start: int
    end: int
    kind: TransferKind


class InPlace(NamedTuple):
    """Operator index, and the storages: ``output`` is written over the dying ``input``."""

    operator: int
    output: int
    input: int


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
    latency_s, compute_s, stall_s : float or None
        Simulated; None where the target gives no rates.
    peak_lower_bound_bytes, traffic_lower_bound_bytes : int or None
        No legal plan for this graph and target has less; None where no bound was computed.
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
