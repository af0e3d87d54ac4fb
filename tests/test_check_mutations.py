"""The checker must catch every damage to a legal plan, and name the right offence.

Each damage is a function that takes a legal case and returns the damaged one with the kinds of
violation of which one must be reported, or None where the case offers nothing to damage.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import pytest

from planner.checker import ViolationKind, check
from planner.graph import Graph, StorageKind
from planner.plans import InPlace, Placement, Plan, TransferKind
from planner.target import Compute, Link, Memory, Target
from planner.testing import assert_legal, naive_plan, random_graph

K = ViolationKind

_SRAM = Memory("sram", 1 << 16, 16, 16e9, 16e9)
_DRAM = Memory("dram", 1 << 20, 16, 4e9, 4e9)
_FLASH = Memory("flash", 1 << 20, 16, 1e9, writable=False)
_LINKS = (Link("sram", "dram", 4e9, 1e-7), Link("dram", "sram", 4e9, 1e-7))
_COMPUTE = Compute({"default": 1e9}, 1e9, 1e-7)

TARGETS = (
    Target("scratchpad", (_SRAM, _DRAM), _LINKS, _COMPUTE, io_memory="dram"),
    Target("io-near", (_SRAM, _DRAM, _FLASH), _LINKS, _COMPUTE, io_memory="sram"),
    Target("either", (_SRAM, _DRAM), _LINKS, _COMPUTE, operands_resident=False, io_memory="dram"),
    Target("microcontroller", (_SRAM, _FLASH), (), None, io_memory="sram"),
)


class Case(NamedTuple):
    graph: Graph
    target: Target
    plan: Plan


Damage = Callable[[Case, random.Random], tuple[Case, set[ViolationKind]] | None]


def legal_cases(count: int) -> Iterator[Case]:
    for seed in range(count):
        graph = random_graph(seed, operators=3 + seed % 10)
        target = TARGETS[seed % len(TARGETS)]
        yield Case(graph, target, naive_plan(graph, target, seed))


def _replaced(items: tuple, index: int, item: object) -> tuple:
    return (*items[:index], item, *items[index + 1 :])


def _with_placement(case: Case, index: int, **changes: object) -> Case:
    placement = case.plan.placements[index]._replace(**changes)
    placements = _replaced(case.plan.placements, index, placement)
    return case._replace(plan=replace(case.plan, placements=placements))


def _with_transfer(case: Case, index: int, **changes: object) -> Case:
    transfer = case.plan.transfers[index]._replace(**changes)
    transfers = _replaced(case.plan.transfers, index, transfer)
    return case._replace(plan=replace(case.plan, transfers=transfers))


def _any_placement(case: Case, rng: random.Random) -> int | None:
    count = len(case.plan.placements)
    return rng.randrange(count) if count else None


def _needed_placement(case: Case, rng: random.Random) -> int | None:
    placements = case.plan.placements
    found = [i for i, p in enumerate(placements) if not _has_substitute(case, p.storage, p.memory)]
    return rng.choice(found) if found else None


def _any_transfer(case: Case, rng: random.Random) -> int | None:
    count = len(case.plan.transfers)
    return rng.randrange(count) if count else None


def _needed_transfer(case: Case, rng: random.Random) -> int | None:
    found = [
        index
        for index, transfer in enumerate(case.plan.transfers)
        if not _has_substitute(case, transfer.storage, transfer.destination)
    ]
    return rng.choice(found) if found else None


def _has_substitute(case: Case, storage: int, memory: str) -> bool:
    """Whether operators may use a farther copy instead, so that the damage can do no harm."""
    return (
        not case.target.operands_resident
        and memory == case.target.nearest.name
        and any(p.storage == storage and p.memory != memory for p in case.plan.placements)
    )


def _size(case: Case, placement: Placement) -> int:
    return case.graph.storages[placement.storage].size_bytes


def _paired(case: Case, a: Placement, b: Placement) -> bool:
    storages = {a.storage, b.storage}
    return any({p.output, p.input} == storages for p in case.plan.in_place)


def _share_bytes(case: Case, a: Placement, b: Placement) -> bool:
    return a.offset < b.offset + _size(case, b) and b.offset < a.offset + _size(case, a)


# Placements


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
    return _with_placement(case, index, offset=neighbour.offset), {K.OVERLAP}


def shift_by_one_alignment_unit(case: Case, rng: random.Random):
    unit = 16
    for index, a in enumerate(case.plan.placements):
        moved = a._replace(offset=a.offset + unit)
        for b in case.plan.placements:
            together = a.memory == b.memory and a.start < b.end and b.start < a.end
            if together and a.storage != b.storage and _share_bytes(case, moved, b):
                return _with_placement(case, index, offset=moved.offset), {K.OVERLAP, K.IN_PLACE}
    return None


def misalign(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    if index is None:
        return None
    offset = case.plan.placements[index].offset + rng.randint(1, 15)
    return _with_placement(case, index, offset=offset), {K.ALIGNMENT}


def place_outside_the_capacity(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    if index is None:
        return None
    placement = case.plan.placements[index]
    capacity = case.target.memory(placement.memory).capacity_bytes
    assert capacity is not None
    if placement.memory == case.target.constant_memory:
        capacity -= case.graph.constant_bytes
    offset = (capacity - _size(case, placement)) // 16 * 16 + 16
    return _with_placement(case, index, offset=offset), {K.CAPACITY}


def place_below_zero(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    return None if index is None else (_with_placement(case, index, offset=-16), {K.CAPACITY})


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
    return _with_placement(case, index, end=case.plan.placements[index].end - 1), _LIFETIME_KINDS


def begin_a_lifetime_one_step_late(case: Case, rng: random.Random):
    index = _needed_placement(case, rng)
    if index is None:
        return None
    start = case.plan.placements[index].start + 1
    return _with_placement(case, index, start=start), _LIFETIME_KINDS


def extend_a_lifetime_into_a_neighbour(case: Case, rng: random.Random):
    for index, a in enumerate(case.plan.placements):
        for b in case.plan.placements:
            if a.memory != b.memory or a is b or not _share_bytes(case, a, b):
                continue
            if a.end == b.start:
                kinds = {K.DUPLICATE} if a.storage == b.storage else {K.OVERLAP}
                return _with_placement(case, index, end=a.end + 1), kinds
    return None


def extend_a_lifetime_past_the_end(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    if index is None:
        return None
    return _with_placement(case, index, end=len(case.plan.order) + 1), {K.LIFETIME}


def begin_a_lifetime_before_step_zero(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    return None if index is None else (_with_placement(case, index, start=-1), {K.LIFETIME})


def reverse_a_lifetime(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    if index is None:
        return None
    placement = case.plan.placements[index]
    changed = _with_placement(case, index, start=placement.end, end=placement.start)
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
    return None if index is None else (_with_placement(case, index, memory="tcm"), {K.UNKNOWN})


def place_in_another_memory(case: Case, rng: random.Random):
    index = _needed_placement(case, rng)
    if index is None:
        return None
    names = [m.name for m in case.target.memories if m.name != case.plan.placements[index].memory]
    memory = rng.choice(names)
    kinds = {K.READ_ONLY} if memory == "flash" else _LIFETIME_KINDS | {K.DUPLICATE, K.METRICS}
    return _with_placement(case, index, memory=memory), kinds


def place_an_unknown_storage(case: Case, rng: random.Random):
    index = _any_placement(case, rng)
    if index is None:
        return None
    storage = rng.choice((-1, len(case.graph.storages)))
    return _with_placement(case, index, storage=storage), {K.UNKNOWN}


def place_a_constant(case: Case, rng: random.Random):
    for index, storage in enumerate(case.graph.storages):
        if storage.kind is StorageKind.CONSTANT:
            extra = Placement(index, case.target.nearest.name, 32768, 0, 1)
            placements = (*case.plan.placements, extra)
            return case._replace(plan=replace(case.plan, placements=placements)), {K.CONSTANT}
    return None


# Transfers


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
    return _with_transfer(case, index, start=case.plan.transfers[index].start - 1), kinds


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
    return _with_transfer(case, index, destination=case.plan.transfers[index].source), {K.TRANSFER}


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
        *(K.OUTPUT, K.TRANSFER_KIND),
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


# Overwriting in place


def _with_pairs(case: Case, pairs: tuple[InPlace, ...]) -> Case:
    return case._replace(plan=replace(case.plan, in_place=pairs))


def overwrite_without_saying(case: Case, rng: random.Random):
    pairs = case.plan.in_place
    return (_with_pairs(case, pairs[1:]), {K.OVERLAP}) if pairs else None


def overwrite_with_another_use_pending(case: Case, rng: random.Random):
    step_of = {operator: step for step, operator in enumerate(case.plan.order)}
    for operator, node in enumerate(case.graph.operators):
        for option in node.in_place:
            under = case.graph.tensors[option.input].storage
            over = case.graph.tensors[option.output].storage
            users = case.graph.storage_users.row(under).tolist()
            if max(step_of[user] for user in users) > step_of[operator]:
                pairs = (*case.plan.in_place, InPlace(operator, over, under))
                return _with_pairs(case, pairs), {K.IN_PLACE}
    return None


def overwrite_the_other_way_round(case: Case, rng: random.Random):
    pairs = case.plan.in_place
    if not pairs:
        return None
    swapped = pairs[0]._replace(output=pairs[0].input, input=pairs[0].output)
    return _with_pairs(case, (swapped, *pairs[1:])), {K.IN_PLACE}


def overwrite_twice_in_one_step(case: Case, rng: random.Random):
    pairs = case.plan.in_place
    return (_with_pairs(case, (*pairs, pairs[0])), {K.IN_PLACE}) if pairs else None


def overwrite_at_another_offset(case: Case, rng: random.Random):
    for pair in case.plan.in_place:
        step = case.plan.order.index(pair.operator)
        for index, placement in enumerate(case.plan.placements):
            near = placement.memory == case.target.nearest.name
            if near and (placement.storage, placement.start) == (pair.output, step):
                return _with_placement(case, index, offset=32768), {K.IN_PLACE}
    return None


def overwrite_by_an_unknown_operator(case: Case, rng: random.Random):
    pairs = (*case.plan.in_place, InPlace(len(case.graph.operators), 0, 0))
    return _with_pairs(case, pairs), {K.UNKNOWN}


# Order and model


def _with_order(case: Case, order: list[int]) -> tuple[Case, set[ViolationKind]]:
    return case._replace(plan=replace(case.plan, order=tuple(order))), {K.ORDER}


def swap_two_dependent_operators(case: Case, rng: random.Random):
    order = list(case.plan.order)
    for operator in rng.sample(order, len(order)):
        earlier = case.graph.predecessors.row(operator).tolist()
        if earlier:
            i, j = order.index(operator), order.index(earlier[0])
            order[i], order[j] = order[j], order[i]
            return _with_order(case, order)
    return None


def leave_an_operator_out(case: Case, rng: random.Random):
    order = list(case.plan.order)
    del order[rng.randrange(len(order))]
    return _with_order(case, order)


def run_an_operator_twice(case: Case, rng: random.Random):
    return _with_order(case, [*case.plan.order, rng.choice(case.plan.order)])


def run_an_unknown_operator(case: Case, rng: random.Random):
    return _with_order(case, [*case.plan.order[:-1], len(case.graph.operators)])


def _with_storage(case: Case, index: int, **changes: object) -> tuple[Case, set[ViolationKind]]:
    storage = replace(case.plan.storages[index], **changes)
    plan = replace(case.plan, storages=_replaced(case.plan.storages, index, storage))
    return case._replace(plan=plan), {K.MODEL}


def use_the_wrong_size(case: Case, rng: random.Random):
    index = rng.randrange(len(case.plan.storages))
    return _with_storage(case, index, size_bytes=case.plan.storages[index].size_bytes - 1)


def rename_a_storage(case: Case, rng: random.Random):
    return _with_storage(case, rng.randrange(len(case.plan.storages)), name="other")


def turn_an_activation_into_a_constant(case: Case, rng: random.Random):
    return _with_storage(case, 0, kind=StorageKind.CONSTANT)


def deny_an_output(case: Case, rng: random.Random):
    for index, storage in enumerate(case.plan.storages):
        if storage.is_output:
            return _with_storage(case, index, is_output=False)
    return None


def break_an_alias(case: Case, rng: random.Random):
    for index, storage in enumerate(case.plan.storages):
        if len(storage.tensors) > 1:
            last = storage.tensors[-1]
            moved = replace(last, offset_bytes=last.offset_bytes + 1)
            return _with_storage(case, index, tensors=(*storage.tensors[:-1], moved))
    return None


def drop_a_storage(case: Case, rng: random.Random):
    plan = replace(case.plan, storages=case.plan.storages[:-1])
    return case._replace(plan=plan), {K.MODEL}


def bring_another_model(case: Case, rng: random.Random):
    model = replace(case.plan.model, sha256="0" * 64)
    return case._replace(plan=replace(case.plan, model=model)), {K.MODEL}


def name_other_operators(case: Case, rng: random.Random):
    first = case.plan.operators[0]._replace(type="Other")
    plan = replace(case.plan, operators=(first, *case.plan.operators[1:]))
    return case._replace(plan=plan), {K.MODEL}


# Target and numbers


def _with_memory(case: Case, name: str, capacity: int) -> Case:
    return case._replace(target=case.target.with_capacities({name: capacity}))


def leave_no_room_for_the_constants(case: Case, rng: random.Random):
    if not case.graph.constant_bytes:
        return None
    capacity = case.graph.constant_bytes - 1
    return _with_memory(case, case.target.constant_memory, capacity), {K.CAPACITY}


def take_one_byte_from_the_arena(case: Case, rng: random.Random):
    name = case.target.nearest.name
    arena = case.plan.metrics.arena_bytes[name]
    return (_with_memory(case, name, arena - 1), {K.CAPACITY}) if arena else None


def _with_metrics(case: Case, **changes: object) -> Case:
    return case._replace(plan=replace(case.plan, metrics=replace(case.plan.metrics, **changes)))


def claim_a_smaller_peak(case: Case, rng: random.Random):
    peak = dict(case.plan.metrics.peak_bytes)
    name = rng.choice(sorted(peak))
    return _with_metrics(case, peak_bytes={**peak, name: peak[name] - 1}), {K.METRICS}


def claim_a_smaller_arena(case: Case, rng: random.Random):
    arena = dict(case.plan.metrics.arena_bytes)
    name = rng.choice(sorted(arena))
    return _with_metrics(case, arena_bytes={**arena, name: arena[name] + 1}), {K.METRICS}


def claim_an_arena_elsewhere(case: Case, rng: random.Random):
    arena = {**case.plan.metrics.arena_bytes, "tcm": 1}
    return _with_metrics(case, arena_bytes=arena), {K.METRICS}


def claim_other_traffic(case: Case, rng: random.Random):
    traffic = case.plan.metrics.traffic_bytes + rng.choice((-1, 1))
    return _with_metrics(case, traffic_bytes=traffic), {K.METRICS}


def claim_other_compulsory_bytes(case: Case, rng: random.Random):
    compulsory = case.plan.metrics.compulsory_bytes + rng.choice((-1, 1))
    return _with_metrics(case, compulsory_bytes=compulsory), {K.METRICS}


def claim_a_shorter_time(case: Case, rng: random.Random):
    if not case.plan.metrics.latency_s:
        return None
    field = rng.choice(("latency_s", "compute_s", "stall_s"))
    shorter = getattr(case.plan.metrics, field) - case.plan.metrics.latency_s * 1e-6
    return _with_metrics(case, **{field: shorter}), {K.METRICS}


def claim_times_without_rates(case: Case, rng: random.Random):
    if case.target.compute is not None:
        return None
    changed = {"latency_s": 1.0, "compute_s": 1.0, "stall_s": 0.0, "cost_source": "roofline"}
    return _with_metrics(case, **changed), {K.METRICS}


def claim_too_high_a_bound(case: Case, rng: random.Random):
    metrics = case.plan.metrics
    bounds: list[dict[str, float]] = [
        {"peak_lower_bound_bytes": metrics.peak_bytes[case.target.nearest.name] + 1},
        {"traffic_lower_bound_bytes": metrics.traffic_bytes + 1},
    ]
    if metrics.latency_s:
        bounds.append({"latency_lower_bound_s": metrics.latency_s * 1.01})
    return _with_metrics(case, **rng.choice(bounds)), {K.BOUND}


DAMAGES: tuple[Damage, ...] = (
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
    overwrite_without_saying,
    overwrite_with_another_use_pending,
    overwrite_the_other_way_round,
    overwrite_twice_in_one_step,
    overwrite_at_another_offset,
    overwrite_by_an_unknown_operator,
    swap_two_dependent_operators,
    leave_an_operator_out,
    run_an_operator_twice,
    run_an_unknown_operator,
    use_the_wrong_size,
    rename_a_storage,
    turn_an_activation_into_a_constant,
    deny_an_output,
    break_an_alias,
    drop_a_storage,
    bring_another_model,
    name_other_operators,
    leave_no_room_for_the_constants,
    take_one_byte_from_the_arena,
    claim_a_smaller_peak,
    claim_a_smaller_arena,
    claim_an_arena_elsewhere,
    claim_other_traffic,
    claim_other_compulsory_bytes,
    claim_a_shorter_time,
    claim_times_without_rates,
    claim_too_high_a_bound,
)

CASES = list(legal_cases(600))


def test_naive_plans_on_every_kind_of_target_are_legal():
    for case in CASES:
        assert_legal(*case)


def test_naive_plans_exercise_spills_fetches_stores_and_overwrites():
    kinds = Counter(t.kind for case in CASES for t in case.plan.transfers)
    assert all(kinds[kind] >= 200 for kind in TransferKind)
    assert sum(len(case.plan.in_place) for case in CASES) >= 100
    assert sum(t.start < t.end for case in CASES for t in case.plan.transfers) >= 200


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_caught_with_the_right_kind(damage: Damage):
    caught = 0
    for seed, case in enumerate(CASES):
        damaged = damage(case, random.Random(seed))
        if damaged is None:
            continue
        mutant, expected = damaged
        found = {violation.kind for violation in check(*mutant)}
        assert found & expected, (seed, damage.__name__, found)
        caught += 1
    assert caught >= 50
