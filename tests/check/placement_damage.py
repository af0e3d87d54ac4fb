"""Damage to placements: bytes, lifetimes, memories, and storages that have no place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.graph import StorageKind
from planner.plans import ByteRange, Placement, addresses_of

from .damage import Case, Damage, K, has_substitute, with_placement

if TYPE_CHECKING:
    import random


def _any_placement(case: Case, rng: random.Random) -> int | None:
    count = len(case.plan.placements)
    return rng.randrange(count) if count else None


def _needed_placement(case: Case, rng: random.Random) -> int | None:
    placements = case.plan.placements
    found = [i for i, p in enumerate(placements) if not has_substitute(case, p.storage, p.memory)]
    return rng.choice(found) if found else None


def _held(case: Case, placement: Placement) -> ByteRange:
    return addresses_of(placement, case.graph.storages[placement.storage].size_bytes)


def _paired(case: Case, a: Placement, b: Placement) -> bool:
    storages = {a.storage, b.storage}
    return any({p.output, p.input} == storages for p in case.plan.in_place)


def _share_bytes(case: Case, a: Placement, b: Placement) -> bool:
    return _held(case, a).intersects(_held(case, b))


def shift_into_a_neighbour(case: Case, rng: random.Random):
    pairs = [
        (i, b)
        for i, a in enumerate(case.plan.placements)
        for b in case.plan.placements
        if a.memory == b.memory and a.storage != b.storage
        and a.start < b.end and b.start < a.end and not _paired(case, a, b)
    ]  # fmt: skip
    if not pairs:
        return None
    index, neighbour = rng.choice(pairs)
    before = case.plan.placements[index]
    offset = before.offset + _held(case, neighbour).begin - _held(case, before).begin
    kinds = {K.OVERLAP} if offset >= 0 else {K.CAPACITY}
    return with_placement(case, index, offset=offset), kinds


def shift_by_one_alignment_unit(case: Case, rng: random.Random):
    unit = 16
    for index, a in enumerate(case.plan.placements):
        moved = a._replace(offset=a.offset + unit)
        for b in case.plan.placements:
            together = a.memory == b.memory and a.start < b.end and b.start < a.end
            if together and a.storage != b.storage and _share_bytes(case, moved, b):
                return with_placement(case, index, offset=moved.offset), {K.OVERLAP, K.IN_PLACE}
    return None


def misalign(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    if index is None:
        return None
    offset = case.plan.placements[index].offset + rng.randint(1, 15)
    return with_placement(case, index, offset=offset), {K.ALIGNMENT}


def place_outside_the_capacity(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    if index is None:
        return None
    placement = case.plan.placements[index]
    capacity = case.target.memory(placement.memory).capacity_bytes
    assert capacity is not None
    if placement.memory == case.target.constant_memory:
        capacity -= case.graph.constant_bytes
    offset = (capacity - _held(case, placement).end + placement.offset) // 16 * 16 + 16
    return with_placement(case, index, offset=offset), {K.CAPACITY}


def place_below_zero(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    return None if index is None else (with_placement(case, index, offset=-16), {K.CAPACITY})


_LIFETIME_KINDS = {
    K.LIFETIME,
    K.NOT_PLACED,
    K.NOT_LOADED,
    K.OUTPUT,
    K.IN_PLACE,
    K.TRANSFER_SOURCE,
    K.TRANSFER_DESTINATION,
}


def end_a_lifetime_one_step_early(case: Case, rng: random.Random):
    index = _needed_placement(case, rng)
    if index is None:
        return None
    return with_placement(case, index, end=case.plan.placements[index].end - 1), _LIFETIME_KINDS


def begin_a_lifetime_one_step_late(case: Case, rng: random.Random):
    index = _needed_placement(case, rng)
    if index is None:
        return None
    start = case.plan.placements[index].start + 1
    return with_placement(case, index, start=start), _LIFETIME_KINDS


def extend_a_lifetime_into_a_neighbour(case: Case, rng: random.Random):
    for index, a in enumerate(case.plan.placements):
        for b in case.plan.placements:
            if a.memory != b.memory or a is b or not _share_bytes(case, a, b):
                continue
            if a.end == b.start:
                kinds = {K.DUPLICATE} if a.storage == b.storage else {K.OVERLAP}
                return with_placement(case, index, end=a.end + 1), kinds
    return None


def extend_a_lifetime_past_the_end(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    if index is None:
        return None
    return with_placement(case, index, end=len(case.plan.order) + 1), {K.LIFETIME}


def begin_a_lifetime_before_step_zero(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    return None if index is None else (with_placement(case, index, start=-1), {K.LIFETIME})


def reverse_a_lifetime(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    if index is None:
        return None
    placement = case.plan.placements[index]
    changed = with_placement(case, index, start=placement.end, end=placement.start)
    return changed, {K.LIFETIME}


def drop_a_placement(case: Case, rng: random.Random):
    index = _needed_placement(case, rng)
    if index is None:
        return None
    placements = (*case.plan.placements[:index], *case.plan.placements[index + 1 :])
    return case._replace(plan=replace(case.plan, placements=placements)), _LIFETIME_KINDS


def duplicate_a_placement(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    if index is None:
        return None
    second = case.plan.placements[index]
    if rng.random() < 0.5:
        second = second._replace(offset=second.offset + 4096)
    placements = (*case.plan.placements, second)
    return case._replace(plan=replace(case.plan, placements=placements)), {K.DUPLICATE}


def place_in_an_unknown_memory(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    return None if index is None else (with_placement(case, index, memory="tcm"), {K.UNKNOWN})


def place_in_another_memory(case: Case, rng: random.Random):
    index = _needed_placement(case, rng)
    if index is None:
        return None
    names = [m.name for m in case.target.memories if m.name != case.plan.placements[index].memory]
    memory = rng.choice(names)
    kinds = {K.READ_ONLY} if memory == "flash" else _LIFETIME_KINDS | {K.DUPLICATE, K.METRICS}
    return with_placement(case, index, memory=memory), kinds


def place_an_unknown_storage(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    if index is None:
        return None
    storage = rng.choice((-1, len(case.graph.storages)))
    return with_placement(case, index, storage=storage), {K.UNKNOWN}


def place_a_constant(case: Case, rng: random.Random):
    for index, storage in enumerate(case.graph.storages):
        if storage.kind is StorageKind.CONSTANT:
            extra = Placement(index, case.target.nearest.name, 32768, 0, 1)
            placements = (*case.plan.placements, extra)
            return case._replace(plan=replace(case.plan, placements=placements)), {K.CONSTANT}
    return None


PLACEMENT_DAMAGES: tuple[Damage, ...] = (
    shift_into_a_neighbour,
    shift_by_one_alignment_unit,
    misalign,
    place_outside_the_capacity,
    place_below_zero,
    end_a_lifetime_one_step_early,
    begin_a_lifetime_one_step_late,
    extend_a_lifetime_into_a_neighbour,
    extend_a_lifetime_past_the_end,
    begin_a_lifetime_before_step_zero,
    reverse_a_lifetime,
    drop_a_placement,
    duplicate_a_placement,
    place_in_an_unknown_memory,
    place_in_another_memory,
    place_an_unknown_storage,
    place_a_constant,
)
