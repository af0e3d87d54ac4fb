"""State that the forward half writes over and the backward half wants as it was: a copy is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.fx.node import map_arg

from frontends.torch.effects import is_mutation
from frontends.torch.sizes import storages_of

if TYPE_CHECKING:
    from torch.fx import Graph, Node

    from frontends.torch.halves import Halves


def keep_state_for_backward(graph: Graph, halves: Halves) -> bool:
    """Let the step read a copy, made in the forward half, of state that its backward half reads.

    Returns
    -------
    bool
        Whether anything had to change.
    """
    changed = False
    for node in halves.state:
        if node in halves.backward or not _read_backward(node, graph, halves):
            continue
        users = [user for user in node.users if not is_mutation(user)]
        with graph.inserting_before(next(n for n in graph.nodes if n.op != "placeholder")):
            kept = graph.call_function(torch.ops.aten.clone.default, (node,))
        kept.meta["val"] = node.meta["val"].clone()
        views = _carriers(node, graph)
        for user in users:
            user.replace_input_with(node, kept)
        for view in views:
            if view.op == "call_function" and not is_mutation(view):
                args, kwargs = map_arg(
                    (view.args, view.kwargs), lambda operand: operand.meta["val"]
                )
                view.meta["val"] = view.target(*args, **kwargs)  # type: ignore[operator]
        changed = True
    return changed


def _read_backward(state: Node, graph: Graph, halves: Halves) -> bool:
    return any(
        user in halves.backward and not is_mutation(user)
        for carrier in _carriers(state, graph)
        for user in carrier.users
    )


def _carriers(state: Node, graph: Graph) -> list[Node]:
    """State and its views, in order."""
    storages = set(storages_of(state.meta.get("val")))
    return [n for n in graph.nodes if not storages.isdisjoint(storages_of(n.meta.get("val")))]
