"""Is a packing legal? Written the plain way, and without any code of a solver.

The rules are those of `planner.packing`. Overlaps of few buffers are found pair by pair; of many,
by the sweep of `planner.packing.sweep`, which the tests hold against the pairs.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import combinations, islice
from typing import TYPE_CHECKING, NamedTuple

from planner.packing.problem import LIMIT, combined_alignment, uses
from planner.packing.sweep import UsedBytes, swept_overlaps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from planner.packing.problem import Packing, PackingProblem

_LISTED = 1_000
# Of so many buffers all pairs are compared in a few hundredths of a second.
_FEW_BUFFERS = 256


class PackingViolationKind(StrEnum):
    """Which rule of `planner.packing` is broken."""

    ENTRIES = "entries"
    """Not one memory and one offset, whole numbers, for every buffer."""
    MEMORY = "memory"
    """A memory that does not exist, or that the buffer may not lie in."""
    OFFSET = "offset"
    """Below 0, or too large to count with."""
    ALIGNMENT = "alignment"
    FIXED = "fixed"
    """Not at its fixed offset."""
    CAPACITY = "capacity"
    COLOCATION = "colocation"
    """Not at the distance asked for, or not in one memory."""
    SEPARATION = "separation"
    """Two that must be separate share bytes."""
    OVERLAP = "overlap"
    """Two share bytes at a time at which both use them."""


class PackingViolation(NamedTuple):
    """One offence of a packing.

    Attributes
    ----------
    kind : PackingViolationKind
    message : str
        One sentence with names and numbers.
    buffers : tuple of int
        Indices of the buffers involved.
    """

    kind: PackingViolationKind
    message: str
    buffers: tuple[int, ...] = ()


class _Place(NamedTuple):
    """Where a buffer lies: memory, first byte and the byte behind its last."""

    memory: int
    begin: int
    end: int


def check_packing(problem: PackingProblem, packing: Packing) -> list[PackingViolation]:
    """Find the offences of a packing against its problem.

    Returns
    -------
    list of PackingViolation
        Empty for a legal packing; the first 1,000 otherwise. What lies nowhere, in an unknown
        memory or at an impossible offset, is not compared with others.
    """
    if fault := _entries_fault(len(problem.buffers), packing):
        return [PackingViolation(PackingViolationKind.ENTRIES, fault)]
    return list(islice(_violations(problem, packing), _LISTED))


def _entries_fault(buffers: int, packing: Packing) -> str:
    for field, column in zip(packing._fields, packing, strict=True):
        if column.shape != (buffers,):
            shape = " x ".join(f"{length:,}" for length in column.shape) or "no"
            return f"the packing has {shape} entries in {field}, the problem {buffers:,} buffers"
        if column.dtype.kind not in "iu":
            return f"the packing's {field} holds {column.dtype} values, not whole numbers"
    return ""


def _violations(problem: PackingProblem, packing: Packing) -> Iterator[PackingViolation]:
    places: list[_Place | None] = []
    # Python's integers, which do not overflow whatever the packing holds.
    for index, (memory, offset) in enumerate(
        zip(packing.memory.tolist(), packing.offset.tolist(), strict=True)
    ):
        found = _impossible(problem, index, memory, offset)
        places.append(
            None if found else _Place(memory, offset, offset + problem.buffers[index].size)
        )
        if found:
            yield found
        else:
            yield from _misplaced(problem, index, memory, offset)
    yield from _colocation_violations(problem, places)
    yield from _separation_violations(problem, places)
    yield from _overlap_violations(problem, places)


def _impossible(
    problem: PackingProblem, index: int, memory: int, offset: int
) -> PackingViolation | None:
    name = problem.buffers[index].name
    if not 0 <= memory < len(problem.memories):
        return PackingViolation(
            PackingViolationKind.MEMORY,
            f"{name} lies in memory number {memory:,}; there are {len(problem.memories):,}",
            (index,),
        )
    if not 0 <= offset < LIMIT:
        where = problem.memories[memory].name
        text = f"{name} lies at offset {offset:,} of {where}, not between 0 and 2^62"
        return PackingViolation(PackingViolationKind.OFFSET, text, (index,))
    return None


def _misplaced(
    problem: PackingProblem, index: int, memory: int, offset: int
) -> Iterator[PackingViolation]:
    """Judge a buffer by itself."""
    buffer, space = problem.buffers[index], problem.memories[memory]
    if buffer.memories and space.name not in buffer.memories:
        text = f"{buffer.name} lies in {space.name}; it may lie in {', '.join(buffer.memories)}"
        yield PackingViolation(PackingViolationKind.MEMORY, text, (index,))
    alignment = combined_alignment(buffer, space)
    if offset % alignment:
        text = (
            f"{buffer.name} lies at offset {offset:,} of {space.name}, not at a multiple of "
            f"{alignment:,}"
        )
        yield PackingViolation(PackingViolationKind.ALIGNMENT, text, (index,))
    if buffer.offset is not None and offset != buffer.offset:
        text = f"{buffer.name} lies at offset {offset:,}, not at its fixed {buffer.offset:,}"
        yield PackingViolation(PackingViolationKind.FIXED, text, (index,))
    end = offset + buffer.size
    if space.capacity is not None and end > space.capacity:
        text = (
            f"{buffer.name} [{offset:,}, {end:,}) ends {end - space.capacity:,} bytes above the "
            f"capacity {space.capacity:,} of {space.name}"
        )
        yield PackingViolation(PackingViolationKind.CAPACITY, text, (index,))


def _colocation_violations(
    problem: PackingProblem, places: list[_Place | None]
) -> Iterator[PackingViolation]:
    for first_name, second_name, distance in problem.colocations:
        first, second = problem.index[first_name], problem.index[second_name]
        below, above = places[first], places[second]
        if below is None or above is None:
            continue
        if below.memory != above.memory:
            where = [problem.memories[place.memory].name for place in (above, below)]
            text = f"lies in {where[0]}, {first_name} in {where[1]}; they must lie in one memory"
        elif above.begin - below.begin != distance:
            text = (
                f"begins at {above.begin:,}, {above.begin - below.begin:,} bytes above "
                f"{first_name} at {below.begin:,}; it must be {distance:,}"
            )
        else:
            continue
        yield PackingViolation(
            PackingViolationKind.COLOCATION, f"{second_name} {text}", (first, second)
        )


def _separation_violations(
    problem: PackingProblem, places: list[_Place | None]
) -> Iterator[PackingViolation]:
    for names in problem.separations:
        pair = (problem.index[names.first], problem.index[names.second])
        first, second = places[pair[0]], places[pair[1]]
        if first is None or second is None or first.memory != second.memory:
            continue
        if first.begin < second.end and second.begin < first.end:
            text = (
                f"{names.first} [{first.begin:,}, {first.end:,}) and {names.second} "
                f"[{second.begin:,}, {second.end:,}) must be separate and share bytes in "
                f"{problem.memories[first.memory].name}"
            )
            yield PackingViolation(PackingViolationKind.SEPARATION, text, pair)


def _overlap_violations(
    problem: PackingProblem, places: list[_Place | None]
) -> Iterator[PackingViolation]:
    group = colocation_groups(problem)
    allowed = _allowed_overlaps(problem, places)
    by_memory: list[list[UsedBytes]] = [[] for _ in problem.memories]
    for index, place in enumerate(places):
        if place is None:
            continue
        by_memory[place.memory] += [
            UsedBytes(lower, upper, place.begin + begin, place.begin + end, index, group[index])
            for lower, upper, begin, end in uses(problem.buffers[index])
        ]
    find = swept_overlaps if len(places) > _FEW_BUFFERS else pairwise_overlaps
    for memory, used in zip(problem.memories, by_memory, strict=True):
        for first, second in find(used, allowed):
            low, high = sorted((first, second), key=lambda u: (u.begin, u.buffer))
            names = [problem.buffers[u.buffer].name for u in (low, high)]
            yield PackingViolation(
                PackingViolationKind.OVERLAP,
                f"{names[0]} [{low.begin:,}, {low.end:,}) and {names[1]} "
                f"[{high.begin:,}, {high.end:,}) overlap in {memory.name} at times "
                f"[{max(low.lower, high.lower):,}, {min(low.upper, high.upper):,})",
                (low.buffer, high.buffer),
            )


def colocation_groups(problem: PackingProblem) -> list[int]:
    """Return for each buffer the smallest index of a buffer that it is colocated with, or its own.

    Whatever a chain of colocations joins is one group.
    """
    group = list(range(len(problem.buffers)))

    def first_of(buffer: int) -> int:
        while group[buffer] != buffer:
            group[buffer] = group[group[buffer]]
            buffer = group[buffer]
        return buffer

    for colocation in problem.colocations:
        one = first_of(problem.index[colocation.first])
        other = first_of(problem.index[colocation.second])
        group[max(one, other)] = min(one, other)
    return [first_of(buffer) for buffer in range(len(group))]


def _allowed_overlaps(problem: PackingProblem, places: list[_Place | None]) -> set[tuple[int, int]]:
    """Return the pairs, ascending, that lie as one of their overlaps allows."""
    allowed = set()
    for names in problem.overlaps:
        output, source = problem.index[names.output], problem.index[names.input]
        above, below = places[source], places[output]
        if above is not None and below is not None and above.begin >= below.end - names.extent:
            allowed.add((min(output, source), max(output, source)))
    return allowed


def pairwise_overlaps(
    used: Iterable[UsedBytes], allowed: set[tuple[int, int]]
) -> Iterator[tuple[UsedBytes, UsedBytes]]:
    """Yield each pair of buffers of one memory that share bytes at a time at which both use them.

    Once a pair, where it shows first. Colocated and ``allowed`` pairs are left out.
    """
    of_buffer: dict[int, list[UsedBytes]] = {}
    for use in used:
        of_buffer.setdefault(use.buffer, []).append(use)
    for one, other in combinations(sorted(of_buffer), 2):
        if of_buffer[one][0].group == of_buffer[other][0].group or (one, other) in allowed:
            continue
        shared = [
            (a, b)
            for a in of_buffer[one]
            for b in of_buffer[other]
            if a.lower < b.upper and b.lower < a.upper and a.begin < b.end and b.begin < a.end
        ]
        if shared:
            yield min(shared, key=lambda pair: max(pair[0].lower, pair[1].lower))
