"""The checker on small plans by hand: what it says, and the rules that are easy to get wrong."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.checker import ViolationKind, check
from planner.graph import (
    Graph,
    InPlaceOption,
    ModelReference,
    Operator,
    Storage,
    StorageKind,
    Tensor,
)
from planner.metrics import measure_bytes
from planner.placement_rules import overlapping_pairs
from planner.plans import (
    InPlace,
    Metrics,
    Placement,
    Plan,
    Provenance,
    Transfer,
    TransferKind,
    planned_storages,
)
from planner.target import Link, Memory, Target
from planner.testing import assert_legal, naive_plan, random_graph

K = ViolationKind
NEAR = Memory("sram", 1000)
FAR = Memory("dram", 10_000)
LINKS = (Link("sram", "dram", 1e9), Link("dram", "sram", 1e9))
SCRATCHPAD = Target("scratchpad", (NEAR, FAR), LINKS, io_memory="dram")
NEAR_IO = Target("near-io", (NEAR, FAR), LINKS, io_memory="sram")
EITHER = Target("either", (NEAR, FAR), LINKS, operands_resident=False, io_memory="dram")

FETCH, STORE = TransferKind.FETCH, TransferKind.STORE
SPILL, RELOAD = TransferKind.SPILL, TransferKind.RELOAD


def chain(*sizes: int, uses: dict[int, list[int]] | None = None) -> Graph:
    """Storage 0 is the input; operator i reads storage i and writes storage i + 1.

    ``uses`` adds operands: operator -> storages.
    """
    last = len(sizes) - 1
    storages = [Storage("x", sizes[0], StorageKind.INPUT)]
    storages += [Storage(f"t{i}", sizes[i], is_output=i == last) for i in range(1, last + 1)]
    tensors = [Tensor(s.name, (s.size_bytes,), "int8", i, 0, s.size_bytes)
               for i, s in enumerate(storages)]  # fmt: skip
    operators = [
        Operator(f"op{i}", "Layer", tuple(dict.fromkeys([i, *(uses or {}).get(i, [])])), (i + 1,))
        for i in range(last)
    ]
    return Graph(ModelReference("m"), tuple(operators), tuple(tensors), tuple(storages))


def make_plan(
    graph: Graph,
    target: Target,
    placements: list[tuple[int, str, int, int, int]],
    transfers: list[tuple[int, str, str, int, int, TransferKind]] = [],  # noqa: B006
    in_place: list[tuple[int, int, int]] = [],  # noqa: B006
    order: list[int] | None = None,
) -> Plan:
    plan = Plan(
        model=graph.model,
        target=target,
        order=tuple(range(len(graph.operators)) if order is None else order),
        storages=planned_storages(graph),
        placements=tuple(Placement(*p) for p in placements),
        transfers=tuple(Transfer(*t) for t in transfers),
        in_place=tuple(InPlace(*p) for p in in_place),
        metrics=Metrics({}, {}, 0, 0),
        provenance=Provenance("hand", "feasible", "traffic"),
    )
    return replace(plan, metrics=measure_bytes(graph, target, plan))


def offences(graph: Graph, target: Target, plan: Plan) -> list[tuple[ViolationKind, str]]:
    return [(v.kind, v.message) for v in check(graph, target, plan)]


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


class Machine:
    """Real bytes: patterns are written, copied and compared as the plan says.

    A copy makes its destination unreadable from its first boundary on, and its source must be the
    same at its last. Bytes that no placement holds during a step are wiped.
    """

    def __init__(self, graph: Graph, target: Target, plan: Plan) -> None:
        self.graph, self.target, self.plan = graph, target, plan
        self.memory = {memory.name: bytearray(8_192) for memory in target.memories}
        self.content: dict[int, bytes] = {}
        self.source: dict[int, bytes] = {}

    def run(self) -> None:
        outside, near = self.target.io_memory, self.target.nearest.name
        for index, storage in enumerate(self.graph.storages):
            if storage.kind is StorageKind.INPUT and storage.size_bytes:
                self.content[index] = bytes(
                    (index * 37 + i) % 251 for i in range(storage.size_bytes)
                )
                for p in self.plan.placements:
                    if (p.storage, p.memory, p.start) == (index, outside, 0):
                        self.memory[outside][self.span(p)] = self.content[index]
        for boundary in range(len(self.plan.order) + 1):
            for into_near in (False, True):
                self.copy(boundary, near, into_near)
            if boundary < len(self.plan.order):
                self.wipe(boundary)
                self.step(boundary, near)
        for index, storage in enumerate(self.graph.storages):
            if (
                storage.is_output
                and index in self.content
                and len(self.graph.storage_users.row(index))
            ):
                found = self.memory[outside][self.place(index, outside, len(self.plan.order) - 1)]
                assert found == self.content[index], f"output {storage.name}"

    def span(self, placement: Placement) -> slice:
        size = self.graph.storages[placement.storage].size_bytes
        return slice(placement.offset, placement.offset + size)

    def place(self, storage: int, memory: str, step: int) -> slice:
        for p in self.plan.placements:
            if (p.storage, p.memory) == (storage, memory) and p.start <= step < p.end:
                return self.span(p)
        raise AssertionError(f"{storage} is not in {memory} at step {step}")

    def copy(self, boundary: int, near: str, into_near: bool) -> None:
        """Source bytes are those held before the boundary if the copy leaves, else after it."""
        last = len(self.plan.order) - 1
        copies = [
            (i, t)
            for i, t in enumerate(self.plan.transfers)
            if (t.destination == near) is into_near and self.graph.storages[t.storage].size_bytes
        ]
        started = [(i, t) for i, t in copies if t.start == boundary]
        ended = [(i, t) for i, t in copies if t.end == boundary]
        for early in (True, False):
            for index, t in ended if early else started:
                if early and t.start == boundary:
                    continue
                self.transfer(index, t, boundary, last, finish=early)
        for index, t in ended:
            if t.start == boundary:
                self.transfer(index, t, boundary, last, finish=True)

    def transfer(self, index: int, t: Transfer, boundary: int, last: int, *, finish: bool) -> None:
        leaving = t.source == self.target.nearest.name
        at = boundary - 1 if leaving else min(boundary, last)
        source = bytes(self.memory[t.source][self.place(t.storage, t.source, at)])
        filled = self.place(t.storage, t.destination, min(boundary, last))
        if finish:
            assert source == self.source[index], f"transfer {index} reads changing bytes"
            self.memory[t.destination][filled] = source
        else:
            self.source[index] = source
            self.memory[t.destination][filled] = b"\xfb" * (filled.stop - filled.start)

    def wipe(self, step: int) -> None:
        for name, memory in self.memory.items():
            kept = bytearray(b"\xfb" * len(memory))
            for p in self.plan.placements:
                if p.memory == name and p.start <= step < p.end:
                    kept[self.span(p)] = memory[self.span(p)]
            self.memory[name] = kept

    def step(self, step: int, near: str) -> None:
        operator = self.plan.order[step]
        node, memory = self.graph.operators[operator], self.memory[near]
        for index in node.inputs:
            tensor = self.graph.tensors[index]
            kind = self.graph.storages[tensor.storage].kind
            if kind is StorageKind.CONSTANT or not tensor.size_bytes:
                continue
            begin = self.place(tensor.storage, near, step).start + tensor.offset_bytes
            part = slice(tensor.offset_bytes, tensor.offset_bytes + tensor.size_bytes)
            found = memory[begin : begin + tensor.size_bytes]
            assert found == self.content[tensor.storage][part], f"step {step}: {tensor.name}"
        for index in () if self.graph.is_view(operator) else node.outputs:
            tensor = self.graph.tensors[index]
            if not tensor.size_bytes:
                continue
            size = self.graph.storages[tensor.storage].size_bytes
            whole = bytearray(self.content.get(tensor.storage, bytes(size)))
            pattern = bytes((step * 91 + index * 7 + i) % 253 for i in range(tensor.size_bytes))
            whole[tensor.offset_bytes : tensor.offset_bytes + tensor.size_bytes] = pattern
            self.content[tensor.storage] = bytes(whole)
            begin = self.place(tensor.storage, near, step).start + tensor.offset_bytes
            memory[begin : begin + tensor.size_bytes] = pattern


def shaken(graph: Graph, target: Target, plan: Plan, rng: random.Random) -> Plan:
    """Move one or two fields of placements and transfers a little; tell the truth about bytes."""
    placements, transfers = list(plan.placements), list(plan.transfers)
    for _ in range(rng.randint(1, 2)):
        rows = rng.choice([placements, transfers]) if transfers else placements
        index = rng.randrange(len(rows))
        fields = ["start", "end", "offset"] if rows is placements else ["start", "end"]
        field, by = rng.choice(fields), rng.choice((-1, 1))
        by *= 16 if field == "offset" else 1
        rows[index] = rows[index]._replace(**{field: getattr(rows[index], field) + by})
    if rng.random() < 0.2 and transfers:
        del transfers[rng.randrange(len(transfers))]
    moved = replace(plan, placements=tuple(placements), transfers=tuple(transfers))
    steps = len(plan.order)
    if any(not 0 <= p.start < p.end <= steps for p in placements):
        return moved
    return replace(moved, metrics=measure_bytes(graph, target, moved))


def test_bytes_survive_in_real_memory_whenever_the_checker_finds_nothing():
    legal = 0
    for seed in range(60):
        graph = random_graph(seed, operators=9)
        target = (SCRATCHPAD, NEAR_IO)[seed % 2].with_capacities({"sram": 8_000, "dram": 8_000})
        plan = naive_plan(graph, target, seed)
        assert_legal(graph, target, plan)
        Machine(graph, target, plan).run()
        rng = random.Random(seed)
        for _ in range(40 if plan.placements else 0):
            other = shaken(graph, target, plan, rng)
            if not check(graph, target, other):
                legal += other != plan
                Machine(graph, target, other).run()
    assert legal >= 100
