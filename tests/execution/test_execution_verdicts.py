"""What executing a plan says: where it went wrong, who did it, what was left out and why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

import planner
from frontends import zoo
from planner.cli.main import main
from planner.errors import InvalidPlanError, UsageError
from planner.execution.result import Verdict
from planner.plan_file import write_plan
from planner.plans import ByteRange

from ..onnx.storage_models import model  # noqa: TID252
from .executable_plans import require_proof

if TYPE_CHECKING:
    from planner.plans import Plan


def small_model() -> onnx.ModelProto:
    body = "(float[4] x) => (y) { a = Relu(x) b = Neg(a) c = Exp(b) d = Add(c, w) y = Add(d, a) }"
    made = model(body, {"w": [1.0, 2.0, 3.0, 4.0]})
    for node, name in zip(made.graph.node, "abcdy", strict=True):
        node.name = f"make {name}"
    return made


def plan_of(made: onnx.ModelProto, **options: object) -> Plan:
    return planner.plan(made, in_place=False, solvers=["greedy"], **options).plan  # type: ignore[arg-type]


def index_of(plan: Plan, name: str, memory: str = "ram") -> int:
    """Index of the first placement of a storage in a memory."""
    return next(
        i
        for i, p in enumerate(plan.placements)
        if plan.storages[p.storage].name == name and p.memory == memory
    )


def with_offset(plan: Plan, name: str, offset: int, memory: str = "ram") -> Plan:
    placements = list(plan.placements)
    index = index_of(plan, name, memory)
    placements[index] = placements[index]._replace(offset=offset)
    return replace(plan, placements=tuple(placements))


# The first thing that went wrong


def test_the_verdict_names_tensor_step_bytes_and_who_overwrote_them():
    made = small_model()
    plan = plan_of(made)
    at = plan.placements[index_of(plan, "a")].offset
    outcome = planner.execute(made, with_offset(plan, "c", at))
    assert outcome.verdict is Verdict.MISMATCH
    assert outcome.mismatch is not None
    assert outcome.mismatch.message == (
        f"a is wrong when step 4 (Add make y) reads it: 16 of 16 bytes, bytes [{at}, {at + 16}) "
        "of ram, last written by step 2 (Exp make c: c), since released"
    )
    assert outcome.mismatch.step == 4
    assert outcome.mismatch.tensor == "a"
    assert outcome.mismatch.memory == "ram"
    assert outcome.mismatch.addresses == ByteRange(at, at + 16)
    assert outcome.mismatch.written_by == "step 2 (Exp make c: c), since released"
    assert outcome.steps == 4


def test_a_partial_overlap_names_the_wrong_bytes_alone():
    made = small_model()
    plan = plan_of(made)
    at = plan.placements[index_of(plan, "a")].offset
    outcome = planner.execute(made, with_offset(plan, "d", at + 12))
    assert outcome.mismatch is not None
    assert outcome.mismatch.addresses == ByteRange(at + 12, at + 16)
    assert "4 of 16 bytes" in outcome.mismatch.message
    assert outcome.mismatch.written_by == "step 3 (Add make d: d)"


def test_an_address_outside_the_arena_is_said():
    made = small_model()
    plan = plan_of(made)
    size = plan.metrics.arena_bytes["ram"]
    outcome = planner.execute(made, with_offset(plan, "c", size))
    assert outcome.mismatch is not None
    assert outcome.mismatch.message == (
        f"step 2: c at bytes [{size}, {size + 16}) leaves the arena of ram, which has {size} B"
    )


def test_a_copy_that_is_missing_shows_where_its_bytes_are_read():
    made = small_model()
    plan = plan_of(made, target="npu-1m")
    fetch = next(t for t in plan.transfers if t.kind == "fetch")
    rest = tuple(t for t in plan.transfers if t is not fetch)
    outcome = planner.execute(made, replace(plan, transfers=rest))
    assert outcome.mismatch is not None
    assert outcome.mismatch.message == (
        "x is wrong when step 0 (Relu make a) reads it: 16 of 16 bytes, bytes [0, 16) of sram, "
        "last written by nobody"
    )


def test_a_result_that_does_not_reach_the_caller_is_said():
    made = small_model()
    plan = plan_of(made, target="npu-1m")
    gone = index_of(plan, "y", "dram")
    placements = (*plan.placements[:gone], *plan.placements[gone + 1 :])
    transfers = tuple(t for t in plan.transfers if t.kind != "store")
    outcome = planner.execute(made, replace(plan, placements=placements, transfers=transfers))
    assert outcome.mismatch is not None
    assert outcome.mismatch.message == "graph output y is not in dram after the last step"


def test_a_step_before_its_operands_is_said():
    made = small_model()
    plan = plan_of(made)
    swapped = replace(plan, order=(0, 2, 1, 3, 4))
    outcome = planner.execute(made, swapped)
    assert outcome.mismatch is not None
    assert outcome.mismatch.step == 1
    assert outcome.mismatch.tensor == "b"
    assert "step 1 (Exp make c)" in outcome.mismatch.message


def test_constants_are_not_placed_and_not_compared_but_used():
    made = model(
        "(float[2, 2] x) => (y, k) { k = Exp(w) h = Add(x, k) v = Mul(w, w) y = MatMul(h, v) }",
        {"w": np.arange(4.0).reshape(2, 2)},
    )
    plan = planner.plan(made).plan
    require_proof("constants", planner.execute(made, plan))
    first = planner.execute(made, plan, inputs={"x": np.zeros((2, 2), np.float32)})
    require_proof("given", first)


# What was left out


@pytest.mark.parametrize(
    ("node", "skipped"),
    [
        ("RandomNormalLike(a)", 6),
        ("Bernoulli(m)", 6),
        ("Abs(a)", 0),
    ],
)
def test_what_depends_on_chance_is_skipped_and_counted(node, skipped):
    made = model(
        f"(float[4] x) => (y, z) {{ a = Relu(x) m = Sigmoid(x) r = {node} b = Add(r, a) "
        "y = Neg(b) z = Add(a, m) }"
    )
    outcome = planner.execute(made, planner.plan(made).plan)
    assert outcome.verdict is Verdict.EXACT
    assert outcome.skipped == skipped
    assert outcome.compared > 5


def test_skipped_tensors_hide_no_damage_to_others():
    made = model(
        "(float[64] x) => (y, z) { a = Relu(x) r = RandomNormalLike(a) b = Neg(r) y = Abs(b) "
        "z = Neg(a) }"
    )
    plan = plan_of(made)
    at = plan.placements[index_of(plan, "a")].offset
    outcome = planner.execute(made, with_offset(plan, "b", at))
    assert outcome.mismatch is not None
    assert outcome.mismatch.tensor == "a"
    assert "Neg" in outcome.mismatch.written_by


# What ONNX Runtime refuses


@pytest.fixture
def refused(tmp_path) -> tuple[str, str]:
    made = model("(float[4] x) => (y) { a = Relu(x) y = my.Magic(a) }")
    result = planner.plan(made, shapes={"y": "4:float32"})
    onnx.save(made, tmp_path / "m.onnx")
    plan = planner.plan(tmp_path / "m.onnx", shapes={"y": "4:float32"}).plan
    assert plan.order == result.plan.order
    write_plan(plan, tmp_path / "m.plan.json")
    return str(tmp_path / "m.plan.json"), str(tmp_path / "m.onnx")


def test_a_refused_model_is_not_executed_which_is_no_failure_unless_required(refused, capsys):
    assert main(["run", *refused]) == 0
    out = capsys.readouterr().out
    assert "not executed" in out
    assert "my:Magic" in out
    assert "legal" in out
    assert main(["run", *refused, "--require-run"]) == 5
    assert main(["run", *refused, "--json"]) == 0
    capsys.readouterr()
    assert main(["run", *refused, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "not executed"
    assert "my:Magic" in found["reason"]
    assert found["legal"] is True


def test_an_operator_set_that_the_runtime_does_not_know_is_refused_in_one_line():
    made = model("(float[4] x) => (y) { y = Abs(x) }", opset=99)
    outcome = planner.execute(made, planner.plan(made).plan)
    assert outcome.verdict is Verdict.NOT_EXECUTED
    assert "Opset 99" in outcome.reason
    assert "/onnxruntime_src" not in outcome.reason
    assert "\n" not in outcome.reason


def test_a_refusal_inside_control_flow_is_a_refusal_of_the_model():
    made = model(
        """(bool c, float[2] x) => (y) { y = If(c) <
        then_branch = t () => (float[2] p) { p = my.Magic(x) },
        else_branch = e () => (float[2] q) { q = Neg(x) }> }"""
    )
    outcome = planner.execute(made, planner.plan(made).plan)
    assert outcome.verdict is Verdict.NOT_EXECUTED
    assert "my:Magic" in outcome.reason


@pytest.mark.parametrize(
    ("element", "opset", "verdict"),
    [
        *(("bool", 21, "exact"), ("uint8", 21, "exact"), ("int64", 21, "exact")),
        *(("float16", 21, "exact"), ("bfloat16", 21, "exact"), ("double", 21, "exact")),
        *(("float8e4m3fn", 21, "exact"), ("int4", 21, "exact"), ("uint4", 21, "exact")),
        ("complex64", 21, "not executed"),
    ],
)
def test_inputs_of_every_type_are_drawn(element, opset, verdict):
    made = model(
        f"({element}[3, 5] x) => (y) {{ c = Reshape(x, s) y = Transpose(c) }}"
        if element in ("bool", "complex64")
        else f"({element}[3, 5] x) => (y) {{ c = Cast<to = 1>(x) y = Neg(c) }}",
        {"s": [5, 3]},
        opset=opset,
        ir=10,
    )
    outcome = planner.execute(made, planner.plan(made).plan)
    assert outcome.verdict.value == verdict, outcome
    assert verdict == "exact" or "type" in outcome.reason


@pytest.mark.parametrize("claimed", [1 << 45, 1 << 62, 1 << 70])
def test_an_arena_larger_than_the_machine_is_not_tried(claimed):
    made = small_model()
    plan = plan_of(made)
    huge = replace(plan, metrics=replace(plan.metrics, arena_bytes={"ram": claimed}))
    outcome = planner.execute(made, huge)
    assert outcome.verdict is Verdict.NOT_EXECUTED
    assert outcome.reason == f"this machine cannot hold {claimed:,} B of ram"


# The command line


@pytest.fixture
def saved(tmp_path) -> tuple[str, str]:
    onnx.save(small_model(), tmp_path / "m.onnx")
    write_plan(planner.plan(tmp_path / "m.onnx").plan, tmp_path / "m.plan.json")
    return str(tmp_path / "m.plan.json"), str(tmp_path / "m.onnx")


def test_the_report_of_an_exact_run(saved, capsys):
    assert main(["run", *saved]) == 0
    out = capsys.readouterr().out
    assert "verdict   exact" in out
    assert "(equal)" in out


def test_json_is_one_object(saved, capsys):
    assert main(["run", *saved, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "planner.run"
    assert found["verdict"] == "exact"
    assert found["mismatch"] is None
    assert found["measured_bytes"] == found["arena_bytes"]


def test_an_illegal_plan_goes_wrong_with_exit_code_4(saved, tmp_path, capsys):
    plan = plan_of(onnx.load(saved[1]))
    plan = replace(plan, model=planner.read_plan(saved[0]).model)
    at = plan.placements[index_of(plan, "a")].offset
    write_plan(with_offset(plan, "c", at), tmp_path / "bad.json")
    assert main(["run", str(tmp_path / "bad.json"), saved[1], "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert found["legal"] is False
    assert found["verdict"] == "mismatch"
    assert found["mismatch"]["tensor"] == "a"
    assert found["mismatch"]["addresses"] == [at, at + 16]
    assert main(["run", str(tmp_path / "bad.json"), saved[1]]) == 4
    assert "a is wrong when step 4" in capsys.readouterr().out


def test_a_plan_of_another_model_is_refused(saved, tmp_path, capsys):
    onnx.save(model("(float[4] x) => (y) { y = Relu(x) }"), tmp_path / "other.onnx")
    assert main(["run", saved[0], str(tmp_path / "other.onnx")]) == 4
    assert "the plan is for" in capsys.readouterr().err
    other = planner.plan(model("(float[4] x) => (y) { y = Relu(x) }")).plan
    with pytest.raises(InvalidPlanError, match="storages"):
        planner.execute(small_model(), replace(other, model=plan_of(small_model()).model))


def write_archive(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), a=np.ones(4))
    path.with_suffix(".npz").rename(path)


def write_promise(path: Path) -> None:
    """A header that announces 4 TiB, and nothing behind it."""
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"
    path.write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.ljust(117).encode() + b"\n")


@pytest.mark.parametrize(
    ("make", "exit_code", "said"),
    [
        (lambda p: np.save(p, np.ones(4, np.float32)), 0, ""),
        (lambda p: np.save(p, np.ones(5, np.float32)), 2, "5 float32, the plan expects 4 float32"),
        (lambda p: np.save(p, np.ones(4)), 2, "4 float64, the plan expects 4 float32"),
        (lambda p: np.save(p, np.array(1, np.float32)), 2, "scalar float32"),
        (lambda p: np.save(p, np.array([{}], object), allow_pickle=True), 6, "no array of numbers"),
        (lambda p: p.write_bytes(b"\x80\x04N."), 6, "no array of numbers"),
        (lambda p: p.write_bytes(b""), 6, "no array of numbers"),
        (
            lambda p: (np.save(p, np.ones(4, np.float32)), p.write_bytes(p.read_bytes()[:-3])),
            6,
            "no array of numbers",
        ),
        (write_archive, 6, "archive"),
        (lambda p: None, 6, "No such file"),
        (lambda p: p.mkdir(), 6, "is a directory"),
        (os.mkfifo, 6, "not a regular file"),
        (write_promise, 6, "no array of numbers"),
    ],
)
def test_given_inputs_are_used_or_refused(saved, tmp_path, capsys, make, exit_code, said):
    path = tmp_path / "x.npy"
    make(path)
    assert main(["run", *saved, "--input", f"x={path}"]) == exit_code
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err


def test_wrong_names_of_inputs_are_refused(saved, tmp_path, capsys):
    path = tmp_path / "x.npy"
    np.save(path, np.ones(4, np.float32))
    assert main(["run", *saved, "--input", f"z={path}"]) == 2
    assert "no input 'z'. There are: x." in capsys.readouterr().err
    assert main(["run", *saved, "--input", str(path)]) == 2
    assert main(["run", *saved, "--input", f"x={path}", "--input", f"x={path}"]) == 2
    assert "given twice" in capsys.readouterr().err
    assert main(["run", *saved, "--seed", "-1"]) == 2


def test_given_values_decide_the_run():
    made = model("(int64[2] i, float[3, 4] x) => (y) { y = Gather(x, i) }")
    plan = planner.plan(made).plan
    require_proof("drawn", planner.execute(made, plan))
    require_proof("given", planner.execute(made, plan, inputs={"i": np.array([2, 0])}))
    outcome = planner.execute(made, plan, inputs={"i": np.array([3, 0])})
    assert outcome.verdict is Verdict.NOT_EXECUTED
    assert "3" in outcome.reason
    with pytest.raises(UsageError, match="expects 2 int64"):
        planner.execute(made, plan, inputs={"i": np.array([2, 0], np.int32)})


def test_without_onnx_runtime_the_package_to_install_is_named(saved, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["run", *saved]) == 2
    assert "pip install 'tensor-planner[run]'" in capsys.readouterr().err


_INTERRUPT = """
import os, signal, sys
from planner.execution import executor, whole_model
from planner.cli.main import main

def interrupted(original, is_due):
    def call(*arguments):
        if is_due(*arguments):
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)
    return call

if sys.argv[1] == "step":
    run = executor._Executor._run
    executor._Executor._run = interrupted(run, lambda self, run: run.step == 5)
else:
    whole_model.run_session = interrupted(whole_model.run_session, lambda *_: True)
sys.exit(main(["run", *sys.argv[2:]]))
"""


@pytest.mark.parametrize("when", ["step", "reference"])
def test_an_interrupt_ends_the_run_with_exit_code_130(tmp_path, when):
    onnx.save(zoo.build("unet", image=64, channels=8), tmp_path / "m.onnx")
    write_plan(planner.plan(tmp_path / "m.onnx").plan, tmp_path / "p.json")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _INTERRUPT,
            when,
            str(tmp_path / "p.json"),
            str(tmp_path / "m.onnx"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(planner.__file__).parents[1],
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "interrupted" in done.stderr
    assert done.stdout == ""
