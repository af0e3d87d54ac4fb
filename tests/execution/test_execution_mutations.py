"""Executing a damaged plan shows the damage; the checker refuses all of it.

A mutant that the checker passes would be no damage: it has to execute exactly. One that the checker
refuses and that executes exactly is missed: all of those seen had equal bytes in both places (a
Relu of what is positive already), or spoilt bytes that nobody reads (the other half of a Split).
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from planner.checker import check
from planner.execution.result import Verdict
from planner.plans import TransferKind

from .byte_damage import BYTE_DAMAGES
from .executable_plans import many_plans, quick_plans, require_proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .executable_plans import ExecutablePlan

_SHOWN_BY_BYTES = ("wrong when", "changed while")


def judge(plans: Sequence[ExecutablePlan], count: int, seed: int) -> dict[str, Counter[str]]:
    """Damage the plans that many times, execute every mutant, and count by kind of damage."""
    rng = random.Random(seed)
    table: dict[str, Counter[str]] = {}
    made = 0
    while made < count:
        executable = rng.choice(plans)
        damage = rng.choice(BYTE_DAMAGES)
        damaged = damage(executable.case, rng)
        if damaged is None:
            continue
        mutant, kinds = damaged
        what = f"{executable.name}, {damage.__name__}"
        found = check(*mutant)
        outcome = executable.run(mutant.plan)
        assert found or outcome.verdict is Verdict.EXACT, f"{what}: only execution shows it"
        if not found:
            continue
        assert {violation.kind for violation in found} & kinds, what
        made += 1
        row = table.setdefault(damage.__name__, Counter())
        row["mutants"] += 1
        if outcome.mismatch is None:
            row["missed"] += 1
            print(f"missed: {what}: {found[0].message}")
        elif any(text in outcome.mismatch.message for text in _SHOWN_BY_BYTES):
            row["by bytes"] += 1
    return table


def report(table: dict[str, Counter[str]]) -> tuple[int, int]:
    """Print the table; mutants and those missed."""
    print(f"\n{'damage':<42}{'mutants':>8}{'caught':>8}{'by bytes':>10}")
    for name, row in sorted(table.items()):
        caught = row["mutants"] - row["missed"]
        print(f"{name:<42}{row['mutants']:>8}{caught:>8}{row['by bytes']:>10}")
    mutants = sum(row["mutants"] for row in table.values())
    missed = sum(row["missed"] for row in table.values())
    by_bytes = sum(row["by bytes"] for row in table.values())
    print(f"{'all':<42}{mutants:>8}{mutants - missed:>8}{by_bytes:>10}")
    return mutants, missed


def test_a_damaged_plan_goes_wrong():
    plans = list(quick_plans())
    for executable in plans:
        require_proof(executable.name, executable.run())
    mutants, missed = report(judge(plans, 150, seed=1))
    assert missed <= 0.02 * mutants


@pytest.mark.slow
def test_of_a_thousand_damaged_plans_hardly_one_executes_exactly():
    plans = list(many_plans())
    for executable in plans:
        require_proof(executable.name, executable.run())
    kinds = Counter(t.kind for executable in plans for t in executable.case.plan.transfers)
    assert all(kinds[kind] >= 20 for kind in TransferKind)
    assert sum(len(executable.case.plan.in_place) for executable in plans) >= 100
    table = judge(plans, 1_000, seed=0)
    mutants, missed = report(table)
    assert len(table) == len(BYTE_DAMAGES)
    assert missed <= 0.01 * mutants
