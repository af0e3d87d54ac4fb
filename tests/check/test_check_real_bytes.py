"""Plans that the checker passes are carried out on real bytes, which must survive."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.checker import check
from planner.graph import Graph, StorageKind
from planner.metrics import measure_bytes
from planner.testing import assert_legal, naive_plan, random_graph

from .small_plans import NEAR_IO, SCRATCHPAD

if TYPE_CHECKING:
    from planner.plans import Placement, Plan, Transfer
    from planner.target import Target


class Machine:
    """Real bytes: patterns are written, copied and compared as the plan says.

    A copy makes its destination unreadable from its first boundary on, and its source must be the
    same at its last. Bytes that no placement holds during a step are wiped.
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
                        self.memory[outside][self.span(p)] = self.content[index]
        for boundary in range(len(self.plan.order) + 1):
            for into_near in (False, True):
                self.copy(boundary, near, into_near)
            if boundary < len(self.plan.order):
                self.wipe(boundary)
                self.step(boundary, near)
        for index, storage in enumerate(self.graph.storages):
            if (
                storage.is_output
                and index in self.content
                and len(self.graph.storage_users.row(index))
            ):
                found = self.memory[outside][self.place(index, outside, len(self.plan.order) - 1)]
                assert found == self.content[index], f"output {storage.name}"

    def span(self, placement: Placement) -> slice:
        size = self.graph.storages[placement.storage].size_bytes
        return slice(placement.offset, placement.offset + size)

    def place(self, storage: int, memory: str, step: int) -> slice:
        for p in self.plan.placements:
            if (p.storage, p.memory) == (storage, memory) and p.start <= step < p.end:
                return self.span(p)
        raise AssertionError(f"{storage} is not in {memory} at step {step}")

    def copy(self, boundary: int, near: str, into_near: bool) -> None:
        """Source bytes are those held before the boundary if the copy leaves, else after it."""
        last = len(self.plan.order) - 1
        copies = [
            (i, t)
            for i, t in enumerate(self.plan.transfers)
            if (t.destination == near) is into_near and self.graph.storages[t.storage].size_bytes
        ]
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
        source = bytes(self.memory[t.source][self.place(t.storage, t.source, at)])
        filled = self.place(t.storage, t.destination, min(boundary, last))
        if finish:
            assert source == self.source[index], f"transfer {index} reads changing bytes"
            self.memory[t.destination][filled] = source
        else:
            self.source[index] = source
            self.memory[t.destination][filled] = b"\xfb" * (filled.stop - filled.start)

    def wipe(self, step: int) -> None:
        for name, memory in self.memory.items():
            kept = bytearray(b"\xfb" * len(memory))
            for p in self.plan.placements:
                if p.memory == name and p.start <= step < p.end:
                    kept[self.span(p)] = memory[self.span(p)]
            self.memory[name] = kept

    def step(self, step: int, near: str) -> None:
        operator = self.plan.order[step]
        node, memory = self.graph.operators[operator], self.memory[near]
        for index in node.inputs:
            tensor = self.graph.tensors[index]
            kind = self.graph.storages[tensor.storage].kind
            if kind is StorageKind.CONSTANT or not tensor.size_bytes:
                continue
            begin = self.place(tensor.storage, near, step).start + tensor.offset_bytes
            part = slice(tensor.offset_bytes, tensor.offset_bytes + tensor.size_bytes)
            found = memory[begin : begin + tensor.size_bytes]
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
            begin = self.place(tensor.storage, near, step).start + tensor.offset_bytes
            memory[begin : begin + tensor.size_bytes] = pattern


def shaken(graph: Graph, target: Target, plan: Plan, rng: random.Random) -> Plan:
    """Move one or two fields of placements and transfers a little; tell the truth about bytes."""
    placements, transfers = list(plan.placements), list(plan.transfers)
    for _ in range(rng.randint(1, 2)):
        rows = rng.choice([placements, transfers]) if transfers else placements
        index = rng.randrange(len(rows))
        fields = ["start", "end", "offset"] if rows is placements else ["start", "end"]
        field, by = rng.choice(fields), rng.choice((-1, 1))
        by *= 16 if field == "offset" else 1
        rows[index] = rows[index]._replace(**{field: getattr(rows[index], field) + by})
    if rng.random() < 0.2 and transfers:
        del transfers[rng.randrange(len(transfers))]
    moved = replace(plan, placements=tuple(placements), transfers=tuple(transfers))
    steps = len(plan.order)
    if any(not 0 <= p.start < p.end <= steps for p in placements):
        return moved
    return replace(moved, metrics=measure_bytes(graph, target, moved))


def test_bytes_survive_in_real_memory_whenever_the_checker_finds_nothing():
    legal = 0
    for seed in range(60):
        graph = random_graph(seed, operators=9)
        target = (SCRATCHPAD, NEAR_IO)[seed % 2].with_capacities({"sram": 8_000, "dram": 8_000})
        plan = naive_plan(graph, target, seed)
        assert_legal(graph, target, plan)
        Machine(graph, target, plan).run()
        rng = random.Random(seed)
        for _ in range(40 if plan.placements else 0):
            other = shaken(graph, target, plan, rng)
            if not check(graph, target, other):
                legal += other != plan
                Machine(graph, target, other).run()
    assert legal >= 100
