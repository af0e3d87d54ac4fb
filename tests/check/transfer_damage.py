"""Damage to transfers: copies dropped, shifted, misdirected and mislabelled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.graph import StorageKind
from planner.plans import TransferKind

from .damage import Case, Damage, K, has_substitute, replaced

if TYPE_CHECKING:
    import random


def _any_transfer(case: Case, rng: random.Random) -> int | None:
    count = len(case.plan.transfers)
    return rng.randrange(count) if count else None


def _needed_transfer(case: Case, rng: random.Random) -> int | None:
    found = [
        index
        for index, transfer in enumerate(case.plan.transfers)
        if not has_substitute(case, transfer.storage, transfer.destination)
    ]
    return rng.choice(found) if found else None


def _with_transfer(case: Case, index: int, **changes: object) -> Case:
    transfer = case.plan.transfers[index]._replace(**changes)
    transfers = replaced(case.plan.transfers, index, transfer)
    return case._replace(plan=replace(case.plan, transfers=transfers))


def drop_a_transfer(case: Case, rng: random.Random):
    index = _needed_transfer(case, rng)
    if index is None:
        return None
    transfers = (*case.plan.transfers[:index], *case.plan.transfers[index + 1 :])
    damaged = case._replace(plan=replace(case.plan, transfers=transfers))
    return damaged, {K.NOT_LOADED, K.OUTPUT}


def end_a_copy_one_step_late(case: Case, rng: random.Random):
    index = _needed_transfer(case, rng)
    if index is None:
        return None
    kinds = {K.TRANSFER_SOURCE, K.TRANSFER_DESTINATION, K.NOT_LOADED, K.OUTPUT, K.TRANSFER}
    return _with_transfer(case, index, end=case.plan.transfers[index].end + 1), kinds


def begin_a_copy_one_step_early(case: Case, rng: random.Random):
    index = _needed_transfer(case, rng)
    # At the last boundary there is no later step for the destination to be reserved from.
    if index is None or case.plan.transfers[index].start == len(case.plan.order):
        return None
    kinds = {K.TRANSFER_SOURCE, K.TRANSFER_DESTINATION, K.NOT_LOADED, K.TRANSFER}
    transfer = case.plan.transfers[index]
    # Written again over an earlier copy, it may find its bytes reserved and complete before.
    if any(
        p.storage == transfer.storage and p.memory == transfer.destination
        and p.start < transfer.start < p.end and transfer.source == case.target.nearest.name
        for p in case.plan.placements
    ):  # fmt: skip
        return None
    return _with_transfer(case, index, start=transfer.start - 1), kinds


def reverse_the_interval_of_a_copy(case: Case, rng: random.Random):
    index = _any_transfer(case, rng)
    if index is None:
        return None
    transfer = case.plan.transfers[index]
    return _with_transfer(case, index, start=transfer.end + 1), {K.TRANSFER}


def copy_without_a_link(case: Case, rng: random.Random):
    index = _any_transfer(case, rng)
    if index is None:
        return None
    source = case.plan.transfers[index].source
    if case.target.link(source, source) is not None:
        return None
    return _with_transfer(case, index, destination=source), {K.TRANSFER}


def copy_into_an_unknown_memory(case: Case, rng: random.Random):
    index = _any_transfer(case, rng)
    return None if index is None else (_with_transfer(case, index, source="tcm"), {K.UNKNOWN})


def copy_into_flash(case: Case, rng: random.Random):
    index = _any_transfer(case, rng)
    if index is None or "flash" not in {m.name for m in case.target.memories}:
        return None
    return _with_transfer(case, index, destination="flash"), {K.READ_ONLY}


def copy_the_wrong_way(case: Case, rng: random.Random):
    index = _any_transfer(case, rng)
    if index is None:
        return None
    transfer = case.plan.transfers[index]
    if transfer.kind is TransferKind.MOVE or not case.target.operands_resident:
        return None
    changed = _with_transfer(case, index, source=transfer.destination, destination=transfer.source)
    return changed, {K.NOT_LOADED, K.TRANSFER_SOURCE, K.TRANSFER_DESTINATION}


def copy_another_storage(case: Case, rng: random.Random):
    index = _any_transfer(case, rng)
    if index is None:
        return None
    storage = (case.plan.transfers[index].storage + 1) % len(case.graph.storages)
    if not case.graph.storages[storage].size_bytes:
        return None
    return _with_transfer(case, index, storage=storage), {
        *(K.CONSTANT, K.TRANSFER_SOURCE, K.NOT_LOADED, K.TRANSFER_DESTINATION),
        *(K.OUTPUT, K.TRANSFER_KIND, K.PART),
    }


def copy_an_unknown_storage(case: Case, rng: random.Random):
    index = _any_transfer(case, rng)
    return None if index is None else (_with_transfer(case, index, storage=9999), {K.UNKNOWN})


def copy_a_constant(case: Case, rng: random.Random):
    index = _any_transfer(case, rng)
    for storage, content in enumerate(case.graph.storages):
        if index is not None and content.kind is StorageKind.CONSTANT:
            return _with_transfer(case, index, storage=storage), {K.CONSTANT}
    return None


def label_a_copy_as_something_else(case: Case, rng: random.Random):
    index = _any_transfer(case, rng)
    if index is None:
        return None
    kinds = [kind for kind in TransferKind if kind is not case.plan.transfers[index].kind]
    return _with_transfer(case, index, kind=rng.choice(kinds)), {K.TRANSFER_KIND}


def repeat_a_copy(case: Case, rng: random.Random):
    index = _any_transfer(case, rng)
    if index is None:
        return None
    transfers = (*case.plan.transfers, case.plan.transfers[index])
    damaged = case._replace(plan=replace(case.plan, transfers=transfers))
    return damaged, {K.METRICS, K.TRANSFER_KIND}


TRANSFER_DAMAGES: tuple[Damage, ...] = (
    drop_a_transfer,
    end_a_copy_one_step_late,
    begin_a_copy_one_step_early,
    reverse_the_interval_of_a_copy,
    copy_without_a_link,
    copy_into_an_unknown_memory,
    copy_into_flash,
    copy_the_wrong_way,
    copy_another_storage,
    copy_an_unknown_storage,
    copy_a_constant,
    label_a_copy_as_something_else,
    repeat_a_copy,
)
