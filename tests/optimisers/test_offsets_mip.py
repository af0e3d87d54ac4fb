"""The big-M program through PuLP: its processes, files, solvers and proofs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from planner.errors import UsageError
from planner.problem import Status
from solvers.milp import pulp_worker
from solvers.milp.program import Answer
from solvers.offsets import big_m
from solvers.offsets.cp import CpOffsets
from solvers.offsets.incumbent import Incumbent
from solvers.offsets.mip import PulpOffsets, model_below, take_answer, write_lp
from solvers.offsets.pairs import conflicting_pairs
from solvers.protocol import Deadline

from .small_offsets import (
    assert_solution,
    lowest_height,
    problem_of,
    random_problem,
    tight_rows,
    tiling,
)

# Neither settled by the first packing nor hard.
SMALL = tight_rows(50, 6)


@pytest.mark.parametrize(
    "seeds", [range(20), pytest.param(range(20, 140), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_small_instances_are_proven_and_agree_with_constraint_programming(seeds):
    solved = 0
    for seed in seeds:
        problem = random_problem(seed, buffers=8)
        outcome = PulpOffsets().solve(problem, deadline=Deadline(60))
        other = CpOffsets().solve(problem, deadline=Deadline(60))
        assert outcome.status is other.status is Status.OPTIMAL
        assert_solution(problem, outcome.solution)
        assert outcome.solution.height == other.solution.height
        solved += "solver" in outcome.statistics
    # The others are settled by the first packing and the bound.
    assert solved > len(seeds) / 2


def test_capacities_one_too_small_are_proven_impossible():
    for seed in range(8):
        problem = random_problem(seed)
        height = lowest_height(problem)
        for capacity, expected in ((height, (Status.OPTIMAL, Status.FEASIBLE)),
                                   (height - 1, (Status.INFEASIBLE,))):  # fmt: skip
            fit = random_problem(seed, capacity=capacity)
            assert PulpOffsets().solve(fit, deadline=Deadline(60)).status in expected


def test_the_worker_dies_with_its_solver_and_leaves_no_files(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    deadline = Deadline(300)
    threading.Timer(1.0, deadline.cancel.set).start()
    problem = problem_of(tiling(5, 120, height=256, steps=60)[0])
    outcome = PulpOffsets().solve(problem, deadline=deadline)
    assert outcome.status is Status.FEASIBLE
    assert outcome.statistics["stopped"]
    assert outcome.statistics["cpu_s"] > 0 or not Path("/proc").exists()
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    # A killed process may take a moment to go.
    for _ in range(100):
        if not mentioned_by_processes(str(tmp_path)):
            return
        time.sleep(0.05)
    raise AssertionError("the solver still runs")


def mentioned_by_processes(text):
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text.encode() in (process / "cmdline").read_bytes():
                return True
    return False


def test_solving_prints_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    problem = problem_of(SMALL)
    assert PulpOffsets().solve(problem, deadline=Deadline(60)).statistics["solver"]
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_in_the_waiting_process_ends_the_worker(tmp_path):
    code = (
        "import _thread, threading\n"
        "from tests_small import tiling, problem_of\n"
        "from solvers.offsets.mip import PulpOffsets\n"
        "from solvers.protocol import Deadline\n"
        "threading.Timer(1.5, _thread.interrupt_main).start()\n"
        "try:\n"
        "    PulpOffsets().solve(problem_of(tiling(5, 120, 256, 60)[0]), deadline=Deadline(300))\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    (tmp_path / "tests_small.py").write_text(
        Path(__file__).with_name("small_offsets.py").read_text()
    )
    (tmp_path / "temporary").mkdir()
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "interrupted\n", done.stderr
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_environment_names_the_solver(monkeypatch):
    problem = problem_of(SMALL)
    monkeypatch.setenv("PLANNER_PULP_SOLVER", "PULP_CBC_CMD")
    outcome = PulpOffsets().solve(problem, deadline=Deadline(60))
    assert outcome.statistics["solver"] == "PULP_CBC_CMD"
    monkeypatch.setenv("PLANNER_PULP_SOLVER", "NO_SUCH_SOLVER")
    with pytest.raises(UsageError, match="NO_SUCH_SOLVER"):
        PulpOffsets().solve(problem, deadline=Deadline(60))


def test_a_solver_without_a_licence_is_passed_over(tmp_path, monkeypatch):
    def fails_once(data, name):
        if name == "GUROBI":
            raise RuntimeError("no licence")
        return {"solver": name}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pulp_worker, "available_solvers", lambda _: ["GUROBI", "PULP_CBC_CMD"])
    monkeypatch.setattr(pulp_worker, "solve", fails_once)
    (tmp_path / "model.json").write_text('{"lp_file": false, "wanted": ""}')
    pulp_worker.main()
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["solver"] == "PULP_CBC_CMD"
    assert answer["failed"] == ["GUROBI: no licence"]


def test_no_solver_that_works_leaves_the_first_packing(monkeypatch):
    answer = {"available": ["GUROBI"], "failed": ["GUROBI: no licence"]}
    monkeypatch.setattr("solvers.milp.pulp_process._ask_worker", lambda *_: (answer, 0.1))
    outcome = PulpOffsets().solve(problem_of(SMALL), deadline=Deadline(60))
    assert outcome.status is Status.FEASIBLE
    assert "no licence" in outcome.statistics["stopped"]


def settled_model(rows, capacity=None):
    problem = problem_of(rows, capacity=capacity)
    pairs = conflicting_pairs(problem)
    best = Incumbent("mip", problem, pairs, None, None)
    best.begin(None, Deadline(60))
    return problem, pairs, model_below(problem, pairs, best)[0], best


def test_wrong_answers_of_a_solver_are_never_illegal_packings():
    problem, pairs, model, best = settled_model(SMALL)
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.uniform(model.program.lower, np.minimum(model.program.upper, 40))
        take_answer(problem, pairs, model, best, Answer(values, False, False, -np.inf, {}))
        assert_solution(problem, best.outcome().solution)
    assert best.outcome().status is Status.FEASIBLE


def test_proofs_beyond_the_trusted_size_are_not_taken():
    large = [(lower, upper, size * 10**6 + 1, 1) for lower, upper, size, _ in SMALL]
    problem, pairs, model, best = settled_model(large)
    values = model.program.upper
    assert values[len(large)] > big_m.TRUSTED_UNITS
    take_answer(problem, pairs, model, best, Answer(values, True, False, -np.inf, {}))
    assert best.outcome().status is Status.FEASIBLE
    problem, pairs, model, best = settled_model(large, capacity=best.bound)
    take_answer(problem, pairs, model, best, Answer(None, False, True, np.inf, {}))
    assert best.outcome().status is Status.UNKNOWN


def test_one_binary_is_fixed_only_where_packings_can_be_turned_over():
    rows = [(0, 2, 4, 1), (0, 2, 3, 1), (1, 2, 2, 1)]
    assert big_m.can_be_flipped(problem_of(rows))
    assert big_m.can_be_flipped(problem_of([(lo, up, 4 * s, 4) for lo, up, s, _ in rows]))
    assert not big_m.can_be_flipped(problem_of([(lo, up, s, 4) for lo, up, s, _ in rows]))
    fixed = np.array([-1, -1, 0], dtype=np.int64)
    assert not big_m.can_be_flipped(problem_of(rows, fixed=fixed))
    for seed in range(12):
        problem = random_problem(seed, ("uses",))
        assert big_m.can_be_flipped(problem) is (problem.uses is None)


def read_and_minimise(path):
    """Let CBC read an LP file by itself and minimise it: (objective, unit)."""
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
    unit = int(path.read_text().splitlines()[0].split("units_of_")[1].split("_")[0])
    return float(value), unit


@pytest.mark.parametrize("seed", [0, 1, 4, 8, 11])
def test_the_lp_file_has_the_same_optimum(seed, tmp_path):
    problem = random_problem(seed)
    path = tmp_path / "model.lp"
    write_lp(problem, path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.lp"]
    value, unit = read_and_minimise(path)
    assert value * unit == pytest.approx(lowest_height(problem))


def test_the_lp_file_of_large_sizes_counts_in_units(tmp_path):
    problem = random_problem(13, ())
    rows = zip(problem.lower, problem.upper, problem.size * 2**30, problem.alignment, strict=True)
    path = tmp_path / "model.lp"
    write_lp(problem_of(list(rows)), path)
    value, unit = read_and_minimise(path)
    assert unit % 2**30 == 0
    assert value * unit == pytest.approx(lowest_height(problem) * 2**30)


def test_an_lp_file_that_makes_no_sense_is_not_written(tmp_path):
    path = tmp_path / "model.lp"
    with pytest.raises(UsageError, match="499,500"):
        write_lp(problem_of([(0, 1, 1, 1)] * 1000), path)
    with pytest.raises(UsageError, match="rule out"):
        write_lp(problem_of([(0, 1, 5, 1), (0, 1, 5, 1)], capacity=6), path)
    with pytest.raises(OSError, match="No such file"):
        write_lp(problem_of(SMALL), tmp_path / "absent" / "model.lp")
    assert list(tmp_path.iterdir()) == []
