"""Hints: first the height, then as few moved buffers as possible, against trying all packings."""

from __future__ import annotations

import random
from itertools import product
from typing import TYPE_CHECKING

import pytest

import planner
from planner.packing.problem import Buffer, Colocation, MemorySpace, PackingProblem
from planner.packing.race import race
from planner.problem import Status
from solvers.packing import hints_model

from .oracle import Judge, Place, lowest_height, places_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def random_problem(seed: int) -> PackingProblem:
    rng = random.Random(seed)
    buffers = []
    for index in range(rng.randint(2, 5)):
        lower = rng.randint(0, 4)
        buffers.append(
            Buffer(
                f"b{index}",
                lower,
                rng.randint(lower + 1, 5),
                rng.randint(1, 4),
                rng.choice((1, 1, 2)),
                offset=2 * rng.randint(0, 1) if rng.random() < 0.1 else None,
                hint=rng.randint(0, 8) if rng.random() < 0.8 else None,
            )
        )
    capacity = rng.choice((None, None, rng.randint(6, 12)))
    return PackingProblem(tuple(buffers), (MemorySpace(capacity=capacity),))


def possible_offsets(buffer: Buffer, height: int) -> Sequence[int]:
    if buffer.offset is not None:
        return (buffer.offset,)
    return range(0, height - buffer.size + 1, buffer.alignment)


def fewest_moved(problem: PackingProblem, height: int) -> int:
    judge = Judge(problem)
    hinted = [index for index, buffer in enumerate(problem.buffers) if buffer.hint is not None]
    fewest = len(hinted)
    for offsets in product(*(possible_offsets(buffer, height) for buffer in problem.buffers)):
        moved = sum(offsets[index] != problem.buffers[index].hint for index in hinted)
        if moved < fewest and judge.legal([Place(0, offset) for offset in offsets]):
            fewest = moved
    return fewest


def test_the_moved_buffers_are_those_of_trying_all_packings() -> None:
    kept = moved = 0
    for seed in range(60):
        problem = random_problem(seed)
        lowest = lowest_height(problem)
        if lowest is None:
            continue
        result = race(problem)
        assert result.packing is not None and Judge(problem).legal(places_of(result.packing))
        capacity = problem.memories[0].capacity
        if capacity is None:
            assert (result.height_bytes, result.status) == (lowest, Status.OPTIMAL), seed
        assert result.moved == fewest_moved(problem, lowest if capacity is None else capacity), seed
        kept += result.moved == 0
        moved += result.moved > 0
    assert kept > 5 and moved > 20


def instance(seed: int, count: int = 60) -> list[Buffer]:
    rng = random.Random(seed)
    buffers = []
    for index in range(count):
        lower = rng.randint(0, 40)
        size = 16 * rng.randint(1, 30)
        buffers.append(Buffer(f"b{index}", lower, lower + rng.randint(1, 10), size))
    return buffers


@pytest.mark.parametrize("capacity", [None, 10_000])
def test_a_packing_that_is_as_good_is_kept_exactly(capacity: int | None) -> None:
    """Turned upside down, so that no solver would find it by itself."""
    buffers = instance(1)
    first = planner.pack(buffers)
    assert first.status is Status.OPTIMAL
    turned = [
        buffer._replace(hint=first.height_bytes - first.offsets[buffer.name] - buffer.size)
        for buffer in buffers
    ]
    again = planner.pack(turned, capacity)
    assert again.moved == 0 and again.height_bytes == first.height_bytes
    assert again.solver == "hints"
    assert again.offsets == {buffer.name: buffer.hint for buffer in turned}


def test_hints_never_raise_the_height() -> None:
    """A tower of all buffers is legal, and far too high."""
    buffers = instance(2)
    top = 0
    tower = []
    for buffer in buffers:
        tower.append(buffer._replace(hint=top))
        top += buffer.size
    first = planner.pack(buffers)
    assert first.status is Status.OPTIMAL
    assert planner.pack(tower, time_limit=2).height_bytes == first.height_bytes


def test_one_new_buffer_moves_few_others() -> None:
    buffers = instance(3)
    first = planner.pack(buffers)
    hinted = [buffer._replace(hint=first.offsets[buffer.name]) for buffer in buffers]
    changed = [*hinted[:30], Buffer("new", 10, 12, 64), *hinted[30:]]
    result = planner.pack(changed, first.height_bytes + 64)
    assert result.moved <= 6


def test_hints_of_colocated_buffers_count_one_by_one() -> None:
    """Two members want the group at 8, one wants it at 0."""
    buffers = [
        Buffer("a", 0, 1, 4, hint=8),
        Buffer("b", 0, 1, 4, hint=12),
        Buffer("c", 0, 1, 4, hint=8),
        Buffer("d", 0, 1, 4),
    ]
    pairs = [Colocation("a", "b", 4), Colocation("a", "c", 8)]
    result = planner.pack(buffers, 32, colocations=pairs)
    assert (result.offsets["a"], result.moved) == (8, 1)


def test_hints_in_each_of_several_memories() -> None:
    memories = [MemorySpace("sram", 64), MemorySpace("dram", 64)]
    buffers = [
        Buffer("a", 0, 1, 16, hint=32, memories=("sram",)),
        Buffer("b", 0, 1, 16, hint=48, memories=("dram",)),
    ]
    assert planner.pack(buffers, memories=memories).moved == 0


def test_hints_too_many_for_cp_sat_are_kept_by_pinning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints_model, "_MOST_PAIRS", 0)
    buffers = instance(4)
    first = planner.pack(buffers)
    hinted = [buffer._replace(hint=first.offsets[buffer.name]) for buffer in buffers]
    spoilt = [buffer._replace(hint=buffer.hint + 16) for buffer in hinted[:3]] + hinted[3:]
    result = planner.pack(spoilt)
    assert result.height_bytes == first.height_bytes and result.moved <= 3
