"""Damaged plans, odd models and interruptions: each ends in a message that says what is wrong."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import planner
from planner.cli.main import main
from planner.execution import memory
from planner.execution.result import Verdict
from planner.interruption import listening_for_ctrl_c

from ..onnx.storage_models import model  # noqa: TID252
from .executable_plans import require_proof

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from planner.plans import Plan


def chain() -> onnx.ModelProto:
    return model(
        "(float[64] x) => (y) { a = Neg(x) b = Exp(a) c = Abs(b) d = Add(c, b) y = Add(d, a) }"
    )


@pytest.fixture
def tight() -> tuple[onnx.ModelProto, Plan]:
    """A model and a plan in which a storage is spilled and reloaded."""
    made = chain()
    plan = planner.plan(made, target="npu-1m", memory={"sram": 768}, in_place=False).plan
    assert {"spill", "reload"} <= {str(t.kind) for t in plan.transfers}
    return made, plan


# Messages


def test_a_reload_of_nothing_names_the_boundary_at_which_it_wrote(tight):
    made, plan = tight
    spill = next(t for t in plan.transfers if t.kind == "spill")
    reload = next(t for t in plan.transfers if t.kind == "reload")
    kept = tuple(t for t in plan.transfers if t is not spill)
    outcome = planner.execute(made, replace(plan, transfers=kept))
    assert outcome.mismatch is not None
    name = plan.storages[spill.storage].name
    assert outcome.mismatch.written_by == f"reload of {name} at boundary {reload.start}"


def test_bytes_poisoned_by_the_release_of_another_storage_name_it():
    made = chain()
    plan = planner.plan(made, in_place=False, solvers=["greedy"]).plan
    names = [storage.name for storage in plan.storages]
    at = next(p.offset for p in plan.placements if names[p.storage] == "x")
    moved = tuple(p._replace(offset=at) if names[p.storage] == "a" else p for p in plan.placements)
    outcome = planner.execute(made, replace(plan, placements=moved))
    assert outcome.mismatch is not None
    assert outcome.mismatch.tensor == "a"
    assert outcome.mismatch.written_by.endswith(": a), since released with x")


# Memory


def test_arenas_larger_than_free_memory_are_not_even_begun(monkeypatch):
    made = chain()
    plan = planner.plan(made).plan
    monkeypatch.setattr(memory, "free_bytes", lambda: plan.metrics.arena_bytes["ram"] - 1)
    outcome = planner.execute(made, plan)
    assert outcome.verdict is Verdict.NOT_EXECUTED
    assert outcome.reason.startswith("this machine cannot hold ")


# Models


def test_weights_that_operators_and_constants_read_are_fetched_and_known():
    """With parameters in the arena, what is computed from them alone still is a constant."""
    made = model(
        "(float[2, 2] x) => (y) { t = Transpose(w) h = MatMul(x, w) y = MatMul(h, t) }",
        {"w": np.arange(4.0).reshape(2, 2)},
    )
    plan = planner.plan(made, target="npu-1m", parameters=True).plan
    require_proof("parameters", planner.execute(made, plan))


def sparse_model(at: Any) -> onnx.ModelProto:
    made = model("(float[2, 4] x) => (y) { y = MatMul(x, w) }", {"w": np.zeros((4, 4))})
    del made.graph.initializer[:]
    made.graph.sparse_initializer.append(
        helper.make_sparse_tensor(
            numpy_helper.from_array(np.array([1.5, -2.0], np.float32), "w"),
            numpy_helper.from_array(np.array(at, np.int64), "at"),
            [4, 4],
        )
    )
    return made


@pytest.mark.parametrize("at", [[1, 6], [[0, 1], [1, 2]]])
def test_sparse_initializers_are_executed_as_dense_ones(at):
    made = sparse_model(at)
    require_proof("sparse", planner.execute(made, planner.plan(made).plan))


@pytest.mark.parametrize("at", [[1, 600], [-1, 2], [1], [[0], [1]]])
def test_malformed_sparse_initializers_are_refused(at):
    made = sparse_model(at)
    with pytest.raises(planner.BadFileError, match='"w" is malformed'):
        planner.execute(made, planner.plan(made).plan)


def test_a_refused_node_without_a_name_is_named_after_its_result():
    made = model("(double[4] x) => (y) { a = Neg(x) y = Erf(a) }")
    outcome = planner.execute(made, planner.plan(made).plan)
    assert outcome.verdict is Verdict.NOT_EXECUTED
    assert "Erf" in outcome.reason and "'y'" in outcome.reason


# The command line


def refuse_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


def test_a_missing_runtime_is_said(tmp_path, monkeypatch, capsys):
    onnx.save(chain(), tmp_path / "m.onnx")
    assert main([str(tmp_path / "m.onnx"), "-o", str(tmp_path), "-q"]) == 0
    refuse_to_import(monkeypatch)
    assert main(["run", str(tmp_path / "m.plan.json"), str(tmp_path / "m.onnx")]) == 2
    assert "pip install 'tensor-planner[run]'" in capsys.readouterr().err


def test_ctrl_c_while_the_runtime_is_imported_is_no_missing_runtime(monkeypatch):
    """Extension modules turn KeyboardInterrupt into ImportError."""
    from planner.execution.sessions import runtime

    refuse_to_import(monkeypatch)
    with listening_for_ctrl_c() as ctrl_c:
        ctrl_c.hear()
        with pytest.raises(KeyboardInterrupt):
            runtime()


@pytest.mark.parametrize("verb", ["hydrate", "strip"])
def test_an_empty_name_of_an_output_is_a_usage_error(tmp_path, capsys, verb):
    onnx.save(chain(), tmp_path / "m.onnx")
    assert main([verb, str(tmp_path / "m.onnx"), "-o", ""]) == 2
    assert "give the name of the file" in capsys.readouterr().err


def repeat_an_operator(plan: dict[str, Any]) -> None:
    plan["order"][1] = plan["order"][0]


def leave_an_operator_out(plan: dict[str, Any]) -> None:
    del plan["order"][1]


def place_after_the_end(plan: dict[str, Any]) -> None:
    plan["placements"][1]["end"] = 1 << 50


def place_before_the_beginning(plan: dict[str, Any]) -> None:
    plan["placements"][1]["start"] = -3


def place_nowhere(plan: dict[str, Any]) -> None:
    plan["placements"][1]["memory"] = "cellar"


def copy_after_the_end(plan: dict[str, Any]) -> None:
    plan["transfers"][0]["end"] = 1 << 50


@pytest.mark.parametrize("to", ["minimalloc", "perfetto"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (repeat_an_operator, "does not run every operator once"),
        (leave_an_operator_out, "does not run every operator once"),
        (place_after_the_end, "placements[1] of the plan is from"),
        (place_before_the_beginning, "placements[1] of the plan is from -3"),
        (place_nowhere, 'no memory "cellar"'),
        (copy_after_the_end, "transfers[0] of the plan is from"),
    ],
)
def test_a_damaged_plan_without_its_model_is_not_exported(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tight: tuple[onnx.ModelProto, Plan],
    to: str,
    damage: Callable[[dict[str, Any]], None],
    said: str,
):
    path = tmp_path / "m.plan.json"
    planner.write_plan(tight[1], path)
    table = json.loads(path.read_text())
    damage(table)
    path.write_text(json.dumps(table))
    output = tmp_path / "out"
    assert main(["export", str(path), "--to", to, "-o", str(output)]) == 4
    assert said in capsys.readouterr().err
    assert not os.path.exists(output)


# Arguments


def test_a_result_or_a_graph_in_place_of_plan_and_model_is_named():
    made = chain()
    result = planner.plan(made)
    with pytest.raises(planner.UsageError, match=r"Give result\.plan"):
        planner.execute(made, result)  # pyright: ignore[reportArgumentType]
    with pytest.raises(planner.UsageError, match="has no operators to run"):
        planner.execute(result.graph, result.plan)


def test_a_placement_before_the_first_step_is_not_explained(tmp_path, capsys):
    made = chain()
    path = tmp_path / "plan.json"
    planner.write_plan(planner.plan(made).plan, path)
    content = json.loads(path.read_text())
    content["placements"][0]["start"] = -5
    path.write_text(json.dumps(content))
    assert main(["explain", str(path)]) == planner.InvalidPlanError.exit_code
    assert "steps are counted from 0" in capsys.readouterr().err


def test_the_c_export_does_not_take_a_device_for_a_name(tmp_path, capsys):
    made = chain()
    model, path = tmp_path / "chain.onnx", tmp_path / "plan.json"
    onnx.save(made, model)
    planner.write_plan(planner.plan(model).plan, path)
    arguments = ["export", str(path), str(model), "--to", "c", "-o", os.devnull]
    assert main(arguments) == planner.BadFileError.exit_code
    assert "not a regular file" in capsys.readouterr().err
