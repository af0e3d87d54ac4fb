"""Where storages lie: overlaps, capacities, what may go unplaced, and what the checker says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.checker import check
from planner.graph import Graph, ModelReference, Storage, StorageKind, Tensor
from planner.placement_rules import overlapping_pairs
from planner.plans import Placement
from planner.target import Memory, Target
from planner.testing import assert_legal

from .small_plans import NEAR_IO, K, chain, make_plan, offences


def test_overlap_message_names_step_storages_ranges_and_memory():
    graph = chain(400, 400, 400)
    plan = make_plan(
        graph, NEAR_IO, [(0, "sram", 0, 0, 1), (1, "sram", 399, 0, 2), (2, "sram", 0, 1, 2)]
    )
    assert offences(graph, NEAR_IO, plan) == [
        (K.OVERLAP, "step 0 (op0): x [0, 400) and t1 [399, 799) overlap in sram"),
        (K.OVERLAP, "step 1 (op1): t1 [399, 799) and t2 [0, 400) overlap in sram"),
    ]


def test_numbers_in_messages_have_thousands_separators():
    graph = chain(4000, 4000)
    target = Target("host", (Memory("ram", 7_999),))
    plan = make_plan(graph, target, [(0, "ram", 0, 0, 1), (1, "ram", 4000, 0, 1)])
    assert offences(graph, target, plan) == [
        (K.CAPACITY, "t1 lies at bytes [4,000, 8,000) of ram, which has 7,999")
    ]


def test_missing_operand_is_named_with_its_size():
    graph = chain(100, 100)
    plan = make_plan(graph, NEAR_IO, [(1, "sram", 0, 0, 1)])
    assert offences(graph, NEAR_IO, plan) == [
        (K.NOT_PLACED, "step 0 (op0): operand x (100 bytes) is not placed in sram")
    ]


def test_output_must_stay_to_the_end():
    graph = chain(10, 20, 30)
    early = replace(graph, storages=(graph.storages[0], replace(graph.storages[1], is_output=True),
                                     graph.storages[2]))  # fmt: skip
    plan = make_plan(
        early, NEAR_IO, [(0, "sram", 0, 0, 1), (1, "sram", 10, 0, 1), (2, "sram", 30, 1, 2)]
    )
    found = offences(early, NEAR_IO, plan)
    assert found[0][0] is K.NOT_PLACED
    assert found[1] == (
        K.OUTPUT,
        "graph output t1 is not in sram at the end: it is not placed there",
    )


def test_empty_storages_need_no_placement():
    graph = chain(10, 0, 30)
    plan = make_plan(graph, NEAR_IO, [(0, "sram", 0, 0, 1), (2, "sram", 30, 1, 2)])
    assert_legal(graph, NEAR_IO, plan)


def test_unused_inputs_need_no_placement():
    graph = chain(10, 20)
    unused = Storage("unused", 99, StorageKind.INPUT, is_output=True)
    wider = replace(
        graph,
        storages=(*graph.storages, unused),
        tensors=(*graph.tensors, Tensor("unused", (99,), "int8", 2, 0, 99)),
    )
    plan = make_plan(wider, NEAR_IO, [(0, "sram", 0, 0, 1), (1, "sram", 10, 0, 1)])
    assert_legal(wider, NEAR_IO, plan)


def test_graph_without_operators_has_an_empty_legal_plan():
    graph = Graph(ModelReference("empty"), (), (), ())
    assert_legal(graph, NEAR_IO, make_plan(graph, NEAR_IO, []))


def test_constants_take_room_from_placements_in_their_memory():
    constant = Storage("w", 900, StorageKind.CONSTANT)
    graph = chain(50, 60)
    graph = replace(
        graph,
        storages=(*graph.storages, constant),
        tensors=(*graph.tensors, Tensor("w", (900,), "int8", 2, 0, 900)),
    )
    target = Target("one", (Memory("ram", 1000),))
    plan = make_plan(graph, target, [(0, "ram", 0, 0, 1), (1, "ram", 50, 0, 1)])
    assert offences(graph, target, plan) == [
        (K.CAPACITY, "t1 lies at bytes [50, 110) of ram, which has 100")
    ]
    assert_legal(graph, target.with_capacities({"ram": 1010}), plan)


def test_model_is_compared_by_hash_where_known_and_by_name_otherwise():
    graph = chain(10, 20)
    plan = make_plan(graph, NEAR_IO, [(0, "sram", 0, 0, 1), (1, "sram", 10, 0, 1)])
    renamed = replace(plan, model=ModelReference("other"))
    assert [v.kind for v in check(graph, NEAR_IO, renamed)] == [K.MODEL]
    hashed = replace(graph, model=ModelReference("m", "a" * 64))
    moved = replace(plan, model=ModelReference("renamed.onnx", "a" * 64))
    assert check(hashed, NEAR_IO, moved) == []
    other = replace(plan, model=ModelReference("m", "b" * 64))
    assert [v.kind for v in check(hashed, NEAR_IO, other)] == [K.MODEL]


def test_hostile_numbers_are_reported_not_computed_with():
    graph = chain(10, 20)
    plan = make_plan(graph, NEAR_IO, [(0, "sram", 0, 0, 1), (1, "sram", 10, 0, 1)])
    for changes in ({"offset": 10**30}, {"end": 10**30}, {"start": -(10**30)}, {"storage": 10**30}):
        placement = plan.placements[0]._replace(**changes)
        assert check(graph, NEAR_IO, replace(plan, placements=(placement, plan.placements[1])))


def test_listing_of_overlaps_is_bounded():
    graph = chain(*[8] * 60)
    placements = [(i, "sram", 0, 0, 59) for i in range(60)]
    plan = make_plan(graph, NEAR_IO, placements)
    overlaps = [v for v in check(graph, NEAR_IO, plan) if v.kind is K.OVERLAP]
    assert len(overlaps) == 1_000


@st.composite
def buffers(draw) -> tuple[list[Placement], list[int]]:
    count = draw(st.integers(0, 14))
    sizes = draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    placements = []
    for index in range(count):
        start = draw(st.integers(0, 8))
        end = draw(st.integers(start + 1, 10))
        offset = draw(st.sampled_from([*range(14), (1 << 53) - 2]))
        memory = draw(st.sampled_from(["a", "b"]))
        placements.append(Placement(index, memory, offset, start, end))
    return placements, sizes


@settings(max_examples=300, deadline=None)
@given(buffers())
def test_overlaps_are_those_of_the_definition(case):
    placements, sizes = case

    def share(i: int, j: int) -> bool:
        p, q = placements[i], placements[j]
        steps = set(range(p.start, p.end)) & set(range(q.start, q.end))
        bytes_p = range(p.offset, p.offset + sizes[p.storage])
        bytes_q = range(q.offset, q.offset + sizes[q.storage])
        return p.memory == q.memory and bool(steps) and any(b in bytes_q for b in bytes_p)

    expected = {
        (i, j) for i in range(len(placements)) for j in range(i + 1, len(placements)) if share(i, j)
    }
    found = [tuple(sorted(pair)) for pair in overlapping_pairs(placements, sizes)]
    assert len(found) == len(set(found))
    assert set(found) == expected
