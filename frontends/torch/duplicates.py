"""Nodes that compute what another one has computed already, and nodes that nobody needs, go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from frontends.torch.effects import is_mutation, may_run_again
from frontends.torch.sizes import storages_of

if TYPE_CHECKING:
    from collections.abc import Hashable


def without_duplicates(module: GraphModule) -> GraphModule:
    """Return a copy of a module whose graph computes nothing twice and nothing in vain.

    As `torch._functorch.compile_utils.fx_graph_cse` does before torch's own partitioners: values
    that share storage with a result stay apart, for the caller may write over one of them.
    Beyond it, no operator with an effect or with chance in it is merged, and none across a write.
    The nodes of the copy have the names and share the ``meta`` values of the originals.
    """
    kept = _shared_with_results(module.graph)
    graph = Graph()
    graph.set_codegen(module.graph._codegen)
    copies: dict[Node, Node] = {}
    seen: dict[Hashable, Node] = {}
    writes = 0
    for node in module.graph.nodes:
        key = None
        writes += is_mutation(node)
        if _may_merge(node) and node not in kept:
            key = _key(node, copies, writes)
        if key is not None and key in seen:
            copies[node] = seen[key]
            continue
        copies[node] = graph.node_copy(node, lambda operand: copies[operand])
        if key is not None:
            seen[key] = copies[node]
    graph.eliminate_dead_code()
    return GraphModule(module, graph)


def _may_merge(node: Node) -> bool:
    name = getattr(getattr(node.target, "_schema", None), "name", "")
    return node.op == "call_function" and may_run_again(node) and "::empty" not in name


def _key(node: Node, copies: dict[Node, Node], writes: int) -> Hashable | None:
    operands = map_arg((node.args, node.kwargs), lambda operand: copies[operand])
    key = (node.target, writes, _typed(operands))
    try:
        hash(key)
    except TypeError:
        return None  # such as symbolic sizes, which compare by adding guards
    return key


def _typed(value: Any) -> Hashable:
    """A value that is equal to another one of the same type alone: 1 is not 1.0."""
    if isinstance(value, (tuple, list)):
        return (list, *map(_typed, value))
    if isinstance(value, dict):
        return (dict, *((name, _typed(item)) for name, item in value.items()))
    if isinstance(value, slice):
        return (slice, _typed(value.start), _typed(value.stop), _typed(value.step))
    # -0.0 equals 0.0, and nan not itself.
    return (type(value), repr(value) if isinstance(value, (float, complex)) else value)


def _shared_with_results(graph: Graph) -> set[Node]:
    output = next(iter(graph.find_nodes(op="output")))
    handed_out = {
        storage for node in output.all_input_nodes for storage in storages_of(node.meta.get("val"))
    }
    return {
        node for node in graph.nodes if not handed_out.isdisjoint(storages_of(node.meta.get("val")))
    }
