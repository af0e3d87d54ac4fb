"""Damage to parts of storages: bytes that do not exist, are missing, or lie elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.plans import ByteRange, TransferKind, part_of

from .damage import Case, Damage, K, has_substitute, replaced, with_placement

if TYPE_CHECKING:
    import random

    from planner.plans import Placement, Transfer


def _size(case: Case, held: Placement | Transfer) -> int:
    return case.graph.storages[held.storage].size_bytes


def _placed_part(case: Case, rng: random.Random) -> int | None:
    """A placement of a part for which no other memory can stand in."""
    found = [
        index
        for index, p in enumerate(case.plan.placements)
        if p.part is not None and not has_substitute(case, p.storage, p.memory)
    ]
    return rng.choice(found) if found else None


def _copied_part(case: Case, rng: random.Random) -> int | None:
    found = [
        index
        for index, t in enumerate(case.plan.transfers)
        if t.part is not None and not has_substitute(case, t.storage, t.destination)
    ]
    return rng.choice(found) if found else None


def _with_copied(case: Case, index: int, part: ByteRange) -> Case:
    transfer = case.plan.transfers[index]._replace(part=part)
    transfers = replaced(case.plan.transfers, index, transfer)
    return case._replace(plan=replace(case.plan, transfers=transfers))


def _without(part: ByteRange, rng: random.Random) -> ByteRange | None:
    """All but one byte, at either end."""
    if part.size_bytes < 2:
        return None
    if rng.random() < 0.5:
        return ByteRange(part.begin + 1, part.end)
    return ByteRange(part.begin, part.end - 1)


def _impossible(size: int, rng: random.Random) -> ByteRange:
    return rng.choice(
        [
            ByteRange(0, size + 1),
            ByteRange(-1, size),
            ByteRange(size, size + 16),
            ByteRange(size // 2, size // 2),
            ByteRange(size, 0),
        ]
    )


def place_bytes_that_do_not_exist(case: Case, rng: random.Random):
    if not case.plan.placements:
        return None
    index = rng.randrange(len(case.plan.placements))
    part = _impossible(_size(case, case.plan.placements[index]), rng)
    return with_placement(case, index, part=part), {K.PART}


def copy_bytes_that_do_not_exist(case: Case, rng: random.Random):
    if not case.plan.transfers:
        return None
    index = rng.randrange(len(case.plan.transfers))
    part = _impossible(_size(case, case.plan.transfers[index]), rng)
    return _with_copied(case, index, part), {K.PART}


def _beside(case: Case, index: int) -> list[Placement]:
    """Other parts of the storage that are in the same memory at some step."""
    own = case.plan.placements[index]
    return [
        p
        for i, p in enumerate(case.plan.placements)
        if i != index and (p.storage, p.memory) == (own.storage, own.memory)
        and p.start < own.end and own.start < p.end
    ]  # fmt: skip


def place_a_part_for_another_offset(case: Case, rng: random.Random):
    index = _placed_part(case, rng)
    if index is None or not _beside(case, index):
        return None
    offset = case.plan.placements[index].offset
    return with_placement(case, index, offset=offset + 4096), {K.PART}


def place_a_byte_twice(case: Case, rng: random.Random):
    index = _placed_part(case, rng)
    beside = [] if index is None else _beside(case, index)
    if index is None or not beside:
        return None
    own, other = case.plan.placements[index].part, rng.choice(beside).part
    assert own is not None
    assert other is not None
    part = ByteRange(min(own.begin, other.end - 1), max(own.end, other.begin + 1))
    return with_placement(case, index, part=part), {K.DUPLICATE}


_MISSING = {
    *(K.NOT_PLACED, K.NOT_LOADED, K.OUTPUT, K.TRANSFER_SOURCE, K.TRANSFER_DESTINATION),
}


def place_a_byte_less(case: Case, rng: random.Random):
    index = _placed_part(case, rng)
    if index is None:
        return None
    placement = case.plan.placements[index]
    part = _without(part_of(placement, _size(case, placement)), rng)
    return None if part is None else (with_placement(case, index, part=part), _MISSING)


def place_only_a_part(case: Case, rng: random.Random):
    found = [
        index
        for index, p in enumerate(case.plan.placements)
        if p.part is None and _size(case, p) > 1 and not has_substitute(case, p.storage, p.memory)
    ]
    if not found:
        return None
    index = rng.choice(found)
    size = _size(case, case.plan.placements[index])
    return with_placement(case, index, part=ByteRange(0, size - 1)), _MISSING


def copy_a_byte_less(case: Case, rng: random.Random):
    index = _copied_part(case, rng)
    if index is None:
        return None
    transfer = case.plan.transfers[index]
    part = _without(part_of(transfer, _size(case, transfer)), rng)
    return None if part is None else (_with_copied(case, index, part), {K.NOT_LOADED, K.OUTPUT})


def copy_the_other_part(case: Case, rng: random.Random):
    index = _copied_part(case, rng)
    if index is None:
        return None
    transfer = case.plan.transfers[index]
    part, size = part_of(transfer, _size(case, transfer)), _size(case, transfer)
    other = ByteRange(part.end, size) if part.begin == 0 else ByteRange(0, part.begin)
    return _with_copied(case, index, other), _MISSING


def reload_a_part_that_was_not_spilled(case: Case, rng: random.Random):
    """Drop the copy out of a part that comes back."""
    returning = {(t.storage, t.part) for t in case.plan.transfers if t.kind is TransferKind.RELOAD}
    found = [
        index
        for index, t in enumerate(case.plan.transfers)
        if t.part is not None
        and t.kind is TransferKind.SPILL
        and (t.storage, t.part) in returning
        and not has_substitute(case, t.storage, case.target.nearest.name)
    ]
    if not found:
        return None
    index = rng.choice(found)
    transfers = (*case.plan.transfers[:index], *case.plan.transfers[index + 1 :])
    return case._replace(plan=replace(case.plan, transfers=transfers)), {K.NOT_LOADED}


PART_DAMAGES: tuple[Damage, ...] = (
    place_bytes_that_do_not_exist,
    copy_bytes_that_do_not_exist,
    place_a_part_for_another_offset,
    place_a_byte_twice,
    place_a_byte_less,
    place_only_a_part,
    copy_a_byte_less,
    copy_the_other_part,
    reload_a_part_that_was_not_spilled,
)
