"""Damage to overwriting in place: undeclared, premature, reversed, elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.plans import InPlace

from .damage import Case, Damage, K, with_placement

if TYPE_CHECKING:
    import random


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
                return with_placement(case, index, offset=32768), {K.IN_PLACE}
    return None


def overwrite_by_an_unknown_operator(case: Case, rng: random.Random):
    pairs = (*case.plan.in_place, InPlace(len(case.graph.operators), 0, 0))
    return _with_pairs(case, pairs), {K.UNKNOWN}


IN_PLACE_DAMAGES: tuple[Damage, ...] = (
    overwrite_without_saying,
    overwrite_with_another_use_pending,
    overwrite_the_other_way_round,
    overwrite_twice_in_one_step,
    overwrite_at_another_offset,
    overwrite_by_an_unknown_operator,
)
