"""Which tensors share bytes: pure aliases always, parts of one tensor in another on request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from frontends.onnx.constants import is_training_dropout, slice_bounds
from frontends.onnx.dtypes import TensorType, element_bits
from planner.errors import LoweringError
from planner.graph import StorageKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from frontends.onnx.nodes import Node
    from frontends.onnx.scope import Scope


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


class Sharing:
    """A forest of values: each lies at an offset in another, or is the root of a storage.

    Attributes
    ----------
    values : sequence of Value
    views : set of int
        Steps that move no bytes for the results they share with an operand.
    """

    def __init__(self, values: Sequence[Value]) -> None:
        self.values = values
        self.views: set[int] = set()
        self._parent = list(range(len(values)))
        self._offset = [0] * len(values)
        self._has_output = [value.is_output for value in values]

    def find(self, value: int) -> tuple[int, int]:
        """Root of the value's storage, and the value's offset in it."""
        path, total = [], 0
        while self._parent[value] != value:
            path.append(value)
            value = self._parent[value]
        for member in reversed(path):
            total += self._offset[member]
            self._parent[member], self._offset[member] = value, total
        return value, total

    def may_share(self, first: int, second: int) -> bool:
        """Whether two storages may become one: no constant, and not two results of the graph.

        A graph input counts as a result here: the caller owns both.
        """
        roots = [self.find(first)[0], self.find(second)[0]]
        kinds = [self.values[root].kind for root in roots]
        outputs = sum(self._has_output[root] for root in roots)
        owned = outputs + kinds.count(StorageKind.INPUT)
        return StorageKind.CONSTANT not in kinds and (outputs == 0 or owned <= 1)

    def holds_output(self, value: int) -> bool:
        """Whether a graph output lies in the value's storage."""
        return self._has_output[self.find(value)[0]]

    def put(self, value: int, into: int, offset: int) -> None:
        """Let the storage of ``value``, its root, begin at ``offset`` inside ``into``."""
        root, base = self.find(into)
        self._parent[value], self._offset[value] = root, base + offset
        self._has_output[root] |= self._has_output[value]


def share(
    steps: Sequence[Step],
    values: Sequence[Value],
    scope: Scope,
    zero_copy: bool,
    alignment_bytes: int = 1,
) -> Sharing:
    """Find all sharing.

    Parameters
    ----------
    zero_copy : bool
        Also parts of one tensor in another.
    alignment_bytes : int
        Every part begins at a multiple of this in its storage; otherwise the operator copies.

    Raises
    ------
    LoweringError
        If a view changes the number of bytes.
    """
    sharing = Sharing(values)
    for position, step in enumerate(steps):
        if is_pure_view(step.node, scope):
            is_view = _alias(step, sharing)
        else:
            is_cut = zero_copy and step.node.type in _CUTS
            is_view = is_cut and _cut(step, sharing, scope, alignment_bytes)
        if is_view:
            sharing.views.add(position)
    if zero_copy:
        concats = [
            position
            for position, step in enumerate(steps)
            if step.node.type == "Concat" and step.outputs and step.outputs[0] >= 0
        ]
        # Stable: ties go to the earlier node.
        for position in sorted(concats, key=lambda p: -values[steps[p].outputs[0]].size_bytes):
            if _join(steps[position], sharing, alignment_bytes):
                sharing.views.add(position)
    return sharing


def is_pure_view(node: Node, scope: Scope) -> bool:
    """Whether the first result is the first operand under another name, shape or type."""
    if node.domain or not node.inputs or not node.outputs:
        return False
    if node.op_type in ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"):
        return True
    if node.op_type == "Dropout":
        return not is_training_dropout(node, scope)
    source, result = scope.type_of(node.inputs[0]), scope.type_of(node.outputs[0])
    if source is None or result is None:
        return False
    if node.op_type in ("Cast", "CastLike"):
        return source == result
    if node.op_type == "Expand":
        return source.element == result.element and source.elements == result.elements
    if node.op_type == "Transpose":
        rank = len(source.shape)
        order = node.integers("perm") or tuple(reversed(range(rank)))
        moved = [axis for axis in order if 0 <= axis < rank and source.shape[axis] != 1]
        return len(order) == rank and moved == sorted(moved)
    return False


def _alias(step: Step, sharing: Sharing) -> bool:
    source, result = step.inputs[0], step.outputs[0]
    if source < 0 or result < 0:
        return False
    before, after = sharing.values[source], sharing.values[result]
    if before.size_bytes != after.size_bytes:
        raise LoweringError(
            f'{step.node.label} turns "{before.name}" ({before.type}, {before.size_bytes:,} bytes) '
            f'into "{after.name}" ({after.type}, {after.size_bytes:,} bytes): '
            "a view keeps the number of bytes. The shapes in the file are wrong."
        )
    shared = sharing.may_share(source, result)
    if shared:
        sharing.put(result, source, 0)
    return shared


def _cut(step: Step, sharing: Sharing, scope: Scope, alignment_bytes: int) -> bool:
    """Split, Slice, Gather: results as parts of the operand, all or none."""
    source = step.inputs[0] if step.inputs else -1
    results = [result for result in step.outputs if result >= 0]
    if source < 0 or not results:
        return False
    offsets = _part_offsets(step.node, sharing.values[source].type, scope)
    if offsets is None or len(offsets) != len(step.outputs):
        return False
    # The operand itself begins at a multiple already, wherever it lies.
    if any(offset % alignment_bytes for offset in offsets):
        return False
    values = sharing.values
    outputs = sum(values[result].is_output for result in results)
    if outputs > 1 or not all(sharing.may_share(source, result) for result in results):
        return False
    end = values[source].size_bytes
    parts = [(r, o) for r, o in zip(step.outputs, offsets, strict=True) if r >= 0]
    if not all(o >= 0 and o + values[result].size_bytes <= end for result, o in parts):
        return False
    for result, offset in parts:
        sharing.put(result, source, offset)
    return True


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


def _join(step: Step, sharing: Sharing, alignment_bytes: int) -> bool:
    """Concat: operands become parts of the result, all or none."""
    values, result = sharing.values, step.outputs[0]
    target, node = sharing.find(result)[0], step.node
    shape = values[result].type.shape
    axis = node.integer("axis", 0)
    if values[target].kind is not StorageKind.ACTIVATION or not -len(shape) <= axis < len(shape):
        return False
    if any(dim != 1 for dim in shape[: axis % len(shape)]):
        return False
    offset, outputs = 0, 0
    placed: list[tuple[int, int]] = []
    for operand in step.inputs:
        if operand < 0:
            return False
        root, base = sharing.find(operand)
        size = values[operand].size_bytes
        whole = base == 0 and size == values[root].size_bytes
        movable = whole and values[root].kind is StorageKind.ACTIVATION and root != target
        starts_on_byte = (
            values[operand].type.elements * element_bits(values[operand].type.element) == 8 * size
        )
        aligned = starts_on_byte and offset % alignment_bytes == 0
        if not movable or not aligned or not sharing.may_share(operand, result):
            return False
        outputs += sharing.holds_output(root)
        placed.append((root, offset))
        offset += size
    distinct = len({root for root, _ in placed}) == len(placed)
    if not distinct or outputs > 1 or offset != values[result].size_bytes:
        return False
    for root, start in placed:
        sharing.put(root, result, start)
    return True
