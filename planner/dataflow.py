"""Replays a plan and follows the data: which placement holds the current content of what.

A storage whose placements or transfers are about parts of it is cut into **pieces** wherever one of
them begins or ends; every other one is a single piece. Data is followed piece by piece.

A part of `planner.checker`, which vouches for indices, memories and intervals first.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from planner.graph import StorageKind
from planner.pieces import Pieces
from planner.plans import boundary_rank
from planner.violation import Violation, ViolationKind, operator_name, transfer_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.graph import Graph, Tensor
    from planner.plans import InPlace, Placement, Transfer
    from planner.target import Target


# Stands for the version that a placement holds once another storage was written over it.
_OVERWRITTEN = -1


class StepAccess(NamedTuple):
    """Storages that an operator reads and those it writes, constants and empty ones apart."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]


def step_access(graph: Graph, operator: int) -> StepAccess:
    """Return what an operator reads and writes. A view only reads.

    An output is written unless it consists of bytes that the operator reads. An empty tensor is
    neither read nor written, also where it is a part of a storage that has bytes.
    """
    node = graph.operators[operator]

    def moves(storage: int) -> bool:
        content = graph.storages[storage]
        return content.kind is not StorageKind.CONSTANT and content.size_bytes > 0

    def with_bytes(indices: Iterable[int]) -> list[Tensor]:
        return [tensor for tensor in (graph.tensors[t] for t in indices) if tensor.size_bytes]

    ranges: dict[int, list[tuple[int, int]]] = {}
    for tensor in with_bytes(node.inputs):
        ranges.setdefault(tensor.storage, []).append(
            (tensor.offset_bytes, tensor.offset_bytes + tensor.size_bytes)
        )
    writes = set()
    for tensor in with_bytes(node.outputs):
        reached = tensor.offset_bytes
        for lower, upper in sorted(ranges.get(tensor.storage, [])):
            if lower <= reached:
                reached = max(reached, upper)
        if reached < tensor.offset_bytes + tensor.size_bytes:
            writes.add(tensor.storage)
    touched = ranges.keys() | {tensor.storage for tensor in with_bytes(node.outputs)}
    reads = {s for s in touched if s in ranges or s not in writes}
    return StepAccess(tuple(sorted(filter(moves, reads))), tuple(sorted(filter(moves, writes))))


def data_violations(
    graph: Graph,
    target: Target,
    order: Sequence[int],
    placements: Sequence[Placement],
    transfers: Sequence[Transfer],
    in_place: Iterable[InPlace],
) -> list[Violation]:
    """Find operands that are not placed or hold no current data, and copies that read or fill
    nothing, in the order in which a machine would run into them.

    Parameters
    ----------
    order : sequence of int
        A topological permutation of the operators.
    placements, transfers, in_place
        Those whose indices, memories and intervals are in order.
    """
    replay = _Replay(graph, target, order, placements, transfers, in_place)
    steps = len(order)
    begins: dict[int, list[int]] = {}
    finishes: dict[int, list[int]] = {}
    for index, transfer in enumerate(transfers):
        if graph.storages[transfer.storage].size_bytes == 0:
            continue
        begins.setdefault(transfer.start, []).append(index)
        finishes.setdefault(transfer.end, []).append(index)
    near = target.nearest.name
    for boundary in range(steps + 1):
        begun, finished = begins.get(boundary, ()), finishes.get(boundary, ())
        for phase in range(3) if begun or finished else ():
            early = [i for i in finished if transfers[i].start < boundary]
            late = [i for i in finished if transfers[i].start == boundary]
            for index in early:
                if boundary_rank(transfers[index], near) == phase:
                    replay.finish(index, transfers[index])
            for index in begun:
                if boundary_rank(transfers[index], near) == phase:
                    replay.begin(index, transfers[index])
            for index in late:
                if boundary_rank(transfers[index], near) == phase:
                    replay.finish(index, transfers[index])
        if boundary < steps:
            replay.run(boundary)
    replay.deliver()
    return replay.violations


class _Copy(NamedTuple):
    """A transfer under way: where each of its pieces comes from and goes to, and its version."""

    ends: list[tuple[int, int | None, int | None]]
    version: int


class _Replay:
    """The state of all memories while the steps run.

    Every write gives a storage a new version; a piece of a placement is current while it holds the
    newest.
    """

    def __init__(
        self,
        graph: Graph,
        target: Target,
        order: Sequence[int],
        placements: Sequence[Placement],
        transfers: Sequence[Transfer],
        in_place: Iterable[InPlace],
    ) -> None:
        self.graph = graph
        self.target = target
        self.order = order
        self.placements = placements
        self.overwritten = {pair.operator: pair for pair in in_place}
        self.violations: list[Violation] = []
        self.version = [0] * len(graph.storages)
        self.held: dict[tuple[int, int], int] = {}
        self.in_flight: dict[int, _Copy] = {}
        self.rows: dict[tuple[int, str], list[int]] = {}
        self.usable = [memory.name for memory in target.memories if memory.writable]
        self.pieces = Pieces(graph, placements, transfers)
        for index in sorted(range(len(placements)), key=lambda i: placements[i].start):
            placement = placements[index]
            self.rows.setdefault((placement.storage, placement.memory), []).append(index)
            storage = graph.storages[placement.storage]
            if storage.kind is StorageKind.INPUT:
                self.version[placement.storage] = 1
                if placement.memory == target.io_memory and placement.start == 0:
                    self.held.update(((index, piece), 1) for piece in self.pieces.of(placement))

    def report(self, kind: ViolationKind, message: str, step: int, *storages: int) -> None:
        self.violations.append(Violation(kind, message, step, storages))

    def name(self, storage: int) -> str:
        return self.graph.storages[storage].name

    def step_name(self, step: int) -> str:
        return f"step {step} ({operator_name(self.graph, self.order[step])})"

    def is_current(self, placement: int | None, piece: int) -> bool:
        if placement is None:
            return False
        version = self.version[self.placements[placement].storage]
        return version > 0 and self.held.get((placement, piece)) == version

    def covering(self, storage: int, memory: str, step: int) -> dict[int, int]:
        """Return the placement of each piece that is placed in that memory during the step."""
        rows = self.rows.get((storage, memory), [])
        before = rows[: bisect_right(rows, step, key=lambda i: self.placements[i].start)]
        return {
            piece: placement
            for placement in before
            if step < self.placements[placement].end
            for piece in self.pieces.of(self.placements[placement])
        }

    def spanning(
        self, storage: int, piece: int, memory: str, start: int, end: int, *, held: bool
    ) -> list[int]:
        """Return the placements of a piece that hold from boundary ``start`` to ``end``.

        With ``held`` for step ``end`` as well, or to the last boundary.
        """
        rows = self.rows.get((storage, memory), [])
        at = bisect_right(rows, start, key=lambda i: self.placements[i].start)
        last = min(end + 1, len(self.order)) if held else end
        return [
            i
            for i in rows[:at]
            if self.placements[i].end >= last and piece in self.pieces.of(self.placements[i])
        ]

    def begin(self, index: int, transfer: Transfer) -> None:
        storage = transfer.storage
        what = transfer_name(self.graph, transfer)
        faults: dict[ViolationKind, str] = {}
        ends = []
        for piece in self.pieces.of(transfer):
            sources, filled = self.ends_of(transfer, piece)
            origin = next((i for i in sources if self.is_current(i, piece)), None)
            if origin is None:
                kind, text = self.missing_source(transfer, piece, sources)
                faults.setdefault(kind, text)
            if filled is None:
                text = self.missing_destination(transfer, piece)
                faults.setdefault(ViolationKind.TRANSFER_DESTINATION, text)
            ends.append((piece, origin, filled))
        for kind, text in faults.items():
            self.report(kind, f"{what} at {text}", transfer.start, storage)
        self.in_flight[index] = _Copy(ends, self.version[storage])

    def ends_of(self, transfer: Transfer, piece: int) -> tuple[list[int], int | None]:
        """Return the placements that a copy of a piece can read, and the one that it fills."""
        storage, source, destination, start, end, _, _ = transfer
        # Bytes of a farther memory could otherwise be handed to a copy at the same boundary.
        beyond = source != self.target.nearest.name
        sources = self.spanning(storage, piece, source, start, end, held=beyond)
        targets = self.spanning(storage, piece, destination, start, end, held=True)
        if source == destination:
            sources = [i for i in sources if self.placements[i].end == start]
            targets = [i for i in targets if self.placements[i].start == start]
        return sources, targets[-1] if targets else None

    def missing_source(
        self, transfer: Transfer, piece: int, sources: Sequence[int]
    ) -> tuple[ViolationKind, str]:
        storage, source, destination, start, end, _, _ = transfer
        interval = f"boundary {start}" if start == end else f"boundaries {start} to {end}"
        name = self.pieces.name(storage, piece)
        if sources:
            why = self.why_not_current(sources[0], piece)
            return ViolationKind.NOT_LOADED, f"{interval} reads {source}, where {name} {why}"
        if source == destination:
            text = f"{interval}: no placement of {name} in {source} ends there"
            return ViolationKind.TRANSFER_SOURCE, text
        beyond = source != self.target.nearest.name
        text = (
            f"{interval}: {name} is not placed in {source} for that "
            f"long{' and during the step after it' if beyond else ''}"
        )
        return ViolationKind.TRANSFER_SOURCE, text

    def missing_destination(self, transfer: Transfer, piece: int) -> str:
        storage, source, destination, start, end, _, _ = transfer
        interval = f"boundary {start}" if start == end else f"boundaries {start} to {end}"
        name = self.pieces.name(storage, piece)
        if source == destination:
            return f"{interval}: no placement of {name} in {destination} begins there"
        return (
            f"{interval}: no bytes of {destination} are reserved for "
            f"{name} from boundary {start} until after boundary {end}"
        )

    def finish(self, index: int, transfer: Transfer) -> None:
        ends, version = self.in_flight.pop(index)
        storage = transfer.storage
        when = f"at boundaries {transfer.start} to {transfer.end}"
        what = f"{transfer_name(self.graph, transfer)} {when}"
        intact = all(
            origin is None or self.held[origin, piece] == version for piece, origin, _ in ends
        )
        if self.version[storage] != version or not intact:
            self.report(
                ViolationKind.TRANSFER_SOURCE,
                f"{what}: {self.name(storage)} is overwritten while it is copied",
                transfer.end,
                storage,
            )
        filled = [(placement, piece) for piece, _, placement in ends if placement is not None]
        lost = [place for place in filled if self.held.get(place) == _OVERWRITTEN]
        if lost:
            self.report(
                ViolationKind.TRANSFER_DESTINATION,
                f"{what} lands on bytes that were overwritten in place meanwhile",
                transfer.end,
                storage,
            )
        self.held.update((place, self.version[storage]) for place in filled if place not in lost)

    def why_not_current(self, placement: int, piece: int) -> str:
        if self.held.get((placement, piece), 0) > 0:
            return "is out of date: it was written elsewhere since"
        if (placement, piece) in self.held:
            return "was overwritten in place"
        return "was never loaded"

    def run(self, step: int) -> None:
        operator = self.order[step]
        access = step_access(self.graph, operator)
        for storage in access.reads:
            self.read(step, storage)
        for storage in access.writes:
            self.write(step, storage)

    def memories(self) -> list[str]:
        """Names of the memories in which operators find operands, nearest first."""
        return self.usable[:1] if self.target.operands_resident else self.usable

    def whole(self, step: int, storage: int) -> list[dict[int, int]]:
        """Return, for each memory in which all of a storage is placed, the placements by piece."""
        pieces = len(self.pieces.all_of(storage))
        found = (self.covering(storage, memory, step) for memory in self.memories())
        return [held for held in found if len(held) == pieces]

    def read(self, step: int, storage: int) -> None:
        found = self.whole(step, storage)
        if not found:
            self.report_not_placed(step, storage)
            return
        if any(all(self.is_current(p, piece) for piece, p in held.items()) for held in found):
            return
        piece, placement = self.first_stale(found[0])
        memory, why = self.placements[placement].memory, self.why_not_current(placement, piece)
        self.report(
            ViolationKind.NOT_LOADED,
            f"{self.step_name(step)} reads {self.pieces.name(storage, piece)} in {memory}, where "
            f"it {why}",
            step,
            storage,
        )

    def first_stale(self, held: dict[int, int]) -> tuple[int, int]:
        """Return the first piece that is not current, and its placement."""
        return next(item for item in sorted(held.items()) if not self.is_current(item[1], item[0]))

    def write(self, step: int, storage: int) -> None:
        found = self.whole(step, storage)
        if not found:
            self.report_not_placed(step, storage)
            self.version[storage] += 1
            return
        held = found[0]
        memory = self.placements[held[0]].memory
        if self.version[storage] > 0 and not all(
            self.is_current(placement, piece) for piece, placement in held.items()
        ):
            piece, placement = self.first_stale(held)
            self.report(
                ViolationKind.NOT_LOADED,
                f"{self.step_name(step)} writes a part of {self.name(storage)} in {memory}, where "
                f"its other parts are missing: it {self.why_not_current(placement, piece)}",
                step,
                storage,
            )
        self.version[storage] += 1
        version = self.version[storage]
        self.held.update(((placement, piece), version) for piece, placement in held.items())
        pair = self.overwritten.get(self.order[step])
        if pair is not None and pair.output == storage:
            for piece, under in self.covering(pair.input, memory, step).items():
                self.held[under, piece] = _OVERWRITTEN

    def report_not_placed(self, step: int, storage: int) -> None:
        where = " or ".join(self.memories())
        size = self.graph.storages[storage].size_bytes
        text = f"operand {self.name(storage)} ({size:,} bytes) is not placed in {where}"
        for memory in self.memories():
            missing = set(self.pieces.all_of(storage)) - set(self.covering(storage, memory, step))
            if len(missing) < len(self.pieces.all_of(storage)):
                away = self.pieces.name(storage, min(missing))
                text = f"operand {away} ({size:,} bytes in all) is not placed in {memory}"
                break
        self.report(ViolationKind.NOT_PLACED, f"{self.step_name(step)}: {text}", step, storage)

    def deliver(self) -> None:
        """Require the graph outputs in the caller's memory after the last step."""
        steps, memory = len(self.order), self.target.io_memory
        for storage, content in enumerate(self.graph.storages):
            if not content.is_output or content.kind is StorageKind.CONSTANT:
                continue
            if not content.size_bytes or not len(self.graph.storage_users.row(storage)):
                continue
            held = self.covering(storage, memory, steps - 1)
            for piece in self.pieces.all_of(storage):
                why = self.why_not_delivered(held.get(piece), piece)
                if why:
                    self.report(
                        ViolationKind.OUTPUT,
                        f"graph output {self.pieces.name(storage, piece)} is not in {memory} at "
                        f"the end: it {why}",
                        steps,
                        storage,
                    )
                    break

    def why_not_delivered(self, placement: int | None, piece: int) -> str:
        if placement is None:
            return "is not placed there"
        end = self.placements[placement].end
        if end < len(self.order):
            return f"is placed there until boundary {end} only"
        return "" if self.is_current(placement, piece) else self.why_not_current(placement, piece)
