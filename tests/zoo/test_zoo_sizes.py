"""The zoo's models have the parameters and the multiply-accumulates of the published networks."""

from __future__ import annotations

import pytest

from frontends import zoo

from .networks import built, dims, macs, variants

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


@pytest.mark.parametrize("name", sorted(PUBLISHED_PARAMETERS))
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    counted = zoo.parameters(built(name, fold=variants(name)[-1]))
    assert counted + AUXILIARY_HEADS.get(name, 0) == PUBLISHED_PARAMETERS[name]


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
