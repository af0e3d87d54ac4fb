"""Regions of a graph out of which Inductor's pattern matcher does not move matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import fx

_PRODUCTS = frozenset(
    (
        torch.ops.aten.addmm.default,
        torch.ops.aten.baddbmm.default,
        torch.ops.aten.bmm.default,
        torch.ops.aten.mm.default,
    )
)


def separate_products(graph: fx.Graph) -> None:
    """Let each matrix product begin a region that no pattern reaches across.

    Inductor makes one ``addmm`` of a product and a sum, where the sum is. If other products run in
    between, the operands wait for it: with tied embeddings the gradient of the logits, of which
    the weight's gradient is a product and a sum at the very end, would live throughout the backward
    half. Patterns are discarded that span two of Inductor's mutation regions, so every product gets
    one of its own, up to the next.
    """
    region = 0
    for node in graph.nodes:
        region += node.target in _PRODUCTS
        node.meta["mutation_region_id"] = region
