"""Networks that label every pixel: FCN, DeepLabV3, Lite R-ASPP, as torchvision has them.

21 classes, those of Pascal VOC; logits of the size of the image. None has the auxiliary head, which
only trains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.convolution import conv, conv_batch_norm, global_average_pool
from frontends.zoo.mobilenet import mobilenet_v3_features
from frontends.zoo.operators import add, concat, elementwise, relu, resize
from frontends.zoo.resnet import resnet50_features

if TYPE_CHECKING:
    from onnx import ModelProto

    from frontends.zoo.builder import Value

_CLASSES = 21
_RATES = (12, 24, 36)


def fcn_resnet50(
    *, batch: int = 1, image: int = 224, dtype: str = "float32", fold_batchnorm: bool = True
) -> ModelProto:
    """FCN on a ResNet-50 whose last two stages are dilated: an eighth of the image's size.

    At batch 1, 224 pixels: 2.65e10 multiply-accumulates; 32,957,013 parameters with
    ``fold_batchnorm=False`` (35,322,218 with the auxiliary head). At one byte per element and
    without overwriting, the largest operator footprint, and the minimum peak, is a residual Add of
    the last stage: 4,816,896 bytes, folded or not.

    Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015
    (arXiv 1411.4038); backbone, head and enlargement are torchvision's.
    """
    b = GraphBuilder("fcn_resnet50", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = resnet50_features(b, b.input("image", (batch, 3, image, image)), dilate=True)
    x = relu(b, conv_batch_norm(b, x, 512, 3, name="head"))
    x = conv(b, x, _CLASSES, 1, bias=True, name="classifier")
    b.output("logits", resize(b, x, (image, image)))
    return b.model()


def deeplabv3_resnet50(
    *, batch: int = 1, image: int = 224, dtype: str = "float32", fold_batchnorm: bool = True
) -> ModelProto:
    """DeepLabV3: five parallel looks at the features of a dilated ResNet-50, then one head.

    At batch 1, 224 pixels: 3.13e10 multiply-accumulates; 39,638,869 parameters with
    ``fold_batchnorm=False`` (42,004,074 with the auxiliary head). Footprint and peak are those of
    `fcn_resnet50`, whose backbone it shares.

    Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017
    (arXiv 1706.05587).
    """
    b = GraphBuilder("deeplabv3_resnet50", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = resnet50_features(b, b.input("image", (batch, 3, image, image)), dilate=True)
    with b.scope("aspp"):
        x = _spatial_pyramid(b, x)
    x = relu(b, conv_batch_norm(b, x, 256, 3, name="head"))
    x = conv(b, x, _CLASSES, 1, bias=True, name="classifier")
    b.output("logits", resize(b, x, (image, image)))
    return b.model()


def _spatial_pyramid(b: GraphBuilder, x: Value) -> Value:
    """Join a pointwise, three dilated and a global view of the features."""
    views = [relu(b, conv_batch_norm(b, x, 256, 1, name="pointwise"))]
    for rate in _RATES:
        views.append(relu(b, conv_batch_norm(b, x, 256, 3, dilation=rate, name=f"rate{rate}")))
    pooled = conv_batch_norm(b, global_average_pool(b, x), 256, 1, name="pooled")
    views.append(resize(b, relu(b, pooled), x.shape[2:]))
    return relu(b, conv_batch_norm(b, concat(b, views, axis=1), 256, 1, name="project"))


def lraspp(
    *, batch: int = 1, image: int = 224, dtype: str = "float32", fold_batchnorm: bool = True
) -> ModelProto:
    """Lite R-ASPP on a MobileNetV3-Large whose last blocks are dilated.

    At batch 1, 224 pixels: 3.79e8 multiply-accumulates; 3,221,538 parameters with
    ``fold_batchnorm=False``. Footprint and peak are those of `mobilenet_v3_large`.

    Howard et al., Searching for MobileNetV3, ICCV 2019 (arXiv 1905.02244).
    """
    b = GraphBuilder("lraspp", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = b.input("image", (batch, 3, image, image))
    features = mobilenet_v3_features(b, x, dilate=True)
    # the first result at an eighth of the image's size, and the last one, at a sixteenth
    low, high = features[4], features[-1]
    with b.scope("head"):
        x = relu(b, conv_batch_norm(b, high, 128, 1, name="features"))
        scale = conv(b, global_average_pool(b, high), 128, 1, name="scale")
        x = elementwise(b, "Mul", x, b.node("Sigmoid", [scale], scale.shape))
        x = resize(b, x, low.shape[2:])
        low = conv(b, low, _CLASSES, 1, bias=True, name="low_classifier")
        x = add(b, low, conv(b, x, _CLASSES, 1, bias=True, name="high_classifier"))
    b.output("logits", resize(b, x, (image, image)))
    return b.model()
