"""A lowered model with the operands and attributes of its nodes as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import AttributeProto

from frontends.onnx.frontend import lower_source, open_source
from planner.export.model_calls import Attribute, ModelCalls, OperatorCall
from planner.graph import StorageKind

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Mapping

    from onnx import ModelProto

    from frontends.onnx.nodes import Node
    from planner.graph import Graph


def load_calls(
    source: str | os.PathLike[str] | ModelProto,
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, str] | None = None,
    zero_copy: bool | Collection[str] = False,
    alignment_bytes: int = 1,
) -> ModelCalls:
    """Lower an ONNX model as `load_onnx` does, and keep how each operator is called.

    Parameters and errors are those of `load_onnx`. Weights are not read.
    """
    model, name, digest, folder = open_source(source)
    lowered = lower_source(
        model, name, digest, folder, dims, shapes, zero_copy, alignment_bytes, None
    )
    graph, block = lowered.graph, lowered.block
    index = {tensor.name: i for i, tensor in enumerate(graph.tensors)}
    nodes = [node for i, node in enumerate(block.nodes) if i not in block.folded]
    left_out: dict[str, None] = {}
    computed = [
        i
        for i, tensor in enumerate(graph.tensors)
        if graph.storages[tensor.storage].kind is StorageKind.CONSTANT
        and tensor.name not in block.scope.initializers
    ]
    known = {}
    for i in computed:
        value = block.scope.value_of(graph.tensors[i].name)
        if value is not None and value.dtype.name == graph.tensors[i].dtype:
            known[i] = tuple(value.reshape(-1).tolist())
    return ModelCalls(
        graph,
        tuple(_call(graph, i, node, index, left_out) for i, node in enumerate(nodes)),
        tuple(index[name] for name in block.inputs),
        tuple(index[name] for name in block.outputs),
        tuple(i for i in computed if i not in known),
        known,
        tuple(left_out),
    )


def _call(
    graph: Graph, operator: int, node: Node, index: Mapping[str, int], left_out: dict[str, None]
) -> OperatorCall:
    attributes = []
    for proto in node.proto.attribute:
        values = _values(proto)
        if values is None:
            left_out[f"{node.type}.{proto.name}"] = None
        else:
            attributes.append(Attribute(proto.name, values))
    written = graph.operators[operator].outputs
    scratch = [t for t in written if _is_workspace(graph, t)]
    return OperatorCall(
        tuple(index[name] if name else -1 for name in (*node.inputs, *node.captured)),
        tuple(index[name] if name else -1 for name in node.outputs),
        scratch[0] if scratch else -1,
        tuple(attributes),
        node.version,
    )


def _is_workspace(graph: Graph, tensor: int) -> bool:
    return graph.storages[graph.tensors[tensor].storage].kind is StorageKind.WORKSPACE


def _values(proto: AttributeProto) -> tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | None:
    """Numbers or text; None for tensors, graphs, types and whatever else there may be."""
    match proto.type:
        case AttributeProto.INT:
            return (proto.i,)
        case AttributeProto.INTS:
            return tuple(proto.ints)
        case AttributeProto.FLOAT:
            return (proto.f,)
        case AttributeProto.FLOATS:
            return tuple(proto.floats)
        case AttributeProto.STRING:
            return (proto.s.decode("utf-8", "replace"),)
        case AttributeProto.STRINGS:
            return tuple(text.decode("utf-8", "replace") for text in proto.strings)
    return None
