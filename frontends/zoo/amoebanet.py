"""AmoebaNet-D for ImageNet: the published normal and reduction cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.convolution import (
    conv_batch_norm,
    factorized_reduction,
    pooled_classifier,
    relu_conv_batch_norm,
)
from frontends.zoo.operators import add, concat, relu
from planner.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value

# (operation, operand) pairs; two make one new state. State 0 is the last cell's result, adapted,
# state 1 the one before it.
_NORMAL = (
    ("conv_1x1", 1),
    ("max_pool_3x3", 1),
    ("none", 1),
    ("conv_1x7_7x1", 0),
    ("conv_1x1", 0),
    ("conv_1x7_7x1", 0),
    ("max_pool_3x3", 2),
    ("none", 2),
    ("avg_pool_3x3", 1),
    ("conv_1x1", 5),
)
_NORMAL_RESULT = (0, 3, 4, 6)
_REDUCTION = (
    ("max_pool_2x2", 0),
    ("max_pool_3x3", 0),
    ("none", 2),
    ("conv_3x3", 1),
    ("conv_1x7_7x1", 2),
    ("max_pool_3x3", 2),
    ("none", 3),
    ("max_pool_2x2", 1),
    ("avg_pool_3x3", 2),
    ("conv_1x1", 3),
)
_REDUCTION_RESULT = (4, 5, 6)
# kernels of an operation's convolutions, between a pointwise one that leaves a quarter of the
# channels and another that restores them
_BOTTLENECKS = {"conv_3x3": ((3, 3),), "conv_1x7_7x1": ((1, 7), (7, 1))}
_STEM_FILTERS = 32


def amoebanet_d(
    *,
    batch: int = 1,
    image: int = 224,
    cells: int = 18,
    filters: int = 208,
    dtype: str = "float32",
    fold_batchnorm: bool = True,
) -> ModelProto:
    """AmoebaNet-D (18, 208): GPipe's smallest, three groups of six cells, 208 filters at first.

    81,137,437 parameters with ``fold_batchnorm=False`` (published, with the auxiliary classifier
    and 1,001 classes: 82e6); 9.38e9 multiply-accumulates. At one byte per element and without
    overwriting: largest operator footprint 1,304,576 bytes, the Concat of a normal cell of the
    first group; minimum peak 1,732,640.

    Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019
    (arXiv 1802.01548); sizes from Huang et al., GPipe, NeurIPS 2019 (arXiv 1811.06965). The cells
    and what the papers leave open are as in the authors' implementation for TPUs, whose normal
    cell hands on states 0, 3, 4 and 6. Without the auxiliary classifier, which only trains.

    Parameters
    ----------
    cells, filters : int
        L and D of GPipe: normal cells, a multiple of 3, and filters in the first group, a multiple
        of 16. Two reduction cells before the first group and one before each other group halve the
        image and double the filters.

    Raises
    ------
    UsageError
        If the image is too small, ``cells`` or ``filters`` no such multiple.
    """
    if cells < 3 or cells % 3:
        raise UsageError(f"amoebanet_d: cells={cells} must be a positive multiple of 3.")
    if filters < 16 or filters % 16:
        raise UsageError(f"amoebanet_d: filters={filters} must be a positive multiple of 16.")
    b = GraphBuilder("amoebanet_d", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = b.input("image", (batch, 3, image, image))
    previous = conv_batch_norm(b, x, _STEM_FILTERS, 3, stride=2, padding=0, name="stem")
    # the first cell has no earlier cell: the stem is both operands
    previous, current = previous, _cell(b, previous, previous, filters // 4, True, "stem0")
    previous, current = current, _cell(b, previous, current, filters // 2, True, "stem1")
    for group in range(3):
        width = filters << group
        if group:
            previous, current = (
                current,
                _cell(b, previous, current, width, True, f"reduction{group}"),
            )
        for cell in range(cells // 3):
            scope = f"group{group + 1}.cell{cell + 1}"
            previous, current = current, _cell(b, previous, current, width, False, scope)
    b.output("logits", pooled_classifier(b, relu(b, current), 1000))
    return b.model()


def _cell(
    b: GraphBuilder, previous: Value, current: Value, width: int, reduces: bool, scope: str
) -> Value:
    with b.scope(scope):
        if previous.shape[2:] != current.shape[2:]:
            previous = factorized_reduction(b, previous, width)
        elif previous is not current and previous.shape[1] != width:
            previous = relu_conv_batch_norm(b, previous, width, name="adapt_previous")
        states = [relu_conv_batch_norm(b, current, width, name="adapt"), previous]
        genotype = _REDUCTION if reduces else _NORMAL
        for index in range(0, len(genotype), 2):
            operands = []
            for side, (operation, operand) in enumerate(genotype[index : index + 2]):
                stride = 2 if reduces and operand < 2 else 1
                with b.scope(f"state{len(states)}.{side}"):
                    operands.append(_apply(b, operation, states[operand], width, stride))
            states.append(add(b, operands[0], operands[1]))
        result = _REDUCTION_RESULT if reduces else _NORMAL_RESULT
        return concat(b, [states[state] for state in result], axis=1)


def _apply(b: GraphBuilder, operation: str, x: Value, width: int, stride: int) -> Value:
    if operation == "none":
        return x
    if operation == "conv_1x1":
        return relu_conv_batch_norm(b, x, width, stride=stride, name=operation)
    if operation in _BOTTLENECKS:
        x = relu_conv_batch_norm(b, x, width // 4, name="narrow")
        for kernel in _BOTTLENECKS[operation]:
            # each convolution strides along the axes its kernel extends over
            strides = [stride if extent > 1 else 1 for extent in kernel]
            x = relu_conv_batch_norm(b, x, width // 4, kernel, stride=strides, name=operation)
        return relu_conv_batch_norm(b, x, width, name="widen")
    x = _pool(b, operation, x, stride)
    return x if x.shape[1] == width else conv_batch_norm(b, x, width, 1, name="pooled")


def _pool(b: GraphBuilder, operation: str, x: Value, stride: int) -> Value:
    """Pool; a window may reach over the edge, at the end before the beginning."""
    kind, _, size = operation.rpartition("_")
    return b.node(
        "MaxPool" if kind == "max_pool" else "AveragePool",
        [x],
        (*x.shape[:2], *(-(-length // stride) for length in x.shape[2:])),
        kernel_shape=[int(size[0])] * 2,
        strides=[stride] * 2,
        auto_pad="SAME_UPPER",
    )
