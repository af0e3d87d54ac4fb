"""A plan as a sequence of instructions, against what `planner.plans` says in words."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from planner.checker import check
from planner.graph import StorageKind
from planner.instructions import Begin, End, Give, Release, Run, Take, instructions
from planner.plans import ByteRange, addresses_of, boundary_rank, part_of
from planner.testing import assert_legal, naive_plan, random_graph

from ..check.damage import TARGETS, Case  # noqa: TID252
from ..check.small_plans import (  # noqa: TID252
    FETCH,
    MOVE,
    NEAR_IO,
    RELOAD,
    RELOCATING,
    SCRATCHPAD,
    SPILL,
    STORE,
    chain,
    make_plan,
)
from ..check.test_check_real_bytes import shaken  # noqa: TID252
from .byte_damage import BYTE_DAMAGES
from .executable_plans import roomy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.graph import Graph
    from planner.instructions import Instruction, Location
    from planner.plans import Plan

_POISON = 0xFB


def cases(seeds: range) -> Iterator[Case]:
    for seed in seeds:
        graph, target = random_graph(seed, operators=4 + seed % 9), roomy(TARGETS[seed % 5])
        plan = naive_plan(graph, target, seed, split=(0.0, 0.6)[seed % 2])
        assert_legal(graph, target, plan)
        yield Case(graph, target, plan)


class Machine:
    """Follows instructions on real bytes: patterns are written, copied, poisoned and compared."""

    def __init__(self, case: Case) -> None:
        self.graph, self.target, self.plan = case
        size = max(case.plan.metrics.arena_bytes.values(), default=0)
        self.memory = {m.name: bytearray([_POISON] * size) for m in self.target.memories}
        self.content = {
            index: bytearray((index * 37 + i) % 251 for i in range(storage.size_bytes))
            for index, storage in enumerate(self.graph.storages)
            if storage.kind is StorageKind.INPUT
        }
        self.copies: dict[int, tuple[Begin, bytes]] = {}
        self.taken: dict[int, int] = {}

    def at(self, location: Location | None, part: ByteRange) -> tuple[bytearray, slice]:
        assert location is not None
        begin, end = location.offset + part.begin, location.offset + part.end
        assert 0 <= begin <= end <= len(self.memory[location.memory])
        return self.memory[location.memory], slice(begin, end)

    def read(self, location: Location | None, part: ByteRange) -> bytes:
        memory, where = self.at(location, part)
        return bytes(memory[where])

    def write(self, location: Location | None, part: ByteRange, content: bytes | bytearray) -> None:
        memory, where = self.at(location, part)
        memory[where] = content

    def follow(self) -> None:
        for instruction in instructions(self.graph, self.plan):
            self.obey(instruction)
        assert not self.copies
        for index, storage in enumerate(self.graph.storages):
            is_moving = storage.kind is not StorageKind.CONSTANT
            if storage.is_output and is_moving and len(self.graph.storage_users.row(index)):
                assert self.taken.get(index, 0) == storage.size_bytes

    def obey(self, instruction: Instruction) -> None:
        match instruction:
            case Give(storage, location, part):
                self.write(location, part, self.content[storage][part.begin : part.end])
            case Take(storage, location, part):
                expected = self.content[storage][part.begin : part.end]
                assert self.read(location, part) == expected, self.graph.storages[storage].name
                self.taken[storage] = self.taken.get(storage, 0) + part.size_bytes
            case Release(_, _, location, part):
                self.write(location, part, bytes([_POISON] * part.size_bytes))
            case Begin():
                self.copies[instruction.transfer] = (
                    instruction,
                    self.read(instruction.source, instruction.part),
                )
                transfer = self.plan.transfers[instruction.transfer]
                if transfer.start < transfer.end:
                    nonsense = bytes([_POISON] * instruction.part.size_bytes)
                    self.write(instruction.destination, instruction.part, nonsense)
            case End(transfer):
                copy, content = self.copies.pop(transfer)
                if self.plan.transfers[transfer].start < self.plan.transfers[transfer].end:
                    assert self.read(copy.source, copy.part) == content
                self.write(copy.destination, copy.part, content)
            case Run(step, operator, locations):
                self.run(step, operator, locations)

    def run(self, step: int, operator: int, locations: object) -> None:
        assert isinstance(locations, dict)
        assert operator == self.plan.order[step]
        node = self.graph.operators[operator]
        for index in node.inputs:
            tensor = self.graph.tensors[index]
            kind = self.graph.storages[tensor.storage].kind
            if kind is StorageKind.CONSTANT or not tensor.size_bytes:
                continue
            part = ByteRange(tensor.offset_bytes, tensor.offset_bytes + tensor.size_bytes)
            found = self.read(locations[tensor.storage], part)
            assert found == self.content[tensor.storage][part.begin : part.end], (step, tensor)
        for index in () if self.graph.is_view(operator) else node.outputs:
            tensor = self.graph.tensors[index]
            size = self.graph.storages[tensor.storage].size_bytes
            part = ByteRange(tensor.offset_bytes, tensor.offset_bytes + tensor.size_bytes)
            if part.size_bytes:
                pattern = bytes((step * 91 + index * 7 + i) % 253 for i in range(part.size_bytes))
                whole = self.content.setdefault(tensor.storage, bytearray(size))
                whole[part.begin : part.end] = pattern
                self.write(locations[tensor.storage], part, pattern)


def test_bytes_survive_when_instructions_are_followed():
    for case in cases(range(150)):
        Machine(case).follow()


def test_bytes_survive_under_whatever_the_checker_passes():
    legal = 0
    for seed, case in enumerate(cases(range(500, 540))):
        rng = random.Random(seed)
        for _ in range(25 if case.plan.placements else 0):
            other = shaken(*case, rng)
            if other != case.plan and not check(case.graph, case.target, other):
                legal += 1
                Machine(case._replace(plan=other)).follow()
    assert legal >= 40


@pytest.mark.parametrize("damage", BYTE_DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_plan_has_instructions_too(damage):
    made = 0
    for seed, case in enumerate(cases(range(40))):
        damaged = damage(case, random.Random(seed))
        if damaged is not None:
            found = list(instructions(case.graph, damaged[0].plan))
            assert sum(isinstance(i, Run) for i in found) == len(case.plan.order)
            made += 1
    assert made >= 2


def gaps(case: Case) -> Iterator[tuple[int, list[Instruction]]]:
    """What happens before each step, and after the last one."""
    gap: list[Instruction] = []
    step = 0
    for instruction in instructions(case.graph, case.plan):
        if isinstance(instruction, Run):
            assert instruction.step == step
            yield step, gap
            gap, step = [], step + 1
        else:
            gap.append(instruction)
    yield step, gap


def test_every_copy_begins_and_ends_once_at_its_boundaries_in_the_order_of_ranks():
    for case in cases(range(120)):
        begun: dict[int, int] = {}
        ended: dict[int, int] = {}
        for boundary, gap in gaps(case):
            copies = [i for i in gap if isinstance(i, Begin | End)]
            ranks = []
            for instruction in copies:
                index = instruction.transfer
                transfer = case.plan.transfers[index]
                assert instruction.boundary == boundary
                if isinstance(instruction, Begin):
                    assert index not in begun
                    begun[index] = boundary
                    ranks.append((boundary_rank(transfer, case.target.nearest.name), index))
                    assert instruction.part == part_of(
                        transfer, case.graph.storages[transfer.storage].size_bytes
                    )
                    assert instruction.kind is transfer.kind
                else:
                    assert index in begun
                    assert index not in ended
                    ended[index] = boundary
            assert ranks == sorted(ranks)
            # What was under way arrives first; a copy between two steps at once.
            arrivals = [i for i in copies if isinstance(i, End) and begun[i.transfer] < boundary]
            assert copies[: len(arrivals)] == arrivals
            rest = copies[len(arrivals) :]
            for n, begin in enumerate(rest):
                transfer = case.plan.transfers[begin.transfer]
                if isinstance(begin, Begin) and transfer.start == transfer.end:
                    assert rest[n + 1] == End(begin.transfer, boundary)
        assert begun == {i: t.start for i, t in enumerate(case.plan.transfers)}
        assert ended == {i: t.end for i, t in enumerate(case.plan.transfers)}


def held_bytes(case: Case, first: int, last: int) -> dict[str, set[int]]:
    """Addresses that some placement holds during all those steps, by memory."""
    found: dict[str, set[int]] = {}
    for p in case.plan.placements:
        if p.start <= first <= last < p.end:
            held = addresses_of(p, case.graph.storages[p.storage].size_bytes)
            found.setdefault(p.memory, set()).update(range(*held))
    return found


def test_releases_are_the_bytes_that_nobody_holds_any_more():
    for case in cases(range(60)):
        for boundary, gap in gaps(case):
            released: dict[str, set[int]] = {}
            for instruction in gap:
                if isinstance(instruction, Release):
                    location, part = instruction.location, instruction.part
                    begin, end = location.offset + part.begin, location.offset + part.end
                    released.setdefault(location.memory, set()).update(range(begin, end))
            before = held_bytes(case, boundary - 1, boundary - 1)
            after = held_bytes(case, boundary, boundary)
            stay = held_bytes(case, boundary - 1, boundary)
            for memory in {m.name for m in case.target.memories}:
                freed = released.get(memory, set())
                assert freed <= before.get(memory, set()), (boundary, memory)
                assert freed.isdisjoint(stay.get(memory, set())), (boundary, memory)
                assert freed >= before.get(memory, set()) - after.get(memory, set())


def test_a_source_that_ends_with_its_copy_is_released_after_it():
    for case in cases(range(120)):
        for boundary, gap in gaps(case):
            for n, instruction in enumerate(gap):
                if not isinstance(instruction, Begin) or instruction.source is None:
                    continue
                own = (instruction.storage, instruction.source)
                earlier = [
                    i
                    for i in gap[:n]
                    if isinstance(i, Release)
                    and (i.storage, i.location) == own
                    and i.part.intersects(instruction.part)
                ]
                assert not earlier, (boundary, instruction)


def test_locations_are_those_of_the_placements_at_the_step():
    for case in cases(range(120)):
        graph, target, plan = case
        for instruction in instructions(graph, plan):
            if not isinstance(instruction, Run):
                continue
            used = {
                graph.tensors[t].storage
                for t in (
                    *graph.operators[instruction.operator].inputs,
                    *graph.operators[instruction.operator].outputs,
                )
                if graph.tensors[t].size_bytes
                and graph.storages[graph.tensors[t].storage].kind is not StorageKind.CONSTANT
            }
            assert used <= instruction.locations.keys()
            for storage, location in instruction.locations.items():
                assert location.memory == target.nearest.name or not target.operands_resident
                assert any(
                    (p.storage, p.memory, p.offset) == (storage, *location)
                    and p.start <= instruction.step < p.end
                    for p in plan.placements
                )


# By hand


def written(graph: Graph, plan: Plan) -> list[str]:
    """The instructions in short."""
    lines = []
    for i in instructions(graph, plan):
        match i:
            case Give(storage, location, _):
                lines.append(f"give {storage} {location.memory}+{location.offset}")
            case Take(storage, location, _):
                lines.append(f"take {storage} {location.memory}+{location.offset}")
            case Run(step, operator, locations):
                places = " ".join(f"{s}@{place.offset}" for s, place in locations.items())
                lines.append(f"run {step} {operator} {places}")
            case Release(_, storage, location, part):
                begin, end = location.offset + part.begin, location.offset + part.end
                lines.append(f"release {storage} {location.memory} [{begin}, {end})")
            case Begin(_, _, storage, source, destination, _, kind):
                ends = [f"{e.memory}+{e.offset}" if e else "nowhere" for e in (source, destination)]
                lines.append(f"{kind} {storage} {ends[0]} to {ends[1]}")
            case End(transfer, _):
                lines.append(f"arrived {transfer}")
    return lines


def test_a_scratchpad_fetches_computes_and_stores():
    plan = make_plan(
        graph := chain(10, 20),
        SCRATCHPAD,
        [(0, "dram", 0, 0, 1), (0, "sram", 0, 0, 1), (1, "sram", 10, 0, 1), (1, "dram", 10, 0, 1)],
        [(0, "dram", "sram", 0, 0, FETCH), (1, "sram", "dram", 1, 1, STORE)],
    )
    assert written(graph, plan) == [
        "give 0 dram+0",
        "fetch 0 dram+0 to sram+0",
        "arrived 0",
        "run 0 0 0@0 1@10",
        "release 0 dram [0, 10)",
        "release 0 sram [0, 10)",
        "store 1 sram+10 to dram+10",
        "arrived 1",
        "release 1 sram [10, 30)",
        "take 1 dram+10",
        "release 1 dram [10, 30)",
    ]


def test_a_spill_frees_bytes_for_a_reload_at_the_same_boundary():
    graph = chain(10, 10, 10, 10, uses={2: [1]})
    plan = make_plan(
        graph,
        NEAR_IO,
        [
            *((0, "sram", 0, 0, 1), (1, "sram", 10, 0, 1), (1, "dram", 0, 0, 3)),
            *((2, "sram", 0, 1, 3), (1, "sram", 10, 2, 3), (3, "sram", 20, 2, 3)),
        ],
        [(1, "sram", "dram", 1, 1, SPILL), (1, "dram", "sram", 2, 2, RELOAD)],
    )
    lines = written(graph, plan)
    assert lines[lines.index("run 0 0 0@0 1@10") + 1 : lines.index("run 1 1 2@0")] == [
        "release 0 sram [0, 10)",
        "spill 1 sram+10 to dram+0",
        "arrived 0",
        "release 1 sram [10, 20)",
    ]


@pytest.mark.parametrize(
    ("old", "new", "released"),
    [(0, 4, "[0, 4)"), (4, 0, "[10, 14)"), (0, 10, "[0, 10)"), (0, 0, None)],
)
def test_a_move_over_its_own_source_releases_only_what_it_leaves(old, new, released):
    graph = chain(10, 10, 10, uses={1: [0]})
    plan = make_plan(
        graph,
        RELOCATING,
        [
            *((0, "dram", 0, 0, 1), (0, "sram", old, 0, 1), (0, "sram", new, 1, 2)),
            *((1, "sram", 40, 0, 2), (2, "sram", 60, 1, 2), (2, "dram", 20, 1, 2)),
        ],
        [
            (0, "dram", "sram", 0, 0, FETCH),
            (0, "sram", "sram", 1, 1, MOVE),
            (2, "sram", "dram", 2, 2, STORE),
        ],
    )
    lines = written(graph, plan)
    gap = lines[
        lines.index(f"run 0 0 0@{old} 1@40") + 1 : lines.index(f"run 1 1 0@{new} 1@40 2@60")
    ]
    assert gap == [
        "release 0 dram [0, 10)",
        f"move 0 sram+{old} to sram+{new}",
        "arrived 1",
        *([f"release 0 sram {released}"] if released else []),
    ]


def test_what_a_result_was_written_over_is_not_released():
    graph = chain(10, 10, 10)
    plan = make_plan(
        graph,
        NEAR_IO,
        [(0, "sram", 0, 0, 1), (1, "sram", 10, 0, 2), (2, "sram", 10, 1, 2)],
        in_place=[(1, 2, 1)],
    )
    assert written(graph, plan)[2:] == [
        "release 0 sram [0, 10)",
        "run 1 1 1@10 2@10",
        "take 2 sram+10",
        "release 2 sram [10, 20)",
    ]


def test_a_copy_without_ends_goes_nowhere():
    plan = make_plan(
        graph := chain(10, 20),
        SCRATCHPAD,
        [(0, "dram", 0, 0, 1), (1, "sram", 10, 0, 1)],
        [(0, "dram", "sram", 0, 0, FETCH), (1, "sram", "dram", 1, 1, STORE)],
    )
    lines = written(graph, plan)
    assert "fetch 0 dram+0 to nowhere" in lines
    assert "store 1 sram+10 to nowhere" in lines
    assert "run 0 0 1@10" in lines
