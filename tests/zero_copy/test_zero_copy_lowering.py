"""A lowering does without copies exactly where it is asked to, and holds the same bytes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import planner
from frontends.onnx import load_onnx
from frontends.onnx.variants import load_variants
from planner.errors import UsageError
from planner.graph import Graph, StorageKind

from .chopped_models import chopped_models, dense_block, late_join, model


def _shared(graph: Graph) -> set[str]:
    names = graph.model.zero_copy
    assert not isinstance(names, bool) or names is False
    return set(names or ())


def _views(graph: Graph) -> set[str]:
    return {
        graph.tensors[operator.outputs[0]].name
        for index, operator in enumerate(graph.operators)
        if graph.is_view(index)
    }


def test_only_the_operators_named_share():
    graph = load_onnx(late_join(), zero_copy=["joined"])
    assert _shared(graph) == {"joined"}
    assert _views(graph) == {"joined"}
    assert load_onnx(late_join(), zero_copy=["p"]).model.zero_copy == ("p",)
    assert load_onnx(late_join(), zero_copy=[]) == load_onnx(late_join())


def test_the_lowering_says_which_of_the_named_operators_share():
    made = model(
        """(float[2, 4] x) => (y, z) { a = Relu(x) b = Abs(x) c = Exp(x)
        small = Concat<axis = 0>(a, b) large = Concat<axis = 0>(c, b, a)
        y = Neg(small) z = Neg(large) }"""
    )
    assert load_onnx(made, zero_copy=["small", "large", "y"]).model.zero_copy == ("large",)
    assert load_onnx(made, zero_copy=["small"]).model.zero_copy == ("small",)


def test_a_name_that_no_operator_has_is_refused():
    with pytest.raises(UsageError, match=r'"joint": .*Did you mean joined\?'):
        load_onnx(late_join(), zero_copy=["joint"])
    with pytest.raises(UsageError, match='"q"'):  # not the first result
        planner.plan(late_join(), zero_copy=["q"])


def test_concats_of_one_run_after_the_other_are_one_storage():
    """Torchvision's DenseNet: each layer joins everything before it once more."""
    variants = load_variants(dense_block(layers=4, rows=3))
    graph = variants.graph([candidate.name for candidate in variants.candidates])
    joins = {"joined1", "joined2", "joined3", "joined"}
    assert _shared(graph) == joins
    places = {t.name: (graph.storages[t.storage].name, t.offset_bytes) for t in graph.tensors}
    assert {places[name] for name in joins} == {("f0", 0)}
    assert [places[f"f{i}"][1] // 16 for i in range(5)] == [0, 6, 9, 12, 15]


def test_in_plans_that_say_true_a_concat_of_adjacent_operands_copies():
    """Such plans are older than the rule and must be lowered as they were."""
    graph = load_onnx(dense_block(layers=4, rows=3), zero_copy=True)
    views = _views(graph)
    assert views & {"joined", "joined1", "joined2", "joined3"} == {"joined"}


@settings(max_examples=60, deadline=None)
@given(made=chopped_models(), data=st.data())
def test_what_a_lowering_reports_makes_the_same_lowering(made, data):
    variants = load_variants(made)
    names = [candidate.name for candidate in variants.candidates]
    wanted = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    graph = variants.graph(wanted)
    assert _shared(graph) <= set(wanted)
    assert load_onnx(made, zero_copy=_shared(graph)) == graph == load_onnx(made, zero_copy=wanted)
    views = _views(graph)
    assert _shared(graph) <= views


@settings(max_examples=60, deadline=None)
@given(made=chopped_models())
def test_the_candidates_are_all_operators_that_share_in_some_lowering(made):
    variants = load_variants(made)
    names = [n.output[0] for n in made.graph.node if n.op_type in ("Split", "Slice", "Concat")]
    assume(len(names) <= 5)
    subsets = (c for size in range(len(names) + 1) for c in combinations(names, size))
    shared = set().union(*(_shared(load_onnx(made, zero_copy=subset)) for subset in subsets))
    assert {candidate.name for candidate in variants.candidates} == shared


def _expected(made: onnx.ModelProto) -> dict[str, np.ndarray]:
    """What each tensor holds if everybody copies: rows of numbers that stand for contents."""
    constants = {t.name: numpy_helper.to_array(t).tolist() for t in made.graph.initializer}
    fresh = iter(range(1, 1 << 30))

    def new(rows: int) -> np.ndarray:
        return np.array([next(fresh) for _ in range(rows)])

    held = {
        value.name: new(value.type.tensor_type.shape.dim[0].dim_value) for value in made.graph.input
    }
    for node in made.graph.node:
        source = held[node.input[0]]
        if node.op_type == "Split":
            first = constants[node.input[1]][0]
            held[node.output[0]], held[node.output[1]] = source[:first], source[first:]
        elif node.op_type == "Slice":
            (start,), (end,) = (constants[name] for name in node.input[1:3])
            held[node.output[0]] = source[start:end]
        elif node.op_type == "Concat":
            held[node.output[0]] = np.concatenate([held[name] for name in node.input])
        else:
            held[node.output[0]] = source if node.op_type == "Identity" else new(len(source))
    return held


@settings(max_examples=200, deadline=None)
@given(made=chopped_models(), data=st.data())
def test_every_operand_holds_what_it_would_hold_if_everybody_copied(made, data):
    """Storages are written by those that are no views, in any order, and nothing is ever lost."""
    variants = load_variants(made)
    names = [candidate.name for candidate in variants.candidates]
    wanted = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    graph = variants.graph(wanted)
    expected = _expected(made)
    memory = [np.zeros(storage.size_bytes // 16, dtype=int) for storage in graph.storages]

    def rows(tensor: int) -> np.ndarray:
        place = graph.tensors[tensor]
        begin = place.offset_bytes // 16
        return memory[place.storage][begin : begin + place.size_bytes // 16]

    for index, tensor in enumerate(graph.tensors):
        if tensor.name in ("in0", "in1"):
            rows(index)[:] = expected[tensor.name]
    ready = set(range(len(graph.operators)))
    while ready:
        free = [o for o in sorted(ready) if ready.isdisjoint(graph.predecessors.row(o).tolist())]
        operator = data.draw(st.sampled_from(free))
        ready.remove(operator)
        for tensor in graph.operators[operator].inputs:
            place = graph.tensors[tensor]
            if graph.storages[place.storage].kind is not StorageKind.CONSTANT:
                assert rows(tensor).tolist() == expected[place.name].tolist()
        if not graph.is_view(operator):
            for tensor in graph.operators[operator].outputs:
                rows(tensor)[:] = expected[graph.tensors[tensor].name]
    for value in made.graph.output:
        index = next(i for i, t in enumerate(graph.tensors) if t.name == value.name)
        assert rows(index).tolist() == expected[value.name].tolist()
