"""When storages may be moved inside the nearest memory, in which order, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.checker import check
from planner.simulator import measure, simulate
from planner.target import Compute, Link
from planner.testing import assert_legal

from .small_plans import (
    FETCH,
    MOVE,
    RELOAD,
    RELOCATING,
    SCRATCHPAD,
    SPILL,
    STORE,
    K,
    chain,
    make_plan,
    offences,
)

# t1 and t2 wait from step 1 on; both are read at step 3.
WAITING = chain(100, 200, 300, 50, 50, uses={3: [1, 2]})
ENDS = [(0, "dram", 0, 0, 1), (0, "sram", 900, 0, 1), (4, "sram", 900, 3, 4), (4, "dram", 0, 3, 4)]
FETCHED, STORED = (0, "dram", "sram", 0, 0, FETCH), (4, "sram", "dram", 4, 4, STORE)


def relocated(first: tuple[int, int], second: tuple[int, int], order: tuple[int, int]):
    """t1 and t2 move from and to these bytes at boundary 2, in this order."""
    placements = [
        *ENDS, (3, "sram", 850, 2, 4),
        (1, "sram", first[0], 0, 2), (1, "sram", first[1], 2, 4),
        (2, "sram", second[0], 1, 2), (2, "sram", second[1], 2, 4),
    ]  # fmt: skip
    moves = [(storage, "sram", "sram", 2, 2, MOVE) for storage in order]
    return make_plan(WAITING, RELOCATING, placements, [FETCHED, *moves, STORED])


def test_compaction_towards_address_zero_is_legal_from_the_lowest_on():
    plan = relocated((50, 0), (260, 200), (1, 2))
    assert_legal(WAITING, RELOCATING, plan)
    assert plan.metrics.traffic_bytes == 0
    assert plan.metrics.relocated_bytes == 500
    assert plan.metrics.compulsory_bytes == 150


def test_move_may_not_overwrite_what_moves_later():
    plan = relocated((50, 0), (260, 200), (2, 1))
    assert offences(WAITING, RELOCATING, plan) == [
        (
            K.OVERLAP,
            "boundary 2: t2 moves to bytes [200, 500) of sram before t1 has moved from [50, 250)",
        )
    ]


def test_moves_upwards_are_legal_from_the_highest_on():
    assert_legal(WAITING, RELOCATING, relocated((0, 100), (250, 350), (2, 1)))
    found = offences(WAITING, RELOCATING, relocated((0, 100), (250, 350), (1, 2)))
    assert [kind for kind, _ in found] == [K.OVERLAP]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_two_storages_cannot_change_places_at_one_boundary(order):
    found = offences(WAITING, RELOCATING, relocated((0, 300), (200, 0), order))
    assert [kind for kind, _ in found] == [K.OVERLAP]


def test_move_needs_a_link_from_the_memory_to_itself():
    plan = replace(relocated((50, 0), (260, 200), (1, 2)), target=SCRATCHPAD)
    assert offences(WAITING, SCRATCHPAD, plan)[:2] == [
        (
            K.TRANSFER,
            f"move of {name} from sram to sram: scratchpad has no link from sram to sram",
        )
        for name in ("t1", "t2")
    ]


def test_move_must_join_two_placements():
    plan = relocated((50, 50), (260, 200), (1, 2))
    whole = [p for p in plan.placements if p.storage != 1]
    plan = replace(plan, placements=(*whole, plan.placements[5]._replace(end=4)))
    assert (
        K.TRANSFER_SOURCE,
        "move of t1 from sram to sram at boundary 2: no placement of t1 in sram ends there",
    ) in offences(WAITING, RELOCATING, plan)
    assert (
        K.TRANSFER_DESTINATION,
        "move of t1 from sram to sram at boundary 2: no placement of t1 in sram begins there",
    ) in offences(WAITING, RELOCATING, plan)


def test_move_may_use_what_a_spill_leaves_and_leave_room_for_a_reload_at_one_boundary():
    graph = chain(400, 400, 150, 50, 50, uses={2: [0], 3: [1]})
    placements = [
        (0, "dram", 0, 0, 3), (0, "sram", 0, 0, 1), (0, "sram", 0, 2, 3),
        (1, "sram", 400, 0, 2), (1, "sram", 600, 2, 4),
        (2, "sram", 800, 1, 2), (2, "dram", 500, 2, 3), (2, "sram", 450, 2, 3),
        (3, "sram", 400, 2, 4), (4, "sram", 0, 3, 4), (4, "dram", 400, 3, 4),
    ]  # fmt: skip
    fetch, reload = (0, "dram", "sram", 0, 0, FETCH), (0, "dram", "sram", 2, 2, RELOAD)
    move, store = (1, "sram", "sram", 2, 2, MOVE), (4, "sram", "dram", 4, 4, STORE)
    spilled = [(2, "sram", "dram", 2, 2, SPILL), (2, "dram", "sram", 2, 2, RELOAD)]
    copies = [fetch, move, *spilled, reload, store]
    plan = make_plan(graph, RELOCATING, placements, copies)
    assert_legal(graph, RELOCATING, plan)
    assert plan.metrics.traffic_bytes == 150 + 150 + 400
    assert plan.metrics.relocated_bytes == 400
    # t1 comes to lie on bytes of t2, and t2 on bytes of t1: without the spill neither can be first.
    kept = [p for p in placements if p != (2, "dram", 500, 2, 3)]
    both = [fetch, move, (2, "sram", "sram", 2, 2, MOVE), reload, store]
    found = offences(graph, RELOCATING, make_plan(graph, RELOCATING, kept, both))
    assert [kind for kind, _ in found] == [K.OVERLAP]


def test_compute_waits_for_moves_which_run_one_after_another():
    target = replace(
        RELOCATING,
        memories=tuple(
            replace(memory, read_bandwidth=1e9, write_bandwidth=1e9)
            for memory in RELOCATING.memories
        ),
        links=(*RELOCATING.links[:2], Link("sram", "sram", 2e9, 1e-6, channels=4)),
        compute=Compute({"default": 1e9}, 1e9, 0.0),
    )
    plan = replace(relocated((50, 0), (260, 200), (1, 2)), target=target)
    plan = replace(plan, metrics=measure(WAITING, plan))
    assert check(WAITING, target, plan) == []
    timeline = simulate(WAITING, target, plan)
    first, second = timeline.transfers[1:3]
    assert first.start_s == pytest.approx(timeline.steps[1].end_s)
    assert first.end_s - first.start_s == pytest.approx(1e-6 + 200 / 2e9)
    assert second.start_s == pytest.approx(first.end_s)
    assert second.end_s - second.start_s == pytest.approx(1e-6 + 300 / 2e9)
    assert timeline.steps[2].start_s == pytest.approx(second.end_s)
    assert timeline.link_bytes["sram", "sram"] == 500
