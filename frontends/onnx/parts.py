"""Operators whose results could be parts of an operand, or their operands parts of the result.

In a flat arena a part of a tensor is contiguous only along its outermost dimension longer than 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from frontends.onnx.constants import slice_bounds
from frontends.onnx.dtypes import TensorType, element_bits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from frontends.onnx.nodes import Node
    from frontends.onnx.scope import Scope
    from planner.graph import StorageKind

_CUTS = frozenset({"Split", "Slice", "Gather"})


@dataclass(slots=True)
class Value:
    """A tensor of the graph before storages are known."""

    name: str
    type: TensorType
    kind: StorageKind
    is_output: bool
    size_bytes: int


@dataclass(slots=True)
class Step:
    """An operator as far as sharing is concerned; indices into the list of values.

    Attributes
    ----------
    node : Node
    inputs, outputs : tuple of int
        By position in the node; -1 where omitted.
    """

    node: Node
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Layout(NamedTuple):
    """Contiguous parts of one value, all that an operator cuts from it or joins in it.

    Attributes
    ----------
    whole : int
    parts : tuple of (int, int)
        Values and their byte offsets in the whole. A value may occur more than once.
    """

    whole: int
    parts: tuple[tuple[int, int], ...]


def is_cut(node: Node) -> bool:
    """Whether the operator takes parts of its first operand."""
    return node.type in _CUTS


def is_join(node: Node) -> bool:
    """Whether the operator puts its operands into one result."""
    return node.type == "Concat"


def cut_layout(
    step: Step, values: Sequence[Value], scope: Scope, alignment_bytes: int
) -> Layout | None:
    """Split, Slice, Gather: where the results lie in the operand.

    Returns
    -------
    Layout or None
        None if a result is not contiguous there or would not begin at a multiple of the alignment.
    """
    source = step.inputs[0] if step.inputs else -1
    if source < 0 or all(result < 0 for result in step.outputs):
        return None
    offsets = _part_offsets(step.node, values[source].type, scope)
    if offsets is None or len(offsets) != len(step.outputs):
        return None
    # The operand itself begins at a multiple already, wherever it lies.
    if any(offset % alignment_bytes for offset in offsets):
        return None
    end = values[source].size_bytes
    parts = [(r, o) for r, o in zip(step.outputs, offsets, strict=True) if r >= 0]
    if not all(o >= 0 and o + values[result].size_bytes <= end for result, o in parts):
        return None
    return Layout(source, tuple(parts))


def join_layout(step: Step, values: Sequence[Value], alignment_bytes: int) -> Layout | None:
    """Concat: where the operands lie in the result; None as for `cut_layout`."""
    result = step.outputs[0] if step.outputs else -1
    if result < 0 or not step.inputs or any(operand < 0 for operand in step.inputs):
        return None
    shape = values[result].type.shape
    axis = step.node.integer("axis", 0)
    if not -len(shape) <= axis < len(shape):
        return None
    if any(dim != 1 for dim in shape[: axis % len(shape)]):
        return None
    offset = 0
    parts: list[tuple[int, int]] = []
    for operand in step.inputs:
        value = values[operand]
        whole_bytes = value.type.elements * element_bits(value.type.element) == 8 * value.size_bytes
        if not whole_bytes or offset % alignment_bytes:
            return None
        parts.append((operand, offset))
        offset += value.size_bytes
    return Layout(result, tuple(parts)) if offset == values[result].size_bytes else None


def _part_offsets(node: Node, source: TensorType, scope: Scope) -> list[int] | None:
    """Byte offset of each result inside the operand; None if a result is not contiguous there."""
    rank = len(source.shape)
    if node.type == "Slice":
        at = _slice_start(node, source, scope)
        if at is None:
            return None
        axis, starts = at[0], [at[1]]
    else:
        axis = node.integer("axis", 0)
        if not -rank <= axis < rank:
            return None
        axis %= rank
        if node.type == "Gather":
            start = _gather_start(node, source.shape[axis], scope)
            if start is None:
                return None
            starts = [start]
        else:
            starts = list(_running(node, axis, scope))
    if any(dim != 1 for dim in source.shape[:axis]):
        return None
    inner_bits = element_bits(source.element)
    for dim in source.shape[axis + 1 :]:
        inner_bits *= dim
    bits = [start * inner_bits for start in starts]
    return None if any(bit % 8 for bit in bits) else [bit // 8 for bit in bits]


def _running(node: Node, axis: int, scope: Scope) -> Iterator[int]:
    start = 0
    for name in node.outputs:
        yield start
        result = scope.type_of(name) if name else None
        start += result.shape[axis] if result is not None and axis < len(result.shape) else 0


def _slice_start(node: Node, source: TensorType, scope: Scope) -> tuple[int, int] | None:
    """The one axis that is cut, and where the part starts on it."""
    contents = [scope.value_of(name) if name else None for name in node.inputs[1:]]
    if any(name and value is None for name, value in zip(node.inputs[1:], contents, strict=True)):
        return None
    bounds = slice_bounds(node, contents)
    result = scope.type_of(node.outputs[0])
    rank = len(source.shape)
    if bounds is None or result is None or len(result.shape) != rank:
        return None
    if any(step != 1 or not -rank <= axis < rank for axis, (_, _, step) in bounds.items()):
        return None
    starts = {axis % rank: start for axis, (start, _, _) in bounds.items()}
    cut = [axis for axis in range(rank) if source.shape[axis] != result.shape[axis]]
    if not cut:
        return 0, 0
    if len(cut) > 1 or cut[0] not in starts:
        return None
    dim, start = source.shape[cut[0]], starts[cut[0]]
    return cut[0], min(max(start + dim if start < 0 else start, 0), dim)


def _gather_start(node: Node, dim: int, scope: Scope) -> int | None:
    """First index of a Gather that takes consecutive rows."""
    indices = scope.value_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if indices is None or indices.size == 0 or indices.ndim > 1:
        return None
    rows = [int(index) + (dim if index < 0 else 0) for index in indices.reshape(-1)]
    consecutive = rows == list(range(rows[0], rows[0] + len(rows)))
    return rows[0] if consecutive and rows[0] >= 0 and rows[-1] < dim else None
