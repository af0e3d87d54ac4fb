"""NASNet-A for ImageNet: the published normal and reduction cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.cell import adapted, stem_and_first_cell
from frontends.zoo.convolution import average_pool, max_pool, pooled_classifier, separable_twice
from frontends.zoo.operators import add, concat, relu
from planner.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value


def nasnet_a_mobile(
    *,
    batch: int = 1,
    image: int = 224,
    cells: int = 4,
    filters: int = 1056,
    dtype: str = "float32",
    fold_batchnorm: bool = True,
) -> ModelProto:
    """NASNet-A (4 @ 1056), the mobile variant.

    5,289,978 parameters with ``fold_batchnorm=False``; 5.6e8 multiply-accumulates.
    Options and source: see `nasnet_a_large`.
    """
    return _nasnet_a(
        GraphBuilder("nasnet_a_mobile", dtype=dtype, fold_batchnorm=fold_batchnorm),
        (batch, 3, image, image),
        cells=cells,
        filters=filters,
        stem_filters=32,
        skip_reduction_input=False,
    )


def nasnet_a_large(
    *,
    batch: int = 1,
    image: int = 331,
    cells: int = 6,
    filters: int = 4032,
    dtype: str = "float32",
    fold_batchnorm: bool = True,
) -> ModelProto:
    """NASNet-A (6 @ 4032), the large variant.

    88,753,150 parameters with ``fold_batchnorm=False``; 2.38e10 multiply-accumulates. Without the
    auxiliary classifier, which only trains.

    Zoph et al., Learning Transferable Architectures for Scalable Image Recognition, CVPR 2018
    (arXiv 1707.07012).

    Parameters
    ----------
    cells, filters : int
        N and F of the paper's "N @ F": normal cells per group, and channels of the last cell's
        output; a multiple of 96.

    Raises
    ------
    UsageError
        If the image is too small or ``filters`` is not a positive multiple of 96.
    """
    return _nasnet_a(
        GraphBuilder("nasnet_a_large", dtype=dtype, fold_batchnorm=fold_batchnorm),
        (batch, 3, image, image),
        cells=cells,
        filters=filters,
        stem_filters=96,
        skip_reduction_input=True,
    )


def _nasnet_a(
    b: GraphBuilder,
    shape: tuple[int, int, int, int],
    *,
    cells: int,
    filters: int,
    stem_filters: int,
    skip_reduction_input: bool,
) -> ModelProto:
    """Stem, three groups of normal cells, reduction cells between, classifier.

    The cell after a reduction cell reads, beside its result, the result of the cell before it; with
    ``skip_reduction_input`` that of the cell before that one, as published for the large variant.
    """
    if filters < 1 or filters % 96:
        raise UsageError(f"{b.name}: filters={filters} must be a positive multiple of 96.")
    if cells < 1:
        raise UsageError(f"{b.name}: cells={cells} must be at least 1.")
    # the last cell joins six tensors, after two doublings
    width = filters // 24
    previous, current = stem_and_first_cell(
        b, shape, stem_filters, width // 4, lambda p, c: _reduction_cell(b, p, c, width // 4)
    )
    previous, current = current, _adapted_reduction_cell(b, previous, current, width // 2, "stem1")
    for group in range(3):
        if group:
            reduced = _adapted_reduction_cell(
                b, previous, current, width << group, f"reduction{group}"
            )
            previous, current = previous if skip_reduction_input else current, reduced
        for cell in range(cells):
            with b.scope(f"group{group + 1}.cell{cell + 1}"):
                previous, current = current, _normal_cell(b, previous, current, width << group)
    b.output("logits", pooled_classifier(b, relu(b, current), 1000))
    return b.model()


def _adapted_reduction_cell(
    b: GraphBuilder, previous: Value, current: Value, width: int, scope: str
) -> Value:
    with b.scope(scope):
        previous, current = adapted(b, previous, current, width)
        return _reduction_cell(b, previous, current, width)


def _normal_cell(b: GraphBuilder, previous: Value, current: Value, width: int) -> Value:
    p, c = adapted(b, previous, current, width)
    blocks = [
        add(
            b,
            separable_twice(b, c, width, 5, name="sep0l"),
            separable_twice(b, p, width, 3, name="sep0r"),
        ),
        add(
            b,
            separable_twice(b, p, width, 5, name="sep1l"),
            separable_twice(b, p, width, 3, name="sep1r"),
        ),
        add(b, average_pool(b, c, 3, 1, padding=1), p),
        add(b, average_pool(b, p, 3, 1, padding=1), average_pool(b, p, 3, 1, padding=1)),
        add(b, separable_twice(b, c, width, 3, name="sep4l"), c),
    ]
    return concat(b, [p, *blocks], axis=1)


def _reduction_cell(b: GraphBuilder, p: Value, c: Value, width: int) -> Value:
    """Halve height and width of the adapted operands."""
    block0 = add(
        b,
        separable_twice(b, c, width, 5, stride=2, name="sep0l"),
        separable_twice(b, p, width, 7, stride=2, name="sep0r"),
    )
    block1 = add(
        b,
        max_pool(b, c, 3, 2, padding=1),
        separable_twice(b, p, width, 7, stride=2, name="sep1r"),
    )
    block2 = add(
        b,
        average_pool(b, c, 3, 2, padding=1),
        separable_twice(b, p, width, 5, stride=2, name="sep2r"),
    )
    block3 = add(b, average_pool(b, block0, 3, 1, padding=1), block1)
    block4 = add(
        b, separable_twice(b, block0, width, 3, name="sep4l"), max_pool(b, c, 3, 2, padding=1)
    )
    return concat(b, [block1, block2, block3, block4], axis=1)
