"""How the reports show parts of storages and moves inside the nearest memory."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.plans import (
    ByteRange,
    Metrics,
    Placement,
    Plan,
    Provenance,
    Transfer,
    TransferKind,
    planned_storages,
)
from planner.problem import Objective, Status
from planner.report.explain import render_explanation
from planner.report.html import render_html
from planner.report.occupancy import live_at, occupancies
from planner.report.text import render_text
from planner.report.trace import render_trace
from planner.result import PlanResult
from planner.simulator import measure, simulate
from planner.target import Compute, Link, Memory, Target
from planner.testing import assert_legal, naive_plan, random_graph

TARGET = Target(
    "pad",
    (Memory("sram", 1 << 16, 16, 16e9, 16e9), Memory("dram", 1 << 20, 16, 4e9, 4e9)),
    (Link("sram", "dram", 4e9), Link("dram", "sram", 4e9), Link("sram", "sram", 8e9, 1e-7)),
    Compute({"default": 1e9}, 1e9, 1e-7),
    io_memory="sram",
)
HEAD, TAIL = ByteRange(0, 400), ByteRange(400, 640)


@pytest.fixture(scope="module")
def planned() -> tuple[Graph, Plan]:
    """t1's tail is away during steps 1 and 2, t2 moves before step 2."""
    sizes = (64, 640, 320, 240, 32)
    storages = tuple(
        Storage(f"t{i}", size, StorageKind.INPUT if i == 0 else StorageKind.ACTIVATION, i == 4)
        for i, size in enumerate(sizes)
    )
    tensors = tuple(
        Tensor(s.name, (s.size_bytes,), "int8", i, 0, s.size_bytes) for i, s in enumerate(storages)
    )
    operators = tuple(
        Operator(f"op{i}", "Layer", (i, 1) if i == 3 else (i,), (i + 1,)) for i in range(4)
    )
    graph = Graph(ModelReference("m"), operators, tensors, storages)
    plan = Plan(
        model=graph.model,
        target=TARGET,
        order=(0, 1, 2, 3),
        storages=planned_storages(graph),
        placements=(
            Placement(0, "sram", 1024, 0, 1),
            Placement(1, "dram", 0, 2, 4, TAIL),
            Placement(1, "sram", 0, 0, 2, TAIL),
            Placement(1, "sram", 0, 0, 4, HEAD),
            Placement(1, "sram", 0, 3, 4, TAIL),
            Placement(2, "sram", 640, 1, 2),
            Placement(2, "sram", 400, 2, 3),
            Placement(3, "sram", 720, 2, 4),
            Placement(4, "sram", 960, 3, 4),
        ),
        transfers=(
            Transfer(2, "sram", "sram", 2, 2, TransferKind.MOVE),
            Transfer(1, "sram", "dram", 2, 2, TransferKind.SPILL, TAIL),
            Transfer(1, "dram", "sram", 3, 3, TransferKind.RELOAD, TAIL),
        ),
        in_place=(),
        metrics=Metrics({}, {}, 0, 0),
        provenance=Provenance("hand", "feasible", "traffic"),
    )
    plan = replace(plan, metrics=measure(graph, plan))
    assert_legal(graph, TARGET, plan)
    return graph, plan


def test_tensor_is_explained_with_the_addresses_of_its_parts(planned):
    graph, plan = planned
    text = render_explanation(plan, graph, tensor="t1")
    assert "sram [0, 400)  steps [0, 4), 4 steps, only its bytes [0, 400)\n" in text
    assert "sram [400, 640)  steps [3, 4), 1 step, only its bytes [400, 640)\n" in text
    assert "spill bytes [400, 640) of t1  240 B  sram to dram, before step 2\n" in text


def test_move_is_explained_with_both_offsets(planned):
    graph, plan = planned
    text = render_explanation(plan, graph, tensor="t2")
    assert "move t2  320 B  within sram from offset 640 to 400, before step 2" in text


def test_live_table_shows_what_is_there_of_a_storage(planned):
    graph, plan = planned
    text = render_explanation(plan, graph, step=2)
    assert re.search(r"t1 +400 .* \[0, 400\) .* waits|t1 +400 .*bytes \[0, 400\) of it", text)


def test_text_report_tells_what_moves_and_nothing_where_nothing_does(planned):
    graph, plan = planned
    result = PlanResult(plan, graph, Objective.TRAFFIC, Status.FEASIBLE, ())
    assert "beyond compulsory 480 B, moved inside sram 320 B" in render_text(result)
    assert result.to_json()["relocated_bytes"] == 320
    still = replace(plan, metrics=replace(plan.metrics, relocated_bytes=0))
    assert "moved" not in render_text(replace(result, plan=still))


def test_memory_map_gets_the_bytes_of_parts(planned):
    graph, plan = planned
    page = render_html(plan, (), graph=graph)
    data = json.loads(next(re.finditer(r'id="data">(.*?)</script>', page, re.S)).group(1))
    columns = data["placements"]
    assert columns["offset"][2:5] == [400, 0, 400]
    assert columns["part"] == {"1": [400, 640], "2": [400, 640], "3": [0, 400], "4": [400, 640]}
    assert data["transfers"]["kind"] == ["move", "spill", "reload"]
    assert data["transfers"]["part"] == {"1": [400, 640], "2": [400, 640]}
    assert "1 move of 320 B" in page


def test_trace_draws_moves_on_their_own_row_and_parts_with_their_bytes(planned):
    graph, plan = planned
    events = json.loads(render_trace(plan, simulate(graph, TARGET, plan), graph))["traceEvents"]
    move = next(e for e in events if e["ph"] == "X" and e["name"] == "move t2")
    assert move["args"]["bytes"] == 320
    assert move["dur"] == pytest.approx(0.1 + 320 / 8e9 * 1e6)
    spill = next(e for e in events if e["name"] == "spill t1 bytes [400, 640)")
    assert spill["args"]["bytes"] == 240
    assert spill["tid"] != move["tid"]
    parts = [e["args"] for e in events if e["ph"] == "b" and e["name"] == "t1 bytes [400, 640)"]
    assert sorted((a["offset"], a["size"]) for a in parts) == [(400, 240)] * 3


@pytest.mark.parametrize("seed", range(12))
def test_live_bytes_and_rows_agree_with_the_metrics_in_plans_with_parts(seed):
    graph = random_graph(seed)
    plan = naive_plan(graph, TARGET, seed, split=0.6)
    for occupancy in occupancies(plan):
        name = occupancy.memory.name
        assert occupancy.peak_bytes == plan.metrics.peak_bytes[name]
        assert occupancy.arena_bytes == plan.metrics.arena_bytes[name]
        for step in range(len(plan.order)):
            rows = live_at(plan, occupancy, step)
            assert sum(row.counted_bytes for row in rows) == occupancy.live_bytes[step]
