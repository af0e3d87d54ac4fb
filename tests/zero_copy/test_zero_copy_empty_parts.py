from __future__ import annotations

import pytest
from onnx import ModelProto, TensorProto, helper

import planner
from planner.testing import assert_legal


def empty_part_first() -> ModelProto:
    """A Concat whose first operand has no bytes."""
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Neg", ["x"], ["a"], name="a"),
                helper.make_node("Neg", ["z"], ["b"], name="b"),
                helper.make_node("Concat", ["a", "b"], ["y"], name="y", axis=0),
            ],
            "empty",
            [
                helper.make_tensor_value_info("x", TensorProto.FLOAT, [0, 3]),
                helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 3]),
            ],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )


@pytest.mark.parametrize("target", ["host", "npu-1m"])
def test_an_empty_part_of_a_concat_is_neither_read_nor_written(target: str) -> None:
    result = planner.plan(empty_part_first(), target=target, zero_copy=True)
    assert_legal(result.graph, result.plan.target, result.plan)
    pytest.importorskip("onnxruntime")
    assert planner.execute(empty_part_first(), result.plan).verdict == planner.Verdict.EXACT
