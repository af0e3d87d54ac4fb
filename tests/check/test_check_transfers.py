"""When copies between memories are legal, what they are called, and what counts as traffic."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.checker import check
from planner.testing import assert_legal

from .small_plans import (
    EITHER,
    FETCH,
    NEAR_IO,
    RELOAD,
    SCRATCHPAD,
    SPILL,
    STORE,
    K,
    chain,
    make_plan,
    offences,
)

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Plan, TransferKind

MOVING = chain(100, 200, 100, 100, 50, uses={3: [1]})


def moving_plan(farther_start: int, farther_end: int) -> Plan:
    """t1 moves from byte 0 to byte 200 in the gap between steps 1 and 2."""
    return make_plan(
        MOVING,
        NEAR_IO,
        [
            (0, "sram", 900, 0, 1),
            (1, "sram", 0, 0, 2), (1, "dram", 0, farther_start, farther_end),
            (1, "sram", 200, 2, 4),
            (2, "sram", 500, 1, 3), (3, "sram", 600, 2, 4), (4, "sram", 700, 3, 4),
        ],
        [(1, "sram", "dram", 2, 2, SPILL), (1, "dram", "sram", 2, 2, RELOAD)],
    )  # fmt: skip


def test_move_through_a_farther_memory_within_one_gap_is_legal():
    plan = moving_plan(2, 3)
    assert_legal(MOVING, NEAR_IO, plan)
    assert plan.metrics.traffic_bytes == 400


def test_farther_copy_must_be_held_during_the_step_after_a_reload():
    assert offences(MOVING, NEAR_IO, moving_plan(1, 2)) == [
        (
            K.TRANSFER_DESTINATION,
            "spill of t1 from sram to dram at boundary 2: no bytes of dram are reserved for t1 "
            "from boundary 2 until after boundary 2",
        ),
        (
            K.TRANSFER_SOURCE,
            "reload of t1 from dram to sram at boundary 2: t1 is not placed in dram for that long "
            "and during the step after it",
        ),
    ]


SWAPPING = chain(100, 100, 100, 100, 50, uses={2: [0], 3: [1]})
SWAPS = [
    (0, "sram", "dram", 1, 1, SPILL), (1, "sram", "dram", 2, 2, SPILL),
    (0, "dram", "sram", 2, 2, RELOAD), (1, "dram", "sram", 3, 3, RELOAD),
]  # fmt: skip


def swapping_plan(transfers: list[tuple[int, str, str, int, int, TransferKind]]) -> Plan:
    """At boundary 2, t1 leaves and x comes back into its bytes."""
    return make_plan(
        SWAPPING,
        NEAR_IO,
        [
            (0, "sram", 0, 0, 1), (0, "dram", 0, 1, 3), (0, "sram", 300, 2, 3),
            (1, "sram", 300, 0, 2), (1, "dram", 200, 2, 4), (1, "sram", 300, 3, 4),
            (2, "sram", 500, 1, 3), (3, "sram", 600, 2, 4), (4, "sram", 700, 3, 4),
        ],
        transfers,
    )  # fmt: skip


def test_reload_may_use_bytes_that_a_spill_frees_at_the_same_boundary():
    assert_legal(SWAPPING, NEAR_IO, swapping_plan(SWAPS))
    assert_legal(SWAPPING, NEAR_IO, swapping_plan(SWAPS[::-1]))


def test_copy_out_of_the_nearest_memory_cannot_read_what_arrives_at_the_same_boundary():
    plan = swapping_plan([*SWAPS, (0, "sram", "dram", 2, 2, SPILL)])
    assert offences(SWAPPING, NEAR_IO, plan) == [
        (
            K.NOT_LOADED,
            "spill of x from sram to dram at boundary 2 reads sram, where x was never loaded",
        )
    ]


def fetch_and_store(graph: Graph) -> Plan:
    """Input fetched in the gap before step 0, output stored in the gap after the last step."""
    steps, out = len(graph.operators), len(graph.storages) - 1
    return make_plan(
        graph,
        SCRATCHPAD,
        [
            (0, "dram", 0, 0, 1), (0, "sram", 0, 0, 1),
            (out, "sram", 900, steps - 1, steps), (out, "dram", 100, steps - 1, steps),
        ],
        [(0, "dram", "sram", 0, 0, FETCH), (out, "sram", "dram", steps, steps, STORE)],
    )  # fmt: skip


def test_fetch_before_the_first_step_and_store_after_the_last_are_legal_and_compulsory():
    graph = chain(100, 50)
    plan = fetch_and_store(graph)
    assert_legal(graph, SCRATCHPAD, plan)
    assert plan.metrics.compulsory_bytes == 150
    assert plan.metrics.traffic_bytes == 0


def test_operand_is_not_usable_while_its_copy_is_under_way():
    graph = chain(100, 50)
    plan = fetch_and_store(graph)
    late = replace(plan, transfers=(plan.transfers[0]._replace(end=1), plan.transfers[1]))
    found = offences(graph, SCRATCHPAD, late)
    assert (
        K.NOT_LOADED,
        "step 0 (op0) reads x in sram, where it was never loaded",
    ) in found


def test_spilling_what_has_a_farther_copy_is_legal_but_counts():
    graph = chain(100, 50, 30, uses={1: [0]})
    plan = make_plan(
        graph,
        SCRATCHPAD,
        [
            (0, "dram", 0, 0, 2), (0, "sram", 0, 0, 2), (1, "sram", 100, 0, 2),
            (2, "sram", 200, 1, 2), (2, "dram", 200, 1, 2),
        ],
        [(0, "dram", "sram", 0, 0, FETCH), (0, "sram", "dram", 1, 1, SPILL),
         (2, "sram", "dram", 2, 2, STORE)],
    )  # fmt: skip
    assert_legal(graph, SCRATCHPAD, plan)
    assert plan.metrics.traffic_bytes == 100


def test_first_load_of_an_input_is_a_fetch_and_later_ones_are_reloads():
    graph = chain(100, 50, 30, uses={1: [0]})
    placements = [
        (0, "dram", 0, 0, 2), (0, "sram", 0, 0, 1), (0, "sram", 400, 1, 2), (1, "sram", 100, 0, 2),
        (2, "sram", 200, 1, 2), (2, "dram", 200, 1, 2),
    ]  # fmt: skip
    store = (2, "sram", "dram", 2, 2, STORE)
    again = (0, "dram", "sram", 1, 1)
    moves = [(0, "dram", "sram", 0, 0, FETCH), (*again, RELOAD), store]
    assert_legal(graph, SCRATCHPAD, make_plan(graph, SCRATCHPAD, placements, moves))
    moves[1] = (*again, FETCH)
    plan = make_plan(graph, SCRATCHPAD, placements, moves)
    assert offences(graph, SCRATCHPAD, plan) == [
        (
            K.TRANSFER_KIND,
            "the copy of x from dram to sram at boundary 1 is a reload, not a fetch",
        )
    ]


def test_operands_in_a_farther_memory_are_traffic_where_they_are_allowed():
    graph = chain(100, 50, 30)
    placements = [(0, "dram", 0, 0, 1), (1, "sram", 0, 0, 2), (2, "dram", 200, 1, 2)]
    plan = make_plan(graph, EITHER, placements)
    assert_legal(graph, EITHER, plan)
    assert plan.metrics.traffic_bytes == 100 + 30
    resident = replace(EITHER, operands_resident=True)
    kinds = [violation.kind for violation in check(graph, resident, plan)]
    assert kinds == [K.NOT_PLACED, K.NOT_PLACED, K.OUTPUT, K.METRICS]


def test_farther_copy_serves_while_the_nearer_one_is_on_its_way():
    graph = chain(100, 50, 30, uses={1: [0]})
    placements = [
        (0, "dram", 0, 0, 2), (0, "sram", 0, 0, 2), (1, "sram", 100, 0, 2), (2, "dram", 200, 1, 2),
    ]  # fmt: skip
    plan = make_plan(graph, EITHER, placements, [(0, "dram", "sram", 0, 1, FETCH)])
    assert_legal(graph, EITHER, plan)
    assert plan.metrics.traffic_bytes == 100 + 30
    assert plan.metrics.compulsory_bytes == 100
