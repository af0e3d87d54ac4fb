"""What the checker reports: one offence of a plan against its graph or target."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import ByteRange, Placement, Transfer


class ViolationKind(StrEnum):
    """Which rule of `planner.plans` is broken."""

    MODEL = "model"
    """The plan was made for another graph."""
    ORDER = "order"
    """Not a permutation of the operators, or not topological."""
    UNKNOWN = "unknown"
    """A storage, memory or operator that does not exist."""
    READ_ONLY = "read-only"
    """Something placed in, or copied into, a memory that is not writable."""
    CONSTANT = "constant"
    """A constant that is placed, moved or overwritten."""
    PART = "part"
    """Bytes that a storage does not have, or parts of one storage at different offsets."""
    LIFETIME = "lifetime"
    """A placement that is empty, reversed or outside the steps."""
    DUPLICATE = "duplicate"
    """Two placements of the same bytes of a storage in one memory at the same time."""
    ALIGNMENT = "alignment"
    CAPACITY = "capacity"
    """Bytes outside a memory, or constants that do not fit."""
    OVERLAP = "overlap"
    """Two storages share bytes, or a move overwrites what moves later."""
    IN_PLACE = "in-place"
    """An overwrite that the operator does not allow, or of something still needed."""
    NOT_PLACED = "not-placed"
    """An operand of which a part has no placement where its operator needs it."""
    NOT_LOADED = "not-loaded"
    """Bytes are read that were never filled, or that are out of date."""
    OUTPUT = "output"
    """A graph output is not where the caller finds it."""
    TRANSFER = "transfer"
    """A copy without a link, or with an interval that is impossible for it."""
    TRANSFER_SOURCE = "transfer-source"
    """A copy whose source is not placed for as long as it is read, or changes meanwhile."""
    TRANSFER_DESTINATION = "transfer-destination"
    """A copy whose destination is not reserved."""
    TRANSFER_KIND = "transfer-kind"
    """A copy that is labelled as something else, which falsifies the traffic."""
    METRICS = "metrics"
    """A claimed number that is not true."""
    BOUND = "bound"
    """A claimed lower bound above the value it bounds."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One offence.

    Attributes
    ----------
    kind : ViolationKind
    message : str
        One sentence with names and numbers.
    step : int or None
        Step or boundary at which it shows; None where it concerns the whole plan.
    storages : tuple of int
        Indices of the storages involved.
    """

    kind: ViolationKind
    message: str
    step: int | None = None
    storages: tuple[int, ...] = ()


def operator_name(graph: Graph, operator: int) -> str:
    """Return the operator's name, or its index and type where it has none."""
    node = graph.operators[operator]
    return node.name or f"operator {operator}, {node.type}"


def part_name(graph: Graph, held: Placement | Transfer) -> str:
    """Return the storage's name, and which of its bytes are meant if not all."""
    name = graph.storages[held.storage].name
    return (
        name if held.part is None else f"bytes [{held.part.begin:,}, {held.part.end:,}) of {name}"
    )


def transfer_name(graph: Graph, transfer: Transfer) -> str:
    """Return what is copied, from where to where."""
    where = f"from {transfer.source} to {transfer.destination}"
    return f"{transfer.kind} of {part_name(graph, transfer)} {where}"


def part_fault(part: ByteRange | None, storage_bytes: int) -> str:
    """Return what is wrong with a part of a storage of that size; empty if nothing is."""
    if part is None or 0 <= part.begin < part.end <= storage_bytes:
        return ""
    return f"there are no bytes [{part.begin:,}, {part.end:,}) among its {storage_bytes:,}"
