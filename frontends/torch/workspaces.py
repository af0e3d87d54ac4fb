"""Scratch that operators allocate while they run, which no trace shows: measured on the CPU.

Convolutions reorder their operands into blocks, attention keeps tiles of scores for each thread. An
operator that can have scratch is run once, alone, on zeros, and its allocations are counted.
"""

from __future__ import annotations

from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch._C._autograd import (
    _disable_profiler_legacy,
    _enable_profiler_legacy,
    _profiler_enabled,
)
from torch._C._profiler import ProfilerConfig, ProfilerState
from torch._C._profiler import _ExperimentalConfig as _Experimental
from torch.fx.node import map_arg
from torch.utils._python_dispatch import _disable_current_modes

from frontends.torch.effects import is_mutation, operand
from frontends.torch.operations import multiply_accumulates
from frontends.torch.programs import operator_type
from frontends.torch.sizes import hint, tensors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from torch.fx import Node

# What is larger takes too long or too much memory to be run while a model is compiled.
LARGEST_BYTES = 1 << 30
LARGEST_MACS = 4_000_000_000

# Found to have none, or a few bytes for a scalar operand, on every layout and element type tried.
_WITHOUT_SCRATCH = frozenset(
    f"aten.{name}"
    for name in (
        *("_log_softmax", "_log_softmax_backward_data", "_softmax", "_softmax_backward_data"),
        *("arange", "cat", "clone", "constant_pad_nd", "copy", "embedding"),
        *("embedding_dense_backward", "empty", "empty_like", "full", "full_like", "gather"),
        *("max_pool2d_with_indices", "native_layer_norm", "new_zeros", "nll_loss_backward"),
        *("nll_loss_forward", "ones", "ones_like", "scatter", "select_backward", "slice_backward"),
        *("stack", "zeros", "zeros_like"),
    )
)
# Of elements of 4 bytes and more they have none where each matrix lies as BLAS wants it; others are
# copied first.
_PRODUCTS = frozenset(("aten.addmm", "aten.baddbmm", "aten.bmm", "aten.mm"))
_POINTWISE_WITH_SCRATCH = frozenset(
    ("aten.gelu_backward", "aten.native_dropout", "aten.native_dropout_backward")
)


class _Shape(NamedTuple):
    """A dense tensor without its content."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    is_conjugate: bool = False

    def zeros(self) -> torch.Tensor:
        extent = 1 + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))
        elements = 0 if 0 in self.size else extent
        zeros = torch.zeros(elements, dtype=self.dtype).as_strided(self.size, self.stride)
        return zeros.conj() if self.is_conjugate else zeros


def workspace_bytes(
    node: Node, strides: Mapping[Node, tuple[int, ...]] = MappingProxyType({})
) -> int | None:
    """Return the most bytes that a node's operator has allocated beyond its results at once.

    0 for operators without scratch and on other devices than the CPU; None where it is unknown,
    for the operator is too large to be tried, or memory is being profiled. Measured once a process
    for each combination of shapes and threads. ``strides`` are those of operands that are laid out
    otherwise than they were traced.
    """
    if not _may_have_scratch(node):
        return 0
    if _profiler_enabled() or not _is_small(node):
        return None
    arguments = map_arg((node.args, node.kwargs), lambda n: _shape(n, strides.get(n)))
    key = (node.target, torch.get_num_threads(), repr(arguments))
    if key not in _MEASURED:
        _MEASURED[key] = _measure(node.target, *arguments)
    return _MEASURED[key]


_MEASURED: dict[Hashable, int] = {}


def _may_have_scratch(node: Node) -> bool:
    target, type_ = node.target, operator_type(node)
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
        return False
    if is_mutation(node) or type_ in _WITHOUT_SCRATCH:
        return False
    tensors = _tensors(node)
    if (
        torch.Tag.pointwise in target.tags
        and type_ not in _POINTWISE_WITH_SCRATCH
        and _computes_in_one_type(node)
    ):
        return False
    if type_ in _PRODUCTS and all(map(_is_ready_for_blas, tensors)):
        return False
    return all(t.device.type == "cpu" and t.layout is torch.strided for t in tensors)


def _computes_in_one_type(node: Node) -> bool:
    """Whether a pointwise operator converts no operand or result, and conjugates none.

    A conversion makes a copy of the whole; complex conjugates are computed by whoever reads them.
    """
    choosers = {operand(node, name, default=None) for name in ("condition", "mask")}
    sources = [source for source in node.all_input_nodes if source not in choosers]
    operands = [t for source in sources for _, t in tensors_of(source.meta.get("val"))]
    results = [t for _, t in tensors_of(node.meta.get("val")) if t.dtype is not torch.bool]
    types = {tensor.dtype for tensor in (*operands, *results)}
    return len(types) <= 1 and not any(tensor.is_conj() for tensor in operands)


def _is_ready_for_blas(tensor: torch.Tensor) -> bool:
    """Whether BLAS reads a tensor's matrices where they lie: dense rows, or dense columns."""
    if tensor.element_size() < 4 or tensor.is_conj():
        return False
    if tensor.dim() < 2:
        return True
    *batches, (rows, row), (columns, column) = (
        (hint(size) or 0, hint(stride) or 0)
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    if any(size > 1 and stride == 0 for size, stride in batches):
        return False
    by_rows = (column == 1 or columns <= 1) and (row >= columns or rows <= 1)
    by_columns = (row == 1 or rows <= 1) and (column >= rows or columns <= 1)
    return by_rows or by_columns


def _is_small(node: Node) -> bool:
    tensors = _tensors(node)
    shapes = [tuple(hint(size) for size in tensor.shape) for tensor in tensors]
    known = [tuple(size for size in shape if size is not None) for shape in shapes]
    if known != shapes:
        return False
    moved = sum(
        prod(shape) * tensor.element_size() for shape, tensor in zip(known, tensors, strict=True)
    )
    results = len(list(tensors_of(node.meta.get("val"))))
    macs = multiply_accumulates(operator_type(node), node, known[results:], known[:results])
    return moved <= LARGEST_BYTES and macs <= LARGEST_MACS


def _tensors(node: Node) -> list[torch.Tensor]:
    """Results, then operands."""
    sources: list[Node] = []
    map_arg((node.args, node.kwargs), sources.append)
    values = [node.meta.get("val"), *(source.meta.get("val") for source in sources)]
    return [tensor for value in values for _, tensor in tensors_of(value)]


def _shape(node: Node, strides: tuple[int, ...] | None) -> Any:
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor):
        return _Shape(
            tuple(hint(size) or 0 for size in value.shape),
            strides or tuple(hint(stride) or 0 for stride in value.stride()),
            value.dtype,
            value.is_conj(),
        )
    return hint(value) if isinstance(value, torch.SymInt) else value


def _measure(target: Any, args: Any, kwargs: Any) -> int:
    def filled(value: Any) -> Any:
        if isinstance(value, _Shape):
            return value.zeros()
        if isinstance(value, (tuple, list)):
            return type(value)(map(filled, value))
        return value

    with _disable_current_modes(), torch.no_grad(), torch.random.fork_rng(devices=()):
        operands, named = filled(args), {name: filled(value) for name, value in kwargs.items()}
        try:
            changes = _allocations(lambda: target(*operands, **named))
        except (IndexError, RuntimeError):
            return 0  # zeros are no sensible operands for it
    live = peak = 0
    for change in changes:
        live += change
        peak = max(peak, live)
    return peak - live


def _allocations(run: Callable[[], Any]) -> list[int]:
    """Bytes that a call takes and gives back in turn; its results are not given back."""
    settings = ProfilerConfig(ProfilerState.CPU, False, True, False, False, False, _Experimental())
    # The newer profiler sees the same, and writes to the terminal at each start.
    _enable_profiler_legacy(settings)
    try:
        results = run()
    finally:
        records = _disable_profiler_legacy()
    del results
    return [
        event.cpu_memory_usage()
        for thread in records
        for event in thread
        if event.kind() == "memory_alloc"
    ]
