"""Properties of lowering that hold for every model, on random graphs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from frontends.onnx import load_onnx
from planner.graph import StorageKind

OPSETS = [helper.make_opsetid("", 17)]
SHAPE = (2, 3, 4)


@st.composite
def models(draw) -> onnx.ModelProto:
    """A DAG of views, element-wise operators, splits and concats over inputs and constants."""
    inputs = [f"in{i}" for i in range(draw(st.integers(1, 2)))]
    weights = [f"w{i}" for i in range(draw(st.integers(0, 2)))]
    known = dict.fromkeys((*inputs, *weights), SHAPE)
    nodes: list[onnx.NodeProto] = []
    initializers = [numpy_helper.from_array(np.ones(SHAPE, np.float32), name) for name in weights]
    for index in range(draw(st.integers(1, 14))):
        source = draw(st.sampled_from(sorted(known)))
        shape, out = known[source], f"v{index}"
        kind = draw(st.sampled_from(["Relu", "Add", "Identity", "Flatten", "Split", "Concat"]))
        if kind in ("Relu", "Identity"):
            nodes.append(helper.make_node(kind, [source], [out]))
            known[out] = shape
        elif kind == "Add":
            same = [name for name in sorted(known) if known[name] == shape]
            nodes.append(helper.make_node(kind, [source, draw(st.sampled_from(same))], [out]))
            known[out] = shape
        elif kind == "Flatten":
            nodes.append(helper.make_node(kind, [source], [out]))
            known[out] = (shape[0], int(np.prod(shape[1:], dtype=int)))
        elif kind == "Split" and shape[0] > 1:
            sizes = [1, shape[0] - 1]
            initializers.append(numpy_helper.from_array(np.array(sizes), f"{out}_sizes"))
            outs = [f"{out}_a", draw(st.sampled_from([f"{out}_b", ""]))]
            nodes.append(helper.make_node(kind, [source, f"{out}_sizes"], outs, axis=0))
            known |= {o: (s, *shape[1:]) for o, s in zip(outs, sizes, strict=True) if o}
        elif kind == "Concat":
            fits = [name for name in sorted(known) if known[name][1:] == shape[1:]]
            parts = [source, *draw(st.lists(st.sampled_from(fits), max_size=2))]
            nodes.append(helper.make_node(kind, parts, [out], axis=0))
            known[out] = (sum(known[part][0] for part in parts), *shape[1:])
    if not nodes:
        nodes.append(helper.make_node("Relu", [inputs[0]], ["last"]))
        known["last"] = SHAPE
    written = [name for node in nodes for name in node.output if name]
    outputs = draw(st.lists(st.sampled_from(written), min_size=1, max_size=3, unique=True))
    graph = helper.make_graph(
        draw(st.permutations(nodes)),
        "g",
        [helper.make_tensor_value_info(name, 1, SHAPE) for name in inputs],
        [helper.make_tensor_value_info(name, 1, known[name]) for name in outputs],
        initializers,
    )
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=8)


@settings(max_examples=150, deadline=None)
@given(made=models(), zero_copy=st.booleans())
def test_lowering_keeps_the_model(made, zero_copy):
    graph = load_onnx(made, zero_copy=zero_copy)
    names = [tensor.name for tensor in graph.tensors]
    assert len(set(names)) == len(names)

    # The same def-use relation as the protobuf, less what was folded.
    nodes = {tuple(filter(None, node.output)): node for node in made.graph.node}
    lowered = set()
    for operator in graph.operators:
        outputs = tuple(names[tensor] for tensor in operator.outputs)
        lowered.add(outputs)
        node = nodes[outputs]
        assert operator.type == node.op_type
        assert [names[tensor] for tensor in operator.inputs] == list(dict.fromkeys(node.input))
    constant = {tensor.name for tensor in made.graph.initializer}
    for _ in nodes:
        constant |= {
            name
            for node in nodes.values()
            if constant.issuperset(node.input)
            for name in node.output
        }
    results = {value.name for value in made.graph.output}
    for outputs, node in nodes.items():
        folded = outputs not in lowered
        if folded:
            assert constant.issuperset(node.input)
            assert results.isdisjoint(outputs)
        elif constant.issuperset(node.input):
            # Kept, because a result of the graph comes out of here or of something before.
            assert results & constant

    # Every byte belongs to one storage, whose largest tensor spans it.
    covered = [0] * len(graph.storages)
    for tensor in graph.tensors:
        width = np.dtype(tensor.dtype).itemsize
        assert tensor.size_bytes == width * int(np.prod(tensor.shape, dtype=int))
        covered[tensor.storage] = max(covered[tensor.storage], tensor.size_bytes)
    assert covered == [storage.size_bytes for storage in graph.storages]
    assert graph.constant_bytes + graph.activation_bytes == sum(covered)

    # No storage holds two things the caller owns, and constants hold no activation.
    for index, storage in enumerate(graph.storages):
        members = {tensor.name for tensor in graph.tensors if tensor.storage == index}
        inputs = {value.name for value in made.graph.input}
        assert len(members & results) <= 1
        assert not (members & results and members & inputs)
        assert storage.is_output == bool(members & results)
        if storage.kind is StorageKind.CONSTANT:
            assert len(members) == 1

    # Parts of one storage that both are written by work, not by a view, never overlap.
    for index in range(len(graph.storages)):
        written = [
            graph.tensors[tensor]
            for position, operator in enumerate(graph.operators)
            if not graph.is_view(position)
            for tensor in operator.outputs
            if graph.tensors[tensor].storage == index
        ]
        spans = sorted((t.offset_bytes, t.offset_bytes + t.size_bytes) for t in written)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


@settings(max_examples=60, deadline=None)
@given(made=models())
def test_sharing_bytes_is_a_matter_of_storages_alone(made):
    copied, shared = load_onnx(made), load_onnx(made, zero_copy=True)
    assert [o.name for o in copied.operators] == [o.name for o in shared.operators]
    assert [t.name for t in copied.tensors] == [t.name for t in shared.tensors]
    assert shared.activation_bytes <= copied.activation_bytes
    assert shared.constant_bytes == copied.constant_bytes


@settings(max_examples=60, deadline=None)
@given(made=models())
def test_in_place_options_keep_their_promise(made):
    graph = load_onnx(made)
    for operator in graph.operators:
        for option in operator.in_place:
            output, source = graph.tensors[option.output], graph.tensors[option.input]
            assert output.size_bytes == source.size_bytes > 0
            assert operator.type in ("Relu", "Add")
            readers = [t for t in operator.inputs if graph.tensors[t].storage == source.storage]
            assert readers == [option.input]
