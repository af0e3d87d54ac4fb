"""The command line as its users and their scripts see it."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from frontends import zoo
from planner.cli.main import main, with_default_verb

MODELS = Path(__file__).parent.parent / "examples" / "models"
RESNET8 = str(MODELS / "resnet8.onnx")


def value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def save(path: Path, nodes: list[onnx.NodeProto], **more: object) -> str:
    graph = helper.make_graph(
        nodes,
        "g",
        more.get("inputs", [value("x", [4, 4])]),  # type: ignore[arg-type]
        more.get("outputs", [value("y", [4, 4])]),  # type: ignore[arg-type]
        initializer=more.get("initializers", []),  # type: ignore[arg-type]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return str(path)


def chain(path: Path, count: int = 4, shape: tuple[int | str, ...] = (4, 4)) -> str:
    names = ["x", *(f"t{i}" for i in range(count - 1)), "y"]
    nodes = [helper.make_node("Sigmoid", [a], [b]) for a, b in itertools.pairwise(names)]
    return save(path, nodes, inputs=[value("x", list(shape))], outputs=[value("y", list(shape))])


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    assert main([RESNET8, "-t", "npu-1m", "-o", str(tmp_path), "-q"]) == 0
    return tmp_path / "resnet8.plan.json"


def test_a_model_alone_means_solve() -> None:
    assert with_default_verb(["m.onnx"]) == ["solve", "m.onnx"]
    assert with_default_verb(["-t", "host", "m.onnx"]) == ["solve", "-t", "host", "m.onnx"]
    assert with_default_verb(["check", "p", "m"]) == ["check", "p", "m"]


def test_the_default_report_is_what_an_engineer_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([RESNET8]) == 0
    out = capsys.readouterr().out
    for label in ("model", "target", "arena", "peak at", "solvers", "checked"):
        assert any(line.startswith(label) for line in out.splitlines()), label
    assert "196,608" in out and "optimal" in out


def test_json_is_the_only_thing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([RESNET8, "--json", "-t", "npu-1m"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["format"] == "planner.result" and result["version"] == 1
    assert result["status"] == "optimal" and result["traffic_bytes"] == 0
    assert result["peak_bytes"] == result["peak_lower_bound_bytes"] == 196_608
    names = {"greedy", "belady", "exact", "search", "malloc-game"}
    assert {row["name"] for row in result["contenders"]} == names


def test_outputs_are_written_and_the_plan_checks(
    planned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.name for path in planned.parent.iterdir())
    assert names == ["resnet8.html", "resnet8.plan.json", "resnet8.trace.json"]
    assert main(["check", str(planned), RESNET8]) == 0
    assert "legal" in capsys.readouterr().out


def test_an_illegal_plan_is_exit_4_with_its_violations(
    planned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = json.loads(planned.read_text())
    for placement in plan["placements"]:
        placement["offset"] = 0
    planned.write_text(json.dumps(plan))
    assert main(["check", str(planned), RESNET8]) == 4
    assert "overlap in sram" in capsys.readouterr().out
    assert main(["check", str(planned), RESNET8, "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["legal"] is False


def test_a_plan_for_another_model_is_exit_4(
    planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(planned), chain(tmp_path / "other.onnx")]) == 4
    assert "other" in capsys.readouterr().out


def test_explain_names_the_peak_a_step_and_a_tensor(
    planned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(planned)]) == 0
    assert "65,536" in capsys.readouterr().out
    assert main(["explain", str(planned), "--step", "3"]) == 0
    assert "step 3" in capsys.readouterr().out
    assert main(["explain", str(planned), "--tensor", "stack1.conv1"]) == 0
    assert "stack1.conv1" in capsys.readouterr().out
    assert main(["explain", str(planned), "--step", "999"]) == 2
    assert main(["explain", str(planned), "--tensor", "nobody"]) == 2


def test_targets_solvers_and_doctor_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets"]) == 0
    out = capsys.readouterr().out
    for name in ("host", "mcu-256k", "npu-1m", "npu-8m", "tpuv4i", "gpu-80g", "gpu-141g"):
        assert name in out
    assert main(["targets", "npu-1m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memories"][0]["capacity_bytes"] == 1 << 20
    assert main(["solvers"]) == 0
    out = capsys.readouterr().out
    for name in ("exact", "exact-order", "mathopt", "gap-selection", "belady"):
        assert name in out
    assert main(["doctor"]) == 0
    assert "solvers._native" in capsys.readouterr().out


def test_too_small_a_memory_is_exit_3_and_names_the_operator(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([RESNET8, "-t", "npu-1m", "--memory", "sram=64KiB"]) == 3
    error = capsys.readouterr().err
    assert "relu (Relu) needs 131,072 bytes of sram" in error and "65,536" in error
    assert "--memory sram=128KiB" in error
    assert main([RESNET8, "-t", "npu-1m", "--memory", "sram=128KiB", "-q"]) == 0


def test_spills_between_the_largest_operator_and_the_peak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "densenet.onnx"
    onnx.save(zoo.build("densenet121", dtype="int8"), str(model))
    arguments = [str(model), "-t", "npu-1m", "--memory", "sram=1568KiB", "--no-inplace", "--json"]
    assert main([*arguments, "-o", str(tmp_path)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["traffic_bytes"] == result["traffic_lower_bound_bytes"] == 2_609_152
    assert result["status"] == "optimal"
    assert main(["check", str(tmp_path / "densenet.plan.json"), str(model)]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-t", "npu-2m"], "npu-1m"),
        (["--memory", "tcm=1MiB"], "tcm"),
        (["--memory", "ram=many"], "many"),
        (["--solver", "gurobi"], "gurobi"),
        (["--dim", "bacth=1"], "bacth"),
        (["--dim", "batch"], "NAME=VALUE"),
        (["--dim", "batch=-1"], "-1"),
        (["--time-limit", "0"], "0"),
        (["--objective", "speed"], "speed"),
        (["--objective", "latency"], "rates"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_wrong_usage_is_exit_2_and_says_what(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([RESNET8, *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == ""


def truncated(path: Path) -> str:
    path.write_bytes(Path(RESNET8).read_bytes()[:3000])
    return str(path)


def text_file(path: Path) -> str:
    path.write_text("this is not a model\n" * 40)
    return str(path)


def empty_file(path: Path) -> str:
    path.write_bytes(b"")
    return str(path)


def empty_graph(path: Path) -> str:
    return save(path, [], outputs=[value("x", [4, 4])])


def cyclic(path: Path) -> str:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    return save(path, nodes)


def escaping_external_data(path: Path) -> str:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4])
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../secrets"
    return save(path, [helper.make_node("Add", ["x", "w"], ["y"])], initializers=[weight])


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (truncated, 6, "truncated"),
        (text_file, 6, ""),
        (empty_file, 6, ""),
        (empty_graph, 5, "no operators"),
        (cyclic, 5, "cycl"),
        (lambda path: chain(path, shape=(-2, 4)), 5, "x:0"),
        (lambda path: chain(path, shape=(2**62, 4)), 5, ""),
        (escaping_external_data, 6, "../../secrets"),
        (lambda path: chain(path, shape=("rows", 4)), 5, "--dim rows="),
        (lambda path: str(path.parent / "missing.onnx"), 6, "missing.onnx"),
        (lambda path: str(path.parent), 6, ""),
    ],
)
def test_bad_models_give_one_clear_error(
    make: object, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path / "model.onnx")  # type: ignore[operator]
    output = tmp_path / "out"
    assert main([source, "-o", str(output)]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and words in captured.err
    assert "Traceback" not in captured.err and "internal error" not in captured.err
    assert not output.exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": "planner.plan", "version": 99}', "[" * 100_000]
)
def test_bad_plan_files_are_exit_6(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.plan.json"
    path.write_text(content)
    for verb in (["check", str(path), RESNET8], ["explain", str(path)]):
        assert main(verb) == 6
        captured = capsys.readouterr()
        assert captured.out == "" and len(captured.err.splitlines()) == 1


def test_interrupted_runs_print_the_best_plan_and_exit_130(tmp_path: Path) -> None:
    """Greedy's plan is there, the exact contender is made to take for ever."""
    script = (
        "import sys, time, solvers.contenders.exact as exact\n"
        "def slow(self, problem, board, *, deadline, seed):\n"
        "    print('searching', file=sys.stderr, flush=True)\n"
        "    while not deadline.cancel.is_set(): time.sleep(0.02)\n"
        "    return 'stopped'\n"
        "exact.Exact.run = slow\n"
        "from planner.cli.main import main\n"
        f"raise SystemExit(main([{RESNET8!r}, '-q', '-o', {str(tmp_path)!r}]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().strip() == "searching"
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, error
    assert "checked   legal" in out and "interrupted" in error
    assert (tmp_path / "resnet8.plan.json").exists()


def test_what_a_library_prints_while_solving_does_not_reach_stdout() -> None:
    script = (
        "import os, solvers.contenders.exact as exact\n"
        "def noisy(self, problem, board, *, deadline, seed):\n"
        "    os.write(1, b'chatter')\n"
        "    return ''\n"
        "exact.Exact.run = noisy\n"
        "from planner.cli.main import main\n"
        f"raise SystemExit(main([{RESNET8!r}, '--json', '-q']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["status"] and "chatter" in done.stderr


def test_help_and_import_stay_light() -> None:
    """Neither may load what only planning needs."""
    script = (
        "import sys, planner\n"
        "from planner.cli.main import main\n"
        "main(['--help'])\n"
        "heavy = {'numpy', 'onnx', 'ortools', 'pulp', 'networkx', 'onnxruntime', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"
