"""The checker must catch every damage to a legal plan, and name the right offence."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from planner.checker import check
from planner.plans import TransferKind
from planner.testing import assert_legal

from .damage import Damage, legal_cases
from .in_place_damage import IN_PLACE_DAMAGES
from .metrics_damage import METRICS_DAMAGES
from .model_damage import MODEL_DAMAGES
from .move_damage import MOVE_DAMAGES
from .part_damage import PART_DAMAGES
from .placement_damage import PLACEMENT_DAMAGES
from .transfer_damage import TRANSFER_DAMAGES

DAMAGES: tuple[Damage, ...] = (
    *PLACEMENT_DAMAGES,
    *TRANSFER_DAMAGES,
    *IN_PLACE_DAMAGES,
    *MODEL_DAMAGES,
    *METRICS_DAMAGES,
    *PART_DAMAGES,
    *MOVE_DAMAGES,
)

CASES = list(legal_cases(800))


def test_naive_plans_on_every_kind_of_target_are_legal():
    for case in CASES:
        assert_legal(*case)


def test_naive_plans_exercise_every_kind_of_copy_parts_and_overwrites():
    kinds = Counter(t.kind for case in CASES for t in case.plan.transfers)
    assert all(kinds[kind] >= 200 for kind in TransferKind)
    assert sum(len(case.plan.in_place) for case in CASES) >= 100
    assert sum(p.part is not None for case in CASES for p in case.plan.placements) >= 1000
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
