"""Which operand an operator may overwrite with its result.

Only operators that read each element no later than they write it. Softmax-like operators depend
on the kernel and are not offered; whether an operand is dead by then is the solver's question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.graph import InPlaceOption, StorageKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from frontends.onnx.dtypes import TensorType
    from frontends.onnx.nodes import Node
    from frontends.onnx.parts import Step
    from planner.graph import Storage, Tensor

_UNARY = frozenset(
    {
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "BitwiseNot",
        "Cast",
        "CastLike",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Not",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
    }
)
_BINARY = frozenset(
    {
        "Add",
        "And",
        "BitShift",
        "BitwiseAnd",
        "BitwiseOr",
        "BitwiseXor",
        "Div",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Mod",
        "Mul",
        "Or",
        "PRelu",
        "Pow",
        "Sub",
        "Xor",
    }
)
# Kernels may sum up operand by operand in the result, so from the third operand on an operand
# would be read after the result was first written.
_VARIADIC = frozenset({"Max", "Mean", "Min", "Sum"})


def overwritable_operands(
    node: Node, operands: Sequence[TensorType | None], result: TensorType
) -> list[int]:
    """Positions of the operands that the first result may overwrite.

    Parameters
    ----------
    operands : sequence of TensorType or None
        By position; None where omitted.
    """
    if node.domain:
        return []
    kind = node.op_type
    if kind in _UNARY:
        candidates = [0]
        if kind in ("Cast", "CastLike"):  # the one operator here that may change the type
            source = operands[0]
            if source is None or source.shape != result.shape:
                return []
            return candidates if source.size_bytes == result.size_bytes else []
    elif kind in _BINARY or kind in _VARIADIC:
        candidates = [0, 1]
    elif kind == "Where":
        candidates = [0, 1, 2]
    elif kind == "BatchNormalization" and len(node.results) == 1:
        candidates = [] if node.integer("training_mode", 0) else [0]
    else:
        return []
    return [position for position in candidates if operands[position : position + 1] == [result]]


def in_place_options(
    step: Step,
    positions: Sequence[int],
    tensors: Sequence[Tensor],
    storages: Sequence[Storage],
    captured: Collection[int],
) -> tuple[InPlaceOption, ...]:
    """The overwrites that storages allow: of whole, dying, distinct ones of equal size.

    Parameters
    ----------
    positions : sequence of int
        Operands the kernel may overwrite, from `overwritable_operands`.
    captured : collection of int
        Storages that a control-flow body reads.
    """
    if not positions:
        return ()
    output = tensors[step.outputs[0]]
    read = [tensors[i].storage for i in {*step.inputs} if i >= 0]
    whole = storages[output.storage].size_bytes
    if output.size_bytes == 0 or output.size_bytes != whole or output.storage in read:
        return ()
    options: dict[int, None] = {}
    for operand in (step.inputs[position] for position in positions):
        tensor = tensors[operand]
        storage = storages[tensor.storage]
        if (
            storage.kind is StorageKind.ACTIVATION
            and not storage.is_output
            and storage.size_bytes == tensor.size_bytes == whole
            and tensor.storage not in captured
            # Another view of the same bytes may be read later than they are overwritten.
            and read.count(tensor.storage) == 1
        ):
            options[operand] = None
    return tuple(InPlaceOption(step.outputs[0], operand) for operand in options)
