"""Damage to moves inside the nearest memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.plans import ByteRange, TransferKind

from .damage import Case, Damage, K, replaced

if TYPE_CHECKING:
    import random


def _any_move(case: Case, rng: random.Random) -> int | None:
    found = [i for i, t in enumerate(case.plan.transfers) if t.kind is TransferKind.MOVE]
    return rng.choice(found) if found else None


def _with_move(case: Case, index: int, **changes: object) -> Case:
    transfer = case.plan.transfers[index]._replace(**changes)
    transfers = replaced(case.plan.transfers, index, transfer)
    return case._replace(plan=replace(case.plan, transfers=transfers))


def drop_a_move(case: Case, rng: random.Random):
    index = _any_move(case, rng)
    if index is None:
        return None
    transfers = (*case.plan.transfers[:index], *case.plan.transfers[index + 1 :])
    return case._replace(plan=replace(case.plan, transfers=transfers)), {K.NOT_LOADED}


def move_one_step_early(case: Case, rng: random.Random):
    index = _any_move(case, rng)
    if index is None:
        return None
    at = case.plan.transfers[index].start - 1
    kinds = {K.TRANSFER, K.TRANSFER_SOURCE, K.TRANSFER_DESTINATION, K.NOT_LOADED}
    return _with_move(case, index, start=at, end=at), kinds


def move_one_step_late(case: Case, rng: random.Random):
    index = _any_move(case, rng)
    if index is None:
        return None
    at = case.plan.transfers[index].start + 1
    kinds = {K.TRANSFER, K.TRANSFER_SOURCE, K.TRANSFER_DESTINATION, K.NOT_LOADED}
    return _with_move(case, index, start=at, end=at), kinds


def move_during_a_step(case: Case, rng: random.Random):
    index = _any_move(case, rng)
    if index is None:
        return None
    return _with_move(case, index, end=case.plan.transfers[index].end + 1), {K.TRANSFER}


def move_before_the_first_step(case: Case, rng: random.Random):
    index = _any_move(case, rng)
    return None if index is None else (_with_move(case, index, start=0, end=0), {K.TRANSFER})


def move_where_the_hardware_cannot(case: Case, rng: random.Random):
    if _any_move(case, rng) is None:
        return None
    links = tuple(link for link in case.target.links if link.source != link.destination)
    target = replace(case.target, links=links)
    return Case(case.graph, target, replace(case.plan, target=target)), {K.TRANSFER}


def move_all_but_one_byte(case: Case, rng: random.Random):
    index = _any_move(case, rng)
    size = (
        0 if index is None else case.graph.storages[case.plan.transfers[index].storage].size_bytes
    )
    if index is None or size < 2:
        return None
    return _with_move(case, index, part=ByteRange(1, size)), {K.NOT_LOADED}


def call_a_spill_or_reload_a_move(case: Case, rng: random.Random):
    found = [i for i, t in enumerate(case.plan.transfers) if t.kind is not TransferKind.MOVE]
    if not found:
        return None
    return _with_move(case, rng.choice(found), kind=TransferKind.MOVE), {K.TRANSFER_KIND}


def move_without_saying_so(case: Case, rng: random.Random):
    if _any_move(case, rng) is None:
        return None
    metrics = replace(case.plan.metrics, relocated_bytes=0)
    return case._replace(plan=replace(case.plan, metrics=metrics)), {K.METRICS}


MOVE_DAMAGES: tuple[Damage, ...] = (
    drop_a_move,
    move_one_step_early,
    move_one_step_late,
    move_during_a_step,
    move_before_the_first_step,
    move_where_the_hardware_cannot,
    move_all_but_one_byte,
    call_a_spill_or_reload_a_move,
    move_without_saying_so,
)
