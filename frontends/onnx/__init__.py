"""ONNX models in: `load_onnx` turns a file or a `ModelProto` into a `planner.graph.Graph`."""

from __future__ import annotations

from frontends.onnx.frontend import load_onnx

__all__ = ["load_onnx"]
