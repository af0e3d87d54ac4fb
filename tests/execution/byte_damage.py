"""Damage to plans that changes which bytes an operator or the caller finds.

Those of the checker's own mutation test that do, and some more. What is left out there has no
effect on bytes: false labels and metrics, capacities, alignment, superfluous placements and copies,
and what names an operator, a storage or a memory that does not exist, which no executor accepts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.plans import InPlace, Placement, TransferKind, addresses_of

from ..check.damage import Case, Damage, K, has_substitute, with_placement  # noqa: TID252
from ..check.in_place_damage import (  # noqa: TID252
    overwrite_the_other_way_round,
    overwrite_without_saying,
)
from ..check.model_damage import swap_two_dependent_operators  # noqa: TID252
from ..check.move_damage import (  # noqa: TID252
    drop_a_move,
    move_all_but_one_byte,
    move_one_step_early,
    move_one_step_late,
)
from ..check.part_damage import (  # noqa: TID252
    copy_a_byte_less,
    copy_the_other_part,
    place_a_byte_less,
    place_only_a_part,
    reload_a_part_that_was_not_spilled,
)
from ..check.placement_damage import (  # noqa: TID252
    begin_a_lifetime_one_step_late,
    drop_a_placement,
    end_a_lifetime_one_step_early,
    place_in_another_memory,
)
from ..check.transfer_damage import (  # noqa: TID252
    begin_a_copy_one_step_early,
    copy_another_storage,
    copy_the_wrong_way,
    drop_a_transfer,
    end_a_copy_one_step_late,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from planner.plans import ByteRange, Transfer

_OVERLAP = {K.OVERLAP, K.DUPLICATE, K.IN_PLACE, K.PART, K.METRICS}


def _held(case: Case, placement: Placement) -> ByteRange:
    return addresses_of(placement, case.graph.storages[placement.storage].size_bytes)


def _is_paired(case: Case, a: Placement, b: Placement) -> bool:
    storages = {a.storage, b.storage}
    return any({p.output, p.input} == storages for p in case.plan.in_place)


def _hits(case: Case, moved: Placement, b: Placement) -> bool:
    """Whether ``moved`` gets its content while ``b`` is there, on bytes of ``b`` used later."""
    return (
        moved.memory == b.memory
        and moved.storage != b.storage
        and b.start < moved.start < b.end - 1
        and not _is_paired(case, moved, b)
        and not has_substitute(case, b.storage, b.memory)
        and _held(case, moved).intersects(_held(case, b))
    )


def _is_inside(case: Case, placement: Placement) -> bool:
    held = _held(case, placement)
    return held.begin >= 0 and held.end <= case.plan.metrics.arena_bytes[placement.memory]


def _onto_a_neighbour(case: Case, index: int, offsets: Iterable[int]) -> list[Case]:
    """Plans in which that placement lies at one of the offsets, on something that is live."""
    placements = case.plan.placements
    unit = case.target.memory(placements[index].memory).alignment_bytes
    found = []
    for offset in offsets:
        moved = placements[index]._replace(offset=offset - offset % unit)
        if (
            moved.offset >= 0
            and _is_inside(case, moved)
            and any(_hits(case, moved, b) for b in placements)
        ):
            found.append(with_placement(case, index, offset=moved.offset))
    return found


def _shuffled(case: Case, rng: random.Random) -> list[int]:
    return rng.sample(range(len(case.plan.placements)), len(case.plan.placements))


def overlap_two_live_storages(case: Case, rng: random.Random):
    for index in _shuffled(case, rng):
        begin = _held(case, case.plan.placements[index]).begin
        offset = case.plan.placements[index].offset
        found = _onto_a_neighbour(
            case, index, (offset - begin + _held(case, b).begin for b in case.plan.placements)
        )
        if found:
            return rng.choice(found), _OVERLAP
    return None


def shift_an_offset_into_a_live_neighbour(case: Case, rng: random.Random):
    """By a few alignment units, towards either side."""
    for index in _shuffled(case, rng):
        placement = case.plan.placements[index]
        unit = case.target.memory(placement.memory).alignment_bytes
        found = _onto_a_neighbour(
            case, index, (placement.offset + sign * k * unit for k in (1, 2, 3) for sign in (-1, 1))
        )
        if found:
            return rng.choice(found), _OVERLAP
    return None


def move_to_a_wrong_place(case: Case, rng: random.Random):
    """The destination of a move lies on something that is live."""
    moves = [t for t in case.plan.transfers if t.kind is TransferKind.MOVE]
    rng.shuffle(moves)
    for move in moves:
        for index, p in enumerate(case.plan.placements):
            if (p.storage, p.memory, p.start) == (move.storage, move.destination, move.start):
                found = _onto_a_neighbour(case, index, (b.offset for b in case.plan.placements))
                if found:
                    return rng.choice(found), _OVERLAP
    return None


def misplace_a_part(case: Case, rng: random.Random):
    """One of two parts that are together lies elsewhere than the offset of both says."""
    for index in _shuffled(case, rng):
        p = case.plan.placements[index]
        together = [
            q
            for q in case.plan.placements
            if p.part is not None
            and p.memory == case.target.nearest.name
            and (q.storage, q.memory) == (p.storage, p.memory)
            and q is not p
            and q.start < p.end - 1
            and p.start < q.end - 1
        ]
        unit = case.target.memory(p.memory).alignment_bytes
        if together and not has_substitute(case, p.storage, p.memory):
            return with_placement(case, index, offset=p.offset + unit), _OVERLAP
    return None


def shrink_the_arena(case: Case, rng: random.Random):
    arena = dict(case.plan.metrics.arena_bytes)
    name = rng.choice([memory for memory, size in sorted(arena.items()) if size])
    arena[name] -= rng.randint(1, min(arena[name], 64))
    metrics = replace(case.plan.metrics, arena_bytes=arena)
    return case._replace(plan=replace(case.plan, metrics=metrics)), {K.METRICS}


def _without_a_copy(case: Case, rng: random.Random, *kinds: TransferKind):
    found = [
        t
        for t in case.plan.transfers
        if t.kind in kinds and not has_substitute(case, t.storage, t.destination)
    ]
    if not found:
        return None
    dropped = rng.choice(found)
    transfers = tuple(t for t in case.plan.transfers if t is not dropped)
    damaged = case._replace(plan=replace(case.plan, transfers=transfers))
    return damaged, {K.NOT_LOADED, K.OUTPUT}


def drop_a_reload(case: Case, rng: random.Random):
    return _without_a_copy(case, rng, TransferKind.RELOAD)


def drop_a_fetch(case: Case, rng: random.Random):
    return _without_a_copy(case, rng, TransferKind.FETCH)


def drop_a_spill_or_a_store(case: Case, rng: random.Random):
    return _without_a_copy(case, rng, TransferKind.SPILL, TransferKind.STORE)


def move_a_far_copy(case: Case, rng: random.Random):
    """Between the copy out and the copy back the plan changes its mind about where the bytes lie.

    Half-way the farther placement ends and another one begins beside it.
    """
    reloads = [t for t in case.plan.transfers if t.kind is TransferKind.RELOAD]
    rng.shuffle(reloads)
    for reload in reloads:
        for index, p in enumerate(case.plan.placements):
            if (
                (p.storage, p.memory, p.part) == (reload.storage, reload.source, reload.part)
                and p.start < reload.start < p.end
                and not has_substitute(case, reload.storage, reload.destination)
                and not _copied_meanwhile(case, reload)
            ):
                arena = case.plan.metrics.arena_bytes
                offset = -(-arena[p.memory] // 256) * 256
                later = p._replace(start=reload.start, offset=offset)
                damaged = with_placement(case, index, end=reload.start)
                bigger = {**arena, p.memory: offset + _held(case, p).size_bytes + 256}
                plan = replace(
                    damaged.plan,
                    placements=(*damaged.plan.placements, later),
                    metrics=replace(damaged.plan.metrics, arena_bytes=bigger),
                )
                return damaged._replace(plan=plan), {K.NOT_LOADED, K.TRANSFER_DESTINATION}
    return None


def _copied_meanwhile(case: Case, reload: Transfer) -> bool:
    """Whether bytes reach the farther copy at or after the beginning of the reload."""
    return any(
        t.storage == reload.storage and t.destination == reload.source and t.end >= reload.start
        for t in case.plan.transfers
    )


def overwrite_a_source_in_flight(case: Case, rng: random.Random):
    """A result is written over bytes that are just being copied."""
    copies = [
        t for t in case.plan.transfers if t.start < t.end and t.source == case.target.nearest.name
    ]
    rng.shuffle(copies)
    placements = case.plan.placements
    for copy in copies:
        for source in placements:
            if (source.storage, source.memory) != (copy.storage, copy.source) or not (
                source.start < copy.start and source.end >= copy.end
            ):
                continue
            for index, p in enumerate(placements):
                if (
                    p.memory == source.memory
                    and p.storage != source.storage
                    and copy.start <= p.start < copy.end
                    and not _is_paired(case, p, source)
                ):
                    moved = p._replace(offset=source.offset)
                    hits = _held(case, moved).intersects(_held(case, source))
                    if hits and _is_inside(case, moved):
                        return with_placement(case, index, offset=source.offset), _OVERLAP
    return None


def overwrite_in_place_what_is_read_later(case: Case, rng: random.Random):
    """An in-place pair, declared, whose operand another step needs."""
    step_of = {operator: step for step, operator in enumerate(case.plan.order)}
    near = case.target.nearest.name
    for index in _shuffled(case, rng):
        over = case.plan.placements[index]
        maker = {
            case.graph.producer[t]
            for t, tensor in enumerate(case.graph.tensors)
            if tensor.storage == over.storage and case.graph.producer[t] >= 0
        }
        makers = [o for o in maker if step_of[o] == over.start]
        if over.memory != near or over.part is not None or not makers:
            continue
        operands = {case.graph.tensors[t].storage for t in case.graph.operators[makers[0]].inputs}
        for under in case.plan.placements:
            moved = over._replace(offset=under.offset)
            if (
                under.storage in operands
                and under.memory == near
                and under.part is None
                and _hits(case, moved, under)
                and _is_inside(case, moved)
            ):
                damaged = with_placement(case, index, offset=under.offset)
                pairs = (
                    *(p for p in case.plan.in_place if p.output != over.storage),
                    InPlace(makers[0], over.storage, under.storage),
                )
                return damaged._replace(plan=replace(damaged.plan, in_place=pairs)), _OVERLAP
    return None


def _with_a_pair_that_matters_first(case: Case) -> Case | None:
    """One whose result is read, copied or taken after its step."""
    end = {p.storage: p.end for p in case.plan.placements if p.memory == case.target.nearest.name}
    leaves = {t.storage for t in case.plan.transfers}
    pairs = [
        pair
        for pair in case.plan.in_place
        if end[pair.output] > case.plan.order.index(pair.operator) + 1 or pair.output in leaves
    ]
    others = [pair for pair in case.plan.in_place if pair not in pairs]
    if not pairs:
        return None
    return case._replace(plan=replace(case.plan, in_place=(*pairs, *others)))


def forget_an_overwrite(case: Case, rng: random.Random):
    found = _with_a_pair_that_matters_first(case)
    return None if found is None else overwrite_without_saying(found, rng)


def reverse_an_overwrite(case: Case, rng: random.Random):
    found = _with_a_pair_that_matters_first(case)
    return None if found is None else overwrite_the_other_way_round(found, rng)


def place_where_operators_find_nothing(case: Case, rng: random.Random):
    # Operators that may use either memory find it in the other one.
    is_lost = case.target.operands_resident and len(case.target.memories) > 1
    return place_in_another_memory(case, rng) if is_lost else None


BYTE_DAMAGES: tuple[Damage, ...] = (
    overlap_two_live_storages,
    shift_an_offset_into_a_live_neighbour,
    move_to_a_wrong_place,
    misplace_a_part,
    shrink_the_arena,
    drop_a_reload,
    drop_a_fetch,
    drop_a_spill_or_a_store,
    move_a_far_copy,
    overwrite_a_source_in_flight,
    overwrite_in_place_what_is_read_later,
    swap_two_dependent_operators,
    end_a_lifetime_one_step_early,
    begin_a_lifetime_one_step_late,
    drop_a_placement,
    place_where_operators_find_nothing,
    forget_an_overwrite,
    reverse_an_overwrite,
    drop_a_transfer,
    end_a_copy_one_step_late,
    begin_a_copy_one_step_early,
    copy_the_wrong_way,
    copy_another_storage,
    copy_a_byte_less,
    copy_the_other_part,
    reload_a_part_that_was_not_spilled,
    place_a_byte_less,
    place_only_a_part,
    drop_a_move,
    move_one_step_early,
    move_one_step_late,
    move_all_but_one_byte,
)
