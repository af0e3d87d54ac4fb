"""COSMA as a contender: plans, bounds, parts, the LP file, time limits."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import planner
from frontends import zoo
from frontends.bare_graph import bare_graph
from planner.errors import UsageError
from planner.graph import RaggedArray
from planner.joint_problem import JointProblem
from planner.parameters import with_parameters
from planner.portfolio import race
from planner.problem import Objective, PlanningProblem, Status
from planner.registry import CONTENDERS, SOLVERS
from planner.scoreboard import Scoreboard
from planner.testing import assert_legal, random_graph
from solvers.contenders.cosma import Cosma, cosma_problem, lp_file
from solvers.contenders.greedy import Greedy
from solvers.cosma import windows
from solvers.cosma.backends import Backend
from solvers.cosma.divide import cut_positions, solve_in_parts
from solvers.cosma.least_traffic import by_capacity, with_addresses
from solvers.cosma.schedule import bytes_by_step
from solvers.protocol import Deadline

from ..joint.brute_force import least_traffic as brute_force  # noqa: TID252
from ..joint.brute_force import smallest_capacity  # noqa: TID252
from ..joint.targets import scratchpad  # noqa: TID252

if TYPE_CHECKING:
    from pathlib import Path

    from planner.graph import Graph


def small_graph(seed: int, operators: int) -> Graph:
    """Operators of one to three operands."""
    rng = random.Random(seed)
    sizes: list[int] = [rng.randint(1, 9)]
    operands: list[tuple[list[int], list[int]]] = []
    for _ in range(operators):
        inputs = rng.sample(range(len(sizes)), min(len(sizes), rng.randint(1, 3)))
        outputs = [len(sizes) + i for i in range(rng.choice((1, 1, 1, 2)))]
        sizes += [rng.randint(1, 9) for _ in outputs]
        operands.append((inputs, outputs))
    return bare_graph("random", sizes, operands)


def planning_problem(
    graph: Graph, *, above: int = 0, alignment: int = 1, in_place: bool = False
) -> PlanningProblem:
    """At so many bytes above the largest operator, in whole units."""
    least = smallest_capacity(
        JointProblem.of(
            PlanningProblem(graph, scratchpad(1, alignment=alignment), Objective.TRAFFIC, False)
        )
    )
    target = scratchpad(least + above, alignment=alignment)
    return PlanningProblem(graph, target, Objective.TRAFFIC, in_place)


def board_after(problem: PlanningProblem, *names: str, seconds: float = 60) -> Scoreboard:
    board = Scoreboard(problem)
    for name in names:
        contender = CONTENDERS[name].load()
        contender.run(problem, board, deadline=Deadline(seconds), seed=0)
    return board


def spilling_graphs(count: int, operators: int = 6) -> list[tuple[Graph, int]]:
    """Small graphs with an optimum above 0 at their largest operator."""
    found: list[tuple[Graph, int]] = []
    for seed in range(200):
        graph = small_graph(seed, operators)
        optimum = brute_force(JointProblem.of(planning_problem(graph)))
        if optimum:
            found.append((graph, optimum))
        if len(found) == count:
            return found
    raise AssertionError("not enough graphs that spill")


def test_plans_are_legal_and_optima_are_bounds() -> None:
    for graph, optimum in spilling_graphs(6):
        problem = planning_problem(graph)
        board = board_after(problem, "cosma-mathopt")
        assert board.best is not None
        assert_legal(graph, problem.target, board.best)
        assert board.bounds.traffic_bytes == optimum <= board.best.metrics.traffic_bytes
        assert board.best.metrics.arena_bytes["sram"] <= (problem.capacity_bytes or 0)


def test_pulp_makes_the_same_plan_values() -> None:
    graph, optimum = spilling_graphs(1)[0]
    board = board_after(planning_problem(graph), "cosma")
    assert board.best is not None
    assert board.best.metrics.traffic_bytes >= optimum == board.bounds.traffic_bytes


@pytest.mark.parametrize("seed", range(12))
def test_graphs_with_everything_get_legal_plans(seed: int) -> None:
    graph = random_graph(seed, operators=7)
    in_place = seed % 2 == 0
    problem = planning_problem(graph, in_place=in_place, alignment=16)
    board = board_after(problem, "cosma-mathopt", "cosma-fixed")
    assert board.best is not None
    assert_legal(graph, problem.target, board.best)
    assert (board.bounds.traffic_bytes or 0) <= board.best.metrics.traffic_bytes


def test_nothing_is_proven_outside_the_assumptions_of_the_program() -> None:
    graph, optimum = spilling_graphs(1)[0]
    assert board_after(planning_problem(graph), "cosma-mathopt").bounds.traffic_bytes == optimum
    # Overwriting is allowed to others.
    overwriting = planning_problem(graph, in_place=True)
    assert not board_after(overwriting, "cosma-mathopt").bounds.traffic_bytes
    # Bytes beyond the last whole unit can be used by others.
    ragged = planning_problem(graph, alignment=4)
    ragged = replace(ragged, target=ragged.target.with_capacities({"sram": 4 * 30 + 1}))
    assert not board_after(ragged, "cosma-mathopt").bounds.traffic_bytes


def test_the_smallest_peak_is_placed_and_proven() -> None:
    for seed in range(4):
        graph = small_graph(seed, 7)
        problem = PlanningProblem(graph, scratchpad(10**6), Objective.PEAK, in_place=False)
        result = race(problem, contenders=["exact"])
        board = board_after(problem, "cosma-mathopt")
        assert result.status is Status.OPTIMAL and board.best is not None
        assert_legal(graph, problem.target, board.best)
        assert board.bounds.peak_bytes == result.plan.metrics.peak_bytes["sram"]
        assert board.best.metrics.peak_bytes == result.plan.metrics.peak_bytes


def test_it_runs_only_when_named() -> None:
    graph, _ = spilling_graphs(1)[0]
    problem = planning_problem(graph)
    default = {report.name for report in race(problem, time_limit_s=1).reports}
    assert "greedy" in default and not any(name.startswith("cosma") for name in default)
    named = race(problem, contenders=["cosma-mathopt"], time_limit_s=20)
    assert [report.name for report in named.reports] == ["greedy", "cosma-mathopt"]
    assert_legal(graph, problem.target, named.plan)
    modes = {"joint": "cosma", "replacement": "cosma-fixed", "order": "cosma-peak"}
    for group, name in modes.items():
        assert SOLVERS[group][name].load().available().available


def test_a_small_network_at_a_tight_capacity_is_proven() -> None:
    graph = planner.load(zoo.build("densenet121", dtype="int8"))
    target = scratchpad(1568 * 1024)
    result = planner.plan(graph, target=target, in_place=False, solvers=["cosma-mathopt"])
    assert_legal(graph, target, result.plan)
    # The known optimum for the only order of this network.
    assert result.plan.metrics.traffic_bytes == 2_609_152
    assert result.status is Status.OPTIMAL


def joint_of(graph: Graph) -> JointProblem:
    return cosma_problem(planning_problem(graph))


def test_one_part_is_the_whole() -> None:
    free_parts = 0
    for graph, optimum in spilling_graphs(6):
        problem = joint_of(graph)
        divided = solve_in_parts(
            problem, Backend.MATHOPT, part_operators=6,
            deadline=Deadline(60), seed=0,
        )  # fmt: skip
        assert divided.schedule is not None
        assert divided.statistics["parts"] == 1
        assert divided.schedule.traffic_bytes == optimum
        free_parts += divided.statistics["free_parts"]
    # Of these, the order of the smallest peak is not always that of the least traffic.
    assert free_parts


@pytest.mark.parametrize("part_operators", [1, 2, 3])
def test_parts_make_schedules_that_fit(part_operators: int) -> None:
    for graph, optimum in spilling_graphs(6):
        problem = joint_of(graph)
        divided = solve_in_parts(
            problem, Backend.MATHOPT, part_operators=part_operators,
            deadline=Deadline(60), seed=0,
        )  # fmt: skip
        assert divided.schedule is not None
        assert divided.statistics["parts"] >= -(-6 // part_operators)
        assert divided.statistics["unsolved_parts"] == 0
        assert divided.schedule.traffic_bytes >= optimum
        schedule = divided.schedule
        assert bytes_by_step(schedule.demand, schedule.stays).max() <= problem.capacity


def test_parts_that_are_not_solved_in_time_still_make_a_plan(monkeypatch) -> None:
    class Idle:
        def solve(self, program, *, deadline, seed):
            from solvers.milp.program import Answer

            return Answer(None, False, False, -np.inf, {"cpu_s": 0.0})

    for graph, optimum in spilling_graphs(4):
        problem = joint_of(graph)
        divided = solve_in_parts(
            problem, Idle(), part_operators=2,  # type: ignore[arg-type]
            deadline=Deadline(60), seed=0,
        )  # fmt: skip
        assert divided.schedule is not None
        assert divided.statistics["unsolved_parts"] == divided.statistics["parts"]
        assert divided.schedule.traffic_bytes >= optimum


def test_a_large_graph_is_solved_in_parts_within_its_time() -> None:
    graph = small_graph(1, 300)
    problem = planning_problem(graph, above=20)
    board = board_after(problem, "cosma-mathopt", seconds=12)
    assert board.best is not None
    assert_legal(graph, problem.target, board.best)
    assert not board.bounds.traffic_bytes


def test_cuts_leave_no_storage_half_written() -> None:
    # Operators 0 and 3 write storage 0; others are a chain.
    rows = RaggedArray.from_rows
    problem = JointProblem(
        operators=6,
        capacity=10,
        alignment=1,
        size=np.array([5, 1, 1, 1, 1], dtype=np.int64),
        has_copy=np.zeros(5, dtype=bool),
        kept=np.zeros(5, dtype=bool),
        predecessors=rows([[], [0], [1], [2], [3], [4]]),
        starters=rows([[0, 3], [0], [1], [2], [4]]),
        users=rows([[0, 3, 4], [0, 1], [1, 2], [2, 3], [4, 5]]),
        writers=rows([[0, 3], [0], [1], [2], [4]]),
        in_place=rows([[]] * 6),
    )
    assert cut_positions(problem, range(6), 3) is None
    cuts = cut_positions(problem, range(6), 4)
    assert cuts is not None and not {1, 2, 3} & set(cuts)
    result = by_capacity(problem, Backend.MATHOPT, deadline=Deadline(60))
    assert result.schedule is not None and result.lower_bound == brute_force(problem)


def read_and_minimise(path: Path) -> float:
    """Let CBC read an LP file by itself and minimise it."""
    find = "import pulp; print(pulp.PULP_CBC_CMD(msg=False).path)"
    cbc = subprocess.run([sys.executable, "-c", find], capture_output=True, text=True, check=True)
    answer = path.with_suffix(".answer")
    subprocess.run(
        [cbc.stdout.strip(), str(path), "-solve", "-solution", str(answer)],
        capture_output=True,
        check=True,
    )
    status, _, _, _, value = answer.read_text().splitlines()[0].split()
    assert status == "Optimal"
    unit = int(path.read_text().split("cosma_traffic_in_")[1].split("_")[0])
    return float(value) * unit


def test_the_lp_file_has_the_same_optimum(tmp_path: Path) -> None:
    for graph, _ in spilling_graphs(2, operators=5):
        storages = tuple(replace(s, size_bytes=1000 * s.size_bytes) for s in graph.storages)
        tensors = tuple(replace(t, size_bytes=1000 * t.size_bytes) for t in graph.tensors)
        problem = planning_problem(replace(graph, storages=storages, tensors=tensors))
        path = tmp_path / "model.lp"
        path.write_bytes(lp_file(problem))
        result = with_addresses(cosma_problem(problem), Backend.MATHOPT, deadline=Deadline(60))
        assert result.proven and result.solution is not None
        assert read_and_minimise(path) == pytest.approx(result.solution.traffic_bytes)


def test_an_lp_file_that_makes_no_sense_is_not_written() -> None:
    graph = small_graph(0, 4)
    host = planner.read_target("host")
    with pytest.raises(UsageError, match="limited memory"):
        lp_file(PlanningProblem(graph, host, Objective.TRAFFIC))
    large = planning_problem(small_graph(1, 300), above=20)
    with pytest.raises(UsageError, match="variables"):
        lp_file(large)


def test_a_cancelled_run_ends_soon_and_proves_nothing(monkeypatch) -> None:
    monkeypatch.setattr(windows, "MOST_COLUMNS", 10**6)
    problem = planning_problem(small_graph(2, 60), above=10)
    board = Scoreboard(problem)
    Greedy().run(problem, board, deadline=Deadline(60), seed=0)
    deadline = Deadline(600)
    threading.Timer(1.5, deadline.cancel.set).start()
    Cosma("mathopt").run(problem, board, deadline=deadline, seed=0)
    assert board.best is not None and board.best.provenance.contender == "greedy"
    assert not board.bounds.traffic_bytes


@pytest.mark.parametrize(("backend", "package"), [("pulp", "pulp"), ("mathopt", "ortools")])
def test_a_missing_package_is_named(backend: str, package: str, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    availability = Cosma(backend).available()
    assert not availability.available and f"pip install {package}" in availability.reason


def test_importing_it_imports_no_optimiser() -> None:
    code = (
        "import sys, solvers.contenders.cosma;"
        "sys.exit('ortools' in sys.modules or 'pulp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("seed", range(4))
def test_parameters_move_like_inputs(seed: int) -> None:
    graph = with_parameters(random_graph(seed, operators=6))
    problem = planning_problem(graph, alignment=16)
    board = board_after(problem, "cosma-mathopt", "cosma-fixed")
    assert board.best is not None
    assert_legal(graph, problem.target, board.best)
    joint = JointProblem.of(problem)
    if np.all(np.diff(joint.writers.offsets) <= 1) and joint.capacity == problem.capacity_bytes:
        assert board.bounds.traffic_bytes == brute_force(joint)
