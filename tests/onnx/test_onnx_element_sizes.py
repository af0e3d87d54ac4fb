"""Element types, and bytes of tensors up to the largest size that can be counted."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from frontends.onnx import load_onnx
from planner.errors import LoweringError

from .shape_models import model


@pytest.mark.parametrize(
    ("element", "elements", "size_bytes"),
    [
        (TensorProto.FLOAT, 5, 20),
        (TensorProto.DOUBLE, 5, 40),
        (TensorProto.FLOAT16, 5, 10),
        (TensorProto.BFLOAT16, 5, 10),
        (TensorProto.BOOL, 5, 5),
        (TensorProto.COMPLEX64, 5, 40),
        (TensorProto.COMPLEX128, 5, 80),
        (TensorProto.FLOAT8E4M3FN, 5, 5),
        (TensorProto.FLOAT8E5M2FNUZ, 5, 5),
        (TensorProto.INT4, 5, 3),
        (TensorProto.UINT4, 6, 3),
        (TensorProto.FLOAT4E2M1, 7, 4),
        (26, 5, 2),  # INT2, unknown to older releases of onnx
        (25, 8, 2),  # UINT2
    ],
)
def test_bytes_by_element_type(element, elements, size_bytes):
    made = model("(float[2] x) => (y) { y = my.Op(x) }", ', "my" : 1')
    tensor_type = made.graph.input[0].type.tensor_type
    tensor_type.elem_type = element
    tensor_type.shape.dim[0].dim_value = elements
    graph = load_onnx(made, shapes={"y": "1:float32"})
    assert graph.tensors[0].size_bytes == size_bytes


def test_rows_of_packed_types_are_not_padded():
    made = model("(float[2] x) => (y) { y = my.Op(x) }", ', "my" : 1')
    made.graph.input[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.INT4, [3, 3]))
    assert load_onnx(made, shapes={"y": "1:int8"}).tensors[0].size_bytes == 5


def test_element_types_are_named_as_onnx_names_them():
    made = model("(float[2] x) => (y) { y = Cast<to = 1>(x) }")
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    graph = load_onnx(made)
    assert [tensor.dtype for tensor in graph.tensors] == ["bfloat16", "float32"]


def test_an_empty_tensor_takes_no_bytes():
    graph = load_onnx(model("(float[0, 8] x) => (y) { y = Relu(x) }"))
    assert graph.activation_bytes == 0
    assert graph.operators[0].in_place == ()


@pytest.mark.parametrize("shape", ["4611686018427387904, 8", "3000000000, 3000000000, 3000000000"])
def test_absurd_sizes_are_refused(shape):
    with pytest.raises(LoweringError, match="more than 2\\^53 bytes"):
        load_onnx(model(f"(float[{shape}] x) => (y) {{ y = Relu(x) }}"))


def test_sizes_count_up_to_where_solvers_and_plan_files_count():
    half = 1 << 52
    made = model(f"(int8[{half}] x) => (y) {{ y = Sign(x) }}")
    assert load_onnx(made).activation_bytes == 1 << 53
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = (1 << 53) + 1
    with pytest.raises(LoweringError, match=r'"x" has the shape 9007199254740993 int8 \(the file'):
        load_onnx(made)


def test_sizes_absurd_only_together_are_refused():
    with pytest.raises(LoweringError, match="together: more than 2\\^53"):
        load_onnx(model("(int8[4000000000000000] x) => (y) { h = Relu(x) y = Relu(h) }"))


def test_ranks_whose_product_takes_for_ever_are_refused_without_it():
    made = model("(float[2] x) => (y) { y = Relu(x) }")
    made.graph.initializer.add(name="w", data_type=1, dims=[1 << 62] * 1_000_000)
    with pytest.raises(LoweringError, match=r"\(1,000,000 dimensions\).*more than 1,000") as caught:
        load_onnx(made)
    assert len(str(caught.value)) < 600


def test_operation_counts_stay_within_64_bits():
    made = model("(float[1000000000] x) => (y) { k = Relu(x) y = my.Op(k) }", ', "my" : 1')
    made.graph.node[1].CopyFrom(helper.make_node("Einsum", ["k", "k"], ["y"], equation="a,b->"))
    made.graph.node.append(helper.make_node("Einsum", ["k"] * 3, ["z"], equation="a,b,c->"))
    graph = load_onnx(made, shapes={"z": ":float32"})
    assert [operator.macs for operator in graph.operators[1:]] == [10**18, 1 << 62]


def test_malformed_initializers_are_refused():
    for dims, element, words in [
        ([-2], 1, "negative dimension"),
        ([2], 99, "unknown element type 99"),
        ([1 << 40, 1 << 40], 1, "more than 2\\^53 bytes"),
    ]:
        made = model("(float[2] x) => (float[2] y) { y = Add(x, w) }")
        made.graph.initializer.add(name="w", data_type=element, dims=dims)
        with pytest.raises(LoweringError, match=words):
            load_onnx(made)


def test_what_is_no_tensor_of_numbers_is_refused_by_name():
    sequence = model(
        "(float[2] x) => (y) { s = SequenceConstruct(x, x) i = Constant<value_int = 0>()"
        " y = SequenceAt(s, i) }"
    )
    with pytest.raises(LoweringError, match=r'"s".*SequenceConstruct.*is a sequence'):
        load_onnx(sequence)
    text = model("(string[2] words) => (y) { y = Identity(words) }")
    with pytest.raises(LoweringError, match=r'"words".*a string tensor'):
        load_onnx(text)
    optional = model("(float[2] x) => (y) { o = Optional(x) y = OptionalGetElement(o) }")
    with pytest.raises(LoweringError, match=r'"o".*is an optional'):
        load_onnx(optional)


def test_constant_strings_are_constants():
    made = model("(float[2] x) => (y) { y = my.Op(x, words) }", ', "my" : 1')
    made.graph.initializer.append(helper.make_tensor("words", 8, [2], [b"one", b"three"]))
    assert load_onnx(made, shapes={"y": "2:float32"}).constant_bytes == 8
