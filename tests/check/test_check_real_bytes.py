"""Plans that the checker passes are carried out on real bytes, which must survive."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner.checker import check
from planner.graph import Graph, StorageKind
from planner.metrics import measure_bytes
from planner.plans import ByteRange, TransferKind, addresses_of, boundary_rank, part_of
from planner.testing import assert_legal, naive_plan, random_graph

from .small_plans import NEAR_IO, RELOCATING, SCRATCHPAD

if TYPE_CHECKING:
    from planner.plans import Placement, Plan, Transfer
    from planner.target import Target


class Machine:
    """Real bytes: patterns are written, copied and compared as the plan says.

    A copy makes its destination unreadable from its first boundary on, and its source must be the
    same at its last; moves happen one by one. Bytes that no placement holds during a step are
    wiped.
    """

    def __init__(self, graph: Graph, target: Target, plan: Plan) -> None:
        self.graph, self.target, self.plan = graph, target, plan
        self.memory = {memory.name: bytearray(8_192) for memory in target.memories}
        self.content: dict[int, bytes] = {}
        self.source: dict[int, bytes] = {}

    def run(self) -> None:
        outside, near = self.target.io_memory, self.target.nearest.name
        for index, storage in enumerate(self.graph.storages):
            if storage.kind is StorageKind.INPUT and storage.size_bytes:
                self.content[index] = bytes(
                    (index * 37 + i) % 251 for i in range(storage.size_bytes)
                )
                for p in self.plan.placements:
                    if (p.storage, p.memory, p.start) == (index, outside, 0):
                        part = part_of(p, storage.size_bytes)
                        content = self.content[index][part.begin : part.end]
                        self.memory[outside][self.span(p)] = content
        for boundary in range(len(self.plan.order) + 1):
            for rank in range(3):
                self.copy(boundary, near, rank)
            if boundary < len(self.plan.order):
                self.wipe(boundary)
                self.step(boundary, near)
        for index, storage in enumerate(self.graph.storages):
            if (
                storage.is_output
                and index in self.content
                and len(self.graph.storage_users.row(index))
            ):
                found = self.read(index, outside, len(self.plan.order) - 1)
                assert found == self.content[index], f"output {storage.name}"

    def span(self, placement: Placement) -> slice:
        return slice(*addresses_of(placement, self.graph.storages[placement.storage].size_bytes))

    def addresses(
        self, storage: int, memory: str, step: int, part: ByteRange | None = None
    ) -> list[int]:
        """Where each byte of a storage, or of a part of it, lies in a memory at a step."""
        size = self.graph.storages[storage].size_bytes
        found: dict[int, int] = {}
        for p in self.plan.placements:
            if (p.storage, p.memory) == (storage, memory) and p.start <= step < p.end:
                found.update((byte, p.offset + byte) for byte in range(*part_of(p, size)))
        wanted = range(*(ByteRange(0, size) if part is None else part))
        missing = [byte for byte in wanted if byte not in found]
        assert not missing, f"bytes {missing} of {storage} are not in {memory} at step {step}"
        return [found[byte] for byte in wanted]

    def read(self, storage: int, memory: str, step: int, part: ByteRange | None = None) -> bytes:
        return bytes(self.memory[memory][at] for at in self.addresses(storage, memory, step, part))

    def write(self, memory: str, addresses: list[int], content: bytes) -> None:
        for at, byte in zip(addresses, content, strict=True):
            self.memory[memory][at] = byte

    def copy(self, boundary: int, near: str, rank: int) -> None:
        """Source bytes are those held before the boundary if the copy leaves, else after it."""
        last = len(self.plan.order) - 1
        copies = [
            (i, t)
            for i, t in enumerate(self.plan.transfers)
            if boundary_rank(t, near) == rank and self.graph.storages[t.storage].size_bytes
        ]
        for _, t in copies:
            if t.kind is TransferKind.MOVE and t.start == boundary:
                moved = self.read(t.storage, near, boundary - 1, t.part)
                self.write(near, self.addresses(t.storage, near, boundary, t.part), moved)
        copies = [(i, t) for i, t in copies if t.kind is not TransferKind.MOVE]
        started = [(i, t) for i, t in copies if t.start == boundary]
        ended = [(i, t) for i, t in copies if t.end == boundary]
        for early in (True, False):
            for index, t in ended if early else started:
                if early and t.start == boundary:
                    continue
                self.transfer(index, t, boundary, last, finish=early)
        for index, t in ended:
            if t.start == boundary:
                self.transfer(index, t, boundary, last, finish=True)

    def transfer(self, index: int, t: Transfer, boundary: int, last: int, *, finish: bool) -> None:
        leaving = t.source == self.target.nearest.name
        at = boundary - 1 if leaving else min(boundary, last)
        source = self.read(t.storage, t.source, at, t.part)
        filled = self.addresses(t.storage, t.destination, min(boundary, last), t.part)
        if finish:
            assert source == self.source[index], f"transfer {index} reads changing bytes"
            self.write(t.destination, filled, source)
        else:
            self.source[index] = source
            self.write(t.destination, filled, b"\xfb" * len(filled))

    def wipe(self, step: int) -> None:
        for name, memory in self.memory.items():
            kept = bytearray(b"\xfb" * len(memory))
            for p in self.plan.placements:
                if p.memory == name and p.start <= step < p.end:
                    kept[self.span(p)] = memory[self.span(p)]
            self.memory[name] = kept

    def step(self, step: int, near: str) -> None:
        operator = self.plan.order[step]
        node = self.graph.operators[operator]
        for index in node.inputs:
            tensor = self.graph.tensors[index]
            kind = self.graph.storages[tensor.storage].kind
            if kind is StorageKind.CONSTANT or not tensor.size_bytes:
                continue
            part = slice(tensor.offset_bytes, tensor.offset_bytes + tensor.size_bytes)
            found = self.read(tensor.storage, near, step)[part]
            assert found == self.content[tensor.storage][part], f"step {step}: {tensor.name}"
        for index in () if self.graph.is_view(operator) else node.outputs:
            tensor = self.graph.tensors[index]
            if not tensor.size_bytes:
                continue
            size = self.graph.storages[tensor.storage].size_bytes
            whole = bytearray(self.content.get(tensor.storage, bytes(size)))
            pattern = bytes((step * 91 + index * 7 + i) % 253 for i in range(tensor.size_bytes))
            whole[tensor.offset_bytes : tensor.offset_bytes + tensor.size_bytes] = pattern
            self.content[tensor.storage] = bytes(whole)
            written = ByteRange(tensor.offset_bytes, tensor.offset_bytes + tensor.size_bytes)
            self.write(near, self.addresses(tensor.storage, near, step, written), pattern)


def shaken(graph: Graph, target: Target, plan: Plan, rng: random.Random) -> Plan:
    """Move one or two fields of placements and transfers a little; tell the truth about bytes."""
    placements, transfers = list(plan.placements), list(plan.transfers)
    for _ in range(rng.randint(1, 2)):
        rows: list[Any] = rng.choice([placements, transfers]) if transfers else placements
        index = rng.randrange(len(rows))
        fields: list[str] = ["start", "end", *(["offset"] if rows is placements else [])]
        part = rows[index].part
        field: str = rng.choice([*fields, *(["begin"] * 2 if part else [])])
        by = rng.choice((-1, 1))
        if field == "begin":
            # A byte more or less, or the whole storage.
            parts = (ByteRange(part.begin + by, part.end), ByteRange(part.begin, part.end + by))
            rows[index] = rows[index]._replace(part=rng.choice([*parts, None]))
            continue
        by *= 16 if field == "offset" else 1
        rows[index] = rows[index]._replace(**{field: getattr(rows[index], field) + by})
    # Moves of one boundary may come in any order.
    rng.shuffle(transfers)
    if rng.random() < 0.2 and transfers:
        del transfers[rng.randrange(len(transfers))]
    moved = replace(plan, placements=tuple(placements), transfers=tuple(transfers))
    steps = len(plan.order)
    if any(not 0 <= p.start < p.end <= steps for p in placements):
        return moved
    return replace(moved, metrics=measure_bytes(graph, target, moved))


def test_bytes_survive_in_real_memory_whenever_the_checker_finds_nothing():
    legal = 0
    for seed in range(75):
        graph = random_graph(seed, operators=9)
        target = (SCRATCHPAD, NEAR_IO, RELOCATING, SCRATCHPAD, RELOCATING)[seed % 5]
        target = target.with_capacities({"sram": 8_000, "dram": 8_000})
        plan = naive_plan(graph, target, seed, split=(0.0, 0.0, 0.0, 0.8, 0.5)[seed % 5])
        assert_legal(graph, target, plan)
        Machine(graph, target, plan).run()
        rng = random.Random(seed)
        for _ in range(40 if plan.placements else 0):
            other = shaken(graph, target, plan, rng)
            if not check(graph, target, other):
                legal += other != plan
                Machine(graph, target, other).run()
    assert legal >= 100
