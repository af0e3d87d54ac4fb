"""Colocated buffers as rigid groups, and where in a memory a group may begin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import UsageError
from planner.packing.problem import LIMIT, combined_alignment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.packing.problem import PackingProblem


class Group(NamedTuple):
    """Buffers at given distances from each other, in one memory. Most groups are one buffer.

    Attributes
    ----------
    members : tuple of int
        Buffers, ascending.
    distances : tuple of int
        Bytes from the start of the lowest member to that of each, at least 0.
    memories : tuple of int
        Memories it may lie in, the one that displaces the fewest bytes first.
    displaced : tuple of int
        Sizes of the members that prefer another memory, for each of ``memories``.
    offset : int or None
        Fixed offset of the lowest member.
    """

    members: tuple[int, ...]
    distances: tuple[int, ...]
    memories: tuple[int, ...]
    displaced: tuple[int, ...]
    offset: int | None


class Congruence(NamedTuple):
    """A group begins at multiples of ``alignment``; its lowest member ``lead`` bytes above that."""

    alignment: int
    lead: int


def group_buffers(problem: PackingProblem) -> tuple[Group, ...]:
    """Join colocated buffers, transitively; every buffer is in one group.

    Raises
    ------
    UsageError
        If distances, alignments, fixed offsets, memories or separations contradict each other.
    """
    joined = _joined(problem)
    whoever = {buffer.memories: index for index, buffer in enumerate(problem.buffers)}
    allowed = {names: problem.allowed_memories(index) for names, index in whoever.items()}
    groups = []
    for index, buffer in enumerate(problem.buffers):
        found = joined.get(index)
        if found is None and buffer.offset is None:
            memories = allowed[buffer.memories]
            others = len(memories) - 1
            displaced = (0, *[buffer.size] * others) if others else (0,)
            groups.append(Group((index,), (0,), memories, displaced, None))
        elif found is None:
            groups.append(_group(problem, (index,), (0,)))
        elif found[0][0] == index:
            groups.append(_group(problem, *found))
    _require_separable(problem, groups)
    return tuple(groups)


def _joined(problem: PackingProblem) -> dict[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return for each colocated buffer all members of its group and their distances."""
    if not problem.colocations:
        return {}
    components = _Components(len(problem.buffers))
    for first, second, distance in problem.colocations:
        a, b = problem.index[first], problem.index[second]
        known = components.join(a, b, distance)
        if known != distance:
            raise UsageError(
                f"colocations contradict each other: one puts {second!r} {distance:,} bytes above "
                f"{first!r}, others put it {known:,} bytes above."
            )
    return {
        member: (members, distances)
        for members, distances in components.rows()
        if len(members) > 1
        for member in members
    }


def _group(problem: PackingProblem, members: tuple[int, ...], distances: tuple[int, ...]) -> Group:
    offset = _fixed_offset(problem, members, distances)
    memories = _memories(problem, members, distances, offset)
    displaced = [_displaced_bytes(problem, members, memory) for memory in memories]
    ranked = sorted(range(len(memories)), key=displaced.__getitem__)
    return Group(
        members,
        distances,
        tuple(memories[rank] for rank in ranked),
        tuple(displaced[rank] for rank in ranked),
        offset,
    )


def congruence(problem: PackingProblem, group: Group, memory: int) -> Congruence:
    """Return where in a memory that it may lie in a group may begin.

    Raises
    ------
    UsageError
        If the alignments multiply to more than 62 bits.
    """
    if len(group.members) == 1:
        buffer = problem.buffers[group.members[0]]
        combined = Congruence(combined_alignment(buffer, problem.memories[memory]), 0)
    else:
        found = _combined(problem, group.members, group.distances, memory)
        assert found is not None, "group_buffers keeps no memory in which alignments contradict"
        combined = found
    if combined.alignment >= LIMIT:
        raise UsageError(
            f"{_named(problem, group.members)}: the alignments in memory "
            f"{problem.memories[memory].name!r} multiply to {combined.alignment:,} bytes; solvers "
            "count in 62 bits."
        )
    return combined


class _Components:
    """Union-find over buffers that knows the distance of each from its root."""

    def __init__(self, count: int) -> None:
        self._root = list(range(count))
        self._above = [0] * count
        self._rank = [0] * count

    def _find(self, buffer: int) -> tuple[int, int]:
        path = []
        while self._root[buffer] != buffer:
            path.append(buffer)
            buffer = self._root[buffer]
        above = 0
        for node in reversed(path):
            above += self._above[node]
            self._root[node], self._above[node] = buffer, above
        return buffer, above

    def join(self, first: int, second: int, distance: int) -> int:
        """Put ``second`` that far above ``first``; return how far it is, which may differ."""
        (a, above_a), (b, above_b) = self._find(first), self._find(second)
        if a == b:
            return above_b - above_a
        # start(b) - start(a), roots
        gap = above_a + distance - above_b
        if self._rank[a] < self._rank[b]:
            a, b, gap = b, a, -gap
        self._root[b], self._above[b] = a, gap
        self._rank[a] += self._rank[a] == self._rank[b]
        return distance

    def rows(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Members and their distances from the lowest, by first member."""
        rows: dict[int, tuple[list[int], list[int]]] = {}
        for buffer in range(len(self._root)):
            root, above = self._find(buffer)
            members, starts = rows.setdefault(root, ([], []))
            members.append(buffer)
            starts.append(above)
        return [
            (tuple(members), tuple(start - lowest for start in starts))
            for members, starts in rows.values()
            for lowest in [min(starts)]
        ]


def _fixed_offset(
    problem: PackingProblem, members: Sequence[int], distances: Sequence[int]
) -> int | None:
    """Return where the fixed members put the lowest one."""
    lowest = None
    first = (0, 0)
    for member, distance in zip(members, distances, strict=True):
        buffer = problem.buffers[member]
        if buffer.offset is None:
            continue
        if buffer.offset < distance:
            below = problem.buffers[members[distances.index(0)]].name
            raise UsageError(
                f"buffer {buffer.name!r} is fixed at {buffer.offset:,}; {below!r}, which is "
                f"colocated {distance:,} bytes below it, would begin below 0."
            )
        if lowest is None:
            lowest, first = buffer.offset - distance, (member, distance)
        elif lowest != buffer.offset - distance:
            fixed = problem.buffers[first[0]]
            raise UsageError(
                f"buffers {fixed.name!r} and {buffer.name!r} are fixed at {fixed.offset:,} and "
                f"{buffer.offset:,}, but colocations put the second {distance - first[1]:,} bytes "
                "above the first."
            )
    return lowest


def _memories(
    problem: PackingProblem,
    members: Sequence[int],
    distances: Sequence[int],
    offset: int | None,
) -> tuple[int, ...]:
    """Return the memories that all members may lie in and whose alignment they can keep."""
    first = members[0]
    allowed = problem.allowed_memories(first)
    for member in members[1:]:
        others = problem.allowed_memories(member)
        both = tuple(memory for memory in allowed if memory in others)
        if not both:
            names = [
                ", ".join(problem.memories[memory].name for memory in memories)
                for memories in (allowed, others)
            ]
            raise UsageError(
                f"{_named(problem, members)} are colocated; {problem.buffers[member].name!r} may "
                f"lie in {names[1]}, the others in {names[0]}: they have no memory in common."
            )
        allowed = both
    aligned = tuple(
        memory
        for memory in allowed
        if (found := _combined(problem, members, distances, memory)) is not None
        and (offset is None or offset % found.alignment == found.lead)
    )
    if not aligned:
        raise UsageError(_misaligned(problem, members, distances, allowed[0]))
    return aligned


def _combined(
    problem: PackingProblem, members: Sequence[int], distances: Sequence[int], memory: int
) -> Congruence | None:
    """Combine ``lowest + distance = 0 (mod alignment)`` of all members, None if impossible."""
    known: Congruence | None = Congruence(1, 0)
    space = problem.memories[memory]
    for member, distance in zip(members, distances, strict=True):
        known = _narrowed(known, distance, combined_alignment(problem.buffers[member], space))
        if known is None:
            break
    return known


def _narrowed(known: Congruence, distance: int, alignment: int) -> Congruence | None:
    """Keep what makes ``lowest + distance`` a multiple of an alignment (Chinese remainders)."""
    modulus, residue = known
    common = math.gcd(modulus, alignment)
    missing = -distance - residue
    if missing % common:
        return None
    coprime = alignment // common
    steps = missing // common * pow(modulus // common, -1, coprime) % coprime
    return Congruence(modulus * coprime, residue + modulus * steps)


def _misaligned(
    problem: PackingProblem, members: Sequence[int], distances: Sequence[int], memory: int
) -> str:
    """Say which members cannot all be aligned in a memory."""
    space = problem.memories[memory]
    where = f" in memory {space.name!r}, whose alignment is {space.alignment:,}"
    where = where if space.alignment > 1 else ""
    known = Congruence(1, 0)
    for later, (member, distance) in enumerate(zip(members, distances, strict=True)):
        second = problem.buffers[member]
        alignment = combined_alignment(second, space)
        narrowed = _narrowed(known, distance, alignment)
        if narrowed is not None:
            known = narrowed
            continue
        for earlier in range(later):
            first = problem.buffers[members[earlier]]
            gap = distance - distances[earlier]
            other = combined_alignment(first, space)
            if gap % math.gcd(alignment, other):
                return (
                    f"buffers {first.name!r} and {second.name!r} are colocated {gap:,} bytes apart "
                    f"and aligned to {other:,} and {alignment:,}{where}: they cannot both be "
                    "aligned."
                )
    fixed = next(i for i in members if problem.buffers[i].offset is not None)
    buffer = problem.buffers[fixed]
    if len(members) == 1:
        return f"buffer {buffer.name!r} is fixed at {buffer.offset:,}{where}: it is not aligned."
    return (
        f"buffer {buffer.name!r} is fixed at {buffer.offset:,}: not all of the buffers colocated "
        f"with it, {_named(problem, [m for m in members if m != fixed])}, are aligned then{where}."
    )


def _displaced_bytes(problem: PackingProblem, members: Sequence[int], memory: int) -> int:
    if len(problem.memories) == 1:
        return 0
    return sum(
        problem.buffers[member].size
        for member in members
        if problem.allowed_memories(member)[0] != memory
    )


def _require_separable(problem: PackingProblem, groups: Sequence[Group]) -> None:
    """Refuse separations of buffers that colocations put on the same bytes."""
    if not problem.separations or not problem.colocations:
        return
    place = {
        member: (index, distance)
        for index, group in enumerate(groups)
        for member, distance in zip(group.members, group.distances, strict=True)
    }
    for first, second in problem.separations:
        a, b = problem.index[first], problem.index[second]
        (group_a, start_a), (group_b, start_b) = place[a], place[b]
        if group_a != group_b:
            continue
        end_a, end_b = start_a + problem.buffers[a].size, start_b + problem.buffers[b].size
        if start_a < end_b and start_b < end_a:
            raise UsageError(
                f"a separation keeps {first!r} and {second!r} apart, but colocations put "
                f"{min(end_a, end_b) - max(start_a, start_b):,} bytes of them on each other."
            )


def _named(problem: PackingProblem, members: Sequence[int]) -> str:
    names = [repr(problem.buffers[member].name) for member in members[:4]]
    if len(members) > 4:
        names.append(f"{len(members) - 4:,} more")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
