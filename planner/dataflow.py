"""Replays a plan and follows the data: which placement holds the current content of what.

A part of `planner.checker`, which vouches for indices, memories and intervals first.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from planner.graph import StorageKind
from planner.violation import Violation, ViolationKind, operator_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.graph import Graph
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

    An output is written unless it consists of bytes that the operator reads.
    """
    node = graph.operators[operator]

    def moves(storage: int) -> bool:
        content = graph.storages[storage]
        return content.kind is not StorageKind.CONSTANT and content.size_bytes > 0

    ranges: dict[int, list[tuple[int, int]]] = {}
    for tensor in (graph.tensors[t] for t in node.inputs):
        ranges.setdefault(tensor.storage, []).append(
            (tensor.offset_bytes, tensor.offset_bytes + tensor.size_bytes)
        )
    writes = set()
    for tensor in (graph.tensors[t] for t in node.outputs):
        reached = tensor.offset_bytes
        for lower, upper in sorted(ranges.get(tensor.storage, [])):
            if lower <= reached:
                reached = max(reached, upper)
        if reached < tensor.offset_bytes + tensor.size_bytes:
            writes.add(tensor.storage)
    touched = ranges.keys() | {graph.tensors[t].storage for t in node.outputs}
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
    replay = _Replay(graph, target, order, placements, in_place)
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
                if _phase(transfers[index], near) == phase:
                    replay.finish(index, transfers[index])
            for index in begun:
                if _phase(transfers[index], near) == phase:
                    replay.begin(index, transfers[index])
            for index in late:
                if _phase(transfers[index], near) == phase:
                    replay.finish(index, transfers[index])
        if boundary < steps:
            replay.run(boundary)
    replay.deliver()
    return replay.violations


def _phase(transfer: Transfer, near: str) -> int:
    """Rank of a copy among those of one boundary: out of the nearest memory first, into it last."""
    return 0 if transfer.source == near else 2 if transfer.destination == near else 1


class _Replay:
    """The state of all memories while the steps run.

    Every write gives a storage a new version; a placement is current while it holds the newest.
    """

    def __init__(
        self,
        graph: Graph,
        target: Target,
        order: Sequence[int],
        placements: Sequence[Placement],
        in_place: Iterable[InPlace],
    ) -> None:
        self.graph = graph
        self.target = target
        self.order = order
        self.placements = placements
        self.overwritten = {pair.operator: pair for pair in in_place}
        self.violations: list[Violation] = []
        self.version = [0] * len(graph.storages)
        self.held: dict[int, int] = {}
        self.in_flight: dict[int, tuple[int | None, int | None, int]] = {}
        self.rows: dict[tuple[int, str], list[int]] = {}
        self.usable = [memory.name for memory in target.memories if memory.writable]
        for index in sorted(range(len(placements)), key=lambda i: placements[i].start):
            placement = placements[index]
            self.rows.setdefault((placement.storage, placement.memory), []).append(index)
            storage = graph.storages[placement.storage]
            if storage.kind is StorageKind.INPUT:
                self.version[placement.storage] = 1
                if placement.memory == target.io_memory and placement.start == 0:
                    self.held[index] = 1

    def report(self, kind: ViolationKind, message: str, step: int, *storages: int) -> None:
        self.violations.append(Violation(kind, message, step, storages))

    def name(self, storage: int) -> str:
        return self.graph.storages[storage].name

    def step_name(self, step: int) -> str:
        return f"step {step} ({operator_name(self.graph, self.order[step])})"

    def is_current(self, placement: int | None) -> bool:
        if placement is None:
            return False
        version = self.version[self.placements[placement].storage]
        return version > 0 and self.held.get(placement) == version

    def covering(self, storage: int, memory: str, step: int) -> int | None:
        """Return the placement of the storage in that memory during the step, if any."""
        rows = self.rows.get((storage, memory), [])
        at = bisect_right(rows, step, key=lambda i: self.placements[i].start) - 1
        return rows[at] if at >= 0 and step < self.placements[rows[at]].end else None

    def spanning(self, storage: int, memory: str, start: int, end: int, *, held: bool) -> list[int]:
        """Return the placements that hold from boundary ``start`` to ``end``.

        With ``held`` for step ``end`` as well, or to the last boundary.
        """
        rows = self.rows.get((storage, memory), [])
        at = bisect_right(rows, start, key=lambda i: self.placements[i].start)
        last = min(end + 1, len(self.order)) if held else end
        return [i for i in rows[max(0, at - 2) : at] if self.placements[i].end >= last]

    def begin(self, index: int, transfer: Transfer) -> None:
        storage, source, destination, start, end, _ = transfer
        what = f"{transfer.kind} of {self.name(storage)} from {source} to {destination}"
        interval = f"boundary {start}" if start == end else f"boundaries {start} to {end}"
        # Bytes of a farther memory could otherwise be handed to a copy at the same boundary.
        beyond = source != self.target.nearest.name
        candidates = self.spanning(storage, source, start, end, held=beyond)
        origin = next((i for i in candidates if self.is_current(i)), None)
        if origin is None and candidates:
            why = self.why_not_current(candidates[0])
            self.report(
                ViolationKind.NOT_LOADED,
                f"{what} at {interval} reads {source}, where {self.name(storage)} {why}",
                start,
                storage,
            )
        elif origin is None:
            self.report(
                ViolationKind.TRANSFER_SOURCE,
                f"{what} at {interval}: {self.name(storage)} is not placed in {source} for that "
                f"long{' and during the step after it' if beyond else ''}",
                start,
                storage,
            )
        filled = next(iter(self.spanning(storage, destination, start, end, held=True)[::-1]), None)
        if filled is None:
            self.report(
                ViolationKind.TRANSFER_DESTINATION,
                f"{what} at {interval}: no bytes of {destination} are reserved for "
                f"{self.name(storage)} from boundary {start} until after boundary {end}",
                start,
                storage,
            )
        self.in_flight[index] = (origin, filled, self.version[storage])

    def finish(self, index: int, transfer: Transfer) -> None:
        origin, filled, version = self.in_flight.pop(index)
        storage = transfer.storage
        intact = origin is None or self.held[origin] == version
        if self.version[storage] != version or not intact:
            self.report(
                ViolationKind.TRANSFER_SOURCE,
                f"{transfer.kind} of {self.name(storage)} from {transfer.source} to "
                f"{transfer.destination} at boundaries {transfer.start} to {transfer.end}: "
                f"{self.name(storage)} is overwritten while it is copied",
                transfer.end,
                storage,
            )
        if filled is None:
            return
        if self.held.get(filled) == _OVERWRITTEN:
            self.report(
                ViolationKind.TRANSFER_DESTINATION,
                f"{transfer.kind} of {self.name(storage)} from {transfer.source} to "
                f"{transfer.destination} at boundaries {transfer.start} to {transfer.end} lands on "
                "bytes that were overwritten in place meanwhile",
                transfer.end,
                storage,
            )
        else:
            self.held[filled] = self.version[storage]

    def why_not_current(self, placement: int) -> str:
        if placement in self.held and self.held[placement] > 0:
            return "is out of date: it was written elsewhere since"
        if placement in self.held:
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

    def read(self, step: int, storage: int) -> None:
        found = [self.covering(storage, memory, step) for memory in self.memories()]
        placed = [placement for placement in found if placement is not None]
        if not placed:
            self.report_not_placed(step, storage)
        elif not any(map(self.is_current, placed)):
            memory, why = self.placements[placed[0]].memory, self.why_not_current(placed[0])
            self.report(
                ViolationKind.NOT_LOADED,
                f"{self.step_name(step)} reads {self.name(storage)} in {memory}, where it {why}",
                step,
                storage,
            )

    def write(self, step: int, storage: int) -> None:
        found = [self.covering(storage, memory, step) for memory in self.memories()]
        placement = next((p for p in found if p is not None), None)
        if placement is None:
            self.report_not_placed(step, storage)
            self.version[storage] += 1
            return
        memory = self.placements[placement].memory
        if self.version[storage] > 0 and not self.is_current(placement):
            self.report(
                ViolationKind.NOT_LOADED,
                f"{self.step_name(step)} writes a part of {self.name(storage)} in {memory}, where "
                f"its other parts are missing: it {self.why_not_current(placement)}",
                step,
                storage,
            )
        self.version[storage] += 1
        self.held[placement] = self.version[storage]
        pair = self.overwritten.get(self.order[step])
        if pair is not None and pair.output == storage:
            under = self.covering(pair.input, memory, step)
            if under is not None:
                self.held[under] = _OVERWRITTEN

    def report_not_placed(self, step: int, storage: int) -> None:
        where = " or ".join(self.memories())
        self.report(
            ViolationKind.NOT_PLACED,
            f"{self.step_name(step)}: operand {self.name(storage)} "
            f"({self.graph.storages[storage].size_bytes:,} bytes) is not placed in {where}",
            step,
            storage,
        )

    def deliver(self) -> None:
        """Require the graph outputs in the caller's memory after the last step."""
        steps, memory = len(self.order), self.target.io_memory
        for storage, content in enumerate(self.graph.storages):
            if not content.is_output or content.kind is StorageKind.CONSTANT:
                continue
            if not content.size_bytes or not len(self.graph.storage_users.row(storage)):
                continue
            placement = self.covering(storage, memory, steps - 1)
            placed = placement is not None and self.placements[placement].end == steps
            if not placed or not self.is_current(placement):
                why = "is not placed there" if placement is None else ""
                if placement is not None:
                    end = self.placements[placement].end
                    why = (
                        self.why_not_current(placement)
                        if placed
                        else f"is placed there until boundary {end} only"
                    )
                self.report(
                    ViolationKind.OUTPUT,
                    f"graph output {content.name} is not in {memory} at the end: it {why}",
                    steps,
                    storage,
                )
