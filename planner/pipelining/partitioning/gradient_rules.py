"""What the gradient of each operator type reads: the bytes that training saves from forward.

The rules are those of automatic differentiation as frameworks implement it, one per ONNX type or
torch operator. What is not listed is taken to save everything it touches.

Sources: PyTorch's ``tools/autograd/derivatives.yaml``; "Reducing Activation Recomputation in Large
Transformer Models" (arXiv 2205.05198), section 4.1, for the operators of a transformer layer.
"""

from __future__ import annotations

from typing import NamedTuple


class GradientRule(NamedTuple):
    """What the gradients of one operator type need.

    Attributes
    ----------
    operands : tuple of int
        Positions of operands that are saved.
    factors : tuple of int
        Positions of operands that multiply each other: each is saved if the gradient of another
        is wanted.
    result : bool
        The first result is saved.
    frozen : tuple of int
        Positions of operands that are never trained, as running statistics.
    statistics : int
        Float32 numbers that are saved per row of the first operand, or per channel.
    per_channel : bool
        Whether the statistics are those of the second axis, and not of all but the last.
    bytes_per_result : int
        Bytes saved per element of the first result: masks and indices.
    passes : int
        Element operations of the gradient of one operand, as multiples of the forward pass.
    products : float
        Multiply-accumulates of the gradients of all operands, as multiples of the forward pass;
        0 where each factor's gradient takes as many as the forward pass.
    forwards_gradient : bool
        The gradient of the result is that of every operand of its shape.
    """

    operands: tuple[int, ...] = ()
    factors: tuple[int, ...] = ()
    result: bool = False
    frozen: tuple[int, ...] = ()
    statistics: int = 0
    per_channel: bool = False
    bytes_per_result: int = 0
    passes: int = 1
    products: float = 0.0
    forwards_gradient: bool = False


_NOTHING = GradientRule()
_SUM = GradientRule(forwards_gradient=True)
_INPUT = GradientRule(operands=(0,))
_BOTH = GradientRule(operands=(0, 1))
_RESULT = GradientRule(result=True)
_PRODUCT = GradientRule(factors=(0, 1))
_BIASED_PRODUCT = GradientRule(factors=(1, 2))
_SOFTMAX = GradientRule(result=True, passes=2)
_ROW_NORM = GradientRule(operands=(0,), statistics=2, passes=2)
_BATCH_NORM = GradientRule(operands=(0,), frozen=(3, 4), statistics=2, per_channel=True, passes=2)
_INDEXED = GradientRule(operands=(1,))
_MASK = GradientRule(bytes_per_result=1)
# PyTorch keeps positions of maxima as int64.
_MAXIMA = GradientRule(bytes_per_result=8)
# Scores are computed once more: five products for the two of the forward pass (FlashAttention,
# arXiv 2205.14135, algorithm 4), from the logarithm of each row's sum.
_ATTENTION = GradientRule(operands=(0, 1, 2), result=True, statistics=1, products=2.5)

_RULES_OF_NAMES: dict[GradientRule, str] = {
    _NOTHING: """
        AveragePool Cast CastLike Concat ConstantOfShape DepthToSpace Expand Flatten
        GlobalAveragePool Identity Neg Pad ReduceMean ReduceSum Reshape Resize Round Slice
        SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze Upsample
        aten._unsafe_view aten.alias aten.avg_pool1d aten.avg_pool2d aten.avg_pool3d
        aten.adaptive_avg_pool1d aten.adaptive_avg_pool2d aten._adaptive_avg_pool2d aten.cat
        aten.clone aten.contiguous aten.constant_pad_nd aten.copy aten.detach aten.expand
        aten.flatten aten.lift_fresh_copy aten.mean aten.neg aten.pad aten.permute
        aten.pixel_shuffle aten.repeat aten.reshape aten.roll aten.select aten.slice aten.split
        aten.split_with_sizes
        aten.squeeze aten.stack aten.sum aten.t aten.to aten._to_copy aten.transpose aten.tril
        aten.triu aten.unbind aten.unflatten aten.unsqueeze aten.upsample_bilinear2d
        aten.upsample_nearest2d aten.view aten.chunk aten.narrow
    """,
    _SUM: "Add Sub Sum aten.add aten.sub aten.rsub",
    _INPUT: """
        Abs BiasGelu Celu Clip Cos Elu Erf FastGelu Gelu HardSigmoid HardSwish Log Mish Pow
        PRelu QuickGelu Selu Shrink Sin Softplus Softsign Swish ThresholdedRelu
        com.microsoft.BiasGelu com.microsoft.FastGelu com.microsoft.Gelu com.microsoft.QuickGelu
        aten.abs aten.clamp aten.clamp_min aten.cos aten.elu aten.erf aten.gelu aten.hardsigmoid
        aten.hardswish aten.hardtanh aten.leaky_relu aten.log aten.mish aten.pow aten.silu aten.sin
        aten.softplus aten.square
    """,
    _BOTH: """
        Max Min ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMin ReduceProd ReduceSumSquare
        aten.amax aten.amin aten.maximum aten.minimum
    """,
    _RESULT: """
        Exp LeakyRelu Reciprocal Relu Sigmoid Sqrt Tan Tanh aten.exp aten.reciprocal aten.relu
        aten.rsqrt aten.sigmoid aten.sqrt aten.tanh
    """,
    _SOFTMAX: """
        LogSoftmax Softmax aten._log_softmax aten._softmax aten.log_softmax aten.softmax
    """,
    _PRODUCT: """
        Conv ConvTranspose Div Einsum Gemm MatMul Mul com.microsoft.FusedMatMul aten.bmm
        aten.conv1d aten.conv2d aten.conv3d aten.conv_transpose2d aten.convolution aten.div
        aten.einsum aten.linear aten.matmul aten.mm aten.mul
    """,
    _BIASED_PRODUCT: "aten.addmm aten.baddbmm",
    _ROW_NORM: """
        GroupNormalization InstanceNormalization LayerNormalization LpNormalization
        RMSNormalization SimplifiedLayerNormalization aten.group_norm aten.instance_norm
        aten.layer_norm aten.native_group_norm aten.native_layer_norm aten.rms_norm
        aten._fused_rms_norm
    """,
    _BATCH_NORM: """
        BatchNormalization aten._native_batch_norm_legit aten._native_batch_norm_legit_functional
        aten._native_batch_norm_legit_no_training aten.batch_norm aten.native_batch_norm
    """,
    # The table is the first operand, what is looked up the second.
    _INDEXED: """
        Gather GatherElements GatherND aten.embedding aten.gather aten.index aten.index_select
    """,
    GradientRule(operands=(0,), frozen=(0,)): "Where aten.where",
    _MASK: "Dropout aten.dropout aten.native_dropout aten.masked_fill",
    _MAXIMA: """
        GlobalMaxPool MaxPool aten.max_pool1d aten.max_pool2d aten.max_pool2d_with_indices
        aten.max_pool3d aten.adaptive_max_pool2d
    """,
    _ATTENTION: """
        Attention aten.scaled_dot_product_attention aten._scaled_dot_product_flash_attention
        aten._scaled_dot_product_efficient_attention aten._scaled_dot_product_cudnn_attention
        aten._scaled_dot_product_flash_attention_for_cpu com.microsoft.MultiHeadAttention
        com.microsoft.GroupQueryAttention
    """,
}
_RULES = {name: rule for rule, names in _RULES_OF_NAMES.items() for name in names.split()}

LOOKUPS = frozenset({"Gather", "aten.embedding", "aten.index_select"})
"""Types that copy rows of a table, their first operand."""


def gradient_rule(operator_type: str) -> GradientRule | None:
    """Return the rule of an operator type, ONNX or ``aten.name``; None if there is none."""
    return _RULES.get(operator_type)
