"""Damage to the order, and plans for another model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.graph import StorageKind

from .damage import Case, Damage, K, replaced

if TYPE_CHECKING:
    import random

    from planner.checker import ViolationKind


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
    plan = replace(case.plan, storages=replaced(case.plan.storages, index, storage))
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


MODEL_DAMAGES: tuple[Damage, ...] = (
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
)
