"""Where in the model an operator comes from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.fx import Node

# How the tracer finds the model: a local or global variable, perhaps an item of a container.
_ROOT = re.compile(r"^[LG](\['[^']*'\]|\[\d+\])+\.?")


def module_path(node: Node) -> str:
    """Return the path of the module whose forward called an operator, or had it called.

    An operator of the backward half belongs to the module for whose result it computes a gradient.
    """
    stack = node.meta.get("nn_module_stack") or node.meta.get("fwd_nn_module_stack") or {}
    path = next((str(entry[0]) for entry in reversed(list(stack.values()))), "")
    return _ROOT.sub("", path)
