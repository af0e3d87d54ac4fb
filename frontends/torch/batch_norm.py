"""Batch norm in training: its running statistics are read only to be updated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from frontends.torch.effects import operand

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch.fx import Graph, Node

aten = torch.ops.aten


class Replacement(NamedTuple):
    """An operator that gives the same results as another one, the last ones apart.

    Attributes
    ----------
    target : torch._ops.OpOverload
    operands : tuple of int
        Which of the other operator's positional operands it takes.
    results : int
        It gives so many; those of the other behind them are left out.
    """

    target: torch._ops.OpOverload
    operands: tuple[int, ...]
    results: int


# Both run the same kernel, which skips what it is not given, so results are equal bit for bit.
_WITHOUT_STATISTICS = {
    aten._native_batch_norm_legit_functional.default: Replacement(
        aten._native_batch_norm_legit.no_stats, (0, 1, 2, 5, 6, 7), 3
    ),
}


def replacements(graph: Graph, state: Collection[Node]) -> Mapping[Node, Replacement]:
    """Per batch norm that updates statistics, how to compute the rest of its results again.

    The second copy neither reads nor updates them.
    """
    found: dict[Node, Replacement] = {}
    for node in graph.nodes:
        replacement = _WITHOUT_STATISTICS.get(node.target) if node.op == "call_function" else None
        if replacement is None or node.kwargs or not operand(node, "training", default=False):
            continue
        if state and not {node.args[position] for position in replacement.operands} & set(state):
            found[node] = replacement
    return found


def forget_unused_statistics(graph: Graph) -> None:
    """Take the running statistics from the operands of batch norms' backward in training.

    It takes them for evaluation mode alone; here they only seem to be needed.
    """
    for node in graph.find_nodes(
        op="call_function", target=aten.native_batch_norm_backward.default
    ):
        if operand(node, "train", default=False) is True:
            node.args = (*node.args[:3], None, None, *node.args[5:])
