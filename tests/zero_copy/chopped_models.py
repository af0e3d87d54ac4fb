"""Random models that are mostly cut and joined, and small ones with a known best choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper, parser

if TYPE_CHECKING:
    from collections.abc import Callable

_COLUMNS = 4


def model(body: str, constants: dict[str, object] | None = None) -> onnx.ModelProto:
    made = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {body}')
    for name, value in (constants or {}).items():
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return made


def early_part() -> onnx.ModelProto:
    """Where the copy is cheaper: sharing would keep 40 rows beside the 60 in the middle."""
    return model(
        """(float[1, 4] x) => (y) {
        a = Expand(x, two)
        s = ReduceMax<axes = [0], keepdims = 1>(a)
        large = Expand(s, sixty)
        t = ReduceMax<axes = [0], keepdims = 1>(large)
        b = Expand(t, thirtyeight)
        joined = Concat<axis = 0>(a, b)
        y = ReduceMax<axes = [0], keepdims = 1>(joined) }""",
        {"two": [2, 4], "sixty": [60, 4], "thirtyeight": [38, 4]},
    )


def late_join() -> onnx.ModelProto:
    """Where join and cut are the peak, and sharing makes them free."""
    return model(
        """(float[1, 4] x) => (y) {
        a = Expand(x, eight)
        s = ReduceMax<axes = [0], keepdims = 1>(a)
        b = Expand(s, eight)
        joined = Concat<axis = 0>(a, b)
        p, q = Split<axis = 0>(joined, halves)
        u = ReduceMax<axes = [0], keepdims = 1>(p)
        v = ReduceMax<axes = [0], keepdims = 1>(q)
        y = Add(u, v) }""",
        {"eight": [8, 4], "halves": [8, 8]},
    )


def dense_block(layers: int, rows: int) -> onnx.ModelProto:
    """Every layer reads what all earlier ones made, joined anew each time, as torchvision does."""
    nodes, inputs = [], []
    for layer in range(layers):
        source = "x"
        if inputs:
            source = f"joined{layer}"
            nodes.append(helper.make_node("Concat", ["f0", *inputs], [source], axis=0))
        else:
            nodes.append(helper.make_node("Softmax", ["x"], ["f0"]))
            source = "f0"
        inputs.append(f"f{layer + 1}")
        nodes.append(helper.make_node("ReduceMax", [source], [f"m{layer}"], axes=[0], keepdims=1))
        nodes.append(helper.make_node("Expand", [f"m{layer}", "rows"], [inputs[-1]]))
    nodes.append(helper.make_node("Concat", ["f0", *inputs], ["joined"], axis=0))
    nodes.append(helper.make_node("ReduceMax", ["joined"], ["y"], axes=[0], keepdims=1))
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", 1, (2 * rows, _COLUMNS))],
        [helper.make_tensor_value_info("y", 1, (1, _COLUMNS))],
        [numpy_helper.from_array(np.array([rows, _COLUMNS]), "rows")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@st.composite
def chopped_models(draw: Callable, most_nodes: int = 12) -> onnx.ModelProto:
    """A DAG of Split, Slice, Concat along the rows, element-wise and other operators."""
    known = {"in0": draw(st.integers(2, 6)), "in1": draw(st.integers(1, 3))}
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, values: list[int]) -> str:
        constants.append(numpy_helper.from_array(np.array(values), name))
        return name

    for index in range(draw(st.integers(2, most_nodes))):
        source, out = draw(st.sampled_from(sorted(known))), f"v{index}"
        rows = known[source]
        kinds = ["Relu", "Softmax", "Add", "Identity", "Concat", "Concat"]
        kinds += ["Split", "Split", "Slice"] if rows > 1 else []
        kind = draw(st.sampled_from(kinds))
        if kind in ("Relu", "Softmax", "Identity"):
            nodes.append(helper.make_node(kind, [source], [out]))
            known[out] = rows
        elif kind == "Add":
            other = draw(st.sampled_from([name for name in sorted(known) if known[name] == rows]))
            nodes.append(helper.make_node(kind, [source, other], [out]))
            known[out] = rows
        elif kind == "Split":
            first = draw(st.integers(1, rows - 1))
            sizes = constant(f"{out}_sizes", [first, rows - first])
            outs = [f"{out}_a", f"{out}_b"]
            nodes.append(helper.make_node(kind, [source, sizes], outs, axis=0))
            known |= dict(zip(outs, (first, rows - first), strict=True))
        elif kind == "Slice":
            start = draw(st.integers(0, rows - 1))
            end = draw(st.integers(start + 1, rows))
            bounds = [constant(f"{out}_start", [start]), constant(f"{out}_end", [end])]
            axes = constant(f"{out}_axes", [0])
            nodes.append(helper.make_node(kind, [source, *bounds, axes], [out]))
            known[out] = end - start
        else:
            parts = [source, *draw(st.lists(st.sampled_from(sorted(known)), max_size=3))]
            if sum(known[part] for part in parts) <= 24:
                nodes.append(helper.make_node(kind, parts, [out], axis=0))
                known[out] = sum(known[part] for part in parts)
    written = [name for node in nodes for name in node.output]
    if not written:
        nodes.append(helper.make_node("Relu", ["in0"], ["last"]))
        known["last"] = known["in0"]
        written = ["last"]
    outputs = draw(st.lists(st.sampled_from(written), min_size=1, max_size=2, unique=True))
    graph = helper.make_graph(
        nodes,
        "chopped",
        [helper.make_tensor_value_info(f"in{i}", 1, (known[f"in{i}"], _COLUMNS)) for i in (0, 1)],
        [helper.make_tensor_value_info(name, 1, (known[name], _COLUMNS)) for name in outputs],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
