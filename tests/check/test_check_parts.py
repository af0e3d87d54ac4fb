"""Storages of which a part is away: bytes that others use, what comes back, and what that costs."""

from __future__ import annotations

from dataclasses import replace

from planner.graph import InPlaceOption
from planner.testing import assert_legal

from .small_plans import (
    EITHER,
    FETCH,
    RELOAD,
    SCRATCHPAD,
    SPILL,
    STORE,
    K,
    chain,
    make_plan,
    offences,
)

# t1 is made at step 0 and read at step 3; at step 2 it leaves no room for t2 and t3.
GRAPH = chain(100, 600, 300, 300, 50, uses={3: [1]})
HEAD, TAIL = (0, 400), (400, 600)
PLACEMENTS = [
    (0, "dram", 0, 0, 1), (0, "sram", 900, 0, 1),
    (1, "sram", 0, 0, 4, HEAD), (1, "sram", 0, 0, 2, TAIL), (1, "sram", 0, 3, 4, TAIL),
    (1, "dram", 200, 2, 4, TAIL),
    (2, "sram", 700, 1, 3), (3, "sram", 400, 2, 3), (3, "sram", 600, 3, 4), (3, "dram", 1000, 3, 4),
    (4, "sram", 900, 3, 4), (4, "dram", 0, 3, 4),
]  # fmt: skip
COPIES = [
    (0, "dram", "sram", 0, 0, FETCH),
    (1, "sram", "dram", 2, 2, SPILL, TAIL),
    (3, "sram", "dram", 3, 3, SPILL),
    (1, "dram", "sram", 3, 3, RELOAD, TAIL),
    (3, "dram", "sram", 3, 3, RELOAD),
    (4, "sram", "dram", 4, 4, STORE),
]


def partial_plan(placements=PLACEMENTS, copies=COPIES, target=SCRATCHPAD, graph=GRAPH):
    return make_plan(graph, target, placements, copies)


def test_others_may_use_the_bytes_of_a_part_that_is_away():
    plan = partial_plan()
    assert_legal(GRAPH, SCRATCHPAD, plan)
    assert plan.metrics.traffic_bytes == 200 + 200 + 300 + 300
    assert plan.metrics.arena_bytes == {"sram": 1000, "dram": 1300}
    assert plan.metrics.peak_bytes["sram"] == 400 + 300 + 300


def test_operator_needs_all_parts_of_its_operands():
    without = [p for p in PLACEMENTS if p != (1, "sram", 0, 3, 4, TAIL)]
    found = offences(GRAPH, SCRATCHPAD, partial_plan(without))
    assert (
        K.NOT_PLACED,
        "step 3 (op3): operand bytes [400, 600) of t1 (600 bytes in all) is not placed in sram",
    ) in found


def test_bytes_that_were_not_spilled_cannot_come_back():
    shorter = [*COPIES]
    shorter[1] = (1, "sram", "dram", 2, 2, SPILL, (400, 500))
    assert offences(GRAPH, SCRATCHPAD, partial_plan(copies=shorter)) == [
        (
            K.NOT_LOADED,
            "reload of bytes [400, 600) of t1 from dram to sram at boundary 3 reads dram, where "
            "bytes [500, 600) of t1 was never loaded",
        )
    ]


def test_part_must_come_back_to_its_place_beside_the_rest():
    elsewhere = [
        (1, "sram", 50, 3, 4, TAIL) if p == (1, "sram", 0, 3, 4, TAIL) else p for p in PLACEMENTS
    ]
    found = offences(GRAPH, SCRATCHPAD, partial_plan(elsewhere))
    assert (
        K.PART,
        "step 3: parts of t1 in sram are placed for a storage at byte 0 and at byte 50",
    ) in found


def test_bytes_cannot_be_resident_twice():
    twice = [*PLACEMENTS, (1, "sram", 0, 3, 4, (390, 410))]
    kinds = [kind for kind, _ in offences(GRAPH, SCRATCHPAD, partial_plan(twice))]
    assert K.DUPLICATE in kinds


def test_part_lies_inside_its_storage_and_inside_the_memory():
    found = offences(GRAPH, SCRATCHPAD, partial_plan([*PLACEMENTS, (2, "dram", 0, 1, 2, (0, 301))]))
    assert (
        K.PART,
        "t2 is placed in dram in part: there are no bytes [0, 301) among its 300",
    ) in found
    moved = [(p[0], p[1], 500, *p[3:]) if p[:2] == (1, "sram") else p for p in PLACEMENTS]
    assert (
        K.CAPACITY,
        "t1 lies at bytes [900, 1,100) of sram, which has 1,000",
    ) in offences(GRAPH, SCRATCHPAD, partial_plan(moved))


def test_copy_made_before_a_later_write_is_out_of_date_in_every_part():
    graph = chain(100, 200, 50, uses={1: [0]})
    # op1 writes t1's second half as well.
    tensors = list(graph.tensors)
    tensors[1] = replace(tensors[1], shape=(100,), size_bytes=100)
    tensors.append(replace(tensors[1], name="t1b", offset_bytes=100))
    operators = list(graph.operators)
    operators[1] = replace(operators[1], outputs=(2, 3))
    graph = replace(graph, tensors=tuple(tensors), operators=tuple(operators))
    plan = make_plan(
        graph,
        SCRATCHPAD,
        [
            (0, "dram", 0, 0, 1), (0, "sram", 0, 0, 2), (1, "sram", 100, 0, 2),
            (1, "dram", 100, 1, 2, (0, 100)), (2, "sram", 300, 1, 2), (2, "dram", 300, 1, 2),
        ],
        [
            (0, "dram", "sram", 0, 0, FETCH), (1, "sram", "dram", 1, 2, SPILL, (0, 100)),
            (2, "sram", "dram", 2, 2, STORE),
        ],
    )  # fmt: skip
    assert offences(graph, SCRATCHPAD, plan) == [
        (
            K.TRANSFER_SOURCE,
            "spill of bytes [0, 100) of t1 from sram to dram at boundaries 1 to 2: t1 is "
            "overwritten while it is copied",
        )
    ]


def test_input_may_be_fetched_and_output_stored_part_by_part():
    graph = chain(100, 50)
    placements = [
        (0, "dram", 0, 0, 1), (0, "sram", 0, 0, 1), (1, "sram", 900, 0, 1), (1, "dram", 100, 0, 1),
    ]  # fmt: skip
    copies = [
        (0, "dram", "sram", 0, 0, FETCH, (0, 30)), (0, "dram", "sram", 0, 0, FETCH, (30, 100)),
        (1, "sram", "dram", 1, 1, STORE, (20, 50)), (1, "sram", "dram", 1, 1, STORE, (0, 20)),
    ]  # fmt: skip
    plan = make_plan(graph, SCRATCHPAD, placements, copies)
    assert_legal(graph, SCRATCHPAD, plan)
    assert (plan.metrics.compulsory_bytes, plan.metrics.traffic_bytes) == (150, 0)
    copies[1] = (0, "dram", "sram", 0, 0, FETCH, (29, 100))
    assert [kind for kind, _ in offences(graph, SCRATCHPAD, make_plan(
        graph, SCRATCHPAD, placements, copies))] == [K.TRANSFER_KIND]  # fmt: skip
    copies[1] = (0, "dram", "sram", 0, 0, RELOAD, (29, 100))
    plan = make_plan(graph, SCRATCHPAD, placements, copies)
    assert_legal(graph, SCRATCHPAD, plan)
    assert plan.metrics.traffic_bytes == 71


def test_output_may_overwrite_an_operand_in_parts():
    graph = chain(100, 200, 200, 50)
    operators = list(graph.operators)
    operators[1] = replace(operators[1], in_place=(InPlaceOption(2, 1),))
    graph = replace(graph, operators=tuple(operators))
    placements = [
        (0, "dram", 0, 0, 1), (0, "sram", 900, 0, 1),
        (1, "sram", 0, 0, 2, (0, 80)), (1, "sram", 0, 0, 2, (80, 200)),
        (2, "sram", 0, 1, 3, (0, 150)), (2, "sram", 0, 1, 3, (150, 200)),
        (3, "sram", 500, 2, 3), (3, "dram", 500, 2, 3),
    ]  # fmt: skip
    copies = [(0, "dram", "sram", 0, 0, FETCH), (3, "sram", "dram", 3, 3, STORE)]
    plan = make_plan(graph, SCRATCHPAD, placements, copies, [(1, 2, 1)])
    assert_legal(graph, SCRATCHPAD, plan)
    assert plan.metrics.peak_bytes["sram"] == 300
    apart = [(p[0], p[1], 100, *p[3:]) if p[0] == 2 else p for p in placements]
    plan = make_plan(graph, SCRATCHPAD, apart, copies, [(1, 2, 1)])
    assert K.IN_PLACE in {kind for kind, _ in offences(graph, SCRATCHPAD, plan)}


def test_operand_in_parts_of_two_memories_is_in_neither():
    graph = chain(100, 50, 30)
    placements = [
        (0, "dram", 0, 0, 1), (1, "sram", 0, 0, 2), (1, "dram", 200, 1, 2, (0, 20)),
        (2, "dram", 300, 1, 2),
    ]  # fmt: skip
    plan = make_plan(graph, EITHER, placements)
    assert_legal(graph, EITHER, plan)
    assert plan.metrics.traffic_bytes == 100 + 30
    split = [*placements]
    split[1] = (1, "sram", 0, 0, 2, (20, 50))
    found = offences(graph, EITHER, make_plan(graph, EITHER, split))
    assert K.NOT_PLACED in {kind for kind, _ in found}


def test_storage_is_written_out_once_and_read_back_as_often_as_it_is_needed():
    graph = chain(100, 400, 50, 50, 50, 50, 50, uses={2: [1], 4: [1], 5: [1]})
    copies = [
        (0, "dram", "sram", 0, 0, FETCH), (1, "sram", "dram", 1, 2, SPILL),
        (1, "dram", "sram", 2, 2, RELOAD), (1, "dram", "sram", 4, 4, RELOAD),
        (6, "sram", "dram", 6, 6, STORE),
    ]  # fmt: skip
    placements = [
        (0, "dram", 0, 0, 1), (0, "sram", 900, 0, 1),
        (1, "sram", 0, 0, 2), (1, "sram", 500, 2, 3), (1, "sram", 100, 4, 6),
        (1, "dram", 200, 1, 5), (2, "sram", 450, 1, 3), (3, "sram", 0, 2, 4), (4, "sram", 50, 3, 5),
        (5, "sram", 500, 4, 6), (6, "sram", 0, 5, 6), (6, "dram", 0, 5, 6),
    ]  # fmt: skip
    plan = make_plan(graph, SCRATCHPAD, placements, copies)
    assert_legal(graph, SCRATCHPAD, plan)
    assert plan.metrics.traffic_bytes == 400 + 2 * 400
