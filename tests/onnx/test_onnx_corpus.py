"""Models by others: every one lowers, to the figures written down here."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from frontends.onnx import load_onnx
from frontends.onnx.dtypes import element_number
from planner.errors import LoweringError
from planner.graph import Graph, StorageKind

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

DIMS = {
    "magika_standard_v3_3": {"bytes:0": 1},
    "tract_bidi_lstm": {"batch": 1, "length": 20},
    "silero_vad_ifless": {"input:0": 1, "input:1": 512, "state:1": 1},
}

# operators, tensors, constant bytes, activation bytes, the same with zero copy, MACs
GOLDEN = {
    "deeplab_dm05_513": (161, 434, 3356936, 543798996, 535146196, 3346461440),
    "fastestdet": (211, 407, 962324, 35724720, 31006688, 121491744),
    "irpy_torchscript_model": (622, 1016, 147024, 411328, 411328, 327680),
    "light_densenet121": (668, 1517, 32584608, 321084320, 280391584, 2834161664),
    "light_inception_v2": (371, 858, 44939184, 85141952, 80475584, 2018851840),
    "light_resnet50": (176, 445, 102440624, 150845248, 150845248, 4089184256),
    "light_squeezenet": (66, 120, 4941984, 28793728, 22991744, 349151936),
    "magika_standard_v3_3": (84, 120, 3138216, 24588524, 23023852, 366717952),
    "silero_vad_ifless": (4, 51, 2181268, 11397, 11389, 594432),
    "sinet_softmax": (246, 626, 371724, 89601168, 79668368, 130343440),
    "stream_resnet18_full_training": (615, 762, 5500, 1299948721, 1299948721, 6657994752),
    "tract_bidi_lstm": (13, 31, 1358392, 36852, 36852, 6558720),
    "ultraface_RFB_320": (163, 388, 1230688, 38456000, 38119520, 100418560),
    "zigzag_ds_cnn": (23, 45, 33600, 578312, 578312, 2656768),
    "zigzag_mobilenetv2": (100, 277, 13951544, 52612384, 52612384, 300774272),
    "zigzag_resnet8": (24, 46, 310840, 766288, 766288, 12501632),
    "zoo_shufflenet_v2_12_int8": (189, 617, 2336776, 14289720, 10356392, 144907992),
}


def corpus(name: str) -> Path:
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("PLANNER_DATA is not set: the corpus of models by others is not here")
    return Path(folder) / "models" / f"{name}.onnx"


@pytest.mark.parametrize("name", GOLDEN)
def test_a_model_of_the_corpus_lowers_to_its_figures(name, monkeypatch):
    # ONNX Runtime is optional, and no model here may need it.
    monkeypatch.setattr("frontends.onnx.shapes.find_spec", lambda _: None)
    path = corpus(name)
    graph = load_onnx(path, dims=DIMS.get(name, {}))
    parts = load_onnx(path, dims=DIMS.get(name, {}), zero_copy=True)
    figures = (
        len(graph.operators),
        len(graph.tensors),
        graph.constant_bytes,
        graph.activation_bytes,
        parts.activation_bytes,
        sum(operator.macs for operator in graph.operators),
    )
    assert figures == GOLDEN[name]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("magika_standard_v3_3", "bytes:0"),
        ("tract_bidi_lstm", "--dim length=N"),
        ("silero_vad_ifless", "--dim sequence=N"),
    ],
)
def test_open_dimensions_of_the_corpus_are_asked_for(name, remedy):
    with pytest.raises(LoweringError, match=remedy):
        load_onnx(corpus(name))


def test_published_operation_counts():
    for name, published in [("zigzag_mobilenetv2", 3.01e8), ("light_resnet50", 4.09e9)]:
        macs = sum(operator.macs for operator in load_onnx(corpus(name)).operators)
        assert abs(macs / published - 1) < 0.01


def test_a_file_that_hides_its_model_in_bodies_says_so():
    graph = load_onnx(corpus("silero_vad_ifless"), dims=DIMS["silero_vad_ifless"])
    assert any("86 of 89 operators are inside control-flow bodies" in note for note in graph.notes)


def test_a_training_step_keeps_every_node_though_names_repeat():
    path = corpus("stream_resnet18_full_training")
    file = onnx.load(path, load_external_data=False)
    graph = load_onnx(path)
    assert [operator.type.rpartition(".")[2] for operator in graph.operators] == [
        node.op_type for node in file.graph.node
    ]
    assert len({operator.name for operator in graph.operators}) < len(graph.operators)


# The models inside the onnx package


def test_generated_weights_are_no_activations():
    graph = load_onnx(LIGHT / "light_resnet50.onnx")
    assert {operator.type for operator in graph.operators} == {
        *("Conv", "BatchNormalization", "Relu", "MaxPool", "Sum", "AveragePool"),
        *("Reshape", "Gemm", "Softmax"),
    }
    convolution = next(operator for operator in graph.operators if operator.type == "Conv")
    kinds = [graph.storages[graph.tensors[t].storage].kind for t in convolution.inputs]
    assert kinds == [StorageKind.INPUT, StorageKind.CONSTANT]
    # 25.6 M parameters, and the statistics of batch normalisation.
    assert 25.5e6 < graph.constant_bytes / 4 < 25.7e6
    assert graph.activation_bytes == 150_845_248
    assert any("Folded 239 nodes" in note for note in graph.notes)


@pytest.mark.parametrize(
    "name", ["bvlc_alexnet", "inception_v1", "shufflenet", "squeezenet", "vgg19", "zfnet512"]
)
def test_light_models_have_all_sizes_and_an_unread_mask_costs_its_bytes(name):
    graph = load_onnx(LIGHT / f"light_{name}.onnx")
    assert all(tensor.size_bytes > 0 for tensor in graph.tensors)
    assert not any(operator.type == "ConstantOfShape" for operator in graph.operators)
    assert sum(operator.macs for operator in graph.operators) > 1e8


# Against a real run


def run_and_compare(model: onnx.ModelProto, graph: Graph, feeds: dict[str, np.ndarray]) -> int:
    """Run with every activation as an output; number of tensors compared."""
    runtime = pytest.importorskip("onnxruntime")
    written = {name for node in model.graph.node for name in node.output}
    expected = {
        tensor.name: tensor
        for tensor in graph.tensors
        if tensor.name in written and graph.storages[tensor.storage].kind != StorageKind.CONSTANT
    }
    del model.graph.output[:]
    for name, tensor in expected.items():
        model.graph.output.append(
            helper.make_tensor_value_info(name, element_number(tensor.dtype) or 0, None)
        )
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), options)
    values = session.run(list(expected), feeds)
    for tensor, value in zip(expected.values(), values, strict=True):
        assert tensor.shape == value.shape, tensor.name
        assert tensor.size_bytes == value.nbytes, tensor.name
    return len(values)


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_sizes_equal_those_of_a_real_run(name):
    pytest.importorskip("onnxruntime")
    if name == "zigzag_ds_cnn":
        pytest.skip("its int8 Conv is refused by ONNX Runtime")
    if name == "stream_resnet18_full_training":
        pytest.skip("its training operators are not in the inference build of ONNX Runtime")
    path = corpus(name)
    spec = importlib.util.spec_from_file_location("hydrate", path.with_name("hydrate.py"))
    assert spec is not None
    assert spec.loader is not None
    hydrate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hydrate)
    graph = load_onnx(path, dims=DIMS.get(name, {}))
    model = hydrate.hydrate(onnx.load(path, load_external_data=False))
    shapes = {tensor.name: tensor for tensor in graph.tensors}
    initializers = {tensor.name for tensor in model.graph.initializer}
    rng = np.random.default_rng(0)
    feeds = {}
    for value in model.graph.input:
        if value.name in initializers:
            continue
        tensor = shapes[value.name]
        if value.name == "sr":
            feeds[value.name] = np.array(16000, np.int64)
        elif tensor.dtype.startswith("float"):
            feeds[value.name] = rng.random(tensor.shape).astype(tensor.dtype)
        else:
            feeds[value.name] = rng.integers(0, 2, tensor.shape).astype(tensor.dtype)
    assert run_and_compare(model, graph, feeds) > 2
