"""U-Net for segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.convolution import conv, conv_batch_norm, conv_transpose, max_pool
from frontends.zoo.operators import concat, relu
from planner.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value

_MAX_DEPTH = 16


def unet(
    *,
    batch: int = 1,
    image: int = 256,
    channels: int = 64,
    depth: int = 4,
    dtype: str = "float32",
    fold_batchnorm: bool = True,
) -> ModelProto:
    """U-Net, RGB image in, logits of two classes per pixel out: long skips.

    Convolutions keep the size and are followed by BatchNormalization; ConvTranspose enlarges.
    At the defaults 31,037,698 parameters with ``fold_batchnorm=False``, 4.82e10
    multiply-accumulates.

    Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI
    2015 (arXiv 1505.04597); their convolutions shrink the image and have no normalisation.

    Parameters
    ----------
    channels : int
        Channels of the first level; every further level doubles them.
    depth : int
        How often the image is halved, from 1 to 16.

    Raises
    ------
    UsageError
        If the image cannot be halved ``depth`` times, or a number is out of range.
    """
    if channels < 1:
        raise UsageError(f"unet: channels={channels} must be at least 1.")
    if not 1 <= depth <= _MAX_DEPTH:
        raise UsageError(f"unet: depth={depth} must be from 1 to {_MAX_DEPTH}.")
    if image % (1 << depth):
        raise UsageError(
            f"unet: image={image} cannot be halved {depth} times. Use a multiple of {1 << depth:,}."
        )
    b = GraphBuilder("unet", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = _double_conv(b, b.input("image", (batch, 3, image, image)), channels, "enter")
    skips = []
    for level in range(1, depth + 1):
        skips.append(x)
        x = _double_conv(b, max_pool(b, x, 2, 2), channels << level, f"down{level}")
    for level in range(depth, 0, -1):
        width = channels << (level - 1)
        enlarged = conv_transpose(b, x, width, 2, name=f"up{level}.enlarge")
        x = _double_conv(b, concat(b, [skips.pop(), enlarged], axis=1), width, f"up{level}")
    b.output("logits", conv(b, x, 2, 1, bias=True, name="leave"))
    return b.model()


def _double_conv(b: GraphBuilder, x: Value, channels: int, scope: str) -> Value:
    with b.scope(scope):
        x = relu(b, conv_batch_norm(b, x, channels, 3, name="conv1"))
        return relu(b, conv_batch_norm(b, x, channels, 3, name="conv2"))
