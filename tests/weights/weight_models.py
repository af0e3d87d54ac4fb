"""Models with weights in all the places where a model can have them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DATA = np.random.default_rng(7).normal(0.5, 2.0, (32, 64)).astype(np.float32)


def tensor(name: str = "w", values: np.ndarray = DATA) -> TensorProto:
    return numpy_helper.from_array(values, name)


def absent(
    name: str = "w",
    dims: Sequence[int] = (32, 64),
    kind: int = TensorProto.FLOAT,
    doc: str = "",
    **entries: str,
) -> TensorProto:
    """A tensor whose data is in a file of that name, unless ``location`` says otherwise."""
    made = TensorProto(name=name, data_type=kind, dims=dims, doc_string=doc)
    made.data_location = TensorProto.EXTERNAL
    for key, value in {"location": f"{name}.bin", **entries}.items():
        made.external_data.add(key=key, value=value)
    return made


def stripped(doc: str | dict[str, object], **more: object) -> TensorProto:
    text = doc if isinstance(doc, str) else json.dumps(doc)
    return absent(doc=text, location="__stripped__", **more)  # type: ignore[arg-type]


def model(*initializers: TensorProto, ir: int = 8, opset: int = 17) -> ModelProto:
    """``y = x @ w`` with whatever initializers."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 64])],
        initializer=initializers,
    )
    return helper.make_model(graph, ir_version=ir, opset_imports=[helper.make_opsetid("", opset)])


def model_with_hidden_weights() -> ModelProto:
    """Weights in both branches of an If, in an attribute, in a function, and sparse ones."""
    branches = [
        helper.make_graph(
            [helper.make_node("MatMul", ["x", f"{name}_w"], [f"{name}_y"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, [2, 64])],
            initializer=[tensor(f"{name}_w", DATA + len(name))],
        )
        for name in ("then", "other")
    ]
    unnamed = tensor("", DATA * 3)
    function = helper.make_function(
        "local",
        "Bias",
        ["a"],
        ["b"],
        [
            helper.make_node("Constant", [], ["c"], value=tensor("in_function", DATA[:, :1] + 1)),
            helper.make_node("Constant", [], ["d"], value=tensor("large_in_function", DATA + 9)),
            helper.make_node("MatMul", ["a", "d"], ["b"]),
        ],
        [helper.make_opsetid("", 17)],
    )
    sparse = helper.make_sparse_tensor(
        tensor("sparse_w", DATA.ravel()),
        numpy_helper.from_array(np.arange(DATA.size, dtype=np.int64), "places"),
        [4096],
    )
    graph = helper.make_graph(
        [
            helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1]),
            helper.make_node("Constant", [], ["k"], value=unnamed),
            helper.make_node("MatMul", ["x", "k"], ["z"]),
            helper.make_node("Bias", ["x"], ["u"], domain="local"),
            helper.make_node("Identity", ["sparse_w"], ["v"]),
        ],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 32]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "z", "u")],
        sparse_initializer=[sparse],
    )
    return helper.make_model(
        graph,
        ir_version=8,
        functions=[function],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
    )


def save(path: Path, made: ModelProto) -> Path:
    path.write_bytes(made.SerializeToString())
    return path
