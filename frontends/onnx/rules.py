"""Result types that ONNX's own inference leaves open, by rule.

Optional results that nobody reads (masks, saved statistics, final states) still need bytes while
their operator runs, and operators of ONNX Runtime's own domain have no inference outside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.onnx.constants import constant_tensor
from frontends.onnx.dtypes import BOOL, TensorType
from frontends.onnx.scope import stored_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from frontends.onnx.nodes import Node
    from frontends.onnx.scope import Scope

    Operands = Sequence[TensorType | None]
    Rule = Callable[[Node, Operands], Sequence[TensorType | None]]


def types_by_rule(node: Node, scope: Scope) -> Sequence[TensorType | None]:
    """Types of a node's results, in order; None or a missing entry where no rule applies."""
    rule = _RULES.get(node.type)
    if rule is None:
        return ()
    operands = [scope.type_of(name) if name else None for name in node.inputs]
    return rule(node, operands) if operands else ()


def type_of_constant(node: Node) -> TensorType | None:
    """Type of what a `Constant` node holds; that of a sparse one as dense."""
    attribute = node.attribute("sparse_value")
    if attribute is not None:
        sparse = attribute.sparse_tensor
        return TensorType(tuple(sparse.dims), stored_type(sparse.values).element)
    tensor = constant_tensor(node)
    return None if tensor is None else stored_type(tensor)


def _like_first(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    return (operands[0],)


def _dropout(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    data = operands[0]
    if data is None:
        return ()
    # Until version 10 the mask had the type of the data.
    mask = data if 0 < node.version < 10 else TensorType(data.shape, BOOL)
    return data, mask


def _batch_normalization(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    """Results after the first are statistics per channel."""
    return operands[0], *([operands[1]] * 4 if len(operands) > 1 else ())


def _layer_normalization(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    data = operands[0]
    if data is None:
        return ()
    axis = node.integer("axis", -1) % max(len(data.shape), 1)
    kept = data.shape[:axis] + (1,) * (len(data.shape) - axis)
    element = node.integer("stash_type", 1)
    statistics = TensorType(kept, element)
    return data, statistics, statistics


def _skip_layer_normalization(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    """Result, mean, inverse deviation, and the sum before normalisation."""
    data = operands[0]
    if data is None or not data.shape:
        return ()
    statistics = TensorType((*data.shape[:-1], 1), 1)
    return data, statistics, statistics, data


def _recurrent(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    """Y, Y_h, Y_c of LSTM, GRU and RNN: ``[steps, directions, batch, hidden]`` or batch first."""
    data, recurrence = operands[0], operands[2] if len(operands) > 2 else None
    if data is None or recurrence is None or len(data.shape) != 3 or len(recurrence.shape) != 3:
        return ()
    directions, _, hidden = recurrence.shape
    if node.integer("layout", 0):
        batch, steps = data.shape[:2]
        sequence = TensorType((batch, steps, directions, hidden), data.element)
        state = TensorType((batch, directions, hidden), data.element)
    else:
        steps, batch = data.shape[:2]
        sequence = TensorType((steps, directions, batch, hidden), data.element)
        state = TensorType((directions, batch, hidden), data.element)
    return sequence, state, state


def _broadcast(positions: tuple[int, int]) -> Rule:
    def rule(node: Node, operands: Operands) -> Sequence[TensorType | None]:
        first, second = (operands[p] if p < len(operands) else None for p in positions)
        if first is None or second is None:
            return ()
        rank = max(len(first.shape), len(second.shape))
        left = (1,) * (rank - len(first.shape)) + first.shape
        right = (1,) * (rank - len(second.shape)) + second.shape
        if any(a != b and 1 not in (a, b) for a, b in zip(left, right, strict=True)):
            return ()
        shape = tuple(b if a == 1 else a for a, b in zip(left, right, strict=True))
        return (TensorType(shape, first.element),)

    return rule


def _global_pool(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    data = operands[0]
    if data is None or len(data.shape) < 2:
        return ()
    if node.integer("channels_last", 0):
        shape = (data.shape[0], *(1,) * (len(data.shape) - 2), data.shape[-1])
    else:
        shape = (*data.shape[:2], *(1,) * (len(data.shape) - 2))
    return (TensorType(shape, data.element),)


def _quantized_concat(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    """Operands: scale and zero point of the result, then data, scale, zero point of each part."""
    parts = operands[2::3]
    first = parts[0] if parts else None
    axis = node.integer("axis", 0)
    if first is None or not -len(first.shape) <= axis < len(first.shape):
        return ()
    axis %= len(first.shape)
    total = 0
    for part in parts:
        if part is None or len(part.shape) != len(first.shape):
            return ()
        total += part.shape[axis]
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    return (TensorType(shape, first.element),)


def _quantize(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    data, zero = operands[0], operands[2] if len(operands) > 2 else None
    return () if data is None or zero is None else (TensorType(data.shape, zero.element),)


def _dequantize(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    data, scale = operands[0], operands[1] if len(operands) > 1 else None
    return () if data is None or scale is None else (TensorType(data.shape, scale.element),)


def _comparison(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    return [type_ and TensorType(type_.shape, BOOL) for type_ in _broadcast((0, 1))(node, operands)]


def _first_version(node: Node, operands: Operands) -> Sequence[TensorType | None]:
    """The first versions of many operators came without inference, and never grew an operand."""
    return (operands[0],) if 0 < node.version < 6 else ()


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(
        (
            *("Abs", "Add", "Ceil", "Clip", "Div", "Elu", "Exp", "Floor", "HardSigmoid"),
            *("InstanceNormalization", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mul", "Neg"),
            *("PRelu", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh"),
        ),
        _first_version,
    ),
    "BatchNormalization": _batch_normalization,
    "Dropout": _dropout,
    "GRU": _recurrent,
    "GlobalLpPool": _global_pool,
    "GreaterOrEqual": _comparison,
    "GroupNormalization": _like_first,
    "LessOrEqual": _comparison,
    "MeanVarianceNormalization": _like_first,
    "LSTM": _recurrent,
    "LayerNormalization": _layer_normalization,
    "RNN": _recurrent,
    "com.microsoft.BiasGelu": _like_first,
    "com.microsoft.DequantizeLinear": _dequantize,
    "com.microsoft.FastGelu": _like_first,
    "com.microsoft.Gelu": _like_first,
    "com.microsoft.QLinearAdd": _broadcast((0, 3)),
    "com.microsoft.QLinearConcat": _quantized_concat,
    "com.microsoft.QLinearGlobalAveragePool": _global_pool,
    "com.microsoft.QLinearLeakyRelu": _like_first,
    "com.microsoft.QLinearMul": _broadcast((0, 3)),
    "com.microsoft.QLinearSigmoid": _like_first,
    "com.microsoft.QLinearSoftmax": _like_first,
    "com.microsoft.QuantizeLinear": _quantize,
    "com.microsoft.QuickGelu": _like_first,
    "com.microsoft.ReluGrad": _like_first,
    "com.microsoft.SkipLayerNormalization": _skip_layer_normalization,
    "com.microsoft.SkipSimplifiedLayerNormalization": _skip_layer_normalization,
}
