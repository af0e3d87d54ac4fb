"""The command line in bad company: odd streams, names, numbers, files and moments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import planner
from planner.cli.main import main
from planner.errors import LoweringError, UsageError
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.portfolio import race
from planner.problem import Objective, PlanningProblem, Status
from planner.target import Memory, Target

RESNET8 = str(Path(__file__).parent.parent / "examples" / "models" / "resnet8.onnx")
ROOT = Path(__file__).parent.parent


def save(path: Path, nodes: list[onnx.NodeProto], shape: tuple[int | str, ...] = (4, 4)) -> str:
    def value(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

    graph = helper.make_graph(nodes, "g", [value("x")], [value("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return str(path)


def run(
    *arguments: str, prefix: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, started by a shell."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {prefix}', "sh", sys.executable, "-m", "planner.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )


def test_a_closed_stdout_is_no_internal_error() -> None:
    done = run(RESNET8, "-q", prefix=">&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_full_disk_behind_stdout_is_named() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = run(RESNET8, "-q", prefix=">/dev/full")
    assert done.returncode == 6 and done.stderr.startswith("plan: standard output: ")


def test_names_that_the_encoding_of_stdout_lacks_are_escaped(tmp_path: Path) -> None:
    model = save(tmp_path / "model_ü.onnx", [helper.make_node("Relu", ["x"], ["y"])])
    done = run(model, "-q", environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert r"model_\xfc.onnx" in done.stdout


def test_line_breaks_and_escape_codes_in_names_stay_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save(tmp_path / "m.onnx", [helper.make_node("Relu", ["a\n\x1b[31mb"], ["y"])])
    assert main([model]) == 5
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and r"a\n\x1b[31mb" in error


@pytest.mark.parametrize(
    "given",
    [
        ["--memory", "ram=1MiB", "--memory", "ram=2MiB"],
        ["--dim", "rows=2", "--dim", "rows=3"],
        ["--shape", "x=2:int8", "--shape", "x=3:int8"],
    ],
)
def test_two_values_for_one_name_are_refused(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], ("rows", 4))
    assert main([model, *given]) == 2
    assert "give it once" in capsys.readouterr().err


def test_the_same_value_twice_is_fine(tmp_path: Path) -> None:
    model = save(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], ("rows", 4))
    assert main([model, "--dim", "rows=2", "--dim", "rows=2", "-q"]) == 0


@pytest.mark.parametrize("seed", [1 << 53, -(1 << 53)])
def test_a_seed_that_no_plan_file_can_hold_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match="--seed"):
        planner.plan(RESNET8, seed=seed)


def test_the_largest_seed_survives_the_plan_file(tmp_path: Path) -> None:
    arguments = [RESNET8, "-q", "-o", str(tmp_path), "--seed", str((1 << 53) - 1)]
    assert main(arguments) == 0
    assert main(["check", str(tmp_path / "resnet8.plan.json"), RESNET8]) == 0


@pytest.mark.parametrize("blocked", ["resnet8.plan.json", "resnet8.html", "resnet8.trace.json"])
def test_outputs_are_written_all_or_none(
    blocked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / blocked).mkdir()
    assert main([RESNET8, "-q", "-o", str(tmp_path)]) == 6
    captured = capsys.readouterr()
    assert "checked   legal" in captured.out and "wrote" not in captured.out
    assert str(tmp_path / blocked) in captured.err
    assert [path.name for path in tmp_path.iterdir()] == [blocked]


def test_a_file_in_place_of_the_output_directory_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "taken"
    place.write_text("mine")
    assert main([RESNET8, "-q", "-o", str(place)]) == 6
    assert f"{place}: the outputs cannot be written" in capsys.readouterr().err
    assert place.read_text() == "mine"


def test_bytes_beyond_what_plans_can_count_are_refused() -> None:
    half = 1 << 52
    graph = Graph(
        ModelReference("huge", ""),
        (Operator("f", "Exp", (0,), (1,)),),
        (Tensor("x", (half,), "int8", 0, 0, half), Tensor("y", (half,), "int8", 1, 0, half)),
        (
            Storage("x", half, StorageKind.INPUT),
            Storage("y", half, StorageKind.ACTIVATION, is_output=True),
        ),
    )
    with pytest.raises(LoweringError, match="take 9,007,199,254,740,994 bytes"):
        race(PlanningProblem(graph, Target("host", (Memory("ram"),)), Objective.PEAK, True))


def test_explaining_with_another_model_is_exit_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([RESNET8, "-q", "-o", str(tmp_path)]) == 0
    other = save(tmp_path / "other.onnx", [helper.make_node("Relu", ["x"], ["y"])])
    capsys.readouterr()
    assert main(["explain", str(tmp_path / "resnet8.plan.json"), other]) == 4
    captured = capsys.readouterr()
    assert captured.out == "" and "other.onnx" in captured.err


@pytest.mark.parametrize("order", [[], [0, 0, 2]])
def test_a_plan_that_leaves_operators_out_can_still_be_explained(
    order: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([RESNET8, "-q", "-o", str(tmp_path)]) == 0
    path = tmp_path / "resnet8.plan.json"
    plan = json.loads(path.read_text())
    plan["order"][: len(order) or None] = order
    path.write_text(json.dumps(plan))
    capsys.readouterr()
    assert main(["explain", str(path)]) == 0
    assert capsys.readouterr().out.startswith("model     resnet8.onnx")


def small_tensors(sizes: dict[str, int], nodes: list[tuple[str, str, str]], outputs: str) -> Graph:
    """One-dimensional float tensors; nodes as operator type, operands, result."""

    def value(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [sizes[name]])

    protos = [helper.make_node(kind, reads.split(), [result]) for kind, reads, result in nodes]
    for proto in protos:
        if proto.op_type == "Concat":
            proto.attribute.append(helper.make_attribute("axis", 0))
    graph = helper.make_graph(protos, "g", [value("x")], [value(n) for n in outputs.split()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return planner.load(model)


def test_the_peak_objective_takes_the_lower_peak_although_its_arena_is_higher() -> None:
    """Tensors far below the alignment can cost more arena than they save live bytes."""
    graph = small_tensors(
        {"x": 16, "a": 16, "b": 16, "s": 1, "pair": 2, "q": 1, "r": 1},
        [
            ("Softmax", "x", "a"),
            ("Softmax", "x", "b"),
            ("Softmax", "x", "t"),
            ("ReduceSum", "t", "s"),
            ("Concat", "s s", "pair"),
            ("Softmax", "s", "q"),
            ("Softmax", "s", "r"),
        ],
        "x a b s pair q r",
    )
    result = planner.plan(graph, objective="peak")
    assert result.to_json()["peak_bytes"] == 3 * 64 + 8 + 3 * 4
    assert result.status is Status.OPTIMAL


def test_an_arena_at_the_bound_rounded_up_is_no_proof_of_the_peak() -> None:
    """Greedy's arena of 192 bytes is the bound of 132 aligned; its peak is 192 all the same."""
    graph = small_tensors(
        {"x": 16, "y": 16},
        [
            ("Softmax", "x", "a"),
            ("ReduceSum", "x", "s"),
            ("Mul", "s a", "b"),
            ("Softmax", "x", "dead"),
            ("Softmax", "b", "also_dead"),
            ("Softmax", "a", "y"),
        ],
        "y",
    )
    result = planner.plan(graph, objective="peak", in_place=False)
    assert result.to_json()["peak_bytes"] == result.lower_bound == 192
    assert result.status is Status.OPTIMAL


SLOW_GREEDY = """
import sys, time, solvers.contenders.greedy as greedy
ready = greedy.Greedy.run
def slow(self, problem, board, *, deadline, seed):
    print('started', file=sys.stderr, flush=True)
    while not deadline.cancel.is_set(): time.sleep(0.01)
    time.sleep(0.3)
    return ready(self, problem, board, deadline=deadline, seed=seed)
greedy.Greedy.run = slow
from planner.cli.main import main
sys.argv[0] = 'plan'
raise SystemExit(main())
"""


def test_an_interrupt_during_greedy_still_yields_its_plan(tmp_path: Path) -> None:
    """`Thread.join` takes an interrupted wait for the end of the thread: bpo-45274."""
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_GREEDY, RESNET8, "-q", "-o", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().strip() == "started"
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, error
    assert "checked   legal" in out and "nanobind" not in error
    assert (tmp_path / "resnet8.plan.json").exists()


def test_an_interrupt_while_the_winner_is_checked_does_not_lose_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged = planner.checker.check
    calls: list[int] = []

    def interrupted_once(*arguments: object) -> object:
        if threading.current_thread() is threading.main_thread() and not calls:
            calls.append(1)
            signal.raise_signal(signal.SIGINT)
        return judged(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("planner.checker.check", interrupted_once)
    result = planner.plan(RESNET8)
    assert calls and result.interrupted and result.plan.order
