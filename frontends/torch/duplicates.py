"""Nodes that compute what another one has computed already, or what nobody needs, go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from frontends.torch.effects import is_mutation, may_run_again
from frontends.torch.sizes import storages_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch.multiprocessing.reductions import StorageWeakRef


def without_duplicates(module: GraphModule) -> GraphModule:
    """Return a copy of a module whose graph computes nothing twice and nothing in vain.

    As `torch._functorch.compile_utils.fx_graph_cse` does before torch's own partitioners: values
    that share storage with a result stay apart, for the caller may write over one of them.
    Beyond it, no operator with an effect or with chance in it is merged, and none across a write.
    A copy of a whole value goes too: dropout of probability 0 is traced as one.
    The nodes of the copy have the names and share the ``meta`` values of the originals.
    """
    kept = _shared_with_results(module.graph)
    given = _given_storages(module.graph)
    graph = Graph()
    graph.set_codegen(module.graph._codegen)
    copies: dict[Node, Node] = {}
    seen: dict[Hashable, Node] = {}
    gone: set[StorageWeakRef] = set()
    writes = 0
    for node in module.graph.nodes:
        if node not in kept and _is_idle_copy(node, given):
            copies[node] = copies[node.all_input_nodes[0]]
            gone.update(storages_of(node.meta["val"]))
            continue
        key = None
        writes += is_mutation(node)
        if _may_merge(node) and node not in kept:
            key = _key(node, copies, writes)
        if key is not None and key in seen:
            copies[node] = seen[key]
            continue
        copies[node] = graph.node_copy(node, lambda operand: copies[operand])
        if not gone.isdisjoint(storages_of(node.meta.get("val"))):
            copies[node].meta["val"] = _anew(copies[node])
        if key is not None:
            seen[key] = copies[node]
    graph.eliminate_dead_code()
    return GraphModule(module, graph)


def _may_merge(node: Node) -> bool:
    name = getattr(getattr(node.target, "_schema", None), "name", "")
    return node.op == "call_function" and may_run_again(node) and "::empty" not in name


def _is_idle_copy(node: Node, given: set[StorageWeakRef]) -> bool:
    """Whether a node copies the whole of a value that the graph computes, in the same layout."""
    if node.target is not torch.ops.aten.clone.default:
        return False
    copied = node.meta.get("val")
    source = node.all_input_nodes[0].meta.get("val")
    if not (isinstance(copied, torch.Tensor) and isinstance(source, torch.Tensor)):
        return False
    if copied.layout is not torch.strided or copied.dtype != source.dtype:
        return False
    sizes = [(*value.stride(), value.untyped_storage().nbytes()) for value in (copied, source)]
    # Symbolic sizes would compare by adding guards.
    known = all(isinstance(size, int) for size in (*sizes[0], *sizes[1]))
    return known and sizes[0] == sizes[1] and given.isdisjoint(storages_of(source))


def _anew(view: Node) -> Any:
    """Return the value of a view of its operands' values."""
    operands = [operand.meta["val"] for operand in view.all_input_nodes]
    mode = next(value.fake_mode for value in operands if isinstance(value, FakeTensor))
    positional, named = map_arg((view.args, view.kwargs), lambda operand: operand.meta["val"])
    with mode:
        return view.target(*positional, **named)  # type: ignore[operator]


def _given_storages(graph: Graph) -> set[StorageWeakRef]:
    return {
        storage
        for node in graph.nodes
        if node.op in ("placeholder", "get_attr")
        for storage in storages_of(node.meta.get("val"))
    }


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
