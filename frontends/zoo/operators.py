"""Operators that every kind of network uses, with the shapes of their results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from frontends.zoo.builder import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frontends.zoo.builder import GraphBuilder


def relu(b: GraphBuilder, x: Value) -> Value:
    """Rectify, into a tensor of its own."""
    return b.node("Relu", [x], x.shape)


def elementwise(b: GraphBuilder, op_type: str, left: Value, right: Value) -> Value:
    """Combine two operands, with broadcasting."""
    return b.node(op_type, [left, right], np.broadcast_shapes(left.shape, right.shape))


def add(b: GraphBuilder, left: Value, right: Value) -> Value:
    """Add two operands, with broadcasting."""
    return elementwise(b, "Add", left, right)


def concat(b: GraphBuilder, operands: Sequence[Value], axis: int) -> Value:
    """Join operands that agree in every other dimension."""
    first = operands[0].shape
    length = sum(value.shape[axis] for value in operands)
    for value in operands:
        if value.shape[:axis] + value.shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise ValueError(f"cannot join {first} and {value.shape} along axis {axis}")
    return b.node("Concat", operands, (*first[:axis], length, *first[axis + 1 :]), axis=axis)


def reshape(b: GraphBuilder, x: Value, shape: Sequence[int]) -> Value:
    """Read the same bytes under another shape."""
    return b.node("Reshape", [x, b.integers(shape)], shape)


def transpose(b: GraphBuilder, x: Value, permutation: Sequence[int]) -> Value:
    """Permute the axes, into a tensor of its own."""
    shape = [x.shape[axis] for axis in permutation]
    return b.node("Transpose", [x], shape, perm=list(permutation))


def resize(b: GraphBuilder, x: Value, size: Sequence[int]) -> Value:
    """Scale an image to a height and width, bilinearly, corners not aligned."""
    shape = (*x.shape[:2], *size)
    # no region of interest, no scales: the sizes say it all
    omitted = Value("", (), x.element_type)
    return b.node(
        "Resize",
        [x, omitted, omitted, b.integers(shape)],
        shape,
        mode="linear",
        coordinate_transformation_mode="pytorch_half_pixel",
    )


def classifier(b: GraphBuilder, x: Value, classes: int, *, name: str) -> Value:
    """Multiply a [batch, features] matrix by a weight and add a bias: one Gemm."""
    batch, features = x.shape
    weight = b.parameter(f"{name}.weight", (classes, features))
    bias = b.parameter(f"{name}.bias", (classes,))
    return b.node("Gemm", [x, weight, bias], (batch, classes), name=name, transB=1)
