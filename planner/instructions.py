"""A plan as one sequence of instructions: what a runtime does, in order, and where.

The executor and the exporters follow it. Within the gap before a step: copies under way arrive,
then the copies of that gap run in the order of `planner.plans.boundary_rank`. Bytes are
released as soon as nobody reads them any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from planner.graph import StorageKind
from planner.metrics import far_operands
from planner.plans import ByteRange, boundary_rank, covers, part_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from planner.graph import Graph
    from planner.plans import InPlace, Placement, Plan, Transfer, TransferKind


class Location(NamedTuple):
    """Where the first byte of a storage lies: an address in a memory."""

    memory: str
    offset: int


@dataclass(frozen=True, slots=True)
class Give:
    """The caller's graph input is in place before the first step."""

    storage: int
    location: Location
    part: ByteRange


@dataclass(frozen=True, slots=True)
class Begin:
    """A copy begins: ``part`` of the storage, from one location to the other.

    Attributes
    ----------
    transfer : int
        Index in ``Plan.transfers``; an `End` of the same number follows.
    boundary : int
    storage : int
    source, destination : Location or None
        Of the storage's first byte; None where an illegal plan has no placement for it.
    part : ByteRange
    kind : TransferKind
    """

    transfer: int
    boundary: int
    storage: int
    source: Location | None
    destination: Location | None
    part: ByteRange
    kind: TransferKind


@dataclass(frozen=True, slots=True)
class End:
    """The copy of that number has arrived; from now on its source may change."""

    transfer: int
    boundary: int


@dataclass(frozen=True, slots=True)
class Run:
    """An operator runs.

    Attributes
    ----------
    step, operator : int
    locations : mapping of int to Location
        Of the storages that it uses, constants and empty ones apart. A storage of which an
        illegal plan has nothing, or not all, in a memory at this step is missing.
    """

    step: int
    operator: int
    locations: Mapping[int, Location]


@dataclass(frozen=True, slots=True)
class Release:
    """Bytes that no longer belong to the storage. In-place results keep theirs."""

    boundary: int
    storage: int
    location: Location
    part: ByteRange


@dataclass(frozen=True, slots=True)
class Take:
    """The caller takes a graph output after the last step."""

    storage: int
    location: Location
    part: ByteRange


Instruction = Give | Begin | End | Run | Release | Take


def instructions(graph: Graph, plan: Plan) -> Iterator[Instruction]:
    """Yield what a runtime does to follow a plan.

    A plan that `planner.check` finds illegal gives a sequence too, as long as its indices and
    memories exist; following it goes wrong somewhere.

    Parameters
    ----------
    graph : Graph
        The plan's model.
    plan : Plan
    """
    return _Linearisation(graph, plan).run()


class _Linearisation:
    """The tables by boundary."""

    def __init__(self, graph: Graph, plan: Plan) -> None:
        self.graph, self.plan = graph, plan
        self.near = plan.target.nearest.name
        self.by_storage: dict[tuple[int, str], list[Placement]] = {}
        self.ending: dict[int, list[Placement]] = {}
        self.placements = [p for p in plan.placements if p.start < p.end]
        for placement in sorted(self.placements, key=lambda p: p.start):
            key = placement.storage, placement.memory
            self.by_storage.setdefault(key, []).append(placement)
            self.ending.setdefault(placement.end, []).append(placement)
        self.begins: dict[int, list[int]] = {}
        self.ends: dict[int, list[int]] = {}
        for index, transfer in enumerate(plan.transfers):
            self.begins.setdefault(transfer.start, []).append(index)
            if transfer.end > transfer.start >= 0:
                self.ends.setdefault(transfer.end, []).append(index)
        step_of = {operator: step for step, operator in enumerate(plan.order)}
        self.overwritten = {
            (pair.input, step_of[pair.operator] + 1): pair for pair in plan.in_place
        }
        self.arrived: dict[Placement, list[ByteRange]] = {}

    def run(self) -> Iterator[Instruction]:
        graph, plan = self.graph, self.plan
        steps, io = len(plan.order), plan.target.io_memory
        for placement in self.placements:
            given = graph.storages[placement.storage].kind is StorageKind.INPUT
            if given and placement.memory == io and placement.start == 0:
                self.arrived[placement] = [self._where(placement)[1]]
                yield Give(placement.storage, *self._where(placement))
        far = far_operands(graph, plan.target, plan)
        for step, operator in enumerate(plan.order):
            yield from self._gap(step)
            yield Run(step, operator, self._locations(step, operator, far[step]))
        yield from self._gap(steps, is_last=True)
        for placement in self.placements:
            if self._is_taken(placement):
                yield Take(placement.storage, *self._where(placement))
        for placement in self.ending.get(steps, ()):
            if self._is_taken(placement):
                yield self._release(placement, steps)

    def _is_taken(self, placement: Placement) -> bool:
        return (
            self.graph.storages[placement.storage].is_output
            and placement.memory == self.plan.target.io_memory
            and placement.end == len(self.plan.order)
        )

    def _gap(self, boundary: int, *, is_last: bool = False) -> Iterator[Instruction]:
        """Everything between two steps."""
        transfers = self.plan.transfers
        for index in self.ends.get(boundary, ()):
            self._note_arrival(transfers[index])
            yield End(index, boundary)
        begins = sorted(
            self.begins.get(boundary, ()),
            key=lambda index: boundary_rank(transfers[index], self.near),
        )
        read_by: dict[Placement, int] = {}
        for index in begins:
            for placement in self._sources(transfers[index]):
                read_by[placement] = index
        waiting: dict[int, list[Placement]] = {}
        for placement in self.ending.get(boundary, ()):
            if is_last and self._is_taken(placement):
                continue
            reader = read_by.get(placement)
            if reader is not None:
                waiting.setdefault(reader, []).append(placement)
            elif self._keeps_bytes(placement, boundary):
                yield self._release(placement, boundary)
        for index in begins:
            transfer = transfers[index]
            yield self._begin(index, transfer)
            if transfer.end <= transfer.start:
                self._note_arrival(transfer)
                yield End(index, boundary)
            for placement in waiting.get(index, ()):
                if self._keeps_bytes(placement, boundary):
                    yield from self._release_around(placement, transfer, boundary)

    def _keeps_bytes(self, placement: Placement, boundary: int) -> bool:
        """Whether the bytes of an ending placement are still its own."""
        pair = self.overwritten.get((placement.storage, boundary))
        return pair is None or not self._lies_under(placement, pair, boundary - 1)

    def _lies_under(self, placement: Placement, pair: InPlace, step: int) -> bool:
        return any(
            over.start == step and over.offset == placement.offset
            for over in self.by_storage.get((pair.output, placement.memory), ())
        )

    def _release(self, placement: Placement, boundary: int) -> Release:
        location, part = self._where(placement)
        return Release(boundary, placement.storage, location, part)

    def _release_around(
        self, placement: Placement, transfer: Transfer, boundary: int
    ) -> Iterator[Release]:
        """Release the source of a copy, but for bytes that the copy has just written: a move may
        overlap its own source.
        """
        location, part = self._where(placement)
        filled = next(iter(self._destinations(transfer)), None)
        kept = ByteRange(part.end, part.end)
        if filled is not None and filled.memory == placement.memory:
            shift = filled.offset - location.offset
            copied = part_of(transfer, self._size(transfer.storage))
            kept = ByteRange(copied.begin + shift, copied.end + shift)
        below = ByteRange(part.begin, min(part.end, kept.begin))
        above = ByteRange(max(part.begin, kept.end), part.end)
        for rest in (below, above):
            if rest.size_bytes > 0:
                yield Release(boundary, placement.storage, location, rest)

    def _begin(self, index: int, transfer: Transfer) -> Begin:
        part = part_of(transfer, self._size(transfer.storage))
        return Begin(
            index,
            transfer.start,
            transfer.storage,
            self._common_location(self._sources(transfer), part),
            self._common_location(self._destinations(transfer), part),
            part,
            transfer.kind,
        )

    def _common_location(self, held: Sequence[Placement], part: ByteRange) -> Location | None:
        """Where those bytes of a storage lie: placements of parts of it have one offset."""
        if not held:
            return None
        first = held[0]
        parts = (self._where(p)[1] for p in held if p.offset == first.offset)
        inside = [
            ByteRange(max(own.begin, part.begin) - part.begin, min(own.end, part.end) - part.begin)
            for own in parts
        ]
        is_whole = covers(inside, part.size_bytes)
        return Location(first.memory, first.offset) if is_whole else None

    def _sources(self, transfer: Transfer) -> list[Placement]:
        """Placements that hold until the copy has arrived, the oldest first.

        A move's ends where it happens. A farther one is held for the next step as well.
        """
        start, end = transfer.start, transfer.end
        if transfer.source != self.near:
            end = min(end + 1, len(self.plan.order))
        is_move = transfer.source == transfer.destination
        return [
            held
            for held in self._of_part(transfer, transfer.source)
            if held.start <= start and (held.end == start if is_move else held.end >= end)
        ]

    def _destinations(self, transfer: Transfer) -> list[Placement]:
        """Placements reserved from the begin of the copy until after its end, the latest first."""
        start, end = transfer.start, min(transfer.end + 1, len(self.plan.order))
        is_move = transfer.source == transfer.destination
        return [
            held
            for held in reversed(list(self._of_part(transfer, transfer.destination)))
            if held.end >= end and (held.start == start if is_move else held.start <= start)
        ]

    def _of_part(self, transfer: Transfer, memory: str) -> Iterator[Placement]:
        size = self._size(transfer.storage)
        part = part_of(transfer, size)
        for held in self.by_storage.get((transfer.storage, memory), ()):
            if part_of(held, size).intersects(part):
                yield held

    def _size(self, storage: int) -> int:
        return self.graph.storages[storage].size_bytes

    def _where(self, placement: Placement) -> tuple[Location, ByteRange]:
        size = self._size(placement.storage)
        return Location(placement.memory, placement.offset), part_of(placement, size)

    def _note_arrival(self, transfer: Transfer) -> None:
        part = part_of(transfer, self._size(transfer.storage))
        for placement in self._destinations(transfer)[:1]:
            self.arrived.setdefault(placement, []).append(part)

    def _locations(self, step: int, operator: int, far: Mapping[int, str]) -> dict[int, Location]:
        found: dict[int, Location] = {}
        is_view = self.graph.is_view(operator)
        for storage in self.graph.operand_storages.row(operator).tolist():
            memory = self._viewed_in(storage, step) if is_view else far.get(storage, self.near)
            held = self._at(storage, memory, step)
            location = self._common_location(held, ByteRange(0, self._size(storage)))
            if location is not None:
                found[storage] = location
        if not is_view:
            self._note_results(step, operator, found)
        return found

    def _note_results(self, step: int, operator: int, found: Mapping[int, Location]) -> None:
        for tensor in self.graph.operators[operator].outputs:
            storage = self.graph.tensors[tensor].storage
            if storage in found:
                for held in self._at(storage, found[storage].memory, step):
                    self.arrived[held] = [self._where(held)[1]]

    def _at(self, storage: int, memory: str, step: int) -> list[Placement]:
        held = self.by_storage.get((storage, memory), ())
        return [placement for placement in held if placement.start <= step < placement.end]

    def _viewed_in(self, storage: int, step: int) -> str:
        """The nearest memory that has all of a storage; a view moves nothing, so any will do."""
        if self.plan.target.operands_resident:
            return self.near
        for memory in self.plan.target.memories:
            held = self._at(storage, memory.name, step)
            parts = [part for placement in held for part in self.arrived.get(placement, ())]
            if covers(parts, self._size(storage)):
                return memory.name
        return self.near
