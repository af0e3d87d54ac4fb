"""Ctrl-C and the time limit in the middle of each search for less traffic: the best plan so far."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

import onnx
import pytest

import planner
from frontends import zoo
from planner.footprint import largest_footprint
from planner.problem import Status
from planner.testing import assert_legal
from solvers.contenders import search

from .targets import scratchpad
from .test_joint_race import random_bare_graph

ROOT = Path(__file__).parents[2]
# Module, owner of the function if it is a method, function, contenders.
STAGES = {
    "spill-set": ("solvers.joint.spill_set", "SpillSet", "solve", None),
    "joint-exact": ("solvers.joint.exact", "JointExact", "solve", None),
    "beam": ("solvers.joint.beam", "Beam", "solve", None),
    "annealing": ("solvers.joint.annealing", "Annealing", "solve", None),
    "gap-selection": ("solvers.replacement.benders", "GapSelection", "solve", None),
    "cosma-mathopt": ("solvers.cosma.backends", None, "solve_by_highs", ["cosma-mathopt"]),
    "cosma": ("solvers.cosma.backends", None, "solve_by_pulp", ["cosma"]),
}
# The instance is open for minutes. Bound and list heuristics are kept short, so that the search in
# question begins soon.
SETTING = """
import sys, threading
import planner
from planner.footprint import largest_footprint
from planner.testing import assert_legal
from tests.joint.targets import scratchpad
from tests.joint.test_joint_race import random_bare_graph
import {module} as module
import solvers.contenders.search as search
from solvers.joint.spill_set import SpillSet

search._HEAD_START_S = search._FIRST_ROUND_S = 0.1
bound = SpillSet.solve
def short(self, problem, *, deadline, **options):
    return bound(self, problem, deadline=deadline.within(0.2), **options)
if {function!r} != 'solve' or {owner!r} != 'SpillSet':
    SpillSet.solve = short

owner = getattr(module, {owner!r}) if {owner!r} else module
ready = getattr(owner, {function!r})
def told(*arguments, **options):
    print('searching', flush=True)
    return ready(*arguments, **options)
setattr(owner, {function!r}, told)
graph = random_bare_graph(6, 150)
target = scratchpad(largest_footprint(graph, in_place=False).size_bytes)
"""
INTERRUPTED = """
result = planner.plan(graph, target=target, in_place=False, solvers={solvers}, time_limit=100)
assert_legal(graph, target, result.plan)
running = [thread.name for thread in threading.enumerate() if 'contender' in thread.name]
late = [report.name for report in result.contenders if 'still running' in report.note]
failed = [report.name for report in result.contenders if report.status == 'failed']
print(result.interrupted, result.status.value, running, late, failed)
print(result.lower_bound <= result.plan.metrics.traffic_bytes)
"""


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupt_yields_the_best_plan_and_ends_all_threads(stage: str) -> None:
    module, owner, function, solvers = STAGES[stage]
    if stage.startswith("cosma"):
        pytest.importorskip("ortools" if stage == "cosma-mathopt" else "pulp")
    script = (SETTING + INTERRUPTED).format(
        module=module, owner=owner, function=function, solvers=solvers
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "searching", process.communicate()
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=120)
        finally:
            process.kill()
    lines = [line for line in out.splitlines() if line != "searching"]
    assert lines == ["True feasible [] [] []", "True"], error


def test_an_interrupted_command_prints_the_best_plan_and_exits_130(tmp_path: Path) -> None:
    model = tmp_path / "densenet121.onnx"
    onnx.save(zoo.build("densenet121", dtype="int8"), model)
    script = (
        "import sys, time\n"
        "from planner.cli.main import main\n"
        "from solvers.joint.spill_set import SpillSet\n"
        "ready = SpillSet.solve\n"
        "def slow(self, problem, *, deadline, **options):\n"
        "    print('searching', file=sys.stderr, flush=True)\n"
        "    while not deadline.cancel.is_set(): time.sleep(0.01)\n"
        "    return ready(self, problem, deadline=deadline, **options)\n"
        "SpillSet.solve = slow\n"
        f"command = ['solve', {str(model)!r}, '--no-inplace', '-t', 'npu-1m', '-q', '--memory',\n"
        "           'sram=1600KiB', '--time-limit', '600']\n"
        "raise SystemExit(main(command))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().strip() == "searching"
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, error
    assert "checked   legal" in out and "interrupted" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("stage", [name for name in STAGES if not name.startswith("cosma")])
def test_a_time_limit_in_the_middle_of_a_search_is_kept(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search in question runs into the deadline; all the others are given none of the time."""
    module, owner, _, _ = STAGES[stage]
    monkeypatch.setattr(search, "_HEAD_START_S", 0.01)
    entered: list[bool] = []
    for name, (path, other, _, contenders) in STAGES.items():
        if contenders is not None or other is None:
            continue
        kind = getattr(import_module(path), other)
        ready = kind.solve

        def solve(self, problem, *, deadline, ready=ready, name=name, **options):
            if name != stage:
                return ready(self, problem, deadline=deadline.within(0.05), **options)
            outcome = ready(self, problem, deadline=deadline, **options)
            entered.append(True)
            return outcome

        monkeypatch.setattr(kind, "solve", solve)
    assert owner and module
    graph = random_bare_graph(6, operators=150)
    target = scratchpad(largest_footprint(graph, in_place=False).size_bytes)
    for time_limit in (2.5, 10, 40):  # a busy machine takes longer to get there
        result = planner.plan(graph, target=target, in_place=False, time_limit=time_limit)
        if entered:
            break
    assert entered
    assert_legal(graph, target, result.plan)
    assert result.status is Status.FEASIBLE and not result.interrupted
    assert (result.lower_bound or 0) <= result.plan.metrics.traffic_bytes
    notes = {report.name: report.note for report in result.contenders}
    assert "still running at the deadline" not in notes.values()
    assert not [thread for thread in threading.enumerate() if "contender" in thread.name]
