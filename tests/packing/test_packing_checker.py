"""The packing checker: damage is named, legal is what the bytes say, the sweep finds the pairs."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.packing import checker as packing_checker
from planner.packing.checker import PackingViolationKind, check_packing, pairwise_overlaps
from planner.packing.problem import (
    Buffer,
    Colocation,
    Gap,
    MemorySpace,
    Overlap,
    Packing,
    PackingProblem,
    Separation,
)
from planner.packing.sweep import UsedBytes, swept_overlaps

from .oracle import Judge, places_of
from .packing_damage import DAMAGES, Damage, legal_case, legal_cases
from .problems import packing_problems

CASES = list(legal_cases(500))


def packed(offsets: list[int], memories: list[int] | None = None) -> Packing:
    return Packing(
        np.array(memories or [0] * len(offsets), dtype=np.int32),
        np.array(offsets, dtype=np.int64),
    )


def messages(problem: PackingProblem, packing: Packing) -> list[str]:
    return [violation.message for violation in check_packing(problem, packing)]


def test_legal_packings_are_legal_and_have_every_constraint() -> None:
    seen: Counter[str] = Counter()
    for case in CASES:
        assert check_packing(*case) == []
        seen["gap"] += sum(bool(buffer.gaps) for buffer in case.problem.buffers)
        seen["colocation"] += len(case.problem.colocations)
        seen["separation"] += len(case.problem.separations)
        seen["overlap"] += len(case.problem.overlaps)
        seen["far"] += int(case.packing.memory.sum())
    assert min(seen.values()) >= 100, seen


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_caught_with_the_right_kind(damage: Damage) -> None:
    caught = 0
    for seed, case in enumerate(CASES):
        damaged = damage(case, random.Random(seed))
        if damaged is None:
            continue
        mutant, expected = damaged
        found = {violation.kind for violation in check_packing(*mutant)}
        assert expected in found, (seed, damage.__name__, found)
        caught += 1
    assert caught >= 40


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_legal_is_what_every_byte_at_every_time_says(data: st.DataObject) -> None:
    problem = data.draw(packing_problems())
    count = len(problem.buffers)
    offsets = [
        buffer.offset
        if buffer.offset is not None
        else buffer.alignment * data.draw(st.integers(0, 16 // buffer.alignment))
        for buffer in problem.buffers
    ]
    memories = data.draw(
        st.lists(st.integers(0, len(problem.memories) - 1), min_size=count, max_size=count)
    )
    packing = packed(offsets, memories)
    legal = Judge(problem).legal(places_of(packing))
    assert (check_packing(problem, packing) == []) == legal


@st.composite
def used_bytes(draw: st.DrawFn) -> list[UsedBytes]:
    used = []
    for buffer in range(draw(st.integers(1, 12))):
        group = draw(st.sampled_from((buffer, buffer, 0, 1)))
        time = draw(st.integers(0, 8))
        for _ in range(draw(st.integers(1, 3))):
            upper = time + draw(st.integers(1, 4))
            begin = draw(st.integers(0, 20))
            end = begin + draw(st.integers(1, 6))
            used.append(UsedBytes(time, upper, begin, end, buffer, group))
            time = upper + draw(st.integers(0, 2))
    return used


def shown(pairs) -> dict[tuple[int, ...], tuple]:
    found = {}
    for pair in pairs:
        first, second = sorted(pair, key=lambda use: use.buffer)
        key = (first.buffer, second.buffer)
        assert key not in found
        found[key] = (first, second)
    return found


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_the_sweep_finds_the_same_pairs_at_the_same_times(data: st.DataObject) -> None:
    used = data.draw(used_bytes())
    buffers = st.integers(0, used[-1].buffer)
    allowed = {
        (min(pair), max(pair))
        for pair in data.draw(st.lists(st.tuples(buffers, buffers), max_size=4))
    }
    assert shown(swept_overlaps(used, allowed)) == shown(pairwise_overlaps(used, allowed))


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if "entr" not in damage.__name__])
def test_many_buffers_are_judged_like_few(damage: Damage, monkeypatch) -> None:
    for seed, case in enumerate(CASES[:60]):
        damaged = damage(case, random.Random(seed))
        if damaged is None:
            continue
        found = check_packing(*damaged[0])
        with monkeypatch.context() as patch:
            patch.setattr(packing_checker, "_FEW_BUFFERS", 0)
            assert sorted(check_packing(*damaged[0])) == sorted(found)


def test_twenty_thousand_buffers_with_one_wrong_byte() -> None:
    """Shelves of a hundred buffers; the sweep is chosen by itself."""
    rng = random.Random(7)
    buffers, offsets = [], []
    for shelf in range(200):
        time = 0
        for _ in range(100):
            upper = time + rng.randint(1, 50)
            buffers.append(Buffer(f"t{len(buffers)}", time, upper, 100))
            offsets.append(100 * shelf)
            time = upper
    problem = PackingProblem(tuple(buffers))
    packing = packed(offsets)
    assert check_packing(problem, packing) == []
    packing.offset[7_777] -= 1
    wrong = check_packing(problem, packing)
    assert wrong
    assert {violation.kind for violation in wrong} == {PackingViolationKind.OVERLAP}
    assert all(7_777 in violation.buffers for violation in wrong)


def test_an_overlap_is_told_by_names_bytes_memory_and_times() -> None:
    problem = PackingProblem(
        (Buffer("t30", 0, 20, 100_352), Buffer("t31", 12, 40, 150_528)), (MemorySpace("sram"),)
    )
    (message,) = messages(problem, packed([147_456, 0]))
    assert message == (
        "t31 [0, 150,528) and t30 [147,456, 247,808) overlap in sram at times [12, 20)"
    )


def test_an_overlap_with_a_window_is_told_by_the_window() -> None:
    gap = Gap(10, 20, (64, 128))
    problem = PackingProblem((Buffer("a", 0, 30, 256, gaps=(gap,)), Buffer("b", 12, 15, 100)))
    assert messages(problem, packed([0, 128])) == []
    assert messages(problem, packed([0, 100])) == [
        "a [64, 128) and b [100, 200) overlap in memory at times [12, 15)"
    ]


def test_messages_hold_the_numbers() -> None:
    problem = PackingProblem(
        (
            Buffer("a", 0, 9, 1_000, 64, memories=("near",)),
            Buffer("b", 10, 19, 1_000, offset=2_048),
            Buffer("c", 20, 29, 1_000),
            Buffer("d", 30, 39, 1_000),
        ),
        (MemorySpace("near", 4_096), MemorySpace("far", None, 8)),
        (Colocation("c", "d", 512),),
        (Separation("b", "c"),),
    )
    assert messages(problem, packed([68, 2_056, 3_000, 3_600], [1, 0, 0, 0])) == [
        "a lies in far; it may lie in near",
        "a lies at offset 68 of far, not at a multiple of 64",
        "b lies at offset 2,056, not at its fixed 2,048",
        "d [3,600, 4,600) ends 504 bytes above the capacity 4,096 of near",
        "d begins at 3,600, 600 bytes above c at 3,000; it must be 512",
        "b [2,056, 3,056) and c [3,000, 4,000) must be separate and share bytes in near",
    ]
    assert messages(problem, packed([64, 2_048, 2**62, -8], [0, 0, 1, 1])) == [
        "c lies at offset 4,611,686,018,427,387,904 of far, not between 0 and 2^62",
        "d lies at offset -8 of far, not between 0 and 2^62",
    ]
    assert messages(problem, packed([0, 1])) == [
        "the packing has 2 entries in memory, the problem 4 buffers"
    ]


def test_colocations_join_in_chains() -> None:
    buffers = tuple(Buffer(name, 0, 9, 8) for name in "abc")
    chain = (Colocation("a", "b", 2), Colocation("b", "c", 2))
    assert messages(PackingProblem(buffers, colocations=chain), packed([0, 2, 4])) == []
    assert len(messages(PackingProblem(buffers, colocations=chain[:1]), packed([0, 2, 4]))) == 2


def test_an_output_may_run_over_the_head_of_its_input_by_its_extent() -> None:
    buffers = (Buffer("out", 4, 9, 100), Buffer("in", 0, 6, 80))
    problem = PackingProblem(buffers, overlaps=(Overlap("out", "in", 30),))
    assert messages(problem, packed([0, 70])) == []
    assert messages(problem, packed([0, 90])) == []
    assert messages(problem, packed([0, 69])) == [
        "out [0, 100) and in [69, 149) overlap in memory at times [4, 6)"
    ]
    assert len(messages(problem, packed([70, 0]))) == 1


def test_no_more_than_a_thousand_are_listed() -> None:
    problem = PackingProblem(tuple(Buffer(f"b{i}", 0, 9, 8) for i in range(400)))
    assert len(check_packing(problem, packed([0] * 400))) == 1_000


def test_nothing_to_pack_is_legal() -> None:
    assert check_packing(PackingProblem(()), packed([])) == []


def test_views_of_one_buffer_cost_one_layer() -> None:
    """Thousands of colocated buffers at one place are no reason to compare them all."""
    count = 20_000
    buffers = tuple(Buffer(f"b{i}", i % 7, 17 - i % 7, 8) for i in range(count))
    chain = tuple(Colocation("b0", f"b{i}") for i in range(1, count))
    problem = PackingProblem((*buffers, Buffer("last", 20, 30, 8)), colocations=chain)
    assert check_packing(problem, packed([0] * (count + 1))) == []


def test_a_case_is_the_same_for_the_same_seed() -> None:
    assert legal_case(3, 9).problem == legal_case(3, 9).problem
