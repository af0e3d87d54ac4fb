"""The race on random graphs and random machines, and what that has found."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from planner.checker import check
from planner.errors import DoesNotFitError, PlannerError, UsageError
from planner.footprint import forced_overwrites, largest_footprint
from planner.graph import (
    Graph,
    InPlaceOption,
    ModelReference,
    Operator,
    Storage,
    StorageKind,
    Tensor,
)
from planner.plans import InPlace, Transfer, TransferKind
from planner.portfolio import race
from planner.problem import Objective, PlanningProblem, Status
from planner.scoreboard import rank
from planner.simulator import latency_lower_bound
from planner.target import Compute, Link, Memory, Target
from planner.testing import assert_legal, naive_plan, random_graph

FAR = Memory("dram")
BOTH_WAYS = (Link("sram", "dram", 1e8), Link("dram", "sram", 1e8))


def graph_of(storages: list[Storage], operators: list[tuple[list[int], list[int]]]) -> Graph:
    """One tensor per storage; operators as (read, written) storages, every overwrite allowed."""
    tensors = [
        Tensor(s.name, (s.size_bytes,), "int8", i, 0, s.size_bytes) for i, s in enumerate(storages)
    ]
    nodes = []
    for index, (reads, writes) in enumerate(operators):
        options = tuple(
            InPlaceOption(o, i)
            for o in writes
            for i in reads
            if storages[i].size_bytes == storages[o].size_bytes
            and storages[i].kind is StorageKind.ACTIVATION
            and not storages[i].is_output
        )
        nodes.append(Operator(f"op{index}", "Layer", tuple(reads), tuple(writes), options))
    return Graph(ModelReference("small"), tuple(nodes), tuple(tensors), tuple(storages))


def graph_input(size: int) -> Storage:
    return Storage("input", size, StorageKind.INPUT)


def random_target(rng: random.Random, graph: Graph) -> Target:
    """One to three memories around the sizes that are interesting for the graph."""
    alignment = rng.choice((1, 1, 2, 16, 64, 512))
    least = largest_footprint(graph, in_place=True, alignment_bytes=alignment).size_bytes
    most = graph.activation_bytes + 64
    capacity = rng.choice((None, rng.randrange(least + 1), least, int(1.1 * least), least + most))
    rates = rng.random() < 0.75

    def memory(name: str, capacity: int | None, alignment: int) -> Memory:
        bandwidth = rng.choice((1e9, 2e8)) if rates else None
        latency_s = rng.choice((0.0, 1e-7, 1e-6))
        return Memory(name, capacity, alignment, bandwidth, bandwidth, latency_s)

    memories = [memory("sram", capacity, alignment)]
    for name in rng.choice(((), ("l2",), ("l2",), ("l2", "dram"))):
        memories.append(memory(name, rng.choice((None, None, rng.randrange(1, most))), 16))
    names = [m.name for m in memories]
    links = tuple(
        Link(a, b, rng.choice((1e8, 1e9)), rng.choice((0.0, 1e-7)), rng.randint(1, 3))
        for a in names
        for b in names
        if a != b and rng.random() < 0.95
    )
    if rng.random() < 0.3:
        memories.append(replace(memory("flash", None, 16), writable=False))
    return Target(
        "random",
        tuple(memories),
        links,
        Compute({"default": 1e9}, 1e9, rng.choice((0.0, 1e-7))) if rates else None,
        operands_resident=rng.random() < 0.7,
        io_memory=rng.choice(names),
        constant_memory=rng.choice([m.name for m in memories]),
    )


def race_is_sound(seed: int) -> None:
    rng = random.Random(seed)
    graph = random_graph(rng.randrange(10**6), rng.randint(3, rng.choice((8, 12, 40))))
    target = random_target(rng, graph)
    objective = rng.choice([o for o in Objective if o is not Objective.LATENCY or target.compute])
    problem = PlanningProblem(graph, target, objective, in_place=rng.random() < 0.8)
    hurry = rng.random() < 0.3
    try:
        result = race(problem, time_limit_s=1e-6 if hurry else 30.0)
    except PlannerError:
        return  # any other exception is a failure
    assert_legal(graph, target, result.plan)
    assert not [report for report in result.reports if report.status == "failed"], seed
    if not hurry:
        baseline = race(problem, contenders=["greedy"]).plan
        assert rank(result.plan, objective) <= rank(baseline, objective), seed


@pytest.mark.parametrize("block", range(4))
def test_a_race_on_a_random_machine_gives_a_legal_plan_or_a_planner_error(block: int) -> None:
    for seed in range(30 * block, 30 * block + 30):
        race_is_sound(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_races_on_random_machines_are_sound(block: int) -> None:
    for seed in range(1000 + 200 * block, 1000 + 200 * block + 200):
        race_is_sound(seed)


def in_two_parts() -> Graph:
    """Two layers write the parts of one storage; between them runs one that needs the room."""
    storages = [
        graph_input(10),
        Storage("whole", 100),
        Storage("wide", 150),
        Storage("narrow", 10),
        Storage("result", 10, is_output=True),
    ]
    tensors = (
        Tensor("input", (10,), "int8", 0, 0, 10),
        Tensor("left", (50,), "int8", 1, 0, 50),
        Tensor("right", (50,), "int8", 1, 50, 50),
        Tensor("whole", (100,), "int8", 1, 0, 100),
        Tensor("wide", (150,), "int8", 2, 0, 150),
        Tensor("narrow", (10,), "int8", 3, 0, 10),
        Tensor("result", (10,), "int8", 4, 0, 10),
    )
    operators = (
        Operator("left", "Layer", (0,), (1,)),
        Operator("wide", "Layer", (0, 1), (4,)),
        Operator("narrow", "Layer", (4,), (5,)),
        Operator("right", "Layer", (5,), (2,)),
        Operator("concat", "Concat", (1, 2), (3,)),
        Operator("result", "Layer", (3,), (6,)),
    )
    return Graph(ModelReference("parts"), operators, tensors, tuple(storages))


@pytest.mark.parametrize("time_limit_s", [1e-6, 30.0])
@pytest.mark.parametrize("io_memory", ["sram", "dram"])
def test_a_storage_written_in_parts_is_spilled_between_the_writes(
    io_memory: str, time_limit_s: float
) -> None:
    graph = in_two_parts()
    capacity = largest_footprint(graph, in_place=True).size_bytes
    target = Target("npu", (Memory("sram", capacity), FAR), BOTH_WAYS, io_memory=io_memory)
    result = race(PlanningProblem(graph, target, Objective.TRAFFIC), time_limit_s=time_limit_s)
    assert_legal(graph, target, result.plan)
    assert capacity == 260


def test_a_storage_without_room_between_its_writes_is_not_held_there() -> None:
    graph = in_two_parts()
    wide = replace(graph.operators[1], inputs=(0,))
    graph = replace(graph, operators=(graph.operators[0], wide, *graph.operators[2:]))
    narrow = replace(graph.operators[2], inputs=(4, 1))
    graph = replace(graph, operators=(*graph.operators[:2], narrow, *graph.operators[3:]))
    storages = list(graph.storages)
    storages[2] = replace(storages[2], size_bytes=250)
    tensors = list(graph.tensors)
    tensors[4] = replace(tensors[4], shape=(250,), size_bytes=250)
    graph = replace(graph, storages=tuple(storages), tensors=tuple(tensors))
    target = Target("npu", (Memory("sram", 360), FAR), BOTH_WAYS, io_memory="dram")
    result = race(PlanningProblem(graph, target, Objective.TRAFFIC))
    assert_legal(graph, target, result.plan)


def test_outputs_that_cannot_lie_together_are_a_proven_misfit() -> None:
    outputs = [Storage(f"out{i}", 100, is_output=True) for i in range(3)]
    graph = graph_of([graph_input(10), *outputs], [([0], [i]) for i in (1, 2, 3)])
    target = Target("npu", (Memory("sram", 299), FAR), BOTH_WAYS)
    with pytest.raises(DoesNotFitError, match=r"outputs need 300 bytes of sram .* 310") as caught:
        race(PlanningProblem(graph, target, Objective.TRAFFIC))
    assert caught.value.proven
    fits = target.with_capacities({"sram": 310})
    assert_legal(graph, fits, race(PlanningProblem(graph, fits, Objective.TRAFFIC)).plan)


def test_the_operator_that_fits_beside_the_outputs_runs_last() -> None:
    storages = [
        graph_input(10),
        Storage("big", 200),
        Storage("small", 10),
        Storage("from_small", 100, is_output=True),
        Storage("from_big", 100, is_output=True),
    ]
    graph = graph_of(storages, [([0], [1]), ([0], [2]), ([2], [3]), ([1], [4])])
    target = Target("npu", (Memory("sram", 305), FAR), BOTH_WAYS)
    result = race(PlanningProblem(graph, target, Objective.TRAFFIC))
    assert_legal(graph, target, result.plan)
    assert result.plan.order[-1] == 2


def test_a_farther_memory_too_small_for_the_copies_is_a_misfit_and_no_crash() -> None:
    storages = [
        graph_input(10),
        Storage("a", 100),
        Storage("b", 150),
        Storage("c", 120),
        Storage("out", 10, is_output=True),
    ]
    graph = graph_of(storages, [([0], [1]), ([0, 1], [2]), ([2], [3]), ([1, 3], [4])])
    target = Target("npu", (Memory("sram", 300), Memory("dram", 99)), BOTH_WAYS)
    with pytest.raises(DoesNotFitError, match="spills need 100 bytes of dram"):
        race(PlanningProblem(graph, target, Objective.TRAFFIC))
    fits = target.with_capacities({"dram": 110})
    assert race(PlanningProblem(graph, fits, Objective.TRAFFIC)).plan.metrics.traffic_bytes == 200


@pytest.mark.parametrize("missing", [0, 1])
def test_a_caller_memory_without_links_is_refused(missing: int) -> None:
    graph = graph_of([graph_input(8), Storage("out", 8, is_output=True)], [([0], [1])])
    links = (BOTH_WAYS[missing],)
    target = Target("npu", (Memory("sram", 64), FAR), links, io_memory="dram")
    with pytest.raises(UsageError, match="has no link from"):
        race(PlanningProblem(graph, target, Objective.PEAK))


def test_inputs_of_a_near_caller_memory_are_not_used_elsewhere() -> None:
    storages = [graph_input(100), Storage("a", 300), Storage("out", 100, is_output=True)]
    graph = graph_of(storages, [([0], [1]), ([1, 0], [2])])
    target = Target("tpu", (Memory("sram", 250), FAR), BOTH_WAYS, operands_resident=False)
    result = race(PlanningProblem(graph, target, Objective.TRAFFIC))
    assert_legal(graph, target, result.plan)


def test_a_graph_without_operators_is_refused() -> None:
    graph = Graph(ModelReference("nothing"), (), (), ())
    with pytest.raises(UsageError, match="no operators"):
        race(PlanningProblem(graph, Target("host", (Memory("ram"),)), Objective.PEAK))


def test_a_contender_that_proves_the_best_plan_optimal_is_credited() -> None:
    for seed in range(200):
        problem = PlanningProblem(
            random_graph(seed, 12), Target("host", (Memory("ram"),)), Objective.PEAK
        )
        reports = {report.name: report for report in race(problem).reports}
        if reports["exact"].note.startswith("proved"):
            assert reports["exact"].status == Status.OPTIMAL
            assert reports["exact"].value == reports["greedy"].value
            return
    pytest.fail("no graph on which greedy is optimal and exact has to prove it")


def test_switching_overwrites_along_a_long_chain_needs_no_recursion() -> None:
    count = 1500
    storages = [graph_input(1), *(Storage(f"s{i}", 100) for i in range(count + 1))]
    operators: list[tuple[list[int], list[int]]] = [([0], [i + 1]) for i in range(count + 1)]
    for i in [*range(count), 0]:
        storages.append(Storage(f"out{len(storages)}", 100, is_output=True))
        reads = [i + 1, i + 2] if len(operators) < 2 * count + 1 else [1, count + 1]
        operators.append((reads, [len(storages) - 1]))
    chosen = next(forced_overwrites(graph_of(storages, operators), 200))
    assert chosen is not None
    assert len(set(chosen.values())) == count + 1


def test_constants_beside_operands_pay_one_latency_in_the_bound() -> None:
    storages = [graph_input(8), Storage("weight", 8, StorageKind.CONSTANT)]
    storages.append(Storage("out", 8, is_output=True))
    graph = graph_of(storages, [([0, 1], [2])])
    target = Target(
        "tpu",
        (Memory("sram", 4, 1, 1e9, 1e9, 1e-6), Memory("hbm", None, 1, 1e9, 1e9, 2e-6)),
        (Link("sram", "hbm", 1e9), Link("hbm", "sram", 1e9)),
        Compute({"default": 1e9}, 1e9),
        operands_resident=False,
        io_memory="hbm",
    )
    plan = race(PlanningProblem(graph, target, Objective.LATENCY)).plan
    assert plan.metrics.latency_s == pytest.approx(2e-6 + 24e-9)
    assert plan.metrics.latency_s is not None
    assert latency_lower_bound(graph, target) <= plan.metrics.latency_s


def test_a_copy_that_lands_on_bytes_overwritten_in_place_is_caught() -> None:
    storages = [graph_input(8), Storage("a", 8), Storage("b", 8, is_output=True)]
    graph = graph_of(storages, [([0], [1]), ([1], [2])])
    target = Target("tpu", (Memory("sram"), FAR), BOTH_WAYS, operands_resident=False)
    plan = naive_plan(graph, target, 0, drop=0.0)
    near = {p.storage: p for p in plan.placements if p.memory == "sram"}
    a, b = near[1]._replace(start=0, end=1), near[2]._replace(offset=near[1].offset)
    back = a._replace(start=1, end=2)
    far = a._replace(memory="dram", offset=0, start=1, end=2)
    spill = (1, "sram", "dram", 1, 1, TransferKind.SPILL)
    reload = (1, "dram", "sram", 1, 2, TransferKind.RELOAD)
    damaged = replace(
        plan,
        placements=(near[0], a, back, b._replace(start=1, end=2), far),
        transfers=(Transfer(*spill), Transfer(*reload)),
        in_place=(InPlace(1, 2, 1),),
    )
    messages = [violation.message for violation in check(graph, target, damaged)]
    assert any("overwritten in place meanwhile" in message for message in messages), messages
