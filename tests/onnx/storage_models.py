"""Models as text, and where the frontend keeps their tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper, parser

if TYPE_CHECKING:
    from planner.graph import Graph, StorageKind


def model(
    body: str, constants: dict[str, object] | None = None, *, ir: int = 8, opset: int = 17
) -> onnx.ModelProto:
    imports = f'"" : {opset}, "my" : 1, "com.microsoft" : 1'
    made = parser.parse_model(f"<ir_version: {ir}, opset_import: [{imports}]> g {body}")
    for name, value in (constants or {}).items():
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        made.graph.initializer.append(numpy_helper.from_array(array, name))
    return made


def place(graph: Graph, name: str) -> tuple[str, int]:
    """Storage and offset of a tensor."""
    tensor = next(tensor for tensor in graph.tensors if tensor.name == name)
    return graph.storages[tensor.storage].name, tensor.offset_bytes


def kind(graph: Graph, name: str) -> StorageKind:
    tensor = next(tensor for tensor in graph.tensors if tensor.name == name)
    return graph.storages[tensor.storage].kind


def in_place(graph: Graph, result: str) -> list[str]:
    """Operands that may be overwritten with that result."""
    names = [tensor.name for tensor in graph.tensors]
    return [
        names[option.input]
        for operator in graph.operators
        for option in operator.in_place
        if names[option.output] == result
    ]
