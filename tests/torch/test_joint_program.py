"""Joint graphs of real models as training problems, and as graphs for every verb."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

import planner
from frontends.torch.workspaces import workspace_bytes
from planner.graph import StorageKind
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps

from .joint_graphs import joint_graph, model_graph

MODELS = ("mlp", "gpt2", "llama", "bert", "resnet")


@pytest.fixture(scope="module", params=MODELS)
def program(request):
    return model_graph(request.param).program()


def test_every_real_model_becomes_a_training_problem(program):
    problem = program.problem
    assert len(program.nodes) == len(problem.operator_names)
    assert len(program.values) == len(problem.storage_names)
    everything = just_in_time(problem, problem.boundary.tolist())
    nothing = just_in_time(problem, ())
    assert recompute_ps(problem, everything) == 0
    assert recompute_ps(problem, nothing) > 0
    assert memory_profile(problem, everything).peak_bytes > 0


def test_indices_ascend_in_an_order_in_which_the_step_can_run(program):
    problem = program.problem
    known = set(problem.tangents.tolist())
    for operator in range(len(program.nodes)):
        assert known.issuperset(problem.reads.row(operator).tolist())
        known.update(problem.writes.row(operator).tolist())
    assert len(known) == len(program.values)


def test_storages_are_those_of_the_trace_and_views_are_no_operators(program):
    fresh = {}
    for node in program.module.graph.nodes:
        value = node.meta.get("val")
        for tensor in value if isinstance(value, (tuple, list)) else [value]:
            if isinstance(tensor, torch.Tensor) and node.op == "call_function":
                storage = tensor.untyped_storage()
                fresh[storage._cdata] = storage.nbytes()
    for node in program.module.graph.find_nodes(op="placeholder"):
        fresh.pop(node.meta["val"].untyped_storage()._cdata, None)
    problem = program.problem
    assert (
        sum(fresh.values()) == problem.size_bytes.sum() - problem.size_bytes[problem.tangents].sum()
    )


def test_the_value_of_a_storage_covers_it(program):
    for storage, node in enumerate(program.values):
        value = node.meta["val"]
        if isinstance(value, torch.Tensor):
            assert value.untyped_storage().nbytes() == program.problem.size_bytes[storage]
        else:
            assert storage not in program.problem.boundary


def test_static_bytes_are_those_of_parameters_buffers_and_inputs(program):
    statics = {
        node.meta["val"].untyped_storage()._cdata: node.meta["val"].untyped_storage().nbytes()
        for node in program.module.graph.find_nodes(op="placeholder")
        if "tangents" not in node.target
    }
    assert program.problem.static_bytes == sum(statics.values())


def test_nothing_of_a_training_step_is_folded():
    graph = model_graph("gpt2").program().graph
    types = {operator.type for operator in graph.operators}
    assert {"aten.ones", "aten.arange", "aten.t"} <= types
    assert not graph.notes


def test_the_traced_module_stays_as_it_was():
    caught = model_graph("gpt2")
    before = str(caught.module.graph)
    assert len(caught.program().module.graph.nodes) < len(caught.module.graph.nodes)
    assert str(caught.module.graph) == before


def test_every_verb_takes_a_joint_graph():
    module = model_graph("mlp").module
    graph = planner.load(module)
    assert {operator.phase for operator in graph.operators} == {"forward", "backward"}
    parameters = [s for s in graph.storages if s.kind is StorageKind.CONSTANT]
    assert len(parameters) == 26
    result = planner.plan(module, target="cpu-core", time_limit=5)
    target = planner.read_target("cpu-core")
    assert not planner.check(graph, target, result.plan)
    assert planner.simulate(graph, target, result.plan).latency_s > 0


def test_scratch_is_counted_only_if_asked_for():
    caught = model_graph("resnet")
    assert not caught.program().problem.workspace_bytes.any()
    program = caught.program(workspaces=workspace_bytes)
    assert {program.nodes[i].target for i in program.problem.workspace_bytes.nonzero()[0]} >= {
        torch.ops.aten.convolution.default,
        torch.ops.aten.convolution_backward.default,
    }
    assert any(s.kind is StorageKind.WORKSPACE for s in program.graph.storages)


def test_symbolic_sizes_are_those_of_the_trace():
    from frontends.torch import zoo

    static = model_graph("mlp").program().problem
    dynamic = joint_graph(*zoo.mlp(), dynamic=True).program()
    assert any(
        isinstance(node.meta.get("val"), torch.SymInt) for node in dynamic.module.graph.nodes
    )
    assert all(not isinstance(node.meta["val"], torch.SymInt) for node in dynamic.nodes)
    assert sorted(dynamic.problem.size_bytes) == sorted(static.size_bytes)
