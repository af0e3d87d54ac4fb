"""What Inductor would make of two halves: its code is generated, and neither compiled nor run."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import torch
from torch import fx
from torch._functorch import config as functorch_config
from torch._functorch._aot_autograd.utils import _is_tangent
from torch._inductor import config
from torch._inductor import graph as inductor_graph
from torch._inductor.compile_fx import compile_fx_inner
from torch._inductor.virtualized import V
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree

from frontends.torch.sizes import hint
from planner.torch.compiled_memory import ON_HOST, CompiledMemory, compiled_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch._inductor.ir import IRNode


_ALL_IN_ONE_CODE = {
    "fx_graph_cache": False,
    "fx_graph_remote_cache": False,
    "graph_partition": False,
    "triton.cudagraphs": False,
}


class _Generated(BaseException):
    """Ends a compilation as soon as the code is there; the compiler wraps every ``Exception``."""


class _Trial(NamedTuple):
    """What became of one half: its memory, the buffers that it returns, and how they lie."""

    memory: CompiledMemory
    returned: tuple[str, ...] = ()
    strides: tuple[tuple[int, ...] | None, ...] = ()


def trial_memory(
    forward: fx.GraphModule, backward: fx.GraphModule, num_fwd_outputs: int
) -> CompiledMemory:
    """Return the peak of a step whose halves Inductor compiles, with its current configuration.

    Which buffers a kernel computes, allocates and reuses is known only once Inductor has fused and
    scheduled, so it does, up to the code of its wrapper; that says when each buffer is there.
    """
    results: Any = forward.graph.output_node().args[0]
    arguments = forward.graph.find_nodes(op="placeholder")
    given = [node.meta["val"] for node in arguments]
    first = _trial(forward, given, {}, {}, visible=range(num_fwd_outputs), is_backward=False)

    inputs = {node.name for node in arguments}
    outputs = [n for n in results[:num_fwd_outputs] if isinstance(n, fx.Node)]
    # Of other inputs that are saved Inductor saves a copy, of another layout.
    saved_as_they_are = inputs & {*first.returned, *(node.name for node in outputs)}
    held = {node.name: _bytes(node) for node in outputs if node.name not in inputs}
    on_host = {node.name for node in forward.graph.nodes if node.target is ON_HOST}
    freed: dict[str, int] = {}
    for node in backward.graph.find_nodes(op="placeholder"):
        # Autograd holds the tangent that it begins with until it ends.
        if _is_tangent(node) and node.meta["val"].dim() == 0:
            held[node.name] = _bytes(node)
        elif node.name not in held and node.name not in saved_as_they_are:
            freed[node.name] = 0 if node.name in on_host else _bytes(node)
    saved = _saved(backward, results, first)
    donated = _donated(backward, freed.keys() - inputs)
    with mock.patch.object(inductor_graph, "get_donated_idxs", lambda: donated):
        second = _trial(backward, saved, held, freed, visible=(), is_backward=True)
    return max(first.memory, second.memory, key=lambda memory: memory.peak_bytes)


def _saved(backward: fx.GraphModule, results: Sequence[Any], forward: _Trial) -> list[Any]:
    """Return the inputs of a backward half, as the forward half lays them out."""
    strides = {
        node.name: stride
        for node, stride in zip(results, forward.strides, strict=False)
        if isinstance(node, fx.Node) and stride is not None
    }
    given = []
    for node in backward.graph.find_nodes(op="placeholder"):
        value, stride = node.meta["val"], strides.get(node.name)
        if stride is not None and [hint(s) for s in value.stride()] != list(stride):
            value = value.as_strided(value.size(), stride)
        given.append(value)
    return given


def _donated(backward: fx.GraphModule, names: Iterable[str]) -> list[int]:
    """Return the inputs of a backward half that it may write over, as AOTAutograd will say."""
    if not functorch_config.donated_buffer:
        return []
    results = backward.graph.output_node().args[0]
    returned = {_storage(node) for node in pytree.tree_leaves(results)}
    placeholders = backward.graph.find_nodes(op="placeholder")
    return [
        i for i, n in enumerate(placeholders) if n.name in names and _storage(n) not in returned
    ]


def _trial(
    half: fx.GraphModule,
    given: Sequence[Any],
    held: Mapping[str, int],
    freed: Mapping[str, int],
    *,
    visible: range | tuple[()],
    is_backward: bool,
) -> _Trial:
    # Inductor rewrites the graph that it compiles.
    half = fx.GraphModule(half, copy.deepcopy(half.graph))
    results: Any = half.graph.output_node().args[0]
    half.graph.output_node().meta["user_visible_output_idxs"] = [
        i for i in visible if isinstance(results[i], fx.Node)
    ]
    found: list[_Trial] = []

    def count(_: str) -> None:
        memory = compiled_memory(V.graph, held, freed)
        strides = tuple(map(_strides, V.graph.graph_outputs))
        found.append(_Trial(memory, tuple(V.graph.get_output_names()), strides))
        raise _Generated

    with (
        config.patch(_ALL_IN_ONE_CODE),
        mock.patch.object(inductor_graph.GraphLowering, "save_output_code", count),
        suppress(_Generated),
    ):
        compile_fx_inner(half, given, is_backward=is_backward)
    if found:
        return found[0]
    # Where nothing is computed nothing is generated.
    live = sum(held.values()) + sum(freed.values())
    return _Trial(CompiledMemory(live, ()), tuple(getattr(n, "name", "") for n in results))


def _strides(result: IRNode) -> tuple[int, ...] | None:
    if not result.has_tensor_output():
        return None
    return tuple(V.graph.sizevars.optimization_hints(result.get_stride()))


def _storage(node: Any) -> StorageWeakRef | None:
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return StorageWeakRef(value.untyped_storage()) if isinstance(value, torch.Tensor) else None


def _bytes(node: fx.Node) -> int:
    value = node.meta.get("val")
    return hint(value.untyped_storage().nbytes()) or 0 if isinstance(value, torch.Tensor) else 0
