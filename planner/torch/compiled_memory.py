"""Bytes live while the code that Inductor generated runs: its allocations, reuses and frees."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch._inductor import ir
from torch._inductor.codegen import wrapper as lines_of
from torch._inductor.utils import get_dtype_size
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from frontends.torch.sizes import hint, tensors_of
from frontends.torch.workspaces import workspace_bytes
from planner.torch import host_copies  # noqa: F401  registers the operator below

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import fx
    from torch._inductor.graph import GraphLowering

# What this operator returns is not on the device.
ON_HOST = torch.ops.planner.to_host.default
_EXTERN_CALLS = (
    lines_of.ExternKernelAllocLine,
    lines_of.ExternKernelOutLine,
    lines_of.ExternKernelMultiOutLine,
    lines_of.IndexPutFallbackLine,
    lines_of.ScatterFallbackLine,
)


class LiveBuffer(NamedTuple):
    """A buffer, or the scratch of the call that runs, live at the peak.

    Attributes
    ----------
    name : str
        Of the operator that it is the result of, where that is known.
    size_bytes : int
    """

    name: str
    size_bytes: int


class CompiledMemory(NamedTuple):
    """The memory of compiled code, above parameters, buffers and inputs.

    Attributes
    ----------
    peak_bytes : int
    at_peak : tuple of LiveBuffer
        What is live then, largest first.
    """

    peak_bytes: int
    at_peak: tuple[LiveBuffer, ...]


def compiled_memory(
    graph: GraphLowering, held: Mapping[str, int], freed_at_last_use: Mapping[str, int]
) -> CompiledMemory:
    """Return what generated code holds at most.

    Parameters
    ----------
    graph : torch._inductor.graph.GraphLowering
        Whose code has been generated, and which is the current one.
    held, freed_at_last_use : mapping of str to int
        Bytes by name of what is live before: what others hold throughout, and inputs that the code
        alone holds.
    """
    memory = _Memory(graph)
    for name, size in {**held, **freed_at_last_use}.items():
        memory.bind(name, size)
    memory.held.update(held)
    for line in graph.wrapper_code.lines:
        memory.run(line)
    return memory.peak()


class _Memory:
    """Buffers by name, each of a storage that lives as long as a name of it."""

    def __init__(self, graph: GraphLowering) -> None:
        self._graph = graph
        self._storage_of: dict[str, str] = {}
        self._names: Counter[str] = Counter()
        self._bytes: dict[str, int] = {}
        self._live = 0
        self.held: set[str] = set()
        self._peak = 0
        self._at_peak: tuple[dict[str, int], tuple[LiveBuffer, ...]] = ({}, ())

    def run(self, line: Any) -> None:
        """Do what a line of the generated code does to memory."""
        if isinstance(line, lines_of.AllocateLine):
            self.bind(line.node.get_name(), self._size(line.node))
        elif isinstance(line, lines_of.ReuseLine):
            self._alias(line.node.get_name(), line.reused_as)
            if line.delete_old:
                self._release(line.node.get_name())
        elif isinstance(line, lines_of.ReinterpretLine):
            self._alias(line.node.get_name(), line.reused_as)
        elif isinstance(line, lines_of.FreeLine) or (
            isinstance(line, lines_of.FreeIfNotReusedLine) and not line.is_reused
        ):
            self._release(line.node.get_name())
        elif isinstance(line, lines_of.MultiOutputLine):
            self._take_part(line.arg_name, line.result_name)
        elif isinstance(line, _EXTERN_CALLS):
            self._call(line.node, allocates=isinstance(line, lines_of.ExternKernelAllocLine))

    def peak(self) -> CompiledMemory:
        """Return the most that was live so far."""
        storages, scratch = self._at_peak
        buffers = [LiveBuffer(self._named(name), size) for name, size in storages.items() if size]
        largest = sorted((*buffers, *scratch), key=lambda buffer: -buffer.size_bytes)
        return CompiledMemory(self._peak, tuple(largest))

    def bind(self, name: str, size: int) -> None:
        """Allocate a buffer."""
        self._release(name)
        self._storage_of[name] = name
        self._names[name] = 1
        self._bytes[name] = size
        self._live += size
        self._note_peak()

    def _call(self, node: Any, *, allocates: bool) -> None:
        """Count an operator that Inductor leaves to ATen: its results, and its scratch."""
        name = node.get_name()
        operator = _operator(node)
        if allocates:
            if getattr(node, "op_overload", None) is ON_HOST:
                self.bind(name, 0)
                return
            sources = [s for s in node.get_inputs_that_alias_output() if s in self._storage_of]
            if isinstance(node.get_output_spec(), ir.MultiOutputLayout):
                results = tensors_of(operator.meta.get("val")) if operator is not None else ()
                self.bind(name, 0 if sources else sum(_storage_bytes(t) for _, t in results))
            elif sources:
                self._alias(sources[0], node)
            else:
                self.bind(name, self._size(node))
        if operator is None:
            return
        scratch = workspace_bytes(operator, self._strides(node, operator)) or 0
        self._note_peak(LiveBuffer(f"scratch of {operator.name}", scratch))

    def _strides(self, call: Any, operator: fx.Node) -> dict[fx.Node, tuple[int, ...]]:
        """Return how the operands of a call lie, where Inductor chose that."""
        read: list[fx.Node] = []
        map_arg((operator.args, operator.kwargs), read.append)
        operands = [node for node in read if isinstance(node.meta.get("val"), torch.Tensor)]
        inputs = pytree.tree_leaves(call.inputs)
        if len(inputs) != len(operands):
            return {}
        hints = self._graph.sizevars.optimization_hints
        return {
            node: tuple(hints(given.get_stride()))
            for node, given in zip(operands, inputs, strict=True)
            if [hint(n) for n in node.meta["val"].shape] == list(hints(given.get_size()))
        }

    def _take_part(self, whole: str, part: str) -> None:
        """Split one result from several, which are all there already."""
        buffer = self._graph.try_get_buffer(part)
        size = 0 if buffer is None else self._size(buffer)
        storage = self._storage_of.get(whole)
        if storage is not None:
            size = min(size, self._bytes[storage])
            self._bytes[storage] -= size
            self._live -= size
        self.bind(part, size)

    def _alias(self, source: str, buffer: Any) -> None:
        storage = self._storage_of.get(source)
        if storage is None:
            self.bind(buffer.get_name(), self._size(buffer))
            return
        self._storage_of[buffer.get_name()] = storage
        self._names[storage] += 1

    def _release(self, name: str) -> None:
        storage = None if name in self.held else self._storage_of.pop(name, None)
        if storage is None:
            return
        self._names[storage] -= 1
        if not self._names[storage]:
            self._live -= self._bytes.pop(storage)

    def _size(self, buffer: Any) -> int:
        if not isinstance(buffer.get_output_spec(), ir.Layout):
            return 0
        elements = self._graph.get_allocation_storage_size(buffer)
        known = self._graph.sizevars.optimization_hint(elements, fallback=0)
        return known * get_dtype_size(buffer.get_dtype())

    def _note_peak(self, *scratch: LiveBuffer) -> None:
        live = self._live + sum(buffer.size_bytes for buffer in scratch)
        if live > self._peak:
            self._peak, self._at_peak = live, (dict(self._bytes), scratch)

    def _named(self, name: str) -> str:
        operator = _operator(self._graph.try_get_buffer(name))
        return name if operator is None else operator.name


def _operator(buffer: Any) -> fx.Node | None:
    """Return the node of which a buffer is the result, if it is of one."""
    if not isinstance(buffer, ir.Buffer):
        return None
    origins = [*buffer.get_origins()]
    target = getattr(buffer, "op_overload", None)
    computing = [n for n in origins if n.target is target] or (origins if len(origins) == 1 else [])
    return buffer.get_origin_node() or next(iter(computing), None)


def _storage_bytes(tensor: Any) -> int:
    return (hint(tensor.numel()) or 0) * tensor.element_size()
