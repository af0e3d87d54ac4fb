"""Models of the zoo, built once, and what their graphs say of shapes and work."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from frontends import zoo

if TYPE_CHECKING:
    import onnx
    from onnx import ModelProto


@cache
def built(name: str, dtype: str = "float32", fold: bool | None = None) -> ModelProto:
    extra = {} if fold is None else {"fold_batchnorm": fold}
    return zoo.build(name, dtype=dtype, **extra)


def variants(name: str) -> list[bool | None]:
    return [True, False] if "fold_batchnorm" in zoo.options(name) else [None]


def dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    graph = model.graph
    declared = {v.name: dims(v) for v in (*graph.input, *graph.value_info, *graph.output)}
    return declared | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def macs(model: ModelProto) -> int:
    shape = shapes(model)
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += math.prod(shape[node.output[0]]) * math.prod(shape[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":
            total += math.prod(shape[node.input[0]]) * math.prod(shape[node.input[1]][1:])
        elif node.op_type in ("Gemm", "MatMul"):
            total += math.prod(shape[node.output[0]]) * shape[node.input[0]][-1]
    return total
