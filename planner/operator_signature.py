"""What single operators are called in tables of measured times: by shape, and by class."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from planner.graph import Graph, Tensor

_CONVOLUTIONS = ("Conv", "FusedConv", "com.microsoft.FusedConv")
_POOLINGS = ("AveragePool", "LpPool", "MaxPool")
_PRODUCTS = ("Gemm", "MatMul", "com.microsoft.FusedGemm", "com.microsoft.FusedMatMul")


def operator_signature(graph: Graph, operator: int) -> str:
    """Describe an operator by its type, its element type, and the shapes of its operands.

    ``Conv float32 1x64x56x56 128x64x3x3 128 -> 1x128x28x28``: operands, constants among them,
    then results. A tensor of another element type than the first names its own, ``1x77:int64``; a
    scalar has the shape ``()``. Kernel sizes, groups and strides follow from the shapes, the
    elements in a pooling's window from its work: ``MaxPool of 9``. Operators that differ in other
    attributes alone, such as dilations, share a signature.
    """
    node = graph.operators[operator]
    operands = [graph.tensors[index] for index in node.inputs]
    results = [graph.tensors[index] for index in node.outputs]
    dtype = next((tensor.dtype for tensor in (*operands, *results)), "")
    words = [node.type, dtype, *_shapes(operands, dtype), "->", *_shapes(results, dtype)]
    if node.type in _POOLINGS and results and prod(results[0].shape):
        words.insert(1, f"of {node.vector_ops // prod(results[0].shape)}")
    return " ".join(word for word in words if word)


def operator_class(graph: Graph, operator: int) -> str:
    """Return the type of an operator, or what kind of convolution, pooling or product it is.

    ``Conv depthwise``, ``Conv pointwise``, ``Conv grouped``, ``Conv``, with ``3d`` and the like if
    there are not two spatial axes, ``Conv depthwise strided`` if the result is smaller; ``MaxPool
    3d``; ``product``, ``product vector`` if there is one row, ``product batched`` if both operands
    are batches of matrices, whether Gemm or MatMul; otherwise the type alone.
    """
    node = graph.operators[operator]
    shapes = [graph.tensors[index].shape for index in (*node.inputs, *node.outputs)]
    words = [node.type]
    if node.type in _CONVOLUTIONS and len(node.inputs) > 1:
        words += [*_convolution_kind(shapes[0], shapes[1], shapes[len(node.inputs)])]
    elif node.type in _PRODUCTS and len(node.inputs) > 1:
        words = ["product", *_product_kind(shapes[1], shapes[len(node.inputs)])]
    if node.type in (*_CONVOLUTIONS, *_POOLINGS) and shapes and len(shapes[0]) != 4:
        words.append(f"{len(shapes[0]) - 2}d")
    return " ".join(words)


def _shapes(tensors: Iterable[Tensor], dtype: str) -> list[str]:
    return [
        ("x".join(map(str, tensor.shape)) or "()")
        + (f":{tensor.dtype}" if tensor.dtype != dtype else "")
        for tensor in tensors
    ]


def _convolution_kind(
    data: tuple[int, ...], weight: tuple[int, ...], result: tuple[int, ...]
) -> Iterator[str]:
    """Kind of a convolution of data ``[N, C, ...]`` with weights ``[M, C / group, k...]``."""
    if len(data) < 2 or len(weight) < 2 or not weight[1]:
        return
    if data[1] > weight[1] > 1:
        yield "grouped"
    elif data[1] > weight[1]:
        yield "depthwise"
        if prod(result[2:]) < prod(data[2:]):
            yield "strided"
    elif prod(weight[2:]) == 1:
        yield "pointwise"


def _product_kind(right: tuple[int, ...], result: tuple[int, ...]) -> Iterator[str]:
    if len(right) > 2:
        yield "batched"
    elif prod(result[:-1]) == 1:
        yield "vector"
