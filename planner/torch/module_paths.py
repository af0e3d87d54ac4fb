"""Where in the model an operator comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.fx import Node


def module_path(node: Node) -> str:
    """Return the path of the module whose forward called an operator, or had it called."""
    stack = node.meta.get("nn_module_stack") or node.meta.get("fwd_nn_module_stack") or {}
    return next((str(entry[0]) for entry in reversed(list(stack.values()))), "")
