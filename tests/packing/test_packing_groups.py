"""Rigid groups: distances, alignments, fixed offsets and memories, against trying all offsets."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import UsageError
from planner.packing.problem import Buffer, Colocation, MemorySpace, PackingProblem, Separation
from solvers.packing.groups import Group, congruence, group_buffers


def groups_of(
    buffers: list[Buffer],
    colocations: list[Colocation],
    memories: tuple[MemorySpace, ...] = (MemorySpace(),),
    separations: tuple[Separation, ...] = (),
) -> tuple[Group, ...]:
    return group_buffers(PackingProblem(tuple(buffers), memories, tuple(colocations), separations))


def test_colocations_join_transitively_and_add_up() -> None:
    names = "abcdef"
    buffers = [Buffer(name, 0, 1, 10) for name in names]
    groups = groups_of(
        buffers, [Colocation("c", "a", 4), Colocation("e", "b", -2), Colocation("e", "c", -8)]
    )
    assert [group.members for group in groups] == [(0, 1, 2, 4), (3,), (5,)]
    assert groups[0].distances == (4, 6, 0, 8)


@st.composite
def colocated(draw: st.DrawFn) -> tuple[list[Buffer], list[Colocation], MemorySpace]:
    alignments = st.sampled_from((1, 1, 2, 3, 4, 6, 8))
    count = draw(st.integers(2, 4))
    buffers = []
    for index in range(count):
        alignment = draw(alignments)
        fixed = alignment * draw(st.integers(0, 6)) if draw(st.integers(0, 3)) == 0 else None
        size = draw(st.integers(1, 5))
        buffers.append(Buffer(f"b{index}", 0, 1, size, alignment, offset=fixed))
    pairs = [
        Colocation(f"b{draw(st.integers(0, index - 1))}", f"b{index}", draw(st.integers(-9, 9)))
        for index in range(1, count)
    ]
    extra = draw(st.booleans())
    if extra:
        pairs.append(Colocation("b0", f"b{count - 1}", draw(st.integers(-9, 9))))
    return buffers, pairs, MemorySpace(alignment=draw(st.sampled_from((1, 1, 2, 3))))


@settings(max_examples=300, deadline=None)
@given(colocated())
def test_a_group_begins_exactly_where_all_its_members_may(
    stated: tuple[list[Buffer], list[Colocation], MemorySpace],
) -> None:
    """Offsets are tried up to twice the least common multiple of everything."""
    buffers, pairs, memory = stated
    index = {buffer.name: i for i, buffer in enumerate(buffers)}
    period = math.lcm(*(buffer.alignment for buffer in buffers), memory.alignment)
    last = max([b.offset or 0 for b in buffers]) + sum(abs(p.distance) for p in pairs) + 2 * period
    legal = []
    for first in range(last):
        starts: dict[int, int] = {0: first}
        for one, other, distance in pairs:
            starts.setdefault(index[other], starts[index[one]] + distance)
        if (
            all(starts[index[o]] - starts[index[f]] == distance for f, o, distance in pairs)
            and all(start >= 0 for start in starts.values())
            and all(
                start % buffers[i].alignment == 0 == start % memory.alignment
                and buffers[i].offset in (None, start)
                for i, start in starts.items()
            )
        ):
            legal.append(tuple(starts[i] for i in range(len(buffers))))
    problem = PackingProblem(tuple(buffers), (memory,), tuple(pairs))
    if not legal:
        with pytest.raises(UsageError):
            group_buffers(problem)
        return
    (group,) = group_buffers(problem)
    alignment, lead = congruence(problem, group, 0)
    assert 0 <= lead < alignment and min(group.distances) == 0
    begins = range(0, last, alignment)
    if group.offset is not None:
        begins = [group.offset - lead]
    possible = {tuple(begin + lead + distance for distance in group.distances) for begin in begins}
    assert {starts for starts in possible if starts[0] < last} == set(legal)


@pytest.mark.parametrize(
    ("buffers", "colocations", "words"),
    [
        (
            [Buffer("a", 0, 1, 8), Buffer("b", 0, 1, 8)],
            [Colocation("a", "b", 16), Colocation("b", "a", 0)],
            "'a' 0 bytes above 'b', others put it -16",
        ),
        (
            [Buffer("a", 0, 1, 8, 64), Buffer("b", 0, 1, 8, 32)],
            [Colocation("a", "b", 16)],
            "'a' and 'b' are colocated 16 bytes apart and aligned to 64 and 32",
        ),
        (
            [Buffer("a", 0, 1, 8, offset=0), Buffer("b", 0, 1, 8, offset=24)],
            [Colocation("a", "b", 16)],
            "'a' and 'b' are fixed at 0 and 24, .* the second 16 bytes above",
        ),
        (
            [Buffer("a", 0, 1, 8), Buffer("b", 0, 1, 8, offset=8)],
            [Colocation("a", "b", 16)],
            "'b' is fixed at 8; 'a', which is colocated 16 bytes below it",
        ),
        (
            [Buffer("a", 0, 1, 8, 32), Buffer("b", 0, 1, 8, offset=24)],
            [Colocation("a", "b", 16)],
            "'b' is fixed at 24: not all of the buffers colocated with it, 'a', are aligned",
        ),
    ],
)
def test_contradictions_name_the_buffers(
    buffers: list[Buffer], colocations: list[Colocation], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        groups_of(buffers, colocations)


def test_members_need_a_memory_in_common() -> None:
    memories = (MemorySpace("sram"), MemorySpace("dram"), MemorySpace("flash"))
    buffers = [
        Buffer("a", 0, 1, 8, memories=("sram",)),
        Buffer("b", 0, 1, 8, memories=("dram", "flash")),
    ]
    with pytest.raises(UsageError, match=r"'a' and 'b' .* 'b' may lie in dram, flash, .* sram"):
        groups_of(buffers, [Colocation("a", "b")], memories)


def test_memories_rank_by_the_bytes_they_displace() -> None:
    memories = (MemorySpace("sram"), MemorySpace("dram"))
    buffers = [
        Buffer("small", 0, 1, 8, memories=("sram", "dram")),
        Buffer("large", 0, 1, 64, memories=("dram", "sram")),
    ]
    (group,) = groups_of(buffers, [Colocation("small", "large")], memories)
    assert (group.memories, group.displaced) == ((1, 0), (8, 64))


def test_a_memory_whose_alignment_breaks_the_distances_is_left_out() -> None:
    memories = (MemorySpace("sram", alignment=64), MemorySpace("dram"))
    buffers = [Buffer("a", 0, 1, 8), Buffer("b", 0, 1, 8)]
    (group,) = groups_of(buffers, [Colocation("a", "b", 32)], memories)
    assert group.memories == (1,)
    with pytest.raises(UsageError, match=r"'a' and 'b' .* in memory 'sram', whose alignment is 64"):
        groups_of(buffers, [Colocation("a", "b", 32)], memories[:1])


def test_a_fixed_offset_has_to_suit_its_memory() -> None:
    aligned = (MemorySpace("sram", alignment=64),)
    with pytest.raises(UsageError, match="'a' is fixed at 96 in memory 'sram', whose alignment"):
        groups_of([Buffer("a", 0, 1, 8, offset=96)], [], aligned)


def test_colocated_buffers_on_the_same_bytes_cannot_be_separated() -> None:
    buffers = [Buffer("a", 0, 1, 8), Buffer("b", 4, 5, 8)]
    apart = (Separation("b", "a"),)
    assert len(groups_of(buffers, [Colocation("a", "b", 8)], separations=apart)) == 1
    with pytest.raises(
        UsageError, match=r"'b' and 'a' apart, .* put 3 bytes of them on each other"
    ):
        groups_of(buffers, [Colocation("a", "b", 5)], separations=apart)


def test_alignments_that_multiply_beyond_62_bits_are_refused() -> None:
    primes = (2147483629, 2147483587, 2147483647)
    buffers = [Buffer(f"b{i}", 0, 1, 8, prime) for i, prime in enumerate(primes)]
    pairs = [Colocation(a.name, b.name) for a, b in itertools.pairwise(buffers)]
    problem = PackingProblem(tuple(buffers), colocations=tuple(pairs))
    (group,) = group_buffers(problem)
    with pytest.raises(UsageError, match=r"'b0', 'b1' and 'b2': the alignments .* 62 bits"):
        congruence(problem, group, 0)
