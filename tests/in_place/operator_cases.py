"""For operator types: operands, attributes and shapes that lead into all parts of a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .one_node_runs import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]
    Shape = tuple[int, ...]
    Cases = Iterator["Case"]

WHOLE: Sequence[Shape] = ((), (1,), (3,), (7,), (33,), (3, 5, 7), (1000,), (2, 257, 129))
"""Below, at and beside multiples of vector widths; beyond the blocks that threads get."""

BROADCAST: Sequence[tuple[Shape, Shape]] = (
    ((7,), ()),
    ((7,), (1,)),
    ((5, 7), (7,)),
    ((5, 7), (5, 1)),
    ((5, 7), (1, 1)),
    ((2, 3, 5, 7), (3, 1, 1)),
    ((2, 3, 5, 7), (2, 1, 5, 1)),
    ((2, 3, 5, 7), (5, 7)),
    ((2, 257, 129), (257, 1)),
    ((2, 257, 129), (129,)),
    ((2, 257, 129), ()),
)
"""A whole operand and one that is spread over it."""

FLOATS = ("float", "double", "float16", "bfloat16")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMBERS = (*FLOATS, *INTEGERS)
ALL = (*NUMBERS, "bool")


class Case(NamedTuple):
    """Operands of a node and its result.

    Attributes
    ----------
    types : tuple of str
        By position; empty where the operand is omitted.
    shapes : tuple of shapes
        By position.
    result : str
    shape : tuple of int
        Of the result.
    attributes : mapping
    same : tuple of int
        Positions that hold the operand of position 0.
    """

    types: tuple[str, ...]
    shapes: tuple[Shape, ...]
    result: str
    shape: Shape
    attributes: Mapping[str, Any] = {}
    same: tuple[int, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the operands, by position."""
        return [
            "" if not kind else f"i{0 if i in self.same else i}"
            for i, kind in enumerate(self.types)
        ]


def _unary(types: Sequence[str] = ALL, *variants: Mapping[str, Any]) -> Cases:
    for kind in types:
        for attributes in variants or ({},):
            for shape in WHOLE:
                yield Case((kind,), (shape,), kind, shape, attributes)


def _binary(types: Sequence[str] = ALL, *variants: Mapping[str, Any]) -> Cases:
    for kind in types:
        for attributes in variants or ({},):
            for shape in WHOLE:
                for same in ((), (0, 1)):
                    yield Case((kind,) * 2, (shape,) * 2, kind, shape, attributes, same)
            for whole, part in BROADCAST:
                yield Case((kind,) * 2, (whole, part), kind, whole, attributes)
                yield Case((kind,) * 2, (part, whole), kind, whole, attributes)


def _variadic() -> Cases:
    for kind in NUMBERS:
        for count in (1, 2, 3, 4, 5):
            for shape in WHOLE:
                yield Case((kind,) * count, (shape,) * count, kind, shape)
        for same in ((0, 1), (0, 2), (0, 1, 2)):
            for shape in WHOLE:
                yield Case((kind,) * 3, (shape,) * 3, kind, shape, {}, same)
        for whole, part in BROADCAST:
            for wholes in ((0,), (1,), (0, 1), (0, 2), (1, 2), (2,)):
                shapes = tuple(whole if i in wholes else part for i in range(3))
                yield Case((kind,) * 3, shapes, kind, whole)


def _castings() -> Cases:
    """Between all types of equal size."""
    for source in TYPES:
        for target, (number, _) in TYPES.items():
            if _item_bytes(source) == _item_bytes(target):
                for shape in WHOLE:
                    yield Case((source,), (shape,), target, shape, {"to": number})


def _item_bytes(kind: str) -> int:
    return np.dtype(TYPES[kind][1]).itemsize


def _castings_by_example() -> Cases:
    for case in _castings():
        types, shapes = (*case.types, case.result), (*case.shapes, ())
        yield case._replace(types=types, shapes=shapes, attributes={})


def _clips() -> Cases:
    for kind in NUMBERS:
        for limits in ((), (kind,), ("", kind), (kind, kind)):
            for shape in WHOLE:
                scalars = ((),) * len(limits)
                yield Case((kind, *limits), (shape, *scalars), kind, shape)
        yield Case((kind,), ((3, 5, 7),), kind, (3, 5, 7), {"min": -1.0, "max": 1.5})


def _choices() -> Cases:
    for kind in ALL:
        types = ("bool", kind, kind)
        for shape in WHOLE:
            yield Case(types, (shape,) * 3, kind, shape)
            if kind == "bool":
                yield Case(types, (shape,) * 3, kind, shape, {}, (0, 2))
        for whole, part in BROADCAST:
            for wholes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2)):
                shapes = tuple(whole if i in wholes else part for i in range(3))
                yield Case(types, shapes, kind, whole)


def _batch_normalisations() -> Cases:
    for kind in FLOATS:
        for shape in ((1, 3), (2, 3, 7), (2, 3, 5, 7), (2, 1, 33), (2, 257, 129), (1, 3, 4, 5, 6)):
            yield Case((kind,) * 5, (shape, *(shape[1:2],) * 4), kind, shape)


def _scattered_elements() -> Cases:
    for kind in ALL:
        for reduction in ("", "none", "add", "mul", "max", "min"):
            for shape in ((3, 5, 7), (2, 257, 129)):
                for axis in (0, 1, 2):
                    attributes = {"axis": axis, **({"reduction": reduction} if reduction else {})}
                    places = (2, 2, 7)
                    shapes = (shape, places, places)
                    yield Case((kind, "int64", kind), shapes, kind, shape, attributes)
                    shapes = (shape,) * 3
                    yield Case((kind, "int64", kind), shapes, kind, shape, attributes, (0, 2))


def _scattered_slices() -> Cases:
    for kind in ALL:
        for reduction in ("", "none", "add", "mul", "max", "min"):
            attributes = {"reduction": reduction} if reduction else {}
            for shape in ((5, 7), (257, 300)):
                for places, updates in (((4, 1), (4, shape[1])), ((9, 2), (9,))):
                    shapes = (shape, places, updates)
                    yield Case((kind, "int64", kind), shapes, kind, shape, attributes)


def _quantised(operands: int) -> Callable[[], Cases]:
    def cases() -> Cases:
        for kind in ("uint8", "int8"):
            pairs = [(shape, shape) for shape in WHOLE]
            if operands == 2:
                pairs += [*BROADCAST, *((part, whole) for whole, part in BROADCAST)]
            for first, second in pairs:
                types = (*(kind, "float", kind) * operands, "float", kind)
                wholes = (first, second)[:operands]
                shapes = (*(s for whole in wholes for s in (whole, (), ())), (), ())
                yield Case(types, shapes, kind, max(first, second, key=np.prod))

    return cases


CASES: Mapping[str, Callable[[], Cases]] = {
    **dict.fromkeys(
        [
            *("Abs", "BitwiseNot", "Ceil", "Celu", "Elu", "Erf", "Exp", "Floor", "HardSigmoid"),
            *("HardSwish", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu"),
            *("Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Swish"),
            *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Sin", "Sinh"),
            *("Tan", "Tanh", "ThresholdedRelu"),
        ],
        _unary,
    ),
    "Cast": _castings,
    "CastLike": _castings_by_example,
    "Clip": _clips,
    "Shrink": lambda: _unary(NUMBERS, {"lambd": 0.5, "bias": 0.25}),
    **dict.fromkeys(
        [
            *("Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Mul"),
            *("Or", "PRelu", "Pow", "Sub", "Xor"),
        ],
        _binary,
    ),
    "BitShift": lambda: _binary(INTEGERS, {"direction": "LEFT"}, {"direction": "RIGHT"}),
    "Mod": lambda: _binary(NUMBERS, {"fmod": 0}, {"fmod": 1}),
    **dict.fromkeys(["Max", "Mean", "Min", "Sum"], _variadic),
    "Where": _choices,
    "BatchNormalization": _batch_normalisations,
    **dict.fromkeys(["Scatter", "ScatterElements"], _scattered_elements),
    "ScatterND": _scattered_slices,
    **dict.fromkeys(["com.microsoft.QLinearAdd", "com.microsoft.QLinearMul"], _quantised(2)),
    "com.microsoft.QLinearLeakyRelu": _quantised(1),
    "com.microsoft.QLinearSigmoid": _quantised(1),
}


def valid_operands(op_type: str, case: Case, values: list[Array]) -> list[Array]:
    """Drawn operands, made such that the operator is defined and cannot fault."""
    kinds = {value.dtype.kind for value in values}
    if op_type in ("Div", "Mod", "Pow", "BitShift") and kinds <= {"i", "u"}:
        # Division by 0 is a trap. So is the least number by -1, and a shift by the width undefined.
        values[1] = values[1] % np.asarray(4, values[1].dtype)
        if op_type in ("Div", "Mod"):
            values[1] = values[1] + np.asarray(1, values[1].dtype)
        if 1 in case.same:
            values[0] = values[1]
    if op_type.startswith("Scatter"):
        extent = case.shape[: case.shapes[1][-1]] if op_type == "ScatterND" else min(case.shape)
        places = values[1].reshape(case.shapes[1])
        values[1] = (places % np.asarray(extent)).reshape(-1)
        if "reduction" not in case.attributes and op_type != "ScatterND":
            # Which of several updates of one element stays is not defined.
            values[2] = np.full_like(values[2], values[2][0])
    if op_type.startswith("QLinear"):
        for i, value in enumerate(values):
            if value.dtype == np.float32:
                values[i] = np.array([0.02 + 0.03 * i], np.float32)
    return values
