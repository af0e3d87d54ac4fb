"""Constants as parameters: fetched where they are used, part of the arena, and free to leave."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

import planner
from frontends import zoo
from planner.cli.main import main
from planner.errors import DoesNotFitError, UsageError
from planner.footprint import largest_footprint
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.parameters import with_parameters
from planner.plans import TransferKind
from planner.problem import Status
from planner.target import Link, Memory, Target
from planner.testing import assert_legal, random_graph

MODELS = Path(__file__).parent.parent / "examples" / "models"
RESNET8 = str(MODELS / "resnet8.onnx")
PLAN_SCHEMA = json.loads(files("planner").joinpath("schema", "plan.schema.json").read_text())


def machine(capacity: int, far: int | None = None) -> Target:
    return Target(
        "small",
        (Memory("near", capacity), Memory("far", far)),
        (Link("near", "far", 1e6), Link("far", "near", 1e6)),
        io_memory="far",
        constant_memory="far",
    )


def chain(weights: dict[str, int], uses: list[list[str]], size: int = 10) -> Graph:
    """A chain of operators on tensors of one size; operator i uses the weights ``uses[i]``."""
    storages = [Storage("x", size, StorageKind.INPUT)]
    storages += [Storage(name, s, StorageKind.CONSTANT) for name, s in weights.items()]
    index = {name: i + 1 for i, name in enumerate(weights)}
    operators, last = [], 0
    for step, used in enumerate(uses):
        storages.append(Storage(f"t{step}", size, is_output=step == len(uses) - 1))
        inputs = (last, *(index[name] for name in used))
        last = len(storages) - 1
        operators.append(Operator(f"o{step}", "Conv", inputs, (last,)))
    tensors = [
        Tensor(s.name, (s.size_bytes,), "int8", i, 0, s.size_bytes) for i, s in enumerate(storages)
    ]
    return Graph(ModelReference("chain"), tuple(operators), tuple(tensors), tuple(storages))


def test_constants_become_inputs_and_count_once() -> None:
    graph = chain({"w": 7, "empty": 0}, [["w", "empty"], []])
    moved = with_parameters(graph)
    assert [s.kind.value for s in moved.storages[:3]] == ["input", "input", "constant"]
    assert (graph.constant_bytes, moved.constant_bytes) == (7, 0)
    assert moved.activation_bytes == graph.activation_bytes + 7
    assert moved.model.parameters and not graph.model.parameters
    assert "1 constants of 7 bytes" in moved.notes[-1]
    assert with_parameters(moved) is moved


def test_the_footprint_of_an_operator_includes_its_weights() -> None:
    graph = chain({"w": 7, "v": 30}, [["w"], ["v", "w"], []])
    assert largest_footprint(graph, in_place=False).size_bytes == 20
    largest = largest_footprint(with_parameters(graph), in_place=False)
    assert (largest.operator, largest.size_bytes) == (1, 57)
    with pytest.raises(DoesNotFitError, match="operator 1 o1"):
        planner.plan(graph, target=machine(56), parameters=True)
    assert planner.plan(graph, target=machine(57), parameters=True).status is Status.OPTIMAL


def test_the_first_fetch_is_free_and_coming_back_is_a_read_without_a_write() -> None:
    """``w`` is used first and last; the operator between leaves no room for it."""
    graph = chain({"w": 30, "v": 30}, [["w"], ["v"], ["w"]])
    result = planner.plan(graph, target=machine(50), parameters=True, in_place=False)
    plan = result.plan
    assert_legal(result.graph, plan.target, plan)
    assert plan.metrics.traffic_bytes == 30
    assert plan.metrics.compulsory_bytes == 10 + 30 + 30 + 10
    kinds = [t.kind for t in plan.transfers if t.storage == 1]
    assert kinds == [TransferKind.FETCH, TransferKind.RELOAD]
    roomy = planner.plan(graph, target=machine(80), parameters=True, in_place=False)
    assert roomy.plan.metrics.traffic_bytes == 0 and roomy.status is Status.OPTIMAL


def test_a_weight_of_one_operator_is_there_only_while_it_runs() -> None:
    """Twenty weights, each used once: the arena holds one at a time."""
    names = [f"w{i}" for i in range(20)]
    graph = chain(dict.fromkeys(names, 100), [[name] for name in names])
    result = planner.plan(graph, target=machine(120), parameters=True)
    assert result.status is Status.OPTIMAL
    assert result.plan.metrics.traffic_bytes == 0
    assert result.plan.metrics.arena_bytes["near"] == 120


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_have_legal_plans_with_parameters(seed: int) -> None:
    graph = with_parameters(random_graph(seed, 10))
    least = largest_footprint(graph, in_place=True).size_bytes
    for capacity in (least, least + least // 4, 1 << 20):
        try:
            result = planner.plan(graph, target=machine(capacity), time_limit=10)
        except DoesNotFitError as error:
            assert not error.proven
            continue
        assert_legal(graph, result.plan.target, result.plan)
        bound = result.plan.metrics.traffic_lower_bound_bytes
        assert bound is not None and bound <= result.plan.metrics.traffic_bytes


def test_a_target_that_takes_inputs_in_the_nearest_memory_is_refused() -> None:
    graph = chain({"w": 7}, [["w"]])
    for call in (planner.plan, planner.sweep):
        more = {"capacities": [100]} if call is planner.sweep else {}
        with pytest.raises(UsageError, match="io_memory"):
            call(graph, target="host", parameters=True, **more)  # type: ignore[operator]


def test_farther_memory_too_small_for_the_parameters_is_named() -> None:
    graph = chain({"w": 500}, [["w"]])
    with pytest.raises(DoesNotFitError, match="far"):
        planner.plan(graph, target=machine(600, far=100), parameters=True)


def test_the_plan_file_says_so_only_where_it_is_so_and_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, flag, code in (("with", ["--parameters"], 0), ("without", [], 0)):
        assert main([RESNET8, "-t", "npu-1m", "-q", "-o", str(tmp_path / folder), *flag]) == code
        path = tmp_path / folder / "resnet8.plan.json"
        document = json.loads(path.read_text())
        jsonschema.validate(document, PLAN_SCHEMA)
        assert ("parameters" in document["model"]) == bool(flag)
        assert planner.read_plan(path).model.parameters == bool(flag)
        assert main(["check", str(path), RESNET8]) == 0
        document["model"].pop("parameters", None)
        document["model"] |= {} if flag else {"parameters": True}
        path.write_text(json.dumps(document))
        assert main(["check", str(path), RESNET8]) == 4
        document["model"]["parameters"] = 1
        path.write_text(json.dumps(document))
        assert main(["check", str(path), RESNET8]) == 6
    assert "differs from the model in kind" in capsys.readouterr().out


def test_a_real_network_is_swept_with_its_weights() -> None:
    graph = planner.load(zoo.build("resnet8"), parameters=True)
    plain = planner.load(zoo.build("resnet8"))
    result = planner.sweep(graph, target="npu-1m", capacities=(64 * 1024, 1 << 20))
    assert result.graph.model.parameters and result.to_json()["parameters"] is True
    plain_result = planner.sweep(plain, target="npu-1m", capacities=(64 * 1024, 1 << 20))
    assert result.footprint_capacity_bytes is not None and result.zero_traffic_bytes is not None
    assert result.footprint_capacity_bytes > (plain_result.footprint_capacity_bytes or 0)
    assert result.zero_traffic_bytes > (plain_result.zero_traffic_bytes or 0)
    for point in result.points:
        if point.plan is not None:
            assert_legal(graph, point.plan.target, point.plan)


def test_a_constant_that_is_a_result_may_move() -> None:
    graph = chain({"w": 7}, [["w"], []])
    storages = tuple(replace(s, is_output=s.is_output or s.name == "w") for s in graph.storages)
    moved = with_parameters(replace(graph, storages=storages))
    result = planner.plan(moved, target=machine(100))
    assert_legal(moved, result.plan.target, result.plan)
