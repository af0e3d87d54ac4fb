"""The least latency on machines with operands in either memory: the call, the command, reports."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import planner
from planner.cli.main import main
from planner.parameters import chosen_parameters, with_parameters
from planner.plan_file import read_plan
from planner.problem import Objective, PlanningProblem
from planner.report.html import render_html
from planner.report.served import served_operands
from planner.report.text import render_text
from planner.report.trace import render_trace
from planner.scoreboard import Scoreboard
from planner.testing import assert_legal, random_graph
from rl.contender import MallocGame
from solvers.mapping.program import mapping_program
from solvers.protocol import Deadline

from .random_play import machine

if TYPE_CHECKING:
    from planner.result import PlanResult

MODELS = Path(__file__).parent.parent.parent / "examples" / "models"
RESNET8 = str(MODELS / "resnet8.onnx")


@pytest.fixture(scope="module")
def result() -> PlanResult:
    """A plan with copies: the machine's links need no time to be set up."""
    return planner.plan(random_graph(11, 24), target=machine(500), objective="latency")


@pytest.mark.parametrize("seed", range(30))
def test_no_plan_is_slower_than_greedys_or_than_nothing_fast(seed: int) -> None:
    rng = random.Random(seed)
    capacity = rng.choice((1, 40, 64, 200, 500, 5000))
    result = planner.plan(
        random_graph(seed, rng.randint(3, 14)),
        target=machine(capacity, alignment=rng.choice((1, 16))),
        objective="latency",
        time_limit=5,
    )
    assert result.graph.model.parameters
    assert_legal(result.graph, result.plan.target, result.plan)
    assert [c.name for c in result.contenders if c.status == "failed"] == []
    latency_s = result.plan.metrics.latency_s
    assert latency_s is not None
    greedy = next(c for c in result.contenders if c.name == "greedy")
    assert greedy.value is None or latency_s <= greedy.value
    problem = PlanningProblem(result.graph, result.plan.target, Objective.LATENCY)
    if problem.capacity_bytes:
        program = mapping_program(problem, range(len(result.graph.operators))).problem
        assert latency_s <= program.all_slow * program.tick_s * (1 + 1e-9)
        assert latency_s >= program.all_fast * program.tick_s * (1 - 1e-9) or (
            result.plan.provenance.contender != "malloc-game"
        )


@pytest.mark.parametrize("capacity", [1, 400])
def test_the_contender_offers_one_plan_never_slower_than_nothing_fast(capacity: int) -> None:
    graph = with_parameters(random_graph(5, 12))
    problem = PlanningProblem(graph, machine(capacity), Objective.LATENCY)
    program = mapping_program(problem, range(len(graph.operators))).problem
    offered = []

    class Board(Scoreboard):
        def offer(self, contender, plan):
            offered.append(plan)
            return super().offer(contender, plan)

    MallocGame().run(problem, Board(problem), deadline=Deadline(20), seed=0)
    (plan,) = offered
    nothing_fast = program.all_slow * program.tick_s
    if program.buffers:
        assert plan.metrics.latency_s < nothing_fast
        assert {p.memory for p in plan.placements} == {"near", "far"}
    else:
        assert plan.metrics.latency_s == pytest.approx(nothing_fast)
        assert {p.memory for p in plan.placements} == {"far"}


@pytest.mark.parametrize("bandwidth", [1e-12, 1e9])
def test_rates_far_apart_do_not_overflow(bandwidth: float) -> None:
    target = machine(400)
    slow = tuple(replace(link, bandwidth=bandwidth, setup_s=1 / bandwidth) for link in target.links)
    graph = with_parameters(random_graph(5, 12))
    problem = PlanningProblem(graph, replace(target, links=slow), Objective.LATENCY)
    board = Scoreboard(problem)
    MallocGame().run(problem, board, deadline=Deadline(20), seed=0)
    assert board.best is not None
    assert_legal(graph, problem.target, board.best)


def test_the_same_seed_gives_the_same_plan() -> None:
    graph = with_parameters(random_graph(5, 12))
    problem = PlanningProblem(graph, machine(400), Objective.LATENCY)
    plans = []
    for _ in range(2):
        board = Scoreboard(problem)
        MallocGame().run(problem, board, deadline=Deadline(60), seed=3)
        plans.append(board.best)
    assert plans[0] == plans[1]


@pytest.mark.parametrize("objective", ["traffic", "peak"])
def test_for_other_objectives_the_contender_steps_aside(objective: str) -> None:
    result = planner.plan(random_graph(2), target=machine(400), objective=objective)
    report = next(c for c in result.contenders if c.name == "malloc-game")
    assert (report.status, "latency" in report.note) == ("skipped", True)
    assert not result.graph.model.parameters


def test_where_operands_have_to_be_resident_the_contender_says_so() -> None:
    result = planner.plan(RESNET8, target="npu-1m", objective="latency", time_limit=3)
    report = next(c for c in result.contenders if c.name == "malloc-game")
    assert report.status == "skipped" and "operands in sram alone" in report.note


def test_weights_count_by_default_only_for_latency_with_operands_in_either_memory() -> None:
    either, scratchpad = planner.read_target("tpuv4i"), planner.read_target("npu-1m")
    assert chosen_parameters(None, Objective.LATENCY, either)
    assert not chosen_parameters(None, Objective.TRAFFIC, either)
    assert not chosen_parameters(None, Objective.LATENCY, scratchpad)
    assert not chosen_parameters(False, Objective.LATENCY, either)
    assert chosen_parameters(True, Objective.TRAFFIC, scratchpad)
    assert not chosen_parameters(None, Objective.LATENCY, planner.read_target("mcu-256k"))


def test_the_command_says_that_weights_count_and_can_leave_them_out(capsys, tmp_path) -> None:
    command = [RESNET8, "-t", "tpuv4i", "--objective", "latency", "--memory", "cmem=64KiB"]
    assert main([*command, "--json", "-o", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "parameters: used in hbm, or fetched into cmem" in printed.err
    assert json.loads(printed.out)["objective"] == "latency"
    plan_file = str(tmp_path / "resnet8.plan.json")
    assert read_plan(plan_file).model.parameters
    assert main(["check", plan_file, RESNET8]) == 0
    assert main(["explain", plan_file, RESNET8, "--step", "3"]) == 0
    assert "reads" in capsys.readouterr().out
    assert main([*command, "--no-parameters"]) == 0
    printed = capsys.readouterr()
    assert "parameters" not in printed.err + printed.out


@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v2"])
def test_such_plans_are_executed_bit_for_bit(name: str, tmp_path, capsys) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from frontends import zoo

    model = str(tmp_path / f"{name}.onnx")
    onnx.save(zoo.build(name), model)
    capacity = {"resnet8": "cmem=64KiB", "mobilenet_v2": "cmem=1MiB"}[name]
    command = [model, "-t", "tpuv4i", "--objective", "latency", "--memory", capacity]
    assert main([*command, "-o", str(tmp_path), "--time-limit", "5"]) == 0
    assert main(["run", str(tmp_path / f"{name}.plan.json"), model]) == 0
    printed = capsys.readouterr().out
    assert "exact" in printed
    assert "cmem" in printed and "hbm" in printed


def test_the_text_report_tells_direct_from_copied_traffic(result: PlanResult) -> None:
    plan = result.plan
    assert plan.provenance.contender == "malloc-game"
    copied = sum(
        plan.storages[t.storage].size_bytes
        for t in plan.transfers
        if t.kind.value in ("spill", "reload")
    )
    direct = plan.metrics.traffic_bytes - copied
    text = render_text(result)
    assert f"beyond compulsory {plan.metrics.traffic_bytes:,} B (direct {direct:,}, " in text
    assert f"copied {copied:,}" in text
    assert "lower bound 0" not in text
    assert "constants are parameters" in text


def test_the_uses_that_reports_count_are_those_that_make_the_traffic(result: PlanResult) -> None:
    served = served_operands(result.plan, result.graph)
    near = sum(use.memory == "near" for use in served)
    assert 0 < near < len(served)
    direct = sum(use.size_bytes for use in served if use.memory == "far")
    text = render_text(result)
    assert f"near {near:,} operands" in text
    assert f"(direct {direct:,}" in text


def test_page_and_trace_say_where_operands_are_used(result: PlanResult) -> None:
    page = render_html(result.plan, result.contenders, result.timeline, graph=result.graph)
    served = served_operands(result.plan, result.graph)
    assert "Where operands are used" in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert len(data["served"]["step"]) == len(served)
    assert data["memories"][0]["bound"] is None
    runs, windows = data["transfers"]["runs"], data["transfers"]
    assert runs and all(
        start - 1e-3 <= begin <= end <= last + 1e-3
        for (begin, end), start, last in zip(runs, windows["start"], windows["end"], strict=True)
    )
    trace = json.loads(render_trace(result.plan, result.timeline, result.graph))
    steps = [e["args"] for e in trace["traceEvents"] if "operator" in e.get("args", {})]
    far = sum(step.get("operand bytes in far", 0) for step in steps)
    assert far == sum(use.size_bytes for use in served if use.memory == "far")
