"""Which operand an operator may overwrite with its result.

Only operators that read each element no later than they write it, and whose kernels in ONNX Runtime
give the same bytes in place (tests/in_place runs all of them); whether an operand is dead by then
is the solver's question. Not offered although elementwise, because kernels compute them in several
passes and read the operand again after the result was first written: Gelu, and FastGelu, QuickGelu
and BiasGelu of com.microsoft. Not offered because it depends on the kernel, though those of ONNX
Runtime can do it: Softmax and the normalisations over rows. LogSoftmax and Hardmax cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.onnx.dtypes import element_bits
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
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
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
# Before they could broadcast, they copied the first operand into the result and read the second
# one then.
_COPIED_FIRST = {"Max": 8, "Min": 8}
# The first operand is copied and then changed in places, while the others are read.
_SCATTERS = frozenset({"Scatter", "ScatterElements", "ScatterND"})
_MICROSOFT = {
    "QLinearAdd": (0, 3),
    "QLinearLeakyRelu": (0,),
    "QLinearMul": (0, 3),
    "QLinearSigmoid": (0,),
}


def overwritable_operands(
    node: Node, operands: Sequence[TensorType | None], result: TensorType
) -> list[int]:
    """Positions of the operands that the first result may overwrite.

    Parameters
    ----------
    operands : sequence of TensorType or None
        By position; None where omitted.
    """
    if element_bits(result.element) % 8:
        # Elements share a byte, which is written for the first before it is read for the second.
        return []
    if not node.domain and node.op_type in ("Cast", "CastLike"):  # these may change the type
        source = operands[0]
        if source is None or source.shape != result.shape:
            return []
        return [0] if source.size_bytes == result.size_bytes else []
    return [
        position for position in _candidates(node) if operands[position : position + 1] == [result]
    ]


def _candidates(node: Node) -> Sequence[int]:
    """Positions of operands that may be overwritten if they have the type of the result."""
    kind = node.op_type
    if node.domain:
        return _MICROSOFT.get(kind, ()) if node.domain == "com.microsoft" else ()
    if kind in _UNARY:
        return (0,)
    if kind in _BINARY:
        return (0, 1)
    if kind == "Where":
        return (0, 1, 2)
    if kind in _VARIADIC:
        first = node.inputs[: 1 if node.version < _COPIED_FIRST.get(kind, 0) else 2]
        return [i for i, name in enumerate(first) if node.inputs.count(name) == 1]
    if kind in _SCATTERS:
        return (0,) if node.inputs.count(node.inputs[0]) == 1 else ()
    if kind == "BatchNormalization" and len(node.results) == 1:
        return () if node.integer("training_mode", 0) else (0,)
    return ()


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
