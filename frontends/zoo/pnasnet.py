"""PNASNet-5 for ImageNet: one published cell, with stride 1 or 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.cell import adapted, stem_and_first_cell
from frontends.zoo.convolution import (
    conv_batch_norm,
    max_pool,
    pooled_classifier,
    relu_conv_batch_norm,
    separable_twice,
)
from frontends.zoo.operators import add, concat, relu
from planner.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value


def pnasnet5_mobile(
    *,
    batch: int = 1,
    image: int = 224,
    cells: int = 3,
    filters: int = 54,
    dtype: str = "float32",
    fold_batchnorm: bool = True,
) -> ModelProto:
    """PNASNet-5 (N = 3, F = 54), the mobile variant.

    5,064,487 parameters with ``fold_batchnorm=False``; 5.87e8 multiply-accumulates (published:
    5.1e6 and 5.88e8). At one byte per element and without overwriting: largest operator footprint
    788,544 bytes, minimum peak 1,030,253.
    Options and source: see `pnasnet5_large`.
    """
    return _pnasnet5(
        GraphBuilder("pnasnet5_mobile", dtype=dtype, fold_batchnorm=fold_batchnorm),
        (batch, 3, image, image),
        cells=cells,
        filters=filters,
        stem_filters=32,
    )


def pnasnet5_large(
    *,
    batch: int = 1,
    image: int = 331,
    cells: int = 4,
    filters: int = 216,
    dtype: str = "float32",
    fold_batchnorm: bool = True,
) -> ModelProto:
    """PNASNet-5 (N = 4, F = 216), the large variant.

    86,057,668 parameters with ``fold_batchnorm=False``; 2.49e10 multiply-accumulates (published:
    86.1e6 and 2.50e10). At one byte per element and without overwriting: largest operator footprint
    5,227,200 bytes, where the stem is rectified; minimum peak 7,376,568.

    Liu et al., Progressive Neural Architecture Search, ECCV 2018 (arXiv 1712.00559); what the paper
    leaves open is as in its authors' TF-Slim implementation. Without the auxiliary classifier,
    which only trains.

    Parameters
    ----------
    cells, filters : int
        N and F of the paper: cells per group, and channels in the cells of the first group. The
        first cell of the second and of the third group halves the image and doubles the channels.

    Raises
    ------
    UsageError
        If the image is too small, ``cells`` below 1 or ``filters`` below 8.
    """
    return _pnasnet5(
        GraphBuilder("pnasnet5_large", dtype=dtype, fold_batchnorm=fold_batchnorm),
        (batch, 3, image, image),
        cells=cells,
        filters=filters,
        stem_filters=96,
    )


def _pnasnet5(
    b: GraphBuilder,
    shape: tuple[int, int, int, int],
    *,
    cells: int,
    filters: int,
    stem_filters: int,
) -> ModelProto:
    """Stem, two halving cells, three groups of cells, classifier; a cell reads the last two."""
    if cells < 1:
        raise UsageError(f"{b.name}: cells={cells} must be at least 1.")
    if filters < 8:
        raise UsageError(f"{b.name}: filters={filters} must be at least 8.")
    previous, current = stem_and_first_cell(
        b, shape, stem_filters, filters // 4, lambda p, c: _cell(b, p, c, filters // 4, 2)
    )
    previous, current = current, _adapted_cell(b, previous, current, filters // 2, 2, "stem1")
    for group in range(3):
        for cell in range(cells):
            stride = 2 if group and cell == 0 else 1
            scope = f"group{group + 1}.cell{cell + 1}"
            result = _adapted_cell(b, previous, current, filters << group, stride, scope)
            previous, current = current, result
    b.output("logits", pooled_classifier(b, relu(b, current), 1000))
    return b.model()


def _adapted_cell(
    b: GraphBuilder, previous: Value, current: Value, width: int, stride: int, scope: str
) -> Value:
    with b.scope(scope):
        previous, current = adapted(b, previous, current, width)
        return _cell(b, previous, current, width, stride)


def _cell(b: GraphBuilder, p: Value, c: Value, width: int, stride: int) -> Value:
    """Combine the previous operand ``p`` and the current ``c``, which has ``width`` channels."""
    pooled = max_pool(b, p, 3, stride, padding=1)
    if p.shape[1] != width:
        pooled = conv_batch_norm(b, pooled, width, 1, name="pooled")
    block0 = add(b, separable_twice(b, p, width, 5, stride=stride, name="sep0l"), pooled)
    block1 = add(
        b,
        separable_twice(b, c, width, 7, stride=stride, name="sep1l"),
        max_pool(b, c, 3, stride, padding=1),
    )
    block2 = add(
        b,
        separable_twice(b, c, width, 5, stride=stride, name="sep2l"),
        separable_twice(b, c, width, 3, stride=stride, name="sep2r"),
    )
    block3 = add(
        b,
        separable_twice(b, block2, width, 3, name="sep3l"),
        max_pool(b, c, 3, stride, padding=1),
    )
    skip = c if stride == 1 else relu_conv_batch_norm(b, c, width, stride=stride, name="skip")
    block4 = add(b, separable_twice(b, p, width, 3, stride=stride, name="sep4l"), skip)
    return concat(b, [block0, block1, block2, block3, block4], axis=1)
