"""Bytes that change: storages written in parts, and results written over their operand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.checker import check
from planner.graph import (
    Graph,
    InPlaceOption,
    ModelReference,
    Operator,
    Storage,
    StorageKind,
    Tensor,
)
from planner.testing import assert_legal

from .small_plans import NEAR_IO, RELOAD, SPILL, K, make_plan, offences

if TYPE_CHECKING:
    from planner.plans import Plan


def concatenation() -> Graph:
    """Operators 0 and 2 write the halves of storage 1, operator 1 reads the first half."""
    storages = (
        Storage("x", 10, StorageKind.INPUT),
        Storage("cat", 200),
        Storage("mid", 10),
        Storage("y", 50, is_output=True),
    )
    tensors = (
        Tensor("x", (10,), "int8", 0, 0, 10),
        Tensor("left", (100,), "int8", 1, 0, 100),
        Tensor("mid", (10,), "int8", 2, 0, 10),
        Tensor("right", (100,), "int8", 1, 100, 100),
        Tensor("cat", (200,), "int8", 1, 0, 200),
        Tensor("y", (50,), "int8", 3, 0, 50),
    )
    operators = (
        Operator("left", "Layer", (0,), (1,)),
        Operator("mid", "Layer", (0,), (2,)),
        Operator("right", "Layer", (2,), (3,)),
        Operator("cat", "Concat", (1, 3), (4,)),
        Operator("y", "Layer", (4,), (5,)),
    )
    return Graph(ModelReference("concat"), operators, tensors, storages)


def concatenation_plan(reload: bool, spill_again: bool) -> Plan:
    """The half-written storage leaves during step 1 and the whole one during nothing."""
    placements = [
        (0, "sram", 0, 0, 2),
        (1, "sram", 100, 0, 1), (1, "dram", 0, 1, 5), (1, "sram", 400, 2, 3),
        (1, "sram", 700, 3, 5),
        (2, "sram", 50, 1, 3),
        (3, "sram", 0, 4, 5),
    ]  # fmt: skip
    transfers = [(1, "sram", "dram", 1, 1, SPILL), (1, "dram", "sram", 3, 3, RELOAD)]
    if reload:
        transfers.append((1, "dram", "sram", 2, 2, RELOAD))
    if spill_again:
        transfers.append((1, "sram", "dram", 3, 3, SPILL))
    return make_plan(concatenation(), NEAR_IO, placements, transfers)


def test_writing_a_part_makes_the_farther_copy_stale():
    assert_legal(concatenation(), NEAR_IO, concatenation_plan(reload=True, spill_again=True))
    plan = concatenation_plan(reload=True, spill_again=False)
    assert offences(concatenation(), NEAR_IO, plan) == [
        (
            K.NOT_LOADED,
            "reload of cat from dram to sram at boundary 3 reads dram, where cat is out of date: "
            "it was written elsewhere since",
        )
    ]


def test_writing_a_part_needs_the_parts_written_earlier():
    plan = concatenation_plan(reload=False, spill_again=True)
    assert offences(concatenation(), NEAR_IO, plan) == [
        (
            K.NOT_LOADED,
            "step 2 (right) writes a part of cat in sram, where its other parts are missing: it "
            "was never loaded",
        )
    ]


def test_storage_may_not_be_written_while_it_is_copied():
    plan = concatenation_plan(reload=True, spill_again=True)
    # The first half is copied out during the step that writes the second.
    transfers = (plan.transfers[0]._replace(start=2, end=3), *plan.transfers[1:])
    placements = [
        (0, "sram", 0, 0, 2), (1, "sram", 100, 0, 5), (1, "dram", 0, 2, 5),
        (2, "sram", 50, 1, 3), (3, "sram", 0, 4, 5),
    ]  # fmt: skip
    plan = make_plan(concatenation(), NEAR_IO, placements, [transfers[0]])
    assert offences(concatenation(), NEAR_IO, plan) == [
        (
            K.TRANSFER_SOURCE,
            "spill of cat from sram to dram at boundaries 2 to 3: cat is overwritten while it is "
            "copied",
        )
    ]


def in_place_graph() -> Graph:
    storages = (
        Storage("x", 10, StorageKind.INPUT),
        Storage("a", 100),
        Storage("b", 100),
        Storage("y", 10, is_output=True),
    )
    tensors = tuple(
        Tensor(s.name, (s.size_bytes,), "int8", i, 0, s.size_bytes) for i, s in enumerate(storages)
    )
    operators = (
        Operator("a", "Layer", (0,), (1,)),
        Operator("b", "Relu", (1,), (2,), in_place=(InPlaceOption(2, 1),)),
        Operator("y", "Layer", (2,), (3,)),
    )
    return Graph(ModelReference("in-place"), operators, tensors, storages)


IN_PLACE_PLACEMENTS = [
    (0, "sram", 200, 0, 1), (1, "sram", 0, 0, 2), (2, "sram", 0, 1, 3), (3, "sram", 300, 2, 3),
]  # fmt: skip


def test_overwriting_in_place_counts_once():
    plan = make_plan(in_place_graph(), NEAR_IO, IN_PLACE_PLACEMENTS, in_place=[(1, 2, 1)])
    assert_legal(in_place_graph(), NEAR_IO, plan)
    assert plan.metrics.peak_bytes == {"sram": 110, "dram": 0}
    assert plan.metrics.arena_bytes == {"sram": 310, "dram": 0}


def test_overwriting_in_place_must_be_declared():
    plan = make_plan(in_place_graph(), NEAR_IO, IN_PLACE_PLACEMENTS)
    assert [v.kind for v in check(in_place_graph(), NEAR_IO, plan)] == [K.OVERLAP]


def test_overwritten_operand_cannot_be_copied_afterwards():
    plan = make_plan(
        in_place_graph(),
        NEAR_IO,
        [*IN_PLACE_PLACEMENTS, (1, "dram", 0, 1, 3)],
        [(1, "sram", "dram", 1, 2, SPILL)],
        in_place=[(1, 2, 1)],
    )
    assert [v.kind for v in check(in_place_graph(), NEAR_IO, plan)] == [K.TRANSFER_SOURCE]
