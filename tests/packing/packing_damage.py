"""Legal packings with every kind of constraint, and ways to damage them.

A damage takes a legal case and returns the damaged one with the kind of violation that must be
reported, or None where the case offers nothing to damage.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from planner.packing.checker import PackingViolationKind
from planner.packing.problem import (
    LIMIT,
    Buffer,
    Colocation,
    Gap,
    MemorySpace,
    Overlap,
    Packing,
    PackingProblem,
    Separation,
)

from .oracle import Judge, Place, cells, places_of

K = PackingViolationKind


class Case(NamedTuple):
    problem: PackingProblem
    packing: Packing


Damage = Callable[[Case, random.Random], tuple[Case, PackingViolationKind] | None]


def legal_case(seed: int, count: int) -> Case:
    """Throw buffers into two memories, keep those that fall free, and constrain what lies there."""
    rng = random.Random(seed)
    memories = (MemorySpace("near", 40, 2), MemorySpace("far", 60))
    buffers: list[Buffer] = []
    places: list[Place] = []
    taken: list[set[tuple[int, int]]] = [set(), set()]
    while len(buffers) < count:
        lower, size = rng.randrange(20), rng.randint(2, 12)
        upper = lower + rng.randint(2, 10)
        gaps: tuple[Gap, ...] = ()
        if rng.random() < 0.5 and upper - lower > 3:
            window = (1, size) if rng.random() < 0.5 else None
            gaps = (Gap(lower + 1, upper - 1, window),)
        alignment = rng.choice((1, 2, 4))
        place = Place(rng.randrange(2), 4 * rng.randrange(15))
        if place.offset + size > (memories[place.memory].capacity or 0):
            continue
        memory = memories[place.memory].name
        buffer = Buffer(
            f"b{len(buffers)}",
            lower,
            upper,
            size,
            alignment,
            gaps,
            place.offset if rng.random() < 0.2 else None,
            None,
            (memory,) if rng.random() < 0.4 else (),
        )
        bytes_of = {(time, place.offset + byte) for time, byte in cells(buffer)}
        if bytes_of & taken[place.memory]:
            if rng.random() < 0.99:
                continue
            break
        taken[place.memory] |= bytes_of
        buffers.append(buffer)
        places.append(place)
    problem = with_relations(PackingProblem(tuple(buffers), memories), places, rng)
    packing = Packing(
        np.array([place.memory for place in places], dtype=np.int32),
        np.array([place.offset for place in places], dtype=np.int64),
    )
    return Case(problem, packing)


def with_relations(
    problem: PackingProblem, places: list[Place], rng: random.Random
) -> PackingProblem:
    """State colocations, separations and overlaps that hold of the places."""
    count = len(places)
    colocations, separations, overlaps = [], [], []
    for _ in range(count):
        u, v = rng.sample(range(count), 2)
        if places[u].memory != places[v].memory:
            continue
        one, other = problem.buffers[u], problem.buffers[v]
        kind = rng.randrange(3)
        if kind == 0 and rng.random() < 0.3:
            distance = places[v].offset - places[u].offset
            colocations.append(Colocation(one.name, other.name, distance))
        elif kind == 1 and not bytes_at(one, places[u]) & bytes_at(other, places[v]):
            separations.append(Separation(one.name, other.name))
        elif kind == 2:
            overlaps.append(Overlap(one.name, other.name, rng.randint(0, one.size)))
    return PackingProblem(
        problem.buffers,
        problem.memories,
        tuple(colocations),
        tuple(separations),
        tuple(overlaps),
    )


def bytes_at(buffer: Buffer, place: Place) -> set[int]:
    return set(range(place.offset, place.offset + buffer.size))


def legal_cases(count: int) -> Iterator[Case]:
    for seed in range(count):
        yield legal_case(seed, 4 + seed % 12)


def moved(case: Case, index: int, *, memory: int | None = None, offset: int | None = None) -> Case:
    memories, offsets = case.packing.memory.copy(), case.packing.offset.copy()
    if memory is not None:
        memories[index] = memory
    if offset is not None:
        offsets[index] = offset
    return case._replace(packing=Packing(memories, offsets))


def changed(case: Case, index: int, **fields: object) -> Case:
    buffers = list(case.problem.buffers)
    buffers[index] = buffers[index]._replace(**fields)
    return case._replace(problem=replace(case.problem, buffers=tuple(buffers)))


def drop_an_entry(case: Case, rng: random.Random):
    del rng
    return case._replace(packing=Packing(case.packing.memory, case.packing.offset[:-1])), K.ENTRIES


def add_an_entry(case: Case, rng: random.Random):
    del rng
    longer = np.append(case.packing.memory, np.int32(0))
    return case._replace(packing=Packing(longer, case.packing.offset)), K.ENTRIES


def give_fractions(case: Case, rng: random.Random):
    del rng
    halves = case.packing.offset + 0.5
    return case._replace(packing=Packing(case.packing.memory, halves)), K.ENTRIES


def name_an_unknown_memory(case: Case, rng: random.Random):
    index = rng.randrange(len(case.problem.buffers))
    return moved(case, index, memory=rng.choice((-1, 2, 2**31 - 1))), K.MEMORY


def leave_the_allowed_memories(case: Case, rng: random.Random):
    bound = [i for i, buffer in enumerate(case.problem.buffers) if buffer.memories]
    if not bound:
        return None
    index = rng.choice(bound)
    return moved(case, index, memory=1 - int(case.packing.memory[index])), K.MEMORY


def go_below_zero(case: Case, rng: random.Random):
    index = rng.randrange(len(case.problem.buffers))
    return moved(case, index, offset=-case.problem.buffers[index].alignment), K.OFFSET


def go_beyond_counting(case: Case, rng: random.Random):
    index = rng.randrange(len(case.problem.buffers))
    return moved(case, index, offset=rng.choice((LIMIT, 2**63 - 1))), K.OFFSET


def miss_the_buffers_alignment(case: Case, rng: random.Random):
    index = rng.randrange(len(case.problem.buffers))
    offset = int(case.packing.offset[index])
    alignment = next(a for a in (3, 5, 7, 11, 64) if offset % a or a == 64)
    return (
        (changed(case, index, alignment=alignment, offset=None), K.ALIGNMENT)
        if (offset % alignment)
        else None
    )


def miss_the_memorys_alignment(case: Case, rng: random.Random):
    near = np.flatnonzero(case.packing.memory == 0).tolist()
    if not near:
        return None
    index = rng.choice(near)
    free = changed(case, index, alignment=1, offset=None)
    return moved(free, index, offset=int(case.packing.offset[index]) + 1), K.ALIGNMENT


def leave_the_fixed_offset(case: Case, rng: random.Random):
    fixed = [i for i, buffer in enumerate(case.problem.buffers) if buffer.offset is not None]
    if not fixed:
        return None
    index = rng.choice(fixed)
    return moved(case, index, offset=int(case.packing.offset[index]) + 4), K.FIXED


def reach_beyond_the_capacity(case: Case, rng: random.Random):
    index = rng.randrange(len(case.problem.buffers))
    space = case.problem.memories[int(case.packing.memory[index])]
    end = int(case.packing.offset[index]) + case.problem.buffers[index].size
    memories = tuple(
        memory._replace(capacity=end - 1) if memory is space else memory
        for memory in case.problem.memories
    )
    return case._replace(problem=replace(case.problem, memories=memories)), K.CAPACITY


def part_the_colocated(case: Case, rng: random.Random):
    if not case.problem.colocations:
        return None
    colocation = rng.choice(case.problem.colocations)
    index = case.problem.index[rng.choice(colocation[:2])]
    if rng.random() < 0.5:
        return moved(case, index, memory=1 - int(case.packing.memory[index])), K.COLOCATION
    return moved(case, index, offset=int(case.packing.offset[index]) + 4), K.COLOCATION


def join_the_separate(case: Case, rng: random.Random):
    if not case.problem.separations:
        return None
    first, second = (case.problem.index[n] for n in rng.choice(case.problem.separations))
    at = places_of(case.packing)[first]
    return moved(case, second, memory=at.memory, offset=at.offset), K.SEPARATION


def _shares(case: Case, first: int, second: int) -> bool:
    places = places_of(case.packing)
    return not Judge(replace(case.problem, separations=(), colocations=())).together(
        first, places[first], second, places[second]
    )


def _colocated(case: Case) -> set[str]:
    return {name for colocation in case.problem.colocations for name in colocation[:2]}


def lay_one_on_another(case: Case, rng: random.Random):
    first, second = rng.sample(range(len(case.problem.buffers)), 2)
    at = places_of(case.packing)[first]
    mutant = moved(case, second, memory=at.memory, offset=at.offset)
    if case.problem.buffers[second].name in _colocated(case):
        return None
    return (mutant, K.OVERLAP) if _shares(mutant, first, second) else None


def push_one_into_its_neighbour(case: Case, rng: random.Random):
    """By the least that its alignment allows."""
    index = rng.randrange(len(case.problem.buffers))
    if case.problem.buffers[index].name in _colocated(case):
        return None
    offset = int(case.packing.offset[index]) + rng.choice((-4, 4))
    mutant = moved(case, index, offset=max(offset, 0))
    others = [i for i in range(len(case.problem.buffers)) if i != index]
    return (mutant, K.OVERLAP) if any(_shares(mutant, index, i) for i in others) else None


def live_longer(case: Case, rng: random.Random):
    index = rng.randrange(len(case.problem.buffers))
    buffer = case.problem.buffers[index]
    if buffer.name in _colocated(case):
        return None
    mutant = changed(case, index, lower=buffer.lower - 9, upper=buffer.upper + 9)
    others = [i for i in range(len(case.problem.buffers)) if i != index]
    return (mutant, K.OVERLAP) if any(_shares(mutant, index, i) for i in others) else None


def _with_guest(case: Case, rng: random.Random, byte: int | None) -> tuple[Case, int] | None:
    """Put one byte below a buffer's gap, at the window's first byte or at the given one."""
    gappy = [
        i for i, b in enumerate(case.problem.buffers) if b.gaps and (b.gaps[0].window or byte == 0)
    ]
    if not gappy:
        return None
    index = rng.choice(gappy)
    gap = case.problem.buffers[index].gaps[0]
    place = places_of(case.packing)[index]
    guest = Buffer("guest", gap.lower, gap.upper, 1)
    offset = place.offset + (gap.window[0] if byte is None and gap.window else 0)
    packing = Packing(
        np.append(case.packing.memory, np.int32(place.memory)),
        np.append(case.packing.offset, np.int64(offset)),
    )
    problem = replace(case.problem, buffers=(*case.problem.buffers, guest))
    return Case(problem, packing), index


def close_the_gaps(case: Case, rng: random.Random):
    guested = _with_guest(case, rng, 0)
    return guested and (changed(*guested, gaps=()), K.OVERLAP)


def use_the_window(case: Case, rng: random.Random):
    guested = _with_guest(case, rng, None)
    return guested and (guested[0], K.OVERLAP)


def overlap_by_more_than_allowed(case: Case, rng: random.Random):
    """An output one byte further over its input than its extent."""
    output = Buffer("output", 100, 110, 6)
    source = Buffer("input", 100, 110, 9)
    extent = rng.randint(0, 5)
    problem = replace(
        case.problem,
        buffers=(*case.problem.buffers, output, source),
        overlaps=(*case.problem.overlaps, Overlap("output", "input", extent)),
    )
    allowed = 10 + output.size - extent
    places = [(1, 10), (1, allowed - 1)]
    packing = Packing(
        np.append(case.packing.memory, [p[0] for p in places]).astype(np.int32),
        np.append(case.packing.offset, [p[1] for p in places]).astype(np.int64),
    )
    return Case(problem, packing), K.OVERLAP


DAMAGES: tuple[Damage, ...] = (
    drop_an_entry,
    add_an_entry,
    give_fractions,
    name_an_unknown_memory,
    leave_the_allowed_memories,
    go_below_zero,
    go_beyond_counting,
    miss_the_buffers_alignment,
    miss_the_memorys_alignment,
    leave_the_fixed_offset,
    reach_beyond_the_capacity,
    part_the_colocated,
    join_the_separate,
    lay_one_on_another,
    push_one_into_its_neighbour,
    live_longer,
    close_the_gaps,
    use_the_window,
    overlap_by_more_than_allowed,
)
