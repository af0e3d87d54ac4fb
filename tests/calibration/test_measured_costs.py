"""Measured times on a target: which layer answers, files, plans, and the checker."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import plan as plan_model
from planner.checker import check
from planner.cost import operator_cost
from planner.errors import BadFileError
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.measured import CostLayer, MeasuredCosts, OperatorFit, cost_layers, measured_for
from planner.plan_file import plan_from_json, plan_to_json
from planner.report.text import render_text
from planner.simulator import latency_lower_bound, simulate
from planner.target import Compute, Link, Memory, Target
from planner.target_file import read_target, target_names
from planner.target_toml import target_to_toml

RELU = "Relu float32 25 -> 25"
MEASURED = MeasuredCosts(
    "by hand",
    {RELU: 0.25, "Never float32 1 -> 1": 9.0},
    {
        "Relu": OperatorFit(77.0),
        "Exp": OperatorFit(0.5, vector_rate=50.0, bandwidth=100.0),
        "Never": OperatorFit(9.0),
    },
)
TARGET = Target(
    "toy",
    (Memory("ram", None, 64, 100.0, 100.0),),
    compute=Compute({"default": 1000.0}, 500.0, 0.125, MEASURED),
)


def chain() -> Graph:
    """Relu (in the table), Exp (a fit), Neg (neither), Reshape (a view)."""
    storages = (
        Storage("x", 100, StorageKind.INPUT),
        *(Storage(name, 100) for name in ("a", "b")),
        Storage("c", 100, is_output=True),
    )
    tensors = (
        *(Tensor(name, (25,), "float32", i, 0, 100) for i, name in enumerate("xabc")),
        Tensor("v", (5, 5), "float32", 3, 0, 100),
    )
    operators = (
        Operator("relu", "Relu", (0,), (1,), vector_ops=25),
        Operator("exp", "Exp", (1,), (2,), vector_ops=100),
        Operator("neg", "Neg", (2,), (3,), vector_ops=25),
        Operator("view", "Reshape", (3,), (4,)),
    )
    return Graph(ModelReference("chain"), operators, tensors, storages)


def test_table_goes_before_fit_and_fit_before_roofline():
    graph = chain()
    seconds = [operator_cost(graph, TARGET, operator).seconds for operator in range(4)]
    assert seconds == [0.25, 0.5 + 100 / 50 + 200 / 100, 100 / 100 + 100 / 100 + 0.125, 0.0]
    assert cost_layers(graph, TARGET) == {
        CostLayer.MEASURED: 1,
        CostLayer.FITTED: 1,
        CostLayer.ROOFLINE: 1,
    }


def test_parts_of_the_roofline_are_told_beside_a_measured_time():
    assert operator_cost(chain(), TARGET, 0) == (0.25, 25 / 500, 2.0)


def test_measured_times_say_nothing_where_operands_may_lie_elsewhere():
    far = Memory("far", None, 1, 10.0, 10.0)
    links = (Link("ram", "far", 1.0), Link("far", "ram", 1.0))
    either = replace(TARGET, memories=(*TARGET.memories, far), links=links, operands_resident=False)
    graph = chain()
    assert operator_cost(graph, either, 0).seconds == 2.0 + 0.125
    assert set(cost_layers(graph, either)) == {CostLayer.ROOFLINE}


def test_a_plan_holds_the_entries_of_its_own_operators_alone():
    result = plan_model(chain(), target=TARGET, objective="latency")
    compute = result.plan.target.compute
    assert compute is not None
    assert compute.measured is not None
    assert set(compute.measured.seconds) == {RELU}
    assert set(compute.measured.fits) == {"Exp"}
    restricted = measured_for(result.graph, TARGET)
    assert restricted == result.plan.target
    assert measured_for(result.graph, restricted) == restricted


def test_plan_and_bound_and_simulation_agree_on_measured_times():
    result = plan_model(chain(), target=TARGET, objective="latency")
    plan, metrics = result.plan, result.plan.metrics
    assert metrics.cost_source == "measured"
    assert metrics.latency_s == pytest.approx(0.25 + 4.5 + 2.125)
    assert metrics.latency_s == pytest.approx(latency_lower_bound(result.graph, TARGET))
    assert simulate(result.graph, TARGET, plan).latency_s == metrics.latency_s
    assert "costs     measured 1, fitted 1, roofline 1 operators" in render_text(result)


def test_plan_file_keeps_measured_times_and_follows_the_schema():
    result = plan_model(chain(), target=TARGET, objective="latency")
    text = plan_to_json(result.plan)
    schema = json.loads(files("planner").joinpath("schema/plan.schema.json").read_text())
    jsonschema.validate(json.loads(text), schema)
    assert json.loads(text)["version"] == 2
    read = plan_from_json(text)
    assert read.target == result.plan.target
    assert check(result.graph, read.target, read) == []


def test_checker_repeats_measured_times():
    result = plan_model(chain(), target=TARGET, objective="latency")
    metrics = replace(result.plan.metrics, latency_s=1.0, compute_s=1.0, latency_lower_bound_s=None)
    violations = check(result.graph, result.plan.target, replace(result.plan, metrics=metrics))
    assert any("latency_s" in violation.message for violation in violations)


def test_roofline_stays_the_source_where_the_table_knows_nothing():
    bare = replace(TARGET, compute=replace(TARGET.compute, measured=MeasuredCosts("empty")))
    assert plan_model(chain(), target=bare).plan.metrics.cost_source == "roofline"


@pytest.mark.parametrize("name", [name for name, _ in target_names()])
def test_shipped_targets_survive_being_written(name, tmp_path):
    target = read_target(name)
    path = tmp_path / "again.toml"
    path.write_text(target_to_toml(target), encoding="utf-8")
    assert read_target(path) == target


KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
TIMES = st.floats(0, 1e6, allow_subnormal=False)
RATES = st.none() | st.floats(1e-3, 1e15)
FITS = st.builds(OperatorFit, TIMES, RATES, RATES, RATES)


@settings(max_examples=100, deadline=None)
@given(
    st.builds(
        MeasuredCosts,
        st.sampled_from(["", 'a "quoted" \\ source µs']),
        st.dictionaries(KEYS, TIMES, max_size=5),
        st.dictionaries(KEYS, FITS, max_size=3),
    )
)
def test_any_table_survives_being_written(tmp_path_factory, measured):
    target = replace(TARGET, compute=replace(TARGET.compute, measured=measured))
    path = tmp_path_factory.mktemp("written") / "t.toml"
    path.write_text(target_to_toml(target), encoding="utf-8", newline="")
    assert read_target(path) == target


FILE = target_to_toml(TARGET)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("operands_resident = true", "operands_resident = false", "compute.measured: times of op"),
        (" = 0.25", ' = "soon"', "compute.measured.seconds.Relu float32 25 -> 25: 'soon' is not"),
        (" = 0.25", " = -1", "must be finite and zero or positive"),
        (" = 0.25", " = inf", "must be finite"),
        ("vector_rate = 50.0", "vector_rate = 0", "compute.measured.fits.Exp.vector_rate"),
        ("vector_rate = 50.0", "vector_speed = 1", "vector_speed: unknown field"),
        ('source = "by hand"', "source = 3", "compute.measured.source"),
        ("[compute.measured.seconds]", "[compute.measured.second]", "unknown field"),
    ],
)
def test_wrong_tables_are_refused_by_name(old, new, message, tmp_path):
    assert old in FILE
    path = tmp_path / "bad.toml"
    path.write_text(FILE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadFileError, match=message):
        read_target(path)
