"""R(2+1)D-18 and S3D for Kinetics-400: clips in, batch x channels x frames x height x width."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.convolution import (
    average_pool,
    conv,
    conv_batch_norm,
    max_pool,
    pooled_classifier,
)
from frontends.zoo.operators import add, concat, relu

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value

_CLASSES = 400


def r2plus1d_18(
    *,
    batch: int = 1,
    frames: int = 16,
    image: int = 224,
    dtype: str = "float32",
    fold_batchnorm: bool = True,
) -> ModelProto:
    """R(2+1)D-18: a ResNet-18 whose 3-D convolutions are split into space and time.

    Between the 3x3 convolution in space and the one over 3 frames are as many channels as give
    both together the weights of the 3x3x3 convolution they stand for, as in torchvision.

    At batch 1, 16 frames of 224 pixels: 1.62e11 multiply-accumulates; 31,505,325 parameters with
    ``fold_batchnorm=False``. At one byte per element and without overwriting, folded or not:
    largest operator footprint 57,802,752 bytes, where the widest tensor is rectified; minimum peak,
    and peak of the default order, 70,647,808, for the residual beside it.

    Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018
    (arXiv 1711.11248).
    """
    b = GraphBuilder("r2plus1d_18", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = b.input("video", (batch, 3, frames, image, image))
    with b.scope("stem"):
        x = relu(b, conv_batch_norm(b, x, 45, (1, 7, 7), stride=(1, 2, 2), name="space"))
        x = relu(b, conv_batch_norm(b, x, 64, (3, 1, 1), name="time"))
    for stage in range(4):
        for block in range(2):
            with b.scope(f"layer{stage + 1}.{block}"):
                x = _residual(b, x, 64 << stage, 2 if block == 0 and stage > 0 else 1)
    b.output("logits", pooled_classifier(b, x, _CLASSES))
    return b.model()


def _residual(b: GraphBuilder, x: Value, channels: int, stride: int) -> Value:
    between = 27 * x.shape[1] * channels // (9 * x.shape[1] + 3 * channels)
    y = relu(b, _space_and_time(b, x, between, channels, stride, "conv1"))
    y = _space_and_time(b, y, between, channels, 1, "conv2")
    if stride > 1:
        x = conv_batch_norm(b, x, channels, 1, stride=stride, name="downsample")
    return relu(b, add(b, y, x))


def _space_and_time(
    b: GraphBuilder, x: Value, between: int, channels: int, stride: int, name: str
) -> Value:
    """Convolve 3x3 in space, rectify, then convolve over 3 frames."""
    with b.scope(name):
        x = conv_batch_norm(b, x, between, (1, 3, 3), stride=(1, stride, stride), name="space")
        return conv_batch_norm(
            b, relu(b, x), channels, (3, 1, 1), stride=(stride, 1, 1), name="time"
        )


class _Inception(NamedTuple):
    """Channels of the four branches of an inception block; two of them narrow first."""

    pointwise: int
    narrow1: int
    wide1: int
    narrow2: int
    wide2: int
    pooled: int


# groups of blocks, with a pooling layer between two groups
_INCEPTIONS = (
    (_Inception(64, 96, 128, 16, 32, 32), _Inception(128, 128, 192, 32, 96, 64)),
    (
        _Inception(192, 96, 208, 16, 48, 64),
        _Inception(160, 112, 224, 24, 64, 64),
        _Inception(128, 128, 256, 24, 64, 64),
        _Inception(112, 144, 288, 32, 64, 64),
        _Inception(256, 160, 320, 32, 128, 128),
    ),
    (_Inception(256, 160, 320, 32, 128, 128), _Inception(384, 192, 384, 48, 128, 128)),
)


def s3d(
    *,
    batch: int = 1,
    frames: int = 16,
    image: int = 224,
    dtype: str = "float32",
    fold_batchnorm: bool = True,
) -> ModelProto:
    """S3D: an inflated Inception-v1 whose 3-D convolutions are split into space and time.

    Without the gates of S3D-G, as in torchvision. At batch 1, 16 frames of 224 pixels: 1.80e10
    multiply-accumulates; 8,320,048 parameters with ``fold_batchnorm=False``. At one byte per
    element and without overwriting, the largest operator footprint, and the minimum peak, is the
    stem's first Relu: 25,690,112 bytes, or 100,352 KiB for float32. A reimplementation of COSMA
    (arXiv 2311.18246) reports 119,168 KiB for both, which this graph gives neither folded, nor
    unfolded, nor with Relu fused into the convolution before (75,264 KiB).

    Xie et al., Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs in Video
    Classification, ECCV 2018 (arXiv 1712.04851).

    Parameters
    ----------
    frames, image : int
        At least 13 and 209: the last layers average over 2 frames of 7x7 pixels.
    """
    b = GraphBuilder("s3d", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = b.input("video", (batch, 3, frames, image, image))
    with b.scope("stem"):
        x = _separable(b, x, 64, 7, stride=2, name="conv1")
        x = max_pool(b, x, (1, 3, 3), (1, 2, 2), padding=(0, 1, 1))
        x = _pointwise(b, x, 64, name="conv2")
        x = _separable(b, x, 192, 3, name="conv3")
        x = max_pool(b, x, (1, 3, 3), (1, 2, 2), padding=(0, 1, 1))
    for group, blocks in enumerate(_INCEPTIONS):
        if group == 1:
            x = max_pool(b, x, 3, 2, padding=1)
        elif group == 2:
            x = max_pool(b, x, 2, 2)
        for index, block in enumerate(blocks):
            with b.scope(f"group{group + 1}.block{index + 1}"):
                x = _inception(b, x, block)
    x = average_pool(b, x, (2, 7, 7), 1)
    x = conv(b, x, _CLASSES, 1, bias=True, name="classifier")
    axes = b.integers((2, 3, 4))
    b.output("logits", b.node("ReduceMean", [x, axes], x.shape[:2], keepdims=0))
    return b.model()


def _inception(b: GraphBuilder, x: Value, block: _Inception) -> Value:
    branch0 = _pointwise(b, x, block.pointwise, name="branch0")
    branch1 = _pointwise(b, x, block.narrow1, name="branch1.0")
    branch1 = _separable(b, branch1, block.wide1, 3, name="branch1.1")
    branch2 = _pointwise(b, x, block.narrow2, name="branch2.0")
    branch2 = _separable(b, branch2, block.wide2, 3, name="branch2.1")
    branch3 = _pointwise(b, max_pool(b, x, 3, 1, padding=1), block.pooled, name="branch3")
    return concat(b, [branch0, branch1, branch2, branch3], axis=1)


def _pointwise(b: GraphBuilder, x: Value, channels: int, *, name: str) -> Value:
    return relu(b, conv_batch_norm(b, x, channels, 1, name=name))


def _separable(
    b: GraphBuilder, x: Value, channels: int, kernel: int, *, name: str, stride: int = 1
) -> Value:
    """Convolve in space, then over the frames; both are rectified."""
    with b.scope(name):
        space, time = (1, kernel, kernel), (kernel, 1, 1)
        x = conv_batch_norm(b, x, channels, space, stride=(1, stride, stride), name="space")
        x = conv_batch_norm(b, relu(b, x), channels, time, stride=(stride, 1, 1), name="time")
        return relu(b, x)
