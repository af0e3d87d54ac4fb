"""What networks of searched cells share: a cell reads the results of the two before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.zoo.convolution import (
    conv_batch_norm,
    factorized_reduction,
    relu_conv_batch_norm,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from frontends.zoo.builder import GraphBuilder, Value


def stem_and_first_cell(
    b: GraphBuilder,
    shape: tuple[int, int, int, int],
    stem_filters: int,
    width: int,
    cell: Callable[[Value, Value], Value],
) -> tuple[Value, Value]:
    """Read the image and apply the first cell, which has no earlier cell.

    It reads the stem twice, once at the stem's own width.

    Parameters
    ----------
    cell : callable
        Makes the cell of the previous operand and the current one, which has ``width`` channels.

    Returns
    -------
    Value
        The stem.
    Value
        The cell's result.
    """
    stem = conv_batch_norm(
        b, b.input("image", shape), stem_filters, 3, stride=2, padding=0, name="stem"
    )
    with b.scope("stem0"):
        return stem, cell(stem, relu_conv_batch_norm(b, stem, width, name="adapt"))


def adapted(b: GraphBuilder, previous: Value, current: Value, width: int) -> tuple[Value, Value]:
    """Give both operands ``width`` channels and the height and width of ``current``."""
    if previous.shape[2:] == current.shape[2:]:
        p = relu_conv_batch_norm(b, previous, width, name="adapt_previous")
    else:
        p = factorized_reduction(b, previous, width)
    return p, relu_conv_batch_norm(b, current, width, name="adapt")
