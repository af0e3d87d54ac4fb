"""Mappings of accesses to a small fast memory become legal plans, and damage to them shows."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.checker import ViolationKind, check
from planner.errors import DoesNotFitError
from planner.graph import StorageKind
from planner.mapping_problem import MappingSolution
from planner.testing import assert_legal
from solvers.contenders.mapping_plan import mapping_plan
from solvers.protocol import Deadline

from .random_play import Played, played

if TYPE_CHECKING:
    from planner.plans import Placement, Plan, Transfer

K = ViolationKind


def plan_of(game: Played) -> Plan:
    return mapping_plan(
        game.problem, game.program, game.solution, contender="play", deadline=Deadline(60)
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_random_mappings_become_legal_plans_that_take_as_long_as_the_replay_says(
    seed: int, parameters: bool
) -> None:
    game = played(seed, parameters=parameters)
    plan = plan_of(game)
    assert_legal(game.problem.graph, game.problem.target, plan)
    near = [p for p in plan.placements if p.memory == "near"]
    assert len(near) == len(game.solution.residencies)
    expected_s = game.solution.latency * game.program.problem.tick_s
    assert plan.metrics.compute_s == pytest.approx(expected_s, rel=1e-9)
    assert plan.metrics.latency_s == pytest.approx(expected_s, rel=1e-6)


def test_a_plan_with_nothing_fast_has_no_copies_and_uses_the_far_memory_alone() -> None:
    game = played(3)
    nothing = MappingSolution((), game.program.problem.all_slow)
    plan = plan_of(game._replace(solution=nothing))
    assert_legal(game.problem.graph, game.problem.target, plan)
    assert not plan.transfers and {p.memory for p in plan.placements} == {"far"}


def test_a_far_memory_too_small_is_named_with_the_bytes_it_needs() -> None:
    game = played(3)
    target = game.problem.target.with_capacities({"far": 300})
    with pytest.raises(DoesNotFitError, match=r"need [\d,]+ bytes of far .* it has 300"):
        plan_of(game._replace(problem=replace(game.problem, target=target)))


def damaged(name: str, game: Played, plan: Plan) -> list[Plan]:
    """Return the plan with each damage of that name."""
    transfers, placements = plan.transfers, plan.placements

    def without(gone: Transfer | None, cut: dict[Placement, Placement] | None = None) -> Plan:
        changed = tuple(sorted((cut or {}).get(p, p) for p in placements))
        left = tuple(t for t in transfers if t != gone)
        return replace(plan, transfers=left, placements=changed)

    def filled_by(copy: Transfer) -> Placement:
        return next(
            p
            for p in placements
            if (p.storage, p.memory) == (copy.storage, copy.destination)
            and p.start <= copy.start <= copy.end < p.end
        )

    inward = [t for t in transfers if t.destination == "near"]
    if name == "write-back left out":
        return [without(t) for t in transfers if t.source == "near"]
    if name == "copied in before it is valid":
        given = {StorageKind.INPUT}
        late = [t for t in inward if game.problem.graph.storages[t.storage].kind not in given]
        return [
            replace(
                without(t, {filled_by(t): filled_by(t)._replace(start=0)}),
                transfers=tuple(t._replace(start=0) if u == t else u for u in transfers),
            )
            for t in late
        ]
    if name == "stale copy read":
        # The placement that was written is left as soon as it is, and its write-back is forgotten.
        return [
            without(t, {p: p._replace(end=t.start)})
            for t in transfers
            if t.source == "near"
            for p in placements
            if (p.storage, p.memory, p.end) == (t.storage, "near", t.end)
        ]
    if name == "bytes shared":
        near = [p for p in placements if p.memory == "near"]
        return [
            without(None, {a: a._replace(offset=b.offset)})
            for a, b in combinations(near, 2)
            if a.start < b.end and b.start < a.end
        ]
    far = [p for p in placements if p.memory == "far"]
    return [
        without(None, {p: changed})
        for p in far
        for changed in (p._replace(end=p.end - 1), p._replace(start=p.start + 1))
        if changed.start < changed.end
    ]


@pytest.mark.parametrize(
    ("name", "kinds", "least"),
    [
        ("write-back left out", {K.NOT_LOADED}, 10),
        ("copied in before it is valid", {K.TRANSFER_SOURCE, K.NOT_LOADED}, 10),
        ("stale copy read", {K.NOT_LOADED}, 10),
        ("bytes shared", {K.OVERLAP}, 100),
        (
            "farther copy given up early or begun late",
            {K.NOT_PLACED, K.NOT_LOADED, K.TRANSFER_SOURCE, K.TRANSFER_DESTINATION, K.OUTPUT},
            100,
        ),
    ],
)
def test_damage_to_such_plans_is_found(name: str, kinds: set[K], least: int) -> None:
    tried = 0
    for seed in range(150):
        game = played(seed)
        for plan in damaged(name, game, plan_of(game)):
            found = {v.kind for v in check(game.problem.graph, game.problem.target, plan)}
            assert found & kinds, (seed, found)
            tried += 1
    assert tried >= least
