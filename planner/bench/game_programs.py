"""The programs from which the mallocGame's program-order player learns: two of each network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.bench.latency_programs import training_programs

if TYPE_CHECKING:
    from planner.bench.latency_programs import Program

# Without the three networks of most rows, whose games take longest.
_NAMES = (
    "resnet8-b32 npu-edge-4m 4MiB",
    "resnet8-b128 npu-edge-4m 4MiB",
    "resnet50-b8 tpuv4i 5%",
    "resnet50-b8 npu-edge-4m 4MiB",
    "resnext50-b1 tpuv4i 50%",
    "resnext50-b1 npu-edge-4m 4MiB",
    "mobilenet_v2-b1 tpuv4i 50%",
    "mobilenet_v2-b8 npu-edge-4m 4MiB",
    "mobilenet_v3_large-b1 tpuv4i 50%",
    "mobilenet_v3_large-b1 npu-edge-4m 4MiB",
    "densenet121-b1 tpuv4i 50%",
    "densenet121-b8 npu-edge-4m 4MiB",
    "bert_base-b1 tpuv4i 50%",
    "bert_base-b1 npu-edge-4m 4MiB",
    "gpt2_prefill-b1 tpuv4i 50%",
    "gpt2_prefill-b1 npu-edge-4m 4MiB",
    "transformer-b1 tpuv4i 50%",
    "transformer-b1 npu-edge-4m 4MiB",
    "vit_b_16-b1 tpuv4i 50%",
    "vit_b_16-b1 npu-edge-4m 4MiB",
    "gpt2_decode-b8 tpuv4i 20%",
    "gpt2_decode-b8 npu-edge-4m 4MiB",
    "unet-b1 tpuv4i 50%",
    "unet-b1 npu-edge-4m 4MiB",
    "fcn_resnet50-b1 tpuv4i 50%",
    "fcn_resnet50-b1 npu-edge-4m 4MiB",
    "deeplabv3_resnet50-b1 tpuv4i 50%",
    "deeplabv3_resnet50-b1 npu-edge-4m 4MiB",
    "lraspp-b1 tpuv4i 50%",
    "lraspp-b1 npu-edge-4m 4MiB",
    "r2plus1d_18-b1 tpuv4i 50%",
    "r2plus1d_18-b1-i112 npu-edge-4m 4MiB",
    "s3d-b1 tpuv4i 50%",
    "s3d-b1 npu-edge-4m 4MiB",
    "darts-b1 tpuv4i 50%",
    "darts-b1 npu-edge-4m 4MiB",
    "nasnet_a_mobile-b1 tpuv4i 50%",
    "nasnet_a_mobile-b1 npu-edge-4m 4MiB",
    "pnasnet5_mobile-b1 tpuv4i 50%",
    "pnasnet5_mobile-b1 npu-edge-4m 4MiB",
    "randwire-b1 tpuv4i 50%",
    "randwire-b1 npu-edge-4m 4MiB",
    "randwire-seed2-b1 tpuv4i 50%",
    "randwire-seed2-b1 npu-edge-4m 4MiB",
    "randwire-seed3-b1 tpuv4i 50%",
    "randwire-seed3-b1 npu-edge-4m 4MiB",
)


def game_programs() -> list[Program]:
    """Return 46 programs of 23 networks; other ones would give another network than is shipped."""
    of_name = {program.name: program for program in training_programs()}
    return [of_name[name] for name in _NAMES]
