"""Plans with operators that do without a copy: what they record, report and prove."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

import planner
from frontends.onnx.executable import load_executable
from planner.cli.check import load_planned_model
from planner.cli.main import main
from planner.errors import BadFileError, DoesNotFitError
from planner.problem import Status
from planner.report.text import render_text
from planner.target import Link, Memory, Target
from planner.testing import assert_legal

from .chopped_models import dense_block, early_part, late_join

SCHEMA = Path(planner.__file__).parent / "schema" / "plan.schema.json"


def _target(capacity: int | None, *, spills: bool = True) -> Target:
    memories = (Memory("ram", capacity, alignment_bytes=16), Memory("far", 1 << 30))
    if not spills:
        return Target("one", memories[:1])
    links = (Link("ram", "far", 1e9), Link("far", "ram", 1e9))
    return Target("two", memories, links, io_memory="far")


@pytest.fixture
def late(tmp_path):
    path = tmp_path / "late.onnx"
    onnx.save(late_join(), path)
    return path


def _solved(path: Path, capsys, *arguments: str) -> str:
    assert main(["solve", str(path), "--zero-copy", "-q", "-o", str(path.parent), *arguments]) == 0
    return capsys.readouterr().out


def test_a_plan_names_the_operators_that_share_and_is_checked_as_planned(late, capsys):
    printed = _solved(late, capsys)
    assert "zero copy 2 of 2 operators, 512 bytes not copied   no other choice" in printed
    plan_path = late.with_name("late.plan.json")
    document = json.loads(plan_path.read_text())
    assert document["version"] == 1
    assert document["model"]["zero_copy"] == ["joined", "p"]
    plan = planner.read_plan(plan_path)
    assert plan.model.zero_copy == ("joined", "p")
    assert load_planned_model(str(late), plan).model == plan.model
    assert main(["check", str(plan_path), str(late)]) == 0


def test_a_plan_that_names_other_operators_is_illegal(late, capsys):
    _solved(late, capsys)
    plan_path = late.with_name("late.plan.json")
    document = json.loads(plan_path.read_text())
    for zero_copy in (False, ["p"]):
        document["model"]["zero_copy"] = zero_copy
        plan_path.write_text(json.dumps(document))
        assert main(["check", str(plan_path), str(late)]) == 4
    document["model"]["zero_copy"] = ["joint", "p"]
    plan_path.write_text(json.dumps(document))
    assert main(["check", str(plan_path), str(late)]) == 2
    assert "Did you mean joined?" in capsys.readouterr().err


@pytest.mark.parametrize("zero_copy", ["joined", 1, None, [], ["a", "a"], [1]])
def test_a_malformed_choice_is_refused_by_reader_and_schema(late, capsys, zero_copy):
    jsonschema = pytest.importorskip("jsonschema")
    _solved(late, capsys)
    plan_path = late.with_name("late.plan.json")
    document = json.loads(plan_path.read_text())
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(document, schema)
    document["model"]["zero_copy"] = zero_copy
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)
    plan_path.write_text(json.dumps(document))
    with pytest.raises(BadFileError, match="zero_copy"):
        planner.read_plan(plan_path)


def test_plans_of_earlier_versions_are_read_and_checked(tmp_path):
    """They say true, which stood for every operator, adjacent operands of a Concat not seen."""
    path = tmp_path / "dense.onnx"
    onnx.save(dense_block(layers=4, rows=3), path)
    graph = planner.load(path, zero_copy=True)
    plan = planner.plan(graph, target=_target(None)).plan
    assert plan.model.zero_copy is True
    plan_path = tmp_path / "dense.plan.json"
    planner.write_plan(plan, plan_path)
    assert json.loads(plan_path.read_text())["model"]["zero_copy"] is True
    again = planner.read_plan(plan_path)
    assert planner.check(load_planned_model(str(path), again), again.target, again) == []
    assert main(["check", str(plan_path), str(path)]) == 0


def test_no_operators_that_share_are_false_in_the_plan():
    result = planner.plan(early_part(), target=_target(None), zero_copy=True)
    assert result.plan.model.zero_copy is False
    assert result.zero_copy is not None
    assert (result.zero_copy.operators, result.zero_copy.candidates) == ((), 1)
    assert "zero copy 0 of 1 operators, 0 bytes not copied" in render_text(result)
    assert result.plan == planner.plan(early_part(), target=_target(None)).plan or (
        result.plan.metrics == planner.plan(early_part(), target=_target(None)).plan.metrics
    )


def test_exactly_the_operators_that_are_named_share():
    result = planner.plan(early_part(), target=_target(None), zero_copy=["joined"])
    assert result.plan.model.zero_copy == ("joined",)
    copying = planner.plan(early_part(), target=_target(None))
    near = "ram"
    assert result.plan.metrics.peak_bytes[near] > copying.plan.metrics.peak_bytes[near]
    assert copying.zero_copy is None
    assert result.to_json()["zero_copy"]["operators"] == ["joined"]
    assert copying.to_json()["zero_copy"] is None


def test_optimal_is_said_of_the_choice_and_the_bound_of_all_choices_beside_it():
    result = planner.plan(late_join(), target=_target(None), zero_copy=True)
    sharing = result.zero_copy
    assert result.status is Status.OPTIMAL and sharing is not None
    assert sharing.peak_bound_bytes == result.plan.metrics.peak_bytes["ram"]
    higher = replace(result, zero_copy=sharing._replace(peak_bound_bytes=16))
    assert "peak of any choice at least 16" in render_text(higher)


def test_a_memory_too_small_for_copies_is_enough_without():
    copying = planner.plan(late_join(), target=_target(None)).plan.metrics.peak_bytes["ram"]
    target = _target(copying - 64, spills=False)
    with pytest.raises(DoesNotFitError):
        planner.plan(late_join(), target=target)
    result = planner.plan(late_join(), target=target, zero_copy=True)
    assert result.zero_copy is not None and len(result.zero_copy.operators) == 2
    assert_legal(result.graph, target, result.plan)


def test_what_does_not_fit_under_any_choice_is_refused():
    with pytest.raises(DoesNotFitError):
        planner.plan(late_join(), target=_target(64, spills=False), zero_copy=True)


def test_where_memory_is_limited_sharing_saves_traffic():
    target = _target(512)
    copying = planner.plan(late_join(), target=target, objective="traffic")
    result = planner.plan(late_join(), target=target, objective="traffic", zero_copy=True)
    assert result.plan.metrics.traffic_bytes <= copying.plan.metrics.traffic_bytes
    assert_legal(result.graph, target, result.plan)


def test_a_sweep_decides_once_and_says_so():
    result = planner.sweep(
        late_join(), target=_target(1024), capacities=[512, 1024], zero_copy=True, time_limit=20
    )
    assert any("2 of 2 operators" in note for note in result.notes)
    assert result.points[0].traffic_bytes is not None


def test_the_lowering_that_is_executed_is_the_one_that_was_planned():
    plan = planner.plan(late_join(), target=_target(None), zero_copy=True).plan
    executable = load_executable(
        late_join(),
        zero_copy=plan.model.zero_copy,
        alignment_bytes=plan.target.nearest.alignment_bytes,
    )
    assert executable.graph.model == plan.model
    assert planner.check(executable.graph, plan.target, plan) == []
