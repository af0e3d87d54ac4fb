"""The zoo's models are valid, weightless and deterministic."""

from __future__ import annotations

import math

import pytest
from onnx import ModelProto, TensorProto, checker, helper, shape_inference

import planner
from frontends import zoo

from .networks import built, macs, variants

TRANSFORMERS = ("bert_base", "gpt2_decode", "gpt2_prefill", "transformer")


def with_weights_as_inputs(model: ModelProto) -> ModelProto:
    """Checker and strict inference open weight files, which do not exist."""
    copy = ModelProto()
    copy.CopyFrom(model)
    inside = [t for t in copy.graph.initializer if t.data_location != TensorProto.EXTERNAL]
    absent = [t for t in copy.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    copy.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in absent
    )
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(inside)
    return copy


@pytest.mark.parametrize("name", zoo.names())
def test_float_models_pass_the_full_checker(name: str) -> None:
    dtypes = ["float32", "float16", *(["bfloat16"] if name in TRANSFORMERS else [])]
    for dtype in dtypes:
        for fold in variants(name):
            checker.check_model(with_weights_as_inputs(built(name, dtype, fold)), full_check=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("name", zoo.names())
def test_declared_shapes_and_types_are_those_of_shape_inference(name: str, dtype: str) -> None:
    for fold in variants(name):
        model = built(name, dtype, fold)
        bare = ModelProto()
        bare.CopyFrom(model)
        del bare.graph.value_info[:]
        for output in bare.graph.output:
            output.type.tensor_type.ClearField("shape")
        inferred = shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True).graph
        found = {v.name: v.type for v in (*inferred.value_info, *inferred.output)}
        declared = {v.name: v.type for v in (*model.graph.value_info, *model.graph.output)}
        assert found == declared
        produced = {out for node in model.graph.node for out in node.output}
        assert produced == declared.keys()


@pytest.mark.parametrize("name", zoo.names())
def test_weights_are_absent_and_shapes_are_inside(name: str) -> None:
    model = built(name)
    end = 0
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            assert math.prod(tensor.dims) <= 1024
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        assert entries["location"] == "weights.bin"
        assert int(entries["offset"]) == end
        assert int(entries["length"]) == 4 * math.prod(tensor.dims)
        assert not tensor.raw_data and not tensor.float_data
        end += int(entries["length"])
    assert end >= 4 * zoo.parameters(model)
    assert model.ByteSize() < 320_000
    assert model.ir_version == 10
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]


@pytest.mark.parametrize("name", zoo.names())
def test_names_are_unique_and_every_initializer_is_read(name: str) -> None:
    graph = built(name).graph
    produced = [out for node in graph.node for out in node.output]
    named = [*produced, *(t.name for t in graph.initializer), *(v.name for v in graph.input)]
    assert len(set(named)) == len(named)
    read = {operand for node in graph.node for operand in node.input}
    assert read >= {t.name for t in graph.initializer} | {v.name for v in graph.input}
    assert set(produced) - read <= {v.name for v in graph.output}


@pytest.mark.parametrize("name", zoo.names())
def test_same_arguments_give_the_same_bytes(name: str) -> None:
    assert zoo.build(name).SerializeToString() == built(name).SerializeToString()


@pytest.mark.parametrize("name", zoo.names())
def test_batch_multiplies_macs_and_element_type_scales_weights(name: str) -> None:
    assert macs(zoo.build(name, batch=3)) == 3 * macs(built(name))
    lengths = {
        dtype: sum(
            int(entry.value)
            for tensor in built(name, dtype).graph.initializer
            for entry in tensor.external_data
            if entry.key == "length"
        )
        for dtype in ("float32", "float16", "int8")
    }
    assert lengths["float32"] == 2 * lengths["float16"] == 4 * lengths["int8"]


@pytest.mark.parametrize("name", zoo.names())
def test_loading_counts_the_same_macs(name: str) -> None:
    model = built(name)
    assert sum(operator.macs for operator in planner.load(model).operators) == macs(model)
