"""The zoo's models are valid, weightless, deterministic, and the networks they claim to be."""

from __future__ import annotations

import math
import os
import random
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, checker, helper, shape_inference

import planner
from frontends import zoo
from frontends.zoo.randwire import watts_strogatz

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHED_PARAMETERS = {
    "bert_base": 109_482_240,
    "darts": 4_718_752,
    "deeplabv3_resnet50": 42_004_074,
    "densenet121": 7_978_856,
    "fcn_resnet50": 35_322_218,
    "gpt2_decode": 124_439_808,
    "gpt2_prefill": 124_439_808,
    "lraspp": 3_221_538,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_large": 5_483_032,
    "nasnet_a_large": 88_753_150,
    "nasnet_a_mobile": 5_289_978,
    "pnasnet5_large": 86_057_668,
    "r2plus1d_18": 31_505_325,
    "resnet50": 25_557_032,
    "resnet8": 78_186,
    "resnext50": 25_028_904,
    "s3d": 8_320_048,
    "unet": 31_037_698,
    "vit_b_16": 86_567_656,
}
# torchvision publishes both with an auxiliary head on the third stage, which only trains: a 3x3
# convolution from 1,024 to 256 channels, BatchNormalization, and one to 21 classes
AUXILIARY_WEIGHTS = 1024 * 256 * 9 + 256 * 21
AUXILIARY_HEADS: dict[str, int] = dict.fromkeys(
    ("deeplabv3_resnet50", "fcn_resnet50"), AUXILIARY_WEIGHTS + 2 * 256 + 21
)

OUTPUTS = {
    "amoebanet_d": {"logits": (1, 1000)},
    "bert_base": {"last_hidden_state": (1, 128, 768), "pooler_output": (1, 768)},
    "darts": {"logits": (1, 1000)},
    "deeplabv3_resnet50": {"logits": (1, 21, 224, 224)},
    "densenet121": {"logits": (1, 1000)},
    "fcn_resnet50": {"logits": (1, 21, 224, 224)},
    "lraspp": {"logits": (1, 21, 224, 224)},
    "mobilenet_v2": {"logits": (1, 1000)},
    "mobilenet_v3_large": {"logits": (1, 1000)},
    "nasnet_a_large": {"logits": (1, 1000)},
    "nasnet_a_mobile": {"logits": (1, 1000)},
    "pnasnet5_large": {"logits": (1, 1000)},
    "pnasnet5_mobile": {"logits": (1, 1000)},
    "r2plus1d_18": {"logits": (1, 400)},
    "randwire": {"logits": (1, 1000)},
    "resnet50": {"logits": (1, 1000)},
    "resnet8": {"probabilities": (1, 10)},
    "resnext50": {"logits": (1, 1000)},
    "s3d": {"logits": (1, 400)},
    "transformer": {"logits": (1, 512, 37_000)},
    "unet": {"logits": (1, 2, 256, 256)},
    "vit_b_16": {"logits": (1, 1000)},
}

CACHE = ("key", "value")
TRANSFORMERS = ("bert_base", "gpt2_decode", "gpt2_prefill", "transformer")


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


@pytest.mark.parametrize("name", sorted(PUBLISHED_PARAMETERS))
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    counted = zoo.parameters(built(name, fold=variants(name)[-1]))
    assert counted + AUXILIARY_HEADS.get(name, 0) == PUBLISHED_PARAMETERS[name]


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_outputs_have_the_expected_names_and_shapes(name: str) -> None:
    assert {v.name: dims(v) for v in built(name).graph.output} == OUTPUTS[name]


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


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("resnet50", 4_089_184_256),
        ("mobilenet_v2", 300_774_272),
        ("densenet121", 2_834_161_664),
        ("resnet8", 12_501_632),
        # torchvision's, to the million they are published with
        ("mobilenet_v3_large", 217e6),
        ("resnext50", 4230e6),
        ("s3d", 17_979e6),
        ("vit_b_16", 17_564e6),
    ],
)
def test_macs_are_the_published_ones(name: str, published: int) -> None:
    counted = macs(built(name))
    assert (round(counted, -6) if isinstance(published, float) else counted) == published


@pytest.mark.parametrize(
    ("name", "image", "published"),
    [
        ("deeplabv3_resnet50", 520, 178_722e6),
        ("fcn_resnet50", 520, 152_717e6),
        ("lraspp", 520, 2086e6),
        ("r2plus1d_18", 112, 40_519e6),
    ],
)
def test_macs_at_the_image_size_they_are_published_for(
    name: str, image: int, published: float
) -> None:
    # at an eighth of the image's size the auxiliary head sees every pixel
    auxiliary = AUXILIARY_WEIGHTS * (image // 8) ** 2 if name in AUXILIARY_HEADS else 0
    assert round(macs(zoo.build(name, image=image)) + auxiliary, -6) == published


def test_pnasnet_sizes_round_to_the_paper_s() -> None:
    # the paper: 5.1e6 parameters and 588e6 multiply-adds, 86.1e6 and 25.0e9
    assert round(zoo.parameters(built("pnasnet5_mobile", fold=False)) / 1e5) == 51
    assert macs(built("pnasnet5_mobile")) == pytest.approx(588e6, rel=0.005)
    assert macs(built("pnasnet5_large")) == pytest.approx(25.0e9, rel=0.005)


def test_amoebanet_parameters_round_to_gpipe_s() -> None:
    # derived: the TPU implementation's auxiliary classifier after the second group (5x5 pooling
    # with stride 3, 51 and 307 channels) and its 1,001 classes
    joined = 4 * 416
    auxiliary = joined * 51 + 2 * 51 + 16 * 51 * 307 + 2 * 307 + 308 * 1001
    counted = zoo.parameters(built("amoebanet_d", fold=False))
    assert round((counted + auxiliary + 4 * 832 + 1) / 1e6) == 82


def test_amoebanet_cells_are_the_published_genotype() -> None:
    graph = built("amoebanet_d").graph
    producer = {out: node for node in graph.node for out in node.output}
    for node in graph.node:
        if node.op_type == "Concat" and len(node.input) > 2:
            normal = ".cell" in node.name
            kinds = [producer[name].op_type for name in node.input]
            assert kinds == (["Conv", "Add", "Add", "Add"] if normal else ["Add"] * 3)
    operators = [node.op_type for node in graph.node if node.name.startswith("group2.cell2.")]
    # two adapting convolutions, three pointwise ones and two of four convolutions each
    assert operators.count("Conv") == 2 + 3 + 2 * 4
    assert operators.count("MaxPool") == 2 and operators.count("AveragePool") == 1
    reduction = [node.op_type for node in graph.node if node.name.startswith("reduction1.")]
    # two adapting convolutions, one of three, one of four, one pointwise
    assert reduction.count("Conv") == 2 + 3 + 4 + 1
    assert reduction.count("MaxPool") == 4 and reduction.count("AveragePool") == 1


@pytest.mark.parametrize("name", zoo.names())
def test_loading_counts_the_same_macs(name: str) -> None:
    model = built(name)
    assert sum(operator.macs for operator in planner.load(model).operators) == macs(model)


def test_nasnet_macs_round_to_the_paper_s() -> None:
    assert round(macs(built("nasnet_a_mobile")) / 1e6) == 564
    assert round(macs(built("nasnet_a_large")) / 1e8) == 238


def test_unet_macs_by_formula() -> None:
    pixels = [(256 >> level) ** 2 for level in range(5)]
    width = [64 << level for level in range(5)]
    expected = pixels[0] * (9 * (3 * 64 + 64 * 64) + 2 * 64)
    for level in range(1, 5):
        expected += pixels[level] * 9 * (width[level - 1] * width[level] + width[level] ** 2)
        # up: the enlarging layer makes four pixels of one, then both halves are joined
        expected += pixels[level - 1] * width[level] * width[level - 1]
        expected += pixels[level - 1] * 9 * (width[level] + width[level - 1]) * width[level - 1]
    assert macs(built("unet")) == expected


def test_transformer_macs_by_formula() -> None:
    features, layers = 768, 12
    for tokens in (16, 128):
        per_layer = 12 * tokens * features**2 + 2 * tokens**2 * features
        bert = layers * per_layer + features**2
        assert macs(zoo.bert_base(sequence=tokens)) == bert
        prefill = layers * per_layer + tokens * features * 50257
        assert macs(zoo.gpt2_prefill(sequence=tokens)) == prefill
        decode = layers * (12 * features**2 + 2 * tokens * features) + features * 50257
        assert macs(zoo.gpt2_decode(cached=tokens - 1)) == decode
    patches = 197
    per_layer = 12 * patches * features**2 + 2 * patches**2 * features
    vision = 196 * features * 3 * 16**2 + layers * per_layer + features * 1000
    assert macs(zoo.vit_b_16()) == vision


@pytest.mark.parametrize(("layers", "vocabulary"), [(1, 0), (6, 37_000)])
def test_encoder_decoder_is_as_large_as_its_layers(layers: int, vocabulary: int) -> None:
    features, hidden, tokens = 512, 2048, 64
    attention = 4 * (features**2 + features)
    widening = 2 * features * hidden + hidden + features
    norm = 2 * features
    encoder, decoder = attention + widening + 2 * norm, 2 * attention + widening + 3 * norm
    model = zoo.transformer(sequence=tokens, layers=layers, vocabulary=vocabulary)
    assert zoo.parameters(model) == layers * (encoder + decoder) + vocabulary * features
    attended = 4 * tokens * features**2 + 2 * tokens**2 * features
    widened = 2 * tokens * features * hidden
    expected = layers * (3 * attended + 2 * widened) + tokens * features * vocabulary
    assert macs(model) == expected
    shape = (1, tokens) if vocabulary else (1, tokens, features)
    assert {v.name: dims(v) for v in model.graph.input} == {"source": shape, "target": shape}


def test_encoder_decoder_positions_are_sines_and_cosines() -> None:
    nodes = built("transformer").graph.node
    constant = {tensor.name for tensor in built("transformer").graph.initializer}
    computed = []
    for node in nodes:
        if constant.issuperset(node.input):
            constant.update(node.output)
            computed.append(node.op_type)
    expected = ["Range", "Unsqueeze", "Mul", "Sin", "Cos", "Concat", "Cast"]
    assert computed == [*expected, "ConstantOfShape", "Trilu", "Transpose"]


@pytest.mark.parametrize("seed", [1, 2])
def test_randwire_is_the_network_its_wiring_describes(seed: int) -> None:
    sampler = random.Random(seed)
    width, pixels = 78, 56 * 56
    expected = 39 * 27 * 112 * 112 + 39 * 9 * width * pixels
    incoming = width
    for _ in range(3):
        pixels //= 4
        entered = {sink for _, sink in watts_strogatz(32, 4, 0.75, sampler)}
        for node in range(32):
            depth = width if node in entered else incoming
            expected += pixels * depth * (9 + width)
        incoming, width = width, 2 * width
    assert macs(zoo.randwire(seed=seed)) == expected + incoming * 1000
    assert zoo.parameters(zoo.randwire(seed=seed)) == pytest.approx(4.3e6, rel=0.02)


def test_randwire_with_the_paper_s_classifier_has_the_paper_s_size() -> None:
    models = [
        zoo.randwire(seed=seed, head_channels=1280, fold_batchnorm=False) for seed in range(1, 6)
    ]
    mean_parameters = np.mean([zoo.parameters(model) for model in models])
    mean_macs = np.mean([macs(model) for model in models])
    assert mean_parameters == pytest.approx(5.6e6, abs=0.1e6)
    assert mean_macs == pytest.approx(583e6, abs=6.2e6)


@given(st.integers(5, 40), st.floats(0, 1), st.integers(0, 2**32))
def test_wiring_is_a_simple_directed_acyclic_graph(nodes: int, rewired: float, seed: int) -> None:
    edges = watts_strogatz(nodes, 4, rewired, random.Random(seed))
    assert edges == sorted(set(edges))
    assert len(edges) == 2 * nodes
    assert all(0 <= source < sink < nodes for source, sink in edges)
    assert edges == watts_strogatz(nodes, 4, rewired, random.Random(seed))


def test_wiring_without_rewiring_is_the_ring() -> None:
    ring = {tuple(sorted((v, (v + d) % 9))) for v in range(9) for d in (1, 2)}
    assert watts_strogatz(9, 4, 0.0, random.Random(0)) == sorted(ring)


def test_gpt2_decode_reads_the_past_and_writes_the_present() -> None:
    model = built("gpt2_decode")
    past = {f"past.{layer}.{part}": (1, 12, 127, 64) for layer in range(12) for part in CACHE}
    present = {f"present.{layer}.{part}": (1, 12, 128, 64) for layer in range(12) for part in CACHE}
    assert {v.name: dims(v) for v in model.graph.input} == {"input_ids": (1, 1)} | past
    expected = {"logits": (1, 1, 50257)} | present
    assert {v.name: dims(v) for v in model.graph.output} == expected
    producer = {out: node for node in model.graph.node for out in node.output}
    for layer in range(12):
        for part in CACHE:
            node = producer[f"present.{layer}.{part}"]
            assert node.op_type == "Concat"
            assert node.input[0] == f"past.{layer}.{part}"


def test_gpt2_prefill_writes_the_cache_that_decode_reads() -> None:
    written = {v.name: dims(v) for v in zoo.gpt2_prefill(sequence=127).graph.output}
    assert written["logits"] == (1, 127, 50257)
    for layer in range(12):
        for part in CACHE:
            assert written[f"present.{layer}.{part}"] == (1, 12, 127, 64)


def test_gpt2_classifier_transposes_the_token_table() -> None:
    model = built("gpt2_decode")
    (node,) = [n for n in model.graph.node if n.input[0] == "wte.weight" and n.op_type != "Gather"]
    assert node.op_type == "Transpose"
    assert shapes(model)[node.output[0]] == (768, 50257)


def test_resnet50_takes_its_strides_in_the_3x3_convolutions() -> None:
    for node in built("resnet50").graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Conv" and attributes["strides"] == [2, 2]:
            assert attributes["kernel_shape"] != [1, 1] or node.name.endswith("downsample")


def test_dilated_backbones_keep_the_image_at_an_eighth_of_its_size() -> None:
    for name in ("fcn_resnet50", "deeplabv3_resnet50"):
        dilations = {}
        for node in built(name).graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Conv" and attributes["kernel_shape"] == [3, 3]:
                dilations[node.name] = attributes["dilations"][0]
        assert [dilations[f"layer3.{block}.conv2"] for block in range(6)] == [1, 2, 2, 2, 2, 2]
        assert [dilations[f"layer4.{block}.conv2"] for block in range(3)] == [2, 4, 4]
        assert shapes(built(name))["layer4.2.conv3"] == (1, 2048, 28, 28)


def test_video_networks_split_every_convolution_into_space_and_time() -> None:
    for name in ("r2plus1d_18", "s3d"):
        for node in built(name).graph.node:
            if node.op_type == "Conv":
                kernel = shapes(built(name))[node.input[1]][2:]
                assert len(kernel) == 3
                assert kernel[0] == 1 or kernel[1:] == (1, 1)
    # torchvision's rule for the channels between the two
    between = [
        shapes(built("r2plus1d_18"))[f"layer{stage}.0.conv1.space"][1] for stage in range(1, 5)
    ]
    assert between == [144, 230, 460, 921]


def test_folding_removes_every_batch_normalization_that_follows_a_convolution() -> None:
    for name in zoo.names():
        if name == "densenet121":
            continue
        nodes = built(name).graph.node
        convolved = {node.output[0] for node in nodes if node.op_type == "Conv"}
        for node in nodes:
            if node.op_type == "BatchNormalization":
                assert node.input[0] not in convolved


EXECUTED = {
    "amoebanet_d": {"image": 64, "cells": 3, "filters": 32},
    "darts": {"image": 64},
    "deeplabv3_resnet50": {"image": 33},
    "densenet121": {"image": 64},
    "fcn_resnet50": {"image": 33},
    "lraspp": {"image": 65},
    "mobilenet_v2": {"image": 64},
    "mobilenet_v3_large": {"image": 64},
    "nasnet_a_mobile": {"image": 64},
    "pnasnet5_mobile": {"image": 64},
    "r2plus1d_18": {"image": 16, "frames": 4},
    "randwire": {"image": 64},
    "resnet8": {},
    "resnet50": {"image": 64},
    "resnext50": {"image": 64},
    "s3d": {"image": 209, "frames": 13},
    "transformer": {"sequence": 5, "layers": 2, "vocabulary": 100},
    "unet": {"image": 32, "channels": 4},
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", sorted(EXECUTED))
def test_models_run_once_weights_exist(name: str, dtype: str, tmp_path: Path) -> None:
    run_with_zero_weights(zoo.build(name, dtype=dtype, **EXECUTED[name]), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.names())
def test_models_of_full_size_run_once_weights_exist(name: str, tmp_path: Path) -> None:
    for fold in variants(name):
        run_with_zero_weights(built(name, fold=fold), tmp_path)


def run_with_zero_weights(model: ModelProto, folder: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    length = sum(
        int(entry.value)
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "length"
    )
    (folder / "weights.bin").touch()
    os.truncate(folder / "weights.bin", length)
    settings = runtime.SessionOptions()
    settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    feed = {
        value.name: np.zeros(
            dims(value), helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        )
        for value in model.graph.input
    }
    results = session.run(None, feed)
    assert [result.shape for result in results] == [dims(value) for value in model.graph.output]
    assert all(np.isfinite(result).all() for result in results)
