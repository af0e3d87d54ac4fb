"""ONNX Runtime's symbolic shape inference as a process of its own: model in, model out.

It can loop for long, log, leave files in the current directory and raise anything, so `shapes`
runs it apart, in a temporary folder and with a time limit.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from onnx import ModelProto
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    model = ModelProto.FromString(sys.stdin.buffer.read())
    inferred = SymbolicShapeInference.infer_shapes(model, auto_merge=True, guess_output_rank=False)
    if inferred is None:
        raise SystemExit("symbolic inference gave up")
    sys.stdout.buffer.write(inferred.SerializeToString())
