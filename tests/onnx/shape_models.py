"""Models as text, and the shapes of their tensors."""

from __future__ import annotations

import onnx
from onnx import parser


def model(body: str, domains: str = "", opset: int = 17, functions: str = "") -> onnx.ModelProto:
    imports = f'"" : {opset}{domains}'
    return parser.parse_model(f"<ir_version: 8, opset_import: [{imports}]> g {body} {functions}")


def shapes(graph) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in graph.tensors}
