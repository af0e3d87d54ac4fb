"""What Inductor copies to give convolutions channels-last operands (``layout_optimization``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from frontends.torch.sizes import hint

if TYPE_CHECKING:
    from torch.fx import Node

    from frontends.torch.joint import JointProgram

_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
_SCATTERS = frozenset(
    (
        torch.ops.aten.scatter_add.default,
        torch.ops.aten.scatter_reduce.two,
    )
)


def with_layout_copies(joint: JointProgram) -> JointProgram:
    """Return a joint program whose workspaces have the copies that Inductor makes of layouts.

    Parameters and inputs that convolutions read are copied in the forward half and stay for the
    backward half: they are counted throughout. Scattering, as pooling's gradient does, wants rows
    and copies index and source back.
    """
    convolutions = joint.module.graph.find_nodes(
        op="call_function", target=torch.ops.aten.convolution.default
    )
    if not convolutions:
        return joint
    copied = {
        operand
        for node in convolutions
        for operand in node.args[:2]
        if operand.op == "placeholder" and _is_copied(operand)
    }
    workspaces = joint.problem.workspace_bytes + sum(map(_bytes, copied))
    for operator, node in enumerate(joint.nodes):
        if node.target in _SCATTERS:
            workspaces[operator] += sum(_bytes(n) for n in node.all_input_nodes[1:])
    return replace(joint, problem=replace(joint.problem, workspace_bytes=workspaces))


def _is_copied(operand: Node) -> bool:
    tensor = operand.meta["val"]
    layout = _LAYOUTS.get(tensor.dim())
    return layout is not None and not tensor.is_contiguous(memory_format=layout)


def _bytes(node: Node) -> int:
    tensor = node.meta["val"]
    return (hint(tensor.numel()) or 0) * tensor.element_size()
