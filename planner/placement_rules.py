"""Rules about bytes: placements one by one, overlaps, overwriting in place. Used by the checker."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from planner.graph import StorageKind
from planner.plans import addresses_of, part_of
from planner.violation import Violation, ViolationKind, operator_name, part_fault, part_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from planner.graph import Graph
    from planner.plans import ByteRange, InPlace, Placement, Plan
    from planner.target import Target

_MOST_OVERLAPS = 1_000
_LARGEST = 1 << 53


def constant_violations(graph: Graph, target: Target) -> list[Violation]:
    """Require room for the constants."""
    capacity = target.memory(target.constant_memory).capacity_bytes
    if capacity is None or graph.constant_bytes <= capacity:
        return []
    text = (
        f"the constants need {graph.constant_bytes:,} bytes of {target.constant_memory}, which "
        f"has {capacity:,}"
    )
    return [Violation(ViolationKind.CAPACITY, text)]


def placement_violations(
    graph: Graph, target: Target, plan: Plan
) -> tuple[list[Placement], list[Violation]]:
    """Judge each placement by itself. Return those that can be examined further."""
    steps, room = len(plan.order), _room(graph, target)
    memories = {memory.name: memory for memory in target.memories}
    good: list[Placement] = []
    violations: list[Violation] = []
    for placement in plan.placements:
        index, where, offset, start, end, part = placement
        if not 0 <= index < len(graph.storages):
            text = f"a placement names storage {index:,}; there are {len(graph.storages):,}"
            violations.append(Violation(ViolationKind.UNKNOWN, text, start))
            continue
        storage = graph.storages[index]
        found: list[tuple[ViolationKind, str]] = []
        if storage.kind is StorageKind.CONSTANT:
            found.append((ViolationKind.CONSTANT, "is a constant and has no placement"))
        if where not in memories:
            found.append((ViolationKind.UNKNOWN, f"is placed in {where!r}, which does not exist"))
        elif not memories[where].writable:
            found.append((ViolationKind.READ_ONLY, f"is placed in {where}, which is not writable"))
        if not 0 <= start < end <= steps:
            found.append(
                (
                    ViolationKind.LIFETIME,
                    f"is placed in steps [{start:,}, {end:,}); the plan has steps [0, {steps:,})",
                )
            )
        fault = part_fault(part, storage.size_bytes)
        if fault:
            found.append((ViolationKind.PART, f"is placed in {where} in part: {fault}"))
        usable = not found and 0 <= offset <= _LARGEST
        if where in memories and not fault:
            held = addresses_of(placement, storage.size_bytes)
            found += _byte_range(offset, held, memories[where].alignment_bytes, where, room[where])
        violations += [
            Violation(kind, f"{storage.name} {text}", start, (index,)) for kind, text in found
        ]
        if usable:
            good.append(placement)
    return good, violations


def _byte_range(
    offset: int, held: ByteRange, alignment: int, where: str, room: int | None
) -> list[tuple[ViolationKind, str]]:
    found = []
    if offset % alignment:
        text = f"lies at byte {offset:,} of {where}, not a multiple of {alignment:,}"
        found.append((ViolationKind.ALIGNMENT, text))
    limit = _LARGEST if room is None else room
    if offset < 0 or held.end > limit:
        text = f"lies at bytes [{held.begin:,}, {held.end:,}) of {where}, which has {limit:,}"
        found.append((ViolationKind.CAPACITY, text))
    return found


def _room(graph: Graph, target: Target) -> dict[str, int | None]:
    """Bytes of each memory that placements may use; None without limit."""
    room = {memory.name: memory.capacity_bytes for memory in target.memories}
    capacity = room[target.constant_memory]
    if capacity is not None:
        room[target.constant_memory] = max(0, capacity - graph.constant_bytes)
    return room


def duplicate_violations(graph: Graph, placements: Sequence[Placement]) -> list[Violation]:
    """Allow each byte of a storage once per memory and step, and all at one offset.

    Placements enter in the order of their starts. Those still held are disjoint parts, sorted, so
    a new one can touch only its neighbours.
    """
    violations = []
    held: dict[tuple[int, str], list[tuple[ByteRange, Placement]]] = {}
    for placement in sorted(placements, key=lambda p: (p.start, p.end)):
        storage = graph.storages[placement.storage]
        part = part_of(placement, storage.size_bytes)
        others = held.setdefault((placement.storage, placement.memory), [])
        others[:] = [other for other in others if other[1].end > placement.start]
        at = bisect_left(others, part, key=lambda other: other[0])
        near = [i for i in (at - 1, at) if 0 <= i < len(others)]
        # An empty storage has no bytes, but no second placement either.
        twice = [i for i in near if others[i][0].intersects(part) or others[i][0] == part]
        if twice:
            before = others[twice[0]][1]
            violations.append(
                Violation(
                    ViolationKind.DUPLICATE,
                    f"{part_name(graph, placement)} is placed twice in "
                    f"{placement.memory}: in steps [{before.start}, {before.end}) and "
                    f"[{placement.start}, {placement.end})",
                    placement.start,
                    (placement.storage,),
                )
            )
            if placement.end > before.end:
                others[twice[0]] = (others[twice[0]][0], placement)
            continue
        if others and others[0][1].offset != placement.offset:
            violations.append(
                Violation(
                    ViolationKind.PART,
                    f"step {placement.start}: parts of {storage.name} in {placement.memory} are "
                    f"placed for a storage at byte {others[0][1].offset:,} and at byte "
                    f"{placement.offset:,}",
                    placement.start,
                    (placement.storage,),
                )
            )
        others.insert(at, (part, placement))
    return violations


def overlap_violations(
    graph: Graph,
    plan: Plan,
    placements: Sequence[Placement],
    exempt: set[tuple[Placement, Placement]],
) -> list[Violation]:
    """Allow two storages to share bytes only where one overwrites the other.

    Parameters
    ----------
    exempt : set of (Placement, Placement)
        Placements of in-place pairs.
    """
    violations = []
    sizes = [storage.size_bytes for storage in graph.storages]
    for first, second in overlapping_pairs(placements, sizes):
        a, b = placements[first], placements[second]
        if a.storage == b.storage or (a, b) in exempt or (b, a) in exempt:
            continue
        step = max(a.start, b.start)
        ranges = " and ".join(
            f"{graph.storages[p.storage].name} [{held.begin:,}, {held.end:,})"
            for p, held in ((p, addresses_of(p, sizes[p.storage])) for p in (a, b))
        )
        where = f"step {step} ({operator_name(graph, plan.order[step])})"
        text = f"{where}: {ranges} overlap in {a.memory}"
        violations.append(Violation(ViolationKind.OVERLAP, text, step, (a.storage, b.storage)))
        if len(violations) == _MOST_OVERLAPS:
            break
    return violations


def overlapping_pairs(
    placements: Sequence[Placement], sizes: Sequence[int]
) -> Iterable[tuple[int, int]]:
    """Yield the pairs of placements that share a byte of a memory during some step.

    Sorted by start, the placements that begin before a given one ends follow it in one run; only
    their byte ranges remain to be compared.

    Parameters
    ----------
    placements : sequence of Placement
        With non-empty lifetimes and offsets in [0, 2^53].
    sizes : sequence of int
        Bytes per storage; empty ones overlap nothing.

    Yields
    ------
    (int, int)
        Positions in ``placements``.
    """
    groups: dict[str, list[int]] = {}
    for position, placement in enumerate(placements):
        if sizes[placement.storage]:
            groups.setdefault(placement.memory, []).append(position)
    for group in groups.values():
        group.sort(key=lambda i: placements[i].start)
        start = np.array([placements[i].start for i in group], dtype=np.int64)
        end = np.array([placements[i].end for i in group], dtype=np.int64)
        held = [addresses_of(placements[i], sizes[placements[i].storage]) for i in group]
        lower = np.array([addresses.begin for addresses in held], dtype=np.int64)
        upper = np.array([addresses.end for addresses in held], dtype=np.int64)
        run_end = np.searchsorted(start, end)
        for at, last in enumerate(run_end.tolist()):
            run = slice(at + 1, last)
            for hit in np.flatnonzero((lower[run] < upper[at]) & (lower[at] < upper[run])).tolist():
                yield group[at], group[at + 1 + hit]


def in_place_violations(
    graph: Graph, plan: Plan, placements: Sequence[Placement]
) -> tuple[list[InPlace], set[tuple[Placement, Placement]], list[Violation]]:
    """Judge the in-place pairs.

    Returns
    -------
    list of InPlace
        The legal ones.
    set of (Placement, Placement)
        Placements of their outputs and inputs, which may share bytes.
    list of Violation
    """
    step_of = {operator: step for step, operator in enumerate(plan.order)}
    starting: dict[tuple[int, int], list[Placement]] = {}
    ending: dict[tuple[int, str, int], list[Placement]] = {}
    for placement in placements:
        starting.setdefault((placement.storage, placement.start), []).append(placement)
        ending.setdefault((placement.storage, placement.memory, placement.end), []).append(
            placement
        )
    legal: list[InPlace] = []
    exempt: set[tuple[Placement, Placement]] = set()
    violations: list[Violation] = []
    used: set[int] = set()
    for pair in plan.in_place:
        if not _known_pair(graph, pair):
            text = f"in-place pair {tuple(pair)} names an operator or storage that does not exist"
            violations.append(Violation(ViolationKind.UNKNOWN, text))
            continue
        step = step_of[pair.operator]
        written, dying = graph.storages[pair.output], graph.storages[pair.input]
        shared = [
            (placement, under)
            for placement in starting.get((pair.output, step), ())
            for under in ending.get((pair.input, placement.memory, step + 1), ())
        ]
        aligned = [(a, b) for a, b in shared if a.offset == b.offset]
        reason = _in_place_fault(graph, pair, step_of)
        if pair.operator in used:
            reason = "the operator has another in-place pair already"
        elif not reason and written.size_bytes and not aligned:
            reason = (
                f"they are at different offsets of {shared[0][0].memory}"
                if shared
                else "their placements do not share exactly that step"
            )
        used.add(pair.operator)
        if reason:
            text = (
                f"step {step} ({operator_name(graph, pair.operator)}): {written.name} cannot be "
                f"written over {dying.name}: {reason}"
            )
            storages = (pair.output, pair.input)
            violations.append(Violation(ViolationKind.IN_PLACE, text, step, storages))
        else:
            legal.append(pair)
            exempt.update(aligned)
    return legal, exempt, violations


def _known_pair(graph: Graph, pair: InPlace) -> bool:
    storages = len(graph.storages)
    return (
        0 <= pair.operator < len(graph.operators)
        and 0 <= pair.output < storages
        and 0 <= pair.input < storages
    )


def _in_place_fault(graph: Graph, pair: InPlace, step_of: Mapping[int, int]) -> str:
    """Return why the graph and the order forbid an in-place pair; empty if they allow it."""
    node = graph.operators[pair.operator]
    over, under = graph.storages[pair.output], graph.storages[pair.input]
    allowed = {
        (graph.tensors[option.output].storage, graph.tensors[option.input].storage)
        for option in node.in_place
    }
    if (pair.output, pair.input) not in allowed:
        return f"{node.type} does not allow it"
    if under.kind is not StorageKind.ACTIVATION or under.is_output:
        return "it is a graph input, a graph output or a constant"
    if over.size_bytes != under.size_bytes:
        return f"they have {over.size_bytes:,} and {under.size_bytes:,} bytes"
    last = max(step_of[user] for user in graph.storage_users.row(pair.input).tolist())
    if last > step_of[pair.operator]:
        return f"it is still needed at step {last}"
    return ""
