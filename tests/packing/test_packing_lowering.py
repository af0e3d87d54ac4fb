"""Offset problems say the same as the packing problems they come from, byte by byte."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings

from planner.errors import UsageError
from planner.packing.problem import (
    Buffer,
    Colocation,
    Gap,
    MemorySpace,
    Overlap,
    PackingProblem,
    Separation,
)
from planner.packing.race import offset_problem_of
from solvers.offsets.rectangles import disjoint
from solvers.packing.groups import group_buffers
from solvers.packing.live_bytes import live_bytes
from solvers.packing.lowering import offset_problem

from .oracle import Judge, Place
from .problems import packing_problems

if TYPE_CHECKING:
    from planner.problem import OffsetProblem

HIGHEST = 14


def are_legal(problem: OffsetProblem, offsets: list[int]) -> bool:
    """What the fields of an OffsetProblem mean, the plain way; the capacity left out."""
    count = len(problem.size)
    if any(o < 0 or o % int(a) for o, a in zip(offsets, problem.alignment, strict=True)):
        return False
    if problem.fixed is not None and any(
        f not in (-1, o) for o, f in zip(offsets, problem.fixed.tolist(), strict=True)
    ):
        return False
    ruled = {frozenset((rule.first, rule.second)): rule for rule in problem.pair_rules}
    assert len(ruled) == len(problem.pair_rules)
    cells = [Counter[tuple[int, int]]() for _ in range(count)]
    rows = (
        zip(*(column.tolist() for column in problem.uses), strict=True)
        if problem.uses is not None
        else (
            (v, int(problem.lower[v]), int(problem.upper[v]), 0, int(problem.size[v]))
            for v in range(count)
        )
    )
    for v, lower, upper, begin, end in rows:
        assert int(problem.lower[v]) <= lower < upper <= int(problem.upper[v])
        assert 0 <= begin < end <= int(problem.size[v])
        for time in range(lower, upper):
            cells[v].update((time, offsets[v] + byte) for byte in range(begin, end))
    for u in range(count):
        for v in range(u):
            rule = ruled.get(frozenset((u, v)))
            if rule is None:
                if cells[u] & cells[v]:
                    return False
            elif any(
                low < offsets[rule.second] - offsets[rule.first] < high
                for low, high in rule.forbidden
            ):
                return False
            elif max(_at_one_time(cells[u] & cells[v]), default=0) > rule.shared:
                raise AssertionError("shares more bytes than the rule says")
    return True


def _at_one_time(cells: Counter[tuple[int, int]]) -> list[int]:
    return list(Counter(time for time, _ in cells).values())


@settings(max_examples=150, deadline=None)
@given(packing_problems(most=4, memories=1))
def test_rows_are_legal_exactly_where_their_buffers_are(problem: PackingProblem) -> None:
    problem = replace(problem, memories=(problem.memories[0]._replace(capacity=None),))
    judge = Judge(problem)
    rng = random.Random(len(problem.buffers))
    try:
        groups = group_buffers(problem)
    except UsageError:
        return
    lowered = offset_problem(problem, groups, range(len(groups)), 0)
    rows_problem = lowered.problem
    offsets = np.empty(len(problem.buffers), dtype=np.int64)
    for _ in range(25):
        rows = np.array(
            [rng.randrange(0, HIGHEST, a) for a in rows_problem.alignment.tolist()], dtype=np.int64
        )
        if rows_problem.fixed is not None and rng.random() < 0.9:
            rows = np.where(rows_problem.fixed >= 0, rows_problem.fixed, rows)
        offsets[lowered.buffer] = lowered.buffer_offsets(rows)
        assert lowered.row_offsets(offsets).tolist() == rows.tolist()
        legal = judge.legal([Place(0, offset) for offset in offsets.tolist()])
        assert are_legal(rows_problem, rows.tolist()) == legal
        tops = [o + b.size for o, b in zip(offsets.tolist(), problem.buffers, strict=True)]
        assert (rows + rows_problem.size).max() == max(tops)


@settings(max_examples=100, deadline=None)
@given(packing_problems(most=4, memories=1))
def test_legal_buffer_offsets_have_rows(problem: PackingProblem) -> None:
    """The other direction: nothing legal is lost to alignment or to the rows' first bytes."""
    problem = replace(problem, memories=(problem.memories[0]._replace(capacity=None),))
    try:
        groups = group_buffers(problem)
    except UsageError:
        return
    judge = Judge(problem)
    rng = random.Random(len(problem.buffers))
    lowered = offset_problem(problem, groups, range(len(groups)), 0)
    offsets = np.empty(len(problem.buffers), dtype=np.int64)
    for _ in range(25):
        for group in groups:
            lowest = rng.randrange(HIGHEST) if group.offset is None else group.offset
            for member, distance in zip(group.members, group.distances, strict=True):
                offsets[member] = lowest + distance
        if judge.legal([Place(0, offset) for offset in offsets.tolist()]):
            assert are_legal(lowered.problem, lowered.row_offsets(offsets).tolist())


def lowered_problem(*buffers: Buffer, **stated: object) -> OffsetProblem:
    return offset_problem_of(PackingProblem(buffers, **stated))  # type: ignore[arg-type]


def test_plain_buffers_have_no_uses() -> None:
    """The solvers' fast path."""
    problem = lowered_problem(Buffer("a", 0, 3, 8, 4), Buffer("b", 1, 2, 5, hint=3))
    assert problem.uses is None and problem.fixed is None and problem.pair_rules == ()


def test_a_chain_of_overwrites_is_one_plain_row() -> None:
    problem = lowered_problem(
        Buffer("a", 0, 4, 8),
        Buffer("b", 3, 6, 8),
        Buffer("c", 6, 9, 8),
        Buffer("other", 0, 9, 2),
        colocations=(Colocation("a", "b"), Colocation("c", "b")),
    )
    assert problem.uses is None
    assert (problem.lower[0], problem.upper[0], problem.size[0]) == (0, 9, 8)


def test_gaps_at_the_ends_of_a_lifetime_shorten_it() -> None:
    problem = lowered_problem(Buffer("a", 0, 9, 8, gaps=(Gap(0, 2), Gap(7, 9))))
    assert problem.uses is None and (problem.lower[0], problem.upper[0]) == (2, 7)


def test_a_group_may_begin_below_its_lowest_member() -> None:
    """b is aligned to 16 and lies 4 above a, so that a lies at 12 beyond a multiple of 16."""
    problem = lowered_problem(
        Buffer("a", 0, 1, 2), Buffer("b", 0, 1, 8, 16), colocations=(Colocation("a", "b", 4),)
    )
    assert (problem.alignment[0], problem.size[0]) == (16, 12 + 4 + 8)
    assert problem.uses is not None and problem.uses.begin.tolist() == [12, 16]


def test_rules_that_add_nothing_are_left_out() -> None:
    """Buffers that do not live together overlap anyway."""
    problem = lowered_problem(
        Buffer("a", 0, 2, 8), Buffer("b", 2, 4, 8), overlaps=(Overlap("b", "a", 4),)
    )
    assert problem.pair_rules == ()


def test_an_overlap_forbids_less_and_a_separation_all() -> None:
    buffers = (Buffer("out", 1, 4, 10), Buffer("in", 0, 2, 6))
    (rule,) = lowered_problem(*buffers, overlaps=(Overlap("out", "in", 4),)).pair_rules
    assert (rule.first, rule.second, rule.shared) == (0, 1, 4)
    assert rule.forbidden == ((-6, 6),)
    both = lowered_problem(
        *buffers, overlaps=(Overlap("out", "in", 4),), separations=(Separation("in", "out"),)
    )
    assert [(rule.forbidden, rule.shared) for rule in both.pair_rules] == []
    (rule,) = lowered_problem(
        Buffer("a", 0, 2, 10), Buffer("b", 5, 7, 6), separations=(Separation("a", "b"),)
    ).pair_rules
    assert (rule.forbidden, rule.shared) == (((-6, 10),), 0)


def test_offset_problems_are_about_one_memory() -> None:
    two = PackingProblem((Buffer("a", 0, 1, 8),), (MemorySpace("x"), MemorySpace("y")))
    with pytest.raises(UsageError, match=r"2 memories \(x, y\)"):
        offset_problem_of(two)


def test_numbers_beyond_62_bits_are_refused() -> None:
    """Alignments that are small enough one by one."""
    buffers = tuple(Buffer(f"b{i}", i, i + 1, 1, 3**20) for i in range(40))
    memory = MemorySpace(alignment=2**29)
    with pytest.raises(UsageError, match="'memory' add up to"):
        offset_problem_of(PackingProblem(buffers, (memory,)))
    top = (Buffer("x", 0, 2, 10, offset=2**62 - 1), Buffer("y", 1, 3, 11))
    with pytest.raises(UsageError, match=r"highest fixed offset.*'memory' add up to"):
        offset_problem_of(PackingProblem(top))
    wide = tuple(Buffer(f"b{i}", i, i + 1, 2**56) for i in range(30))
    apart = tuple(
        Separation(one.name, other.name) for one, other in itertools.combinations(wide, 2)
    )
    with pytest.raises(UsageError, match=r"separations and overlaps.*'memory' add up to"):
        offset_problem_of(PackingProblem(wide, separations=apart))


def test_thousands_of_views_of_one_buffer_are_one_rectangle() -> None:
    views = [(time, time + 1_000, time, time + 64) for time in range(9_000)]
    assert disjoint([*views, (0, 10_000, 0, 10_000)]) == [(0, 10_000, 0, 10_000)]


def test_bytes_in_use_count_once() -> None:
    """Colocated buffers share theirs; of an overlap the extent counts for one of the two."""
    colocated = lowered_problem(
        Buffer("a", 0, 4, 8), Buffer("b", 2, 6, 8), colocations=(Colocation("a", "b", 2),)
    )
    assert live_bytes(colocated) == 10
    overlapping = lowered_problem(
        Buffer("out", 1, 4, 10), Buffer("in", 0, 2, 6), overlaps=(Overlap("out", "in", 4),)
    )
    assert live_bytes(overlapping) == 12
