"""`plan bench offsets`: fair and checked runs, the table, the profile, the command, Ctrl-C."""

from __future__ import annotations

import json
import math
import signal
import sys
import time

import numpy as np
import pytest

from planner.bench.offset_instances import (
    Instance,
    tiling,
)
from planner.bench.offset_results import by_instance, contradictions, render_table
from planner.bench.offset_solves import OffsetSolve, chosen_solvers, solve_all
from planner.bench.performance_profile import (
    draw_profiles,
    height_profiles,
    profiles,
    time_profiles,
)
from planner.cli.main import main
from planner.errors import UsageError
from planner.packing.problem import Buffer, PackingProblem
from planner.packing.result import SolverReport
from planner.problem import OffsetSolution, Outcome, Status
from planner.registry import SOLVERS
from solvers.protocol import Availability

# b ends where c begins: 8 bytes are enough.
THREE = PackingProblem((Buffer("a", 0, 9, 4), Buffer("b", 0, 4, 4), Buffer("c", 4, 9, 4)))
CSV = "id,lower,upper,size\na,0,9,4\nb,0,4,4\nc,4,9,4\n"


class Stub:
    """Stands in for a solver and for its entry in the registry."""

    def __init__(self, solve, *, available=Availability(True), unsupported=""):  # noqa: B008
        self._solve = solve
        self._available = available
        self._unsupported = unsupported
        self.capacities = []

    def load(self):
        return self

    def available(self):
        return self._available

    def unsupported(self, problem):
        return self._unsupported

    def solve(self, problem, *, deadline, seed=0, **_):
        self.capacities.append(problem.capacity)
        return self._solve(problem, deadline)


def answer(offsets, *, height=None, status=Status.FEASIBLE, bound=None, **statistics):
    """A solver that always says the same of the three buffers."""

    def solve(problem, deadline):
        placed = np.array(offsets, dtype=np.int64)
        top = int((placed + 4).max()) if height is None else height
        return Outcome(status, OffsetSolution(placed, top), bound, statistics)

    return solve


def nothing(problem, deadline):
    return Outcome(Status.UNKNOWN, None)


def stacked(problem, deadline):
    """Every buffer above the one before: legal for whatever has no alignment or pins."""
    tops = np.cumsum(problem.size)
    height = int(tops[-1])
    if problem.capacity is not None and height > problem.capacity:
        return Outcome(Status.UNKNOWN, None, 0)
    return Outcome(Status.FEASIBLE, OffsetSolution(tops - problem.size, height), 0)


@pytest.fixture
def register(monkeypatch):
    def register(**stubs):
        monkeypatch.setitem(SOLVERS, "offsets", stubs)
        return list(stubs)

    return register


@pytest.fixture
def only(register):
    """The one row of a stub on the three buffers."""

    def only(solve, capacity=None, **options):
        names = register(stub=Stub(solve, **options))
        instance = Instance("three", THREE, capacity)
        (row,) = solve_all([instance], names, time_limit_s=5, on_progress=lambda _: None)
        return row

    return only


def test_a_checked_packing_counts(only):
    row = only(answer([0, 4, 4], status=Status.OPTIMAL, bound=8))
    assert (row.instance, row.buffers, row.live_bytes, row.capacity) == ("three", 3, 8, None)
    report = row.minimised
    assert (report.name, report.status, report.height_bytes) == ("stub", "optimal", 8)
    assert report.lower_bound_bytes == 8 and row.fitted is None


def test_a_named_capacity_is_asked_for_too(register):
    stub = Stub(answer([0, 4, 4]))
    register(stub=stub)
    instance = Instance("three", THREE, 8)
    (row,) = solve_all([instance], ["stub"], time_limit_s=5, on_progress=lambda _: None)
    assert stub.capacities == [None, None, 8], "the first run only loads the solver"
    assert row.fitted is not None and row.fitted.height_bytes == 8


@pytest.mark.parametrize(
    ("solve", "message"),
    [
        (answer([0, 4, 0]), "illegal packing: a"),
        (answer([0, 4, 4], height=7), "illegal packing: height 7 is claimed, it is 8"),
        (answer([0, 4]), "illegal packing: 2 offsets for 3 buffers"),
        (answer([-4, 0, 0]), "illegal packing: a lies at offset -4"),
        (lambda problem, deadline: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_what_is_wrong_does_not_count(solve, message, only):
    report = only(solve).minimised
    assert report.status == "failed" and report.height_bytes is None
    assert message in report.note


def test_a_packing_above_the_capacity_does_not_fit(only):
    row = only(answer([0, 4, 8]), capacity=8)
    assert row.minimised.height_bytes == 12
    assert row.fitted.status == "failed"
    assert "height 12 exceeds the capacity 8" in row.fitted.note


def test_who_cannot_solve_it_is_skipped_with_the_reason(only):
    report = only(nothing, unsupported="it takes 2 buffers").minimised
    assert (report.status, report.note, report.cpu_s) == ("skipped", "it takes 2 buffers", 0.0)
    missing = Availability(False, "pulp is not installed")
    assert only(nothing, available=missing).minimised.note == "pulp is not installed"


def test_no_solution_in_time_is_told_from_giving_up(register):
    def late(problem, deadline):
        while len(problem.size) == 3 and not deadline.expired():
            time.sleep(0.01)
        return Outcome(Status.UNKNOWN, None)

    names = register(quick=Stub(nothing), late=Stub(late))
    rows = solve_all(
        [Instance("three", THREE)], names, time_limit_s=0.2, on_progress=lambda _: None
    )
    assert [row.minimised.note for row in rows] == ["no solution found", "no solution in time"]


def test_cpu_seconds_are_those_of_the_run(register):
    def busy(problem, deadline):
        until = time.process_time() + (0.05 if len(problem.size) == 3 else 0)
        while time.process_time() < until:
            pass
        return Outcome(Status.UNKNOWN, None)

    names = register(busy=Stub(busy), idle=Stub(nothing))
    rows = list(
        solve_all([Instance("three", THREE)], names, time_limit_s=5, on_progress=lambda _: None)
    )
    assert rows[0].minimised.cpu_s >= 0.05 > rows[1].minimised.cpu_s


def test_solver_names_are_checked():
    assert chosen_solvers(None) == list(SOLVERS["offsets"])
    assert chosen_solvers(["exact", "greedy", "exact"]) == ["exact", "greedy"]
    with pytest.raises(UsageError, match=r"no offset solver 'simplex'\. There are: greedy"):
        chosen_solvers(["simplex"])
    with pytest.raises(UsageError, match="no solver is named"):
        chosen_solvers([])


def run_of(instance, solver, height, cpu_s=0.1, bound=None, fitted=None, capacity=None):
    status = "unknown" if height is None else "feasible"
    report = SolverReport(solver, "memory", status, height, bound, cpu_s, cpu_s)
    return OffsetSolve(instance, 3, 8, capacity, report, fitted)


def test_claims_that_a_packing_refutes_are_reported():
    infeasible = SolverReport("liar", "memory", "infeasible", None, None)
    results = by_instance(
        [
            run_of("one", "honest", 10, bound=8),
            run_of("one", "wrong", None, bound=11),
            run_of("two", "honest", 10, capacity=10),
            run_of("two", "liar", None, capacity=10, fitted=infeasible),
            run_of("three", "honest", 10, bound=10),
        ]
    )
    assert [text.split(";")[0] for text in contradictions(results)] == [
        "one: wrong claims that no packing is below 11",
        "two: liar claims that no packing is below 11",
    ]


def test_factors_are_those_of_dolan_and_more():
    found = profiles({"a": [1.0, 4.0, None], "b": [2.0, 2.0, None], "c": [None, 3.0, None]})
    assert found["a"] == ((1.0, 2.0), 3)
    assert found["b"] == ((1.0, 2.0), 3)
    assert found["c"] == ((1.5,), 3)


def test_time_counts_only_where_the_lowest_height_was_found():
    results = by_instance(
        [
            run_of("one", "fast", 12, cpu_s=0.1),
            run_of("one", "good", 10, cpu_s=5.0),
            run_of("two", "fast", 10, cpu_s=0.1),
            run_of("two", "good", 10, cpu_s=0.4),
            run_of("three", "fast", None),
            run_of("three", "good", None),
        ]
    )
    assert height_profiles(results)["fast"] == ((1.0, 1.2), 3)
    assert time_profiles(results)["fast"] == ((1.0,), 3)
    assert time_profiles(results)["good"] == ((1.0, pytest.approx(4.0)), 3)


def test_remarks_are_told_whether_or_not_there_is_a_packing(only):
    found = answer([0, 4, 8], note="two levels take no more")
    assert only(found).minimised.note == "two levels take no more"
    stopped = Outcome(Status.UNKNOWN, None, statistics={"stopped": "the worker died"})
    assert (
        only(lambda problem, deadline: stopped).minimised.note
        == "no solution found; the worker died"
    )


def test_the_table_shows_remarks_on_packings_too():
    run = run_of("one", "a", 10)
    run = run._replace(minimised=run.minimised._replace(note="two levels take no more"))
    assert render_table(by_instance([run])).splitlines()[1].endswith("two levels take no more")


def test_times_too_short_to_compare_are_equal():
    results = by_instance([run_of("one", "a", 9, cpu_s=0.0), run_of("one", "b", 9, cpu_s=1e-4)])
    assert time_profiles(results) == {"a": ((1.0,), 1), "b": ((1.0,), 1)}


def test_the_table_shows_every_solver_of_every_instance():
    fits = SolverReport("a", "memory", "feasible", 9, None, 0.25, 0.25)
    text = render_table(
        by_instance(
            [
                run_of("one\n", "a", 10, capacity=9, fitted=fits),
                run_of("one\n", "b", None, bound=8),
            ]
        )
    )
    header, first, second = (line.split() for line in text.splitlines())
    assert header[:5] == ["instance", "buffers", "bound", "capacity", "solver"]
    assert header[-2:] == ["at", "capacity"], "a column without entries is left out"
    assert first[:9] == [r"one\n", "3", "8", "9", "a", "10", "1.2500", "feasible", "0.100"]
    assert first[9:] == ["fits,", "0.250", "s"]
    assert second == ["b", "unknown", "0.100"]


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing drawn")


def test_the_same_results_are_the_same_pictures(matplotlib):
    results = by_instance([run_of("one", "a", 10), run_of("one", "b", None)])
    pictures = draw_profiles(results)
    assert pictures["png"].startswith(b"\x89PNG") and b"<svg" in pictures["svg"]
    assert draw_profiles(results) == pictures


def test_results_without_any_packing_can_be_drawn(matplotlib):
    assert set(draw_profiles(by_instance([run_of("one", "a", None)]))) == {"svg", "png"}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "one.8.csv").write_text(CSV)
    (folder / "two.csv").write_text(CSV)
    return str(folder)


def test_the_command_prints_a_table_and_writes_json_and_profile(
    matplotlib, register, data, tmp_path, capsys
):
    register(stub=Stub(stacked), silent=Stub(nothing), lazy=Stub(nothing, unsupported="too many"))
    out = tmp_path / "new" / "out"
    assert main(["bench", "offsets", "--data", data, "-o", str(out)]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[1].split()[:6] == ["one.8", "3", "8", "8", "stub", "12"]
    assert lines[1].endswith("s") and "no solution found" in lines[2]
    assert lines[3].split()[0:2] == ["lazy", "skipped"] and lines[3].endswith("too many")
    assert "stub    of 2: 0 optimal, 2 lowest, 0 without a packing" in captured.out
    assert "one.8: stub at 8\n" in captured.err
    assert {path.name for path in out.iterdir()} == {f"offsets.{s}" for s in ("json", "svg", "png")}
    document = json.loads((out / "offsets.json").read_text())
    one, two = document["instances"]
    assert (one["name"], one["capacity_bytes"], one["lower_bound_bytes"]) == ("one.8", 8, 8)
    assert [s["name"] for s in two["solvers"]] == ["stub", "silent", "lazy"]
    assert two["solvers"][0]["height_to_bound"] == 1.5
    assert two["solvers"][0]["at_capacity"] is None
    assert one["solvers"][2]["at_capacity"]["status"] == "skipped"


def test_json_is_alone_on_stdout(register, data, capsys):
    register(stub=Stub(stacked))
    assert main(["bench", "offsets", "--data", data, "--json", "-q"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["format"] == "planner.bench-offsets" and not document["interrupted"]
    assert captured.err == ""


def test_without_matplotlib_only_the_picture_is_missing(
    register, data, tmp_path, capsys, monkeypatch
):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    register(stub=Stub(stacked))
    out = tmp_path / "out"
    assert main(["bench", "offsets", "--data", data, "-o", str(out)]) == 0
    captured = capsys.readouterr()
    assert "note: no performance profile is drawn: matplotlib is not installed" in captured.err
    assert "stub" in captured.out
    assert [path.name for path in out.iterdir()] == ["offsets.json"]


def test_ctrl_c_shows_the_table_so_far(register, data, tmp_path, capsys):
    def interrupted(problem, deadline):
        if len(endless.capacities) < 4:
            return Outcome(Status.UNKNOWN, None)
        signal.raise_signal(signal.SIGINT)
        while not deadline.expired():
            time.sleep(0.01)
        return Outcome(Status.UNKNOWN, None)

    endless = Stub(interrupted)
    register(stub=Stub(stacked), endless=endless)
    out = tmp_path / "out"
    arguments = ["bench", "offsets", "--data", data, "--time-limit", "60", "-o", str(out), "-q"]
    assert main(arguments) == 130
    captured = capsys.readouterr()
    rows = [line.split() for line in captured.out.splitlines()[1:4]]
    assert [row[0] for row in rows] == ["one.8", "endless", "two"]
    assert captured.err == "plan: interrupted; these are the results until then\n"
    document = json.loads((out / "offsets.json").read_text())
    assert document["interrupted"] and len(document["instances"][1]["solvers"]) == 1


def test_ctrl_c_before_the_first_result_prints_and_writes_nothing(register, data, tmp_path, capsys):
    def interrupted(problem, deadline):
        if len(problem.size) == 3:
            signal.raise_signal(signal.SIGINT)
        return Outcome(Status.UNKNOWN, None)

    register(stub=Stub(interrupted))
    earlier = tmp_path / "out" / "offsets.json"
    earlier.parent.mkdir()
    earlier.write_text("of an earlier run")
    output = ["-o", str(earlier.parent)]
    assert main(["bench", "offsets", "--data", data, "-q", *output]) == 130
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "plan: interrupted before the first result\n")
    assert earlier.read_text() == "of an earlier run"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["offsets", "--data", "missing"], 6, "missing does not exist"),
        (["offsets", "--solver", "simplex"], 2, "no offset solver 'simplex'"),
        (["offsets", "--solver", ","], 2, "no solver is named"),
        (["offsets", "--time-limit", "0"], 2, "not a positive number"),
        (["offset"], 2, "invalid choice: 'offset'"),
        ([], 2, "required: SUITE"),
    ],
)
def test_wrong_arguments_are_named(arguments, code, message, capsys):
    assert main(["bench", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err


def test_an_output_that_cannot_be_written_is_refused_before_the_first_run(
    register, data, tmp_path, capsys
):
    stub = Stub(stacked)
    register(stub=stub)
    (tmp_path / "taken").write_text("mine")
    assert main(["bench", "offsets", "--data", data, "-o", str(tmp_path / "taken")]) == 6
    assert "the outputs cannot be written there" in capsys.readouterr().err
    assert stub.capacities == []


def test_the_solvers_agree_on_a_small_set(tmp_path, capsys):
    (tmp_path / "tiling.256.csv").write_text(
        "id,lower,upper,size\n"
        + "".join(f"{b.name},{b.lower},{b.upper},{b.size}\n" for b in tiling("small", 24).buffers)
    )
    arguments = ["--data", str(tmp_path), "--solver", "greedy,exact", "--time-limit", "5"]
    assert main(["bench", "offsets", *arguments, "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    greedy, exact = document["instances"][0]["solvers"]
    assert exact["status"] == "optimal" and exact["height_bytes"] == 256
    assert exact["at_capacity"]["height_bytes"] == 256
    assert greedy["height_bytes"] >= 256 and math.isclose(exact["height_to_bound"], 1.0)
    assert document["notes"] == []
