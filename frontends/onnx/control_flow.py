"""Types that cross the border of a control-flow body, inwards and outwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.onnx.dtypes import BOOL, INT64, TensorType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frontends.onnx.blocks import Block
    from frontends.onnx.nodes import Node
    from frontends.onnx.scope import Scope

_SOURCE = "its body"


def add_body_inputs(node: Node, inputs: Sequence[str], inner: Scope) -> None:
    """Types of the inputs of a Loop or Scan body.

    Carried state is taken to keep the shape it starts with.
    """
    outer = inner.parent
    if outer is None:
        return
    if node.type == "Loop":
        types = [TensorType((), INT64), TensorType((), BOOL)]
        types += [outer.type_of(name) if name else None for name in node.inputs[2:]]
    elif node.type == "Scan" and node.version >= 9:
        count = node.integer("num_scan_inputs", 0)
        types = [outer.type_of(name) if name else None for name in node.inputs]
        first = len(types) - count
        axes = node.integers("scan_input_axes") or (0,) * count
        types[first:] = [
            _without_axis(type_, axis) for type_, axis in zip(types[first:], axes, strict=False)
        ]
    else:
        return
    for name, type_ in zip(inputs, types, strict=False):
        if type_ is not None:
            inner.add(name, type_, f"what {node.label} passes in")


def add_result_types(node: Node, bodies: Sequence[Block], scope: Scope) -> None:
    """Types of the results of a control-flow node, from those of its bodies' results."""
    if node.type == "If":
        rows = zip(*(_output_types(body) for body in bodies), strict=False)
        types = [row[0] if len(set(row)) == 1 else None for row in rows]
    elif node.type == "Loop" and bodies:
        types = _loop_results(node, bodies[0], scope)
    elif node.type == "Scan" and bodies and node.version >= 9:
        types = _scan_results(node, bodies[0], scope)
    else:
        return
    for name, type_ in zip(node.outputs, types, strict=False):
        if name and type_ is not None:
            scope.add(name, type_, _SOURCE)


def iterations(node: Node, body: Block, scope: Scope) -> int | None:
    """How often a body runs: known for Scan, and for a Loop that only counts; 1 for `If`."""
    if node.type == "Scan" and node.version >= 9:
        count = node.integer("num_scan_inputs", 0)
        if not 0 < count <= len(node.inputs):
            return None
        axes = node.integers("scan_input_axes") or (0,)
        type_ = scope.type_of(node.inputs[len(node.inputs) - count])
        if type_ is None or not -len(type_.shape) <= axes[0] < len(type_.shape):
            return None
        return type_.shape[axes[0]]
    if node.type == "Loop":
        limit = scope.value_of(node.inputs[0]) if node.inputs and node.inputs[0] else None
        start = scope.value_of(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else True
        if limit is None or limit.size != 1 or start is None or not _never_stops(body):
            return None
        return max(int(limit.reshape(())), 0) if start else 0
    return 1


def _never_stops(body: Block) -> bool:
    """Whether a Loop body's condition is always true, or handed on from before."""
    if not body.outputs:
        return False
    condition = body.outputs[0]
    producer = {name: node for node in body.nodes for name in node.results}
    while condition in producer and producer[condition].type == "Identity":
        condition = producer[condition].inputs[0]
    value = body.scope.value_of(condition)
    if value is not None:
        return bool(value.all())
    return len(body.inputs) > 1 and condition == body.inputs[1]


def _output_types(body: Block) -> list[TensorType | None]:
    return [body.scope.type_of(name) for name in body.outputs]


def _loop_results(node: Node, body: Block, scope: Scope) -> list[TensorType | None]:
    carried = max(len(node.inputs) - 2, 0)
    before = [body.scope.type_of(name) for name in body.inputs[2:]]
    after = _output_types(body)[1:]
    types = [
        now if now == then else None for now, then in zip(after[:carried], before, strict=False)
    ]
    count = iterations(node, body, scope)
    for type_ in after[carried:]:
        if type_ is None or count is None:
            types.append(None)
        else:
            types.append(TensorType((count, *type_.shape), type_.element))
    return types


def _scan_results(node: Node, body: Block, scope: Scope) -> list[TensorType | None]:
    carried = len(node.inputs) - node.integer("num_scan_inputs", 0)
    after = _output_types(body)
    count = iterations(node, body, scope)
    stacked = after[carried:]
    axes = node.integers("scan_output_axes") or (0,) * len(stacked)
    types = after[:carried]
    for type_, axis in zip(stacked, axes, strict=False):
        if type_ is None or count is None or not -len(type_.shape) - 1 <= axis <= len(type_.shape):
            types.append(None)
            continue
        axis %= len(type_.shape) + 1
        shape = (*type_.shape[:axis], count, *type_.shape[axis:])
        types.append(TensorType(shape, type_.element))
    return types


def _without_axis(type_: TensorType | None, axis: int) -> TensorType | None:
    if type_ is None or not -len(type_.shape) <= axis < len(type_.shape):
        return None
    axis %= len(type_.shape)
    return TensorType(type_.shape[:axis] + type_.shape[axis + 1 :], type_.element)
