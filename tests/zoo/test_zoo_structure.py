"""The zoo's models are built as the networks they claim to be."""

from __future__ import annotations

import pytest
from onnx import helper

from frontends import zoo

from .networks import built, dims, shapes

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


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_outputs_have_the_expected_names_and_shapes(name: str) -> None:
    assert {v.name: dims(v) for v in built(name).graph.output} == OUTPUTS[name]


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
