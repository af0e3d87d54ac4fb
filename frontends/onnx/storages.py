"""Which tensors share bytes: pure aliases always, parts of one tensor in another on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.onnx.constants import is_training_dropout
from frontends.onnx.parts import cut_layout, is_cut, is_join, join_layout
from planner.errors import LoweringError
from planner.graph import StorageKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from frontends.onnx.nodes import Node
    from frontends.onnx.parts import Step, Value
    from frontends.onnx.scope import Scope


class Sharing:
    """A forest of values: each lies at an offset in another, or is the root of a storage.

    Attributes
    ----------
    values : sequence of Value
    views : set of int
        Steps that move no bytes for the results they share with an operand.
    on_request : set of int
        Those of them that would copy otherwise.
    """

    def __init__(self, values: Sequence[Value]) -> None:
        self.values = values
        self.views: set[int] = set()
        self.on_request: set[int] = set()
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

    def is_whole(self, value: int) -> bool:
        """Whether the value is all of its storage."""
        root, offset = self.find(value)
        return offset == 0 and self.values[value].size_bytes == self.values[root].size_bytes

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
    zero_copy: bool | Collection[str],
    alignment_bytes: int = 1,
) -> Sharing:
    """Find all sharing.

    Parameters
    ----------
    zero_copy : bool or collection of str
        Also parts of one tensor in another: by all operators, by none, or by those whose first
        result has one of the names. True stands for what it has always meant in plan files: a
        Concat of operands that lie one after another already, in the right order, is not seen.
    alignment_bytes : int
        Every part begins at a multiple of this in its storage; otherwise the operator copies.

    Raises
    ------
    LoweringError
        If a view changes the number of bytes.
    """
    sharing = Sharing(values)
    if not isinstance(zero_copy, bool):
        zero_copy = frozenset(zero_copy)
    joins: list[int] = []
    for position, step in enumerate(steps):
        if is_pure_view(step.node, scope):
            if _alias(step, sharing):
                sharing.views.add(position)
        elif not isinstance(zero_copy, bool) and first_result(step.node) not in zero_copy:
            continue
        elif zero_copy and is_cut(step.node):
            if _cut(step, sharing, scope, alignment_bytes):
                sharing.on_request.add(position)
        elif zero_copy and is_join(step.node) and step.outputs and step.outputs[0] >= 0:
            joins.append(position)
    # Stable: ties go to the earlier node.
    joins.sort(key=lambda position: -values[steps[position].outputs[0]].size_bytes)
    placed = {p for p in joins if _join(steps[p], sharing, alignment_bytes)}
    found = placed if zero_copy is not True else set[int]()
    while found:  # one result of a run may complete another run
        left = [position for position in joins if position not in placed]
        found = {p for p in left if _name_run(steps[p], sharing, alignment_bytes)}
        placed |= found
    sharing.on_request |= placed
    sharing.views |= sharing.on_request
    return sharing


def first_result(node: Node) -> str:
    """The name by which an operator is asked to do without a copy; empty if it has no results."""
    return next(iter(node.results), "")


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
    """Split, Slice, Gather: results become parts of the operand, all or none."""
    layout = cut_layout(step, sharing.values, scope, alignment_bytes)
    if layout is None:
        return False
    source, parts = layout
    outputs = sum(sharing.values[result].is_output for result, _ in parts)
    if outputs > 1 or not all(sharing.may_share(source, result) for result, _ in parts):
        return False
    for result, offset in parts:
        sharing.put(result, source, offset)
    return True


def _join(step: Step, sharing: Sharing, alignment_bytes: int) -> bool:
    """Concat: operands become parts of the result, all or none."""
    values = sharing.values
    layout = join_layout(step, values, alignment_bytes)
    if layout is None:
        return False
    result, parts = layout
    target = sharing.find(result)[0]
    if values[target].kind is not StorageKind.ACTIVATION:
        return False
    roots = [sharing.find(operand)[0] for operand, _ in parts]
    outputs = sum(sharing.holds_output(root) for root in roots)
    if target in roots or len({*roots}) < len(roots) or outputs > 1:
        return False
    for operand, _ in parts:
        movable = sharing.is_whole(operand) and sharing.may_share(operand, result)
        if not movable or values[sharing.find(operand)[0]].kind is not StorageKind.ACTIVATION:
            return False
    for root, (_, offset) in zip(roots, parts, strict=True):
        sharing.put(root, result, offset)
    return True


def _name_run(step: Step, sharing: Sharing, alignment_bytes: int) -> bool:
    """Concat: the result is another name of operands that lie one after another already."""
    layout = join_layout(step, sharing.values, alignment_bytes)
    if layout is None:
        return False
    result, parts = layout
    root, base = sharing.find(parts[0][0])
    if any(sharing.find(operand) != (root, base + offset) for operand, offset in parts):
        return False
    if not sharing.is_whole(result) or not sharing.may_share(parts[0][0], result):
        return False
    sharing.put(sharing.find(result)[0], parts[0][0], 0)
    return True
