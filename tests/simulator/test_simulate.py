"""The simulator on timelines by hand, and what must hold of every timeline."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from planner.errors import InvalidPlanError, UsageError
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.metrics import measure_bytes
from planner.plans import (
    Metrics,
    Placement,
    Plan,
    Provenance,
    Transfer,
    TransferKind,
    part_of,
    planned_storages,
)
from planner.simulator import latency_lower_bound, measure, simulate
from planner.target import Compute, Link, Memory, Target
from planner.target_file import read_target
from planner.testing import assert_legal, naive_plan, random_graph

# Every operator takes one second: its MACs, with memories too fast to matter.
MEMORIES = (
    Memory("sram", 10_000, 1, 1e12, 1e12),
    Memory("dram", 10_000, 1, 1e12, 1e12),
)
OUT, BACK = Link("sram", "dram", 100.0), Link("dram", "sram", 100.0)
TARGET = Target(
    "toy", MEMORIES, (OUT, BACK), Compute({"default": 1.0}, 1.0), io_memory="sram"
)  # fmt: skip
SPILL, RELOAD = TransferKind.SPILL, TransferKind.RELOAD


def chain(sizes: list[int], macs: int = 1000) -> Graph:
    """x -> op0 -> t1 -> op1 -> ... ; the last operator reads the input and t1 as well."""
    last = len(sizes) - 1
    storages = [Storage("x", sizes[0], StorageKind.INPUT)]
    storages += [Storage(f"t{i}", sizes[i], is_output=i == last) for i in range(1, last + 1)]
    tensors = [
        Tensor(s.name, (s.size_bytes,), "int8", i, 0, s.size_bytes) for i, s in enumerate(storages)
    ]
    operators = [
        Operator(
            f"op{i}",
            "Layer",
            (i,) if i < last - 1 else tuple(sorted({0, min(1, i), i})),
            (i + 1,),
            macs=macs,
        )
        for i in range(last)
    ]
    return Graph(ModelReference("chain"), tuple(operators), tuple(tensors), tuple(storages))


def timed(*moves: tuple[int, str, str, int, int, TransferKind], links=(OUT, BACK)):
    """Simulate four steps of one second each, with 100 and 200 byte storages moving about.

    Placements do not matter to the times of a target whose operands are resident.
    """
    graph = chain([100, 200, 10, 10, 10])
    target = replace(TARGET, links=links, compute=Compute({"default": 1000.0}, 1.0))
    plan = Plan(
        graph.model,
        target,
        (0, 1, 2, 3),
        planned_storages(graph),
        (),
        tuple(Transfer(*move) for move in moves),
        (),
        Metrics({}, {}, 0, 0),
        Provenance("hand", "feasible", "latency"),
    )
    return simulate(graph, target, plan)


def test_steps_without_copies_follow_each_other():
    timeline = timed()
    assert timeline.steps == ((0, 1), (1, 2), (2, 3), (3, 4))
    assert (timeline.compute_s, timeline.stall_s, timeline.latency_s) == (4, 0, 4)
    assert timeline.cost_source == "roofline"


def test_copy_in_a_gap_stalls_the_step_after_it():
    timeline = timed((0, "sram", "dram", 1, 1, SPILL))
    assert timeline.transfers == ((1, 2),)
    assert timeline.steps == ((0, 1), (2, 3), (3, 4), (4, 5))
    assert (timeline.stall_s, timeline.latency_s) == (1, 5)


def test_copy_over_a_step_is_hidden_by_it():
    timeline = timed((0, "sram", "dram", 1, 2, SPILL))
    assert timeline.transfers == ((1, 2),)
    assert timeline.stall_s == 0


def test_copy_longer_than_its_step_stalls_for_the_rest():
    timeline = timed((1, "sram", "dram", 1, 2, SPILL))
    assert timeline.transfers == ((1, 3),)
    assert timeline.steps[2] == (3, 4)
    assert timeline.stall_s == 1


def test_one_link_serves_first_in_first_out_and_two_links_run_side_by_side():
    timeline = timed((1, "sram", "dram", 1, 3, SPILL), (0, "sram", "dram", 2, 4, SPILL))
    assert timeline.transfers == ((1, 3), (3, 4))
    timeline = timed((1, "sram", "dram", 1, 3, SPILL), (0, "dram", "sram", 1, 3, RELOAD))
    assert timeline.transfers == ((1, 3), (1, 2))


def test_reload_waits_for_the_spill_at_the_same_boundary():
    timeline = timed((0, "dram", "sram", 2, 2, RELOAD), (1, "sram", "dram", 2, 2, SPILL))
    assert timeline.transfers == ((4, 5), (2, 4))
    assert timeline.steps[2] == (5, 6)


def test_reload_does_not_wait_for_a_spill_that_ends_later():
    timeline = timed((1, "sram", "dram", 1, 3, SPILL), (0, "dram", "sram", 1, 2, RELOAD))
    assert timeline.transfers == ((1, 3), (1, 2))
    assert timeline.latency_s == 4


def test_copy_after_the_last_step_counts():
    timeline = timed((1, "sram", "dram", 4, 4, SPILL))
    assert timeline.transfers == ((4, 6),)
    assert (timeline.stall_s, timeline.latency_s) == (2, 6)


def test_setup_is_paid_per_copy():
    slow = replace(OUT, setup_s=0.5)
    timeline = timed(
        (0, "sram", "dram", 1, 1, SPILL), (0, "sram", "dram", 1, 1, SPILL), links=(slow, BACK)
    )
    assert timeline.transfers == ((1, 2.5), (2.5, 4))


def test_channels_share_the_bandwidth_and_overlap_the_setups():
    wide = replace(OUT, setup_s=0.5, channels=2)
    timeline = timed(
        (0, "sram", "dram", 1, 4, SPILL), (1, "sram", "dram", 1, 4, SPILL), links=(wide, BACK)
    )
    # Half a second of set-up each, 100 bytes each at half the rate, then 100 bytes at the full one.
    assert timeline.transfers == ((1, 3.5), (1, 4.5))


def test_third_copy_waits_for_one_of_two_channels():
    wide = replace(OUT, channels=2)
    move = (0, "sram", "dram", 1, 4, SPILL)
    assert timed(move, move, move, links=(wide, BACK)).transfers == ((1, 3), (1, 3), (3, 4))


def test_zero_bytes_take_the_setup_only():
    graph = chain([0, 10])
    target = replace(
        TARGET, links=(replace(OUT, setup_s=0.25), BACK), compute=Compute({"default": 1000.0}, 1.0)
    )
    plan = Plan(
        graph.model,
        target,
        (0,),
        planned_storages(graph),
        (),
        (Transfer(0, "sram", "dram", 0, 0, SPILL),),
        (),
        Metrics({}, {}, 0, 0),
        Provenance("hand", "feasible", "latency"),
    )
    assert simulate(graph, target, plan).transfers == ((0, 0.25),)


def test_unknown_link_and_missing_rates_are_refused():
    with pytest.raises(InvalidPlanError, match="toy has no link from dram to flash"):
        timed((0, "dram", "flash", 1, 1, SPILL))
    graph = random_graph(1)
    plan = naive_plan(graph, read_target("host"), 1)
    with pytest.raises(UsageError, match=r"no \[compute\] rates"):
        simulate(graph, read_target("host"), plan)
    with pytest.raises(UsageError, match=r"no \[compute\] rates"):
        latency_lower_bound(graph, read_target("host"))


def test_boundary_that_can_never_come_is_an_error_not_a_hang():
    with pytest.raises(InvalidPlanError, match="boundary 1"):
        timed((0, "sram", "dram", 3, 1, SPILL))


RATED = ("npu-1m", "npu-8m", "tpuv4i", "mcu-256k", "gpu-80g")


@pytest.mark.parametrize("seed", range(60))
def test_timeline_respects_boundaries_engines_bytes_and_the_bound(seed):
    graph = random_graph(seed, operators=10)
    target = read_target(RATED[seed % len(RATED)])
    plan = naive_plan(graph, target, seed)
    assert_legal(graph, target, plan)
    timeline = simulate(graph, target, plan)
    tiny = 1e-12
    ends = [0.0, *(step.end_s for step in timeline.steps)]
    for transfer, copy in zip(plan.transfers, timeline.transfers, strict=True):
        assert copy.start_s >= ends[transfer.start] - tiny
        if transfer.end < len(plan.order):
            assert copy.end_s <= timeline.steps[transfer.end].start_s + tiny
        link = target.link(transfer.source, transfer.destination)
        assert link is not None
        size = part_of(transfer, graph.storages[transfer.storage].size_bytes).size_bytes
        alone_s = size / link.bandwidth + (link.setup_s if link.fifo else 0.0)
        assert copy.end_s - copy.start_s >= alone_s * (1 - 1e-9)
        if target.constant_memory == target.nearest.name:
            # Nobody else uses the farther memory, which keeps up with both links.
            assert copy.end_s - copy.start_s == pytest.approx(alone_s)
    for before, after in itertools.pairwise(timeline.steps):
        assert after.start_s >= before.end_s
    in_line = {(link.source, link.destination) for link in target.links if link.fifo}
    for ends_of_link in in_line & {(t.source, t.destination) for t in plan.transfers}:
        busy = sorted(
            copy
            for transfer, copy in zip(plan.transfers, timeline.transfers, strict=True)
            if (transfer.source, transfer.destination) == ends_of_link
        )
        assert all(b.start_s >= a.end_s - tiny for a, b in itertools.pairwise(busy))
    moved = sum(part_of(t, graph.storages[t.storage].size_bytes).size_bytes for t in plan.transfers)
    assert sum(timeline.link_bytes.values()) == moved
    if target.operands_resident:
        metrics = plan.metrics
        beyond = metrics.traffic_bytes + metrics.relocated_bytes
        assert moved == beyond + metrics.compulsory_bytes
    finish = max([ends[-1], *(copy.end_s for copy in timeline.transfers)])
    assert timeline.latency_s == pytest.approx(finish)
    assert timeline.latency_s == timeline.compute_s + timeline.stall_s
    assert timeline.latency_s >= latency_lower_bound(graph, target) * (1 - 1e-12)
    assert timeline.peak_bytes == plan.metrics.peak_bytes
    assert simulate(graph, target, plan) == timeline


@pytest.mark.parametrize("seed", range(10))
def test_plan_without_copies_meets_the_latency_bound_exactly(seed):
    graph = random_graph(seed, operators=15)
    target = read_target("mcu-256k")
    plan = naive_plan(graph, target, seed)
    assert simulate(graph, target, plan).latency_s == latency_lower_bound(graph, target)
    assert simulate(graph, target, plan).stall_s == 0


def test_bound_holds_where_the_nearest_memory_is_not_the_fastest():
    slow = Memory("slow", 10_000, 1, 1.0, 1.0, latency_s=5.0)
    fast = Memory("fast", 10_000, 1, 100.0, 100.0)
    links = (Link("slow", "fast", 1.0), Link("fast", "slow", 1.0))
    target = Target(
        "odd", (slow, fast), links, Compute({"default": 1.0}, 1.0), False, io_memory="fast"
    )
    graph = chain([100, 100], macs=0)
    plan = Plan(
        graph.model,
        target,
        (0,),
        planned_storages(graph),
        (Placement(0, "fast", 0, 0, 1), Placement(1, "fast", 100, 0, 1)),
        (),
        (),
        Metrics({}, {}, 0, 0),
        Provenance("hand", "feasible", "latency"),
    )
    plan = replace(plan, metrics=measure(graph, plan))
    assert_legal(graph, target, plan)
    assert plan.metrics.latency_s == 2.0
    assert latency_lower_bound(graph, target) <= 2.0


def test_measure_adds_times_where_there_are_rates():
    graph = random_graph(4)
    plan = naive_plan(graph, read_target("npu-1m"), 4)
    metrics = measure(graph, plan)
    assert metrics.cost_source == "roofline"
    assert metrics.latency_s == simulate(graph, plan.target, plan).latency_s
    host = naive_plan(graph, read_target("host"), 4)
    assert measure(graph, host) == measure_bytes(graph, host.target, host)
    assert measure(graph, host).cost_source == "none"


@pytest.mark.parametrize("seed", range(40))
def test_peak_and_arena_are_those_of_counting_bytes_one_by_one(seed):
    graph = random_graph(seed)
    target = read_target(RATED[seed % len(RATED)])
    plan = naive_plan(graph, target, seed)
    for memory in target.memories:
        if not memory.writable:
            continue
        occupied = [set() for _ in plan.order]
        for p in plan.placements:
            if p.memory == memory.name:
                for step in range(p.start, p.end):
                    occupied[step] |= set(
                        range(p.offset, p.offset + graph.storages[p.storage].size_bytes)
                    )
        peak, arena = plan.metrics.peak_bytes, plan.metrics.arena_bytes
        assert peak[memory.name] == max(map(len, occupied))
        assert arena[memory.name] == max((max(b) + 1 for b in occupied if b), default=0)
