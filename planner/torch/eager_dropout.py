"""Dropout as eager PyTorch runs it on the CPU: by a mask of the values' own type."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch.fx import Node

    from frontends.torch.joint import JointProgram
    from planner.training.problem import TrainingProblem

_BOTH_WAYS = frozenset(
    (torch.ops.aten.native_dropout.default, torch.ops.aten.native_dropout_backward.default)
)


def with_eager_dropout(joint: JointProgram) -> TrainingProblem:
    """Return a step's problem with the masks, and without the scratch, of eager dropout.

    Traced, dropout is one operator that keeps a mask of bytes. On the CPU eager PyTorch multiplies
    by a mask of zeros and scales, forward and backward, which is as large as what it drops from.
    """
    size = joint.problem.size_bytes.copy()
    workspace = joint.problem.workspace_bytes.copy()
    for operator, node in enumerate(joint.nodes):
        if node.target not in _BOTH_WAYS or not _on_cpu(node):
            continue
        workspace[operator] = 0
        if node.target is torch.ops.aten.native_dropout.default:
            result, mask = joint.problem.write_rows[operator]
            size[mask] = size[result]
    return replace(joint.problem, size_bytes=size, workspace_bytes=workspace)


def _on_cpu(node: Node) -> bool:
    return all(source.meta["val"].device.type == "cpu" for source in node.all_input_nodes)
