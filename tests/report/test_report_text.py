"""The default report: its layout is what `interface.md` promises, its words are earned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.plans import (
    Metrics,
    Placement,
    Plan,
    PlannedOperator,
    Provenance,
    planned_storages,
)
from planner.problem import Objective, Status
from planner.report.names import printable
from planner.report.quantities import (
    format_both,
    format_bytes,
    format_gap,
    format_seconds,
    format_share,
    format_size,
)
from planner.report.text import render_text
from planner.result import ContenderReport, PlanResult
from planner.target import Memory, Target

EXAMPLE = """\
model     mobilenet_v2.onnx   99 operators  152 tensors  constants 13.4 MiB
target    npu-1m   sram 1 MiB (nearest), dram
arena     sram 1,003,520 B   lower bound 1,003,520 (optimal)   greedy 1,204,224   no reuse 6,773,760
traffic   beyond compulsory 0 B (optimal)     latency 1.84 ms (simulated; compute 1.61, stalled 0.23)
peak at   step 12  conv_7: t31 602,112  t30 401,408
solvers   exact 0.02 s optimal · greedy 0.00 s · cosma 0.31 s optimal · malloc-game 0.04 s
checked   legal"""  # noqa: E501


@pytest.fixture
def example() -> PlanResult:
    """The plan of the example in the interface description."""
    sizes = {"weights": 14_050_918, "t30": 401_408, "t31": 602_112}
    rest = 6_773_760 - sizes["t30"] - sizes["t31"]
    storages = [
        Storage(name, size, StorageKind.CONSTANT if name == "weights" else StorageKind.ACTIVATION)
        for name, size in sizes.items()
    ]
    storages += [Storage(f"x{i}", rest if i == 0 else 0) for i in range(149)]
    tensors = tuple(Tensor(s.name, (), "uint8", i, 0, s.size_bytes) for i, s in enumerate(storages))
    operators = [Operator(f"op_{i}", "Conv", (), ()) for i in range(99)]
    operators[40] = Operator("conv_7", "Conv", (), ())
    order = [i for i in range(99) if i != 40]
    order.insert(12, 40)
    graph = Graph(ModelReference("mobilenet_v2.onnx"), tuple(operators), tensors, tuple(storages))
    target = Target("npu-1m", (Memory("sram", 1 << 20), Memory("dram")))
    plan = Plan(
        model=graph.model,
        target=target,
        order=tuple(order),
        storages=planned_storages(graph),
        placements=(Placement(1, "sram", 602_112, 11, 13), Placement(2, "sram", 0, 12, 14)),
        transfers=(),
        in_place=(),
        metrics=Metrics(
            {"sram": 1_003_520},
            {"sram": 1_003_520},
            0,
            0,
            latency_s=0.00184,
            compute_s=0.00161,
            stall_s=0.00023,
            peak_lower_bound_bytes=1_003_520,
            latency_lower_bound_s=0.00161,
        ),
        provenance=Provenance("exact", "optimal", "traffic"),
        operators=tuple(PlannedOperator(o.name, o.type) for o in operators),
    )
    contenders = (
        ContenderReport("exact", "optimal", 0, 0, 0.02),
        ContenderReport("greedy", "feasible", 0, None, 0.001, arena_bytes=1_204_224),
        ContenderReport("cosma", "optimal", 0, 0, 0.31),
        ContenderReport("malloc-game", "feasible", 0, None, 0.04),
    )
    return PlanResult(plan, graph, Objective.TRAFFIC, Status.OPTIMAL, contenders)


def with_metrics(result: PlanResult, **changes) -> PlanResult:
    metrics = replace(result.plan.metrics, **changes)
    return replace(result, plan=replace(result.plan, metrics=metrics))


def test_the_example_of_the_interface_comes_out_to_the_letter(example) -> None:
    assert render_text(example) == EXAMPLE


def test_optimal_is_said_of_the_arena_only_where_it_meets_the_bound(example) -> None:
    above = render_text(with_metrics(example, arena_bytes={"sram": 1_003_584}))
    assert "lower bound 1,003,520 (+0.0 %)" in above
    assert "live peak 1,003,520" in above
    unknown = render_text(with_metrics(example, peak_lower_bound_bytes=None))
    assert "lower bound" not in unknown


def test_an_arena_that_only_alignment_keeps_above_the_bound_says_so(example) -> None:
    plan = example.plan
    aligned = replace(plan.target, memories=(Memory("sram", 1 << 20, 64), Memory("dram")))
    result = with_metrics(
        replace(example, plan=replace(plan, target=aligned)), peak_lower_bound_bytes=1_003_500
    )
    assert "lower bound 1,003,500 (optimal at alignment 64)" in render_text(result)


def test_traffic_above_its_bound_is_not_called_optimal(example) -> None:
    text = render_text(with_metrics(example, traffic_bytes=4_096, traffic_lower_bound_bytes=1_024))
    assert "beyond compulsory 4,096 B (lower bound 1,024)" in text
    unproven = render_text(with_metrics(example, traffic_bytes=4_096))
    assert "beyond compulsory 4,096 B     latency" in unproven


def test_one_memory_has_no_traffic_line(small, make_result) -> None:
    lines = render_text(make_result(small)).splitlines()
    labels = [line[:10].strip() for line in lines if line[:10].strip()]
    assert labels == ["model", "target", "arena", "peak at", "solvers", "checked"]
    assert "(nearest)" not in lines[1]


def test_a_spilling_plan_shows_its_far_memory(spilling, make_result) -> None:
    lines = render_text(make_result(spilling)).splitlines()
    assert any(line.startswith("          dram ") for line in lines)
    assert max(map(len, lines)) <= 110


def test_a_skipped_contender_has_no_time(small, make_result) -> None:
    text = render_text(make_result(small))
    assert "malloc-game skipped" in text
    assert "cosma 30.00 s unknown" in text


def test_many_contenders_are_wrapped_between_names(small, make_result) -> None:
    many = tuple(ContenderReport(f"contender-{i}", "feasible", 1, None, 1.0) for i in range(12))
    lines = render_text(replace(make_result(small), contenders=many)).splitlines()
    rows = [line for line in lines if "contender-" in line]
    assert len(rows) > 1
    assert max(map(len, rows)) <= 110
    assert [line[:10].strip() for line in rows] == ["solvers"] + [""] * (len(rows) - 1)


def test_names_cannot_write_to_the_terminal(make_plan, make_result) -> None:
    hostile = make_plan(8, prefix="\x1b[31m\u202e\n")
    text = render_text(make_result(hostile))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[31m\\u202e\\nchain8.onnx" in text


def test_a_plan_without_steps_is_reported(make_result, small) -> None:
    empty = replace(small.plan, order=(), placements=(), in_place=(), metrics=Metrics({}, {}, 0, 0))
    text = render_text(make_result(small._replace(plan=empty)))
    assert "0 operators" in text
    assert "peak at" not in text


@pytest.mark.parametrize(
    ("size", "short"),
    [
        (0, "0 B"),
        (1_023, "1,023 B"),
        (1_024, "1 KiB"),
        (2_067_520, "2.0 MiB"),
        (1 << 20, "1 MiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (14_050_918, "13.4 MiB"),
        (1 << 80, "1048576 EiB"),
    ],
)
def test_short_sizes_round_but_whole_ones_have_no_decimals(size: int, short: str) -> None:
    assert format_size(size).replace(",", "") == short.replace(",", "")


def test_quantities_read_as_people_write_them() -> None:
    assert format_bytes(1_003_520) == "1,003,520 B"
    assert format_both(1_003_520) == "1,003,520 B (980 KiB)"
    assert format_both(12) == "12 B"
    assert format_share(1, 3) == "33.3 %"
    assert format_share(1, 0) == "-"
    assert format_gap(11, 10) == "+10.0 %"
    assert format_gap(11, 0) == "+11"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 s"),
        (1.84e-3, "1.84 ms"),
        (999.6e-6, "1.00 ms"),
        (12.34e-6, "12.3 µs"),
        (5e-9, "5.00 ns"),
        (1e-12, "0.00 ns"),
        (75.25, "75.2 s"),
        (1234.0, "1,234 s"),
    ],
)
def test_times_have_three_digits_in_their_unit(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_names_are_shortened_in_the_middle_where_they_differ_least() -> None:
    assert printable("model/layer/block/conv", 9) == "mode…conv"
    assert printable("short", 9) == "short"
    assert printable("a\ud800b") == "a\\ud800b"
