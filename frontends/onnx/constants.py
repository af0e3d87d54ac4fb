"""Which nodes depend on constants alone, and the contents of the small ones.

A node whose operands are all constant is folded: its results count as weights. `Shape` and `Size`
of a tensor with a concrete shape are constants in effect. The contents matter only where they
decide shapes: reshape targets, slice bounds, conditions of `If`.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from frontends.onnx.nodes import node_bodies
from frontends.onnx.scope import MAX_VALUE_ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import NodeProto

    from frontends.onnx.dtypes import TensorType
    from frontends.onnx.nodes import Node
    from frontends.onnx.scope import Scope

    Array = NDArray[Any]

RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
_PURE_DOMAINS = frozenset({"", "ai.onnx.ml", "com.microsoft"})


def is_deterministic(node: Node, scope: Scope) -> bool:
    """Whether a second execution gives the same result.

    False for random operators, for training Dropout, for bodies that contain either, and for
    operators of domains nobody here knows: those may hold state.
    """
    if node.domain not in _PURE_DOMAINS or node.op_type in RANDOM:
        return False
    if node.op_type == "Dropout":
        return not is_training_dropout(node, scope)
    return not any(_has_random_node(body.node) for _, body in node.bodies)


def is_training_dropout(node: Node, scope: Scope) -> bool:
    """Whether a Dropout drops: its third operand (version 12 on) is not a constant false."""
    if len(node.inputs) < 3 or not node.inputs[2]:
        return False
    value = scope.value_of(node.inputs[2])
    return value is None or bool(value.any())


def is_foldable(node: Node, scope: Scope) -> bool:
    """Whether the results depend on constants alone, or only on the shape of the operand."""
    if is_shape_query(node) and scope.type_of(node.inputs[0]) is not None:
        return True
    if not node.reads and node.op_type != "Constant":
        return False
    return all(map(scope.is_constant, node.reads)) and is_deterministic(node, scope)


def is_shape_query(node: Node) -> bool:
    """Whether it is `Shape` or `Size`."""
    return node.op_type in ("Shape", "Size") and not node.domain and len(node.inputs) == 1


def constant_tensor(node: Node) -> TensorProto | None:
    """What a `Constant` node holds; None for a sparse tensor or no value at all."""
    for attribute in node.proto.attribute:
        if attribute.name == "value":
            return attribute.t
        if attribute.name in ("value_int", "value_ints"):
            ints = attribute.i if attribute.name == "value_int" else list(attribute.ints)
            return numpy_helper.from_array(np.array(ints, dtype=np.int64))
        if attribute.name in ("value_float", "value_floats"):
            floats = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            return numpy_helper.from_array(np.array(floats, dtype=np.float32))
        if attribute.name in ("value_string", "value_strings"):
            single = attribute.name == "value_string"
            strings = [attribute.s] if single else list(attribute.strings)
            dims = [] if single else [len(strings)]
            return TensorProto(data_type=TensorProto.STRING, dims=dims, string_data=strings)
    return None


def evaluate(node: Node, scope: Scope) -> Array | None:
    """Content of a foldable node's first result, if it is small and the operator is known here.

    Parameters
    ----------
    node : Node
        A node for which `is_foldable` holds.
    """
    result = scope.types.get(node.outputs[0]) if node.outputs else None
    if result is not None and result.elements > MAX_VALUE_ELEMENTS:
        return None
    if is_shape_query(node):
        operand = scope.type_of(node.inputs[0])
        return None if operand is None else _query(node, operand)
    evaluator = None if node.domain else _EVALUATORS.get(node.op_type)
    if evaluator is None or (result is None and node.op_type in _GROWING):
        return None
    operands: list[Array | None] = []
    for name in node.inputs:
        value = scope.value_of(name) if name else None
        if name and value is None:
            return None
        operands.append(value)
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(evaluator(node, operands))
    except Exception:  # whatever numpy thinks of a malformed node: its content stays unknown
        return None
    return value if value.size <= MAX_VALUE_ELEMENTS else None


def _query(node: Node, operand: TensorType) -> Array:
    if node.op_type == "Size":
        return np.array(operand.elements, dtype=np.int64)
    start, attribute = node.integer("start", 0), node.attribute("end")
    end = None if attribute is None else attribute.i
    return np.array(operand.shape[start:end], dtype=np.int64)


def _has_random_node(nodes: Sequence[NodeProto]) -> bool:
    return any(
        node.op_type in RANDOM
        or (node.op_type == "Dropout" and len(node.input) > 2 and bool(node.input[2]))
        or node.domain not in (*_PURE_DOMAINS, "ai.onnx")
        or any(_has_random_node(body.node) for _, body in node_bodies(node))
        for node in nodes
    )


def _constant(node: Node, _: Sequence[Array | None]) -> Array:
    tensor = constant_tensor(node)
    if (
        tensor is None
        or tensor.data_location == TensorProto.EXTERNAL
        or tensor.data_type == TensorProto.STRING
        or prod(tensor.dims) > MAX_VALUE_ELEMENTS
    ):
        raise ValueError
    return numpy_helper.to_array(tensor)


def _filled(node: Node, operands: Sequence[Any]) -> Array:
    attribute = node.attribute("value")
    fill = np.zeros(1, np.float32) if attribute is None else numpy_helper.to_array(attribute.t)
    return np.broadcast_to(fill.reshape(()), tuple(operands[0].tolist()))


def _cast(node: Node, operands: Sequence[Any]) -> Array:
    return operands[0].astype(helper.tensor_dtype_to_np_dtype(node.integer("to", 0)))


def _axes(node: Node, operands: Sequence[Any]) -> tuple[int, ...] | None:
    """Axes of Squeeze and friends: an attribute in old versions, an operand in new ones."""
    if len(operands) > 1 and operands[1] is not None:
        return tuple(operands[1].reshape(-1).tolist())
    return node.integers("axes")


def _unsqueeze(node: Node, operands: Sequence[Any]) -> Array:
    return np.expand_dims(operands[0], _axes(node, operands) or ())


def _squeeze(node: Node, operands: Sequence[Any]) -> Array:
    return np.squeeze(operands[0], _axes(node, operands))


def _reshape(node: Node, operands: Sequence[Any]) -> Array:
    data, target = operands
    zero_is_zero = node.integer("allowzero", 0)
    shape = [
        data.shape[axis] if dim == 0 and not zero_is_zero else dim
        for axis, dim in enumerate(target.tolist())
    ]
    return data.reshape(shape)


def _slice(node: Node, operands: Sequence[Any]) -> Array:
    data = operands[0]
    bounds = slice_bounds(node, operands[1:])
    if bounds is None:
        raise ValueError
    index = [slice(None)] * data.ndim
    for axis, (start, end, step) in bounds.items():
        # A negative step may run past the front, which a Python slice writes as None.
        stop = None if step < 0 and end < -data.shape[axis] else end
        index[axis] = slice(start, stop, step)
    return data[tuple(index)]


def slice_bounds(
    node: Node, operands: Sequence[Array | None]
) -> dict[int, tuple[int, int, int]] | None:
    """Start, end and step by axis of a `Slice`; None where they are not constant.

    Parameters
    ----------
    operands : sequence of array or None
        Contents of starts, ends, axes, steps (version 10 on); older versions have attributes.
    """
    lists: list[tuple[int, ...] | None] = [
        node.integers(name) if position >= len(operands) else None
        for position, name in enumerate(("starts", "ends", "axes", "steps"))
    ]
    for position, operand in enumerate(operands[:4]):
        lists[position] = None if operand is None else tuple(map(int, operand.reshape(-1)))
    starts, ends, axes, steps = lists
    if starts is None or ends is None or len(starts) != len(ends):
        return None
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if len(axes) != len(starts) or len(steps) != len(starts):
        return None
    return dict(zip(axes, zip(starts, ends, steps, strict=True), strict=True))


def _range(_: Node, operands: Sequence[Any]) -> Array:
    start, limit, delta = (operand.reshape(()) for operand in operands)
    return np.arange(start, limit, delta, dtype=start.dtype)


def _divide(_: Node, operands: Sequence[Any]) -> Array:
    left, right = operands
    if not np.issubdtype(left.dtype, np.integer):
        return left / right
    if not right.all():
        raise ValueError
    return (np.sign(left) * np.sign(right) * (abs(left) // abs(right))).astype(left.dtype)


def _reduce(function: Callable[..., Array]) -> Callable[[Node, Sequence[Any]], Array]:
    def evaluator(node: Node, operands: Sequence[Any]) -> Array:
        data, axes = operands[0], _axes(node, operands)
        if axes == () and node.integer("noop_with_empty_axes", 0):
            return data
        keep = bool(node.integer("keepdims", 1))
        return function(data, axis=axes or None, keepdims=keep).astype(data.dtype)

    return evaluator


def _apply(function: Callable[..., Any]) -> Callable[[Node, Sequence[Any]], Array]:
    return lambda _, operands: function(*operands)


def _fold(function: Callable[..., Any]) -> Callable[[Node, Sequence[Any]], Array]:
    def evaluator(_: Node, operands: Sequence[Any]) -> Array:
        result = operands[0]
        for operand in operands[1:]:
            result = function(result, operand)
        return result

    return evaluator


# Operators whose result can be far larger than their operands: only with a known small result.
_GROWING = frozenset({"ConstantOfShape", "Expand", "Range"})

_EVALUATORS: Mapping[str, Callable[[Node, Sequence[Any]], Array]] = {
    "Abs": _apply(np.abs),
    "Add": _apply(np.add),
    "And": _apply(np.logical_and),
    "Cast": _cast,
    "Ceil": _apply(np.ceil),
    "Concat": lambda node, operands: np.concatenate(operands, axis=node.integer("axis", 0)),
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Div": _divide,
    "Equal": _apply(np.equal),
    "Expand": lambda _, operands: (
        operands[0] * np.ones(operands[1].tolist(), dtype=operands[0].dtype)
    ),
    "Floor": _apply(np.floor),
    "Gather": lambda node, operands: np.take(
        operands[0], operands[1].astype(np.int64), axis=node.integer("axis", 0)
    ),
    "Greater": _apply(np.greater),
    "GreaterOrEqual": _apply(np.greater_equal),
    "Identity": lambda _, operands: operands[0],
    "Less": _apply(np.less),
    "LessOrEqual": _apply(np.less_equal),
    "Max": _fold(np.maximum),
    "Min": _fold(np.minimum),
    "Mul": _apply(np.multiply),
    "Neg": _apply(np.negative),
    "Not": _apply(np.logical_not),
    "Or": _apply(np.logical_or),
    "Range": _range,
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _apply(np.subtract),
    "Unsqueeze": _unsqueeze,
    "Where": _apply(np.where),
}
