"""A resolved block becomes a `Graph`: tensors, storages, operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from frontends.onnx import operators as table
from frontends.onnx.constants import is_deterministic
from frontends.onnx.control_flow import iterations
from frontends.onnx.dtypes import MAX_BYTES, STRING, TensorType
from frontends.onnx.in_place import in_place_options, overwritable_operands
from frontends.onnx.parts import Step, Value, cut_layout, is_cut, is_join, join_layout
from frontends.onnx.storages import first_result, share
from planner.errors import LoweringError
from planner.graph import (
    Graph,
    InPlaceOption,
    ModelReference,
    Operator,
    Storage,
    StorageKind,
    Tensor,
)
from planner.liveness import live_bytes, storage_lifetimes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from frontends.onnx.blocks import Block
    from frontends.onnx.nodes import Node
    from frontends.onnx.parts import Layout
    from frontends.onnx.storages import Sharing

MAX_OPERATIONS = 1 << 62
"""Counts are cut off here, so that they and their use in 64-bit arithmetic stay defined."""

_UINT8 = 2


@dataclass(slots=True)
class Workspace:
    """What the bodies of one control-flow node need while it runs.

    Attributes
    ----------
    node : Node
    peak_bytes : int
        Most bytes live at once inside, in the body's own order; the largest branch of an `If`.
    is_lower_bound : bool
        Some value inside has no static size and counts nothing.
    nodes : int
        Operators inside.
    macs, vector_ops : int
    counts_iterations : bool
        Whether the number of iterations is known and included in the operations.
    """

    node: Node
    peak_bytes: int = 0
    is_lower_bound: bool = False
    nodes: int = 0
    macs: int = 0
    vector_ops: int = 0
    counts_iterations: bool = True


@dataclass(frozen=True, slots=True)
class Lowered:
    """The parts of a graph, and what there is to say about it.

    Attributes
    ----------
    operators, tensors, storages
        As in `Graph`.
    workspaces : list of Workspace
        One per control-flow node.
    unknown_operators : dict of str to int
        How many operators of each type have no entry in the operator table.
    is_lower_bound : bool
        Some value has no static size and counts nothing; only in bodies.
    without_copy : tuple of str
        First results of the operators that would copy had they not been asked to share.
    """

    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    storages: tuple[Storage, ...]
    workspaces: list[Workspace]
    unknown_operators: dict[str, int]
    is_lower_bound: bool
    without_copy: tuple[str, ...]

    def graph(self, model: ModelReference, notes: tuple[str, ...] = ()) -> Graph:
        """The graph itself."""
        return Graph(model, self.operators, self.tensors, self.storages, notes)


def lower(
    block: Block,
    *,
    zero_copy: bool | Collection[str] = False,
    alignment_bytes: int = 1,
    lenient: bool = False,
) -> Lowered:
    """Build the graph of a resolved block.

    Parameters
    ----------
    zero_copy : bool or collection of str
        Share storage between Concat, Split, Slice, Gather and their operands where possible:
        wherever, nowhere, or where the first result of the operator has one of the names.
    alignment_bytes : int
        An operator with a part that would not begin at a multiple of this copies instead.
    lenient : bool
        Count values of unknown size as empty instead of refusing: for bodies.

    Raises
    ------
    LoweringError
        If a value has no static size, or a view changes the number of bytes.
    """
    return BlockLowering(block, lenient=lenient).lowered(zero_copy, alignment_bytes)


def no_number_message(name: str, role: str, kind: str) -> str:
    """Why a value that is no tensor of numbers is refused."""
    return (
        f'"{name}", {role}, is a{"n" if kind[0] in "aeiou" else ""} {kind}: it has no static size. '
        "Only tensors of numbers can be planned; cut the model before it."
    )


class BlockLowering:
    """The values and operators of a resolved block, in one order for all; storages come last.

    Raises
    ------
    LoweringError
        If a value has no static size.
    """

    def __init__(self, block: Block, *, lenient: bool = False) -> None:
        self.block = block
        self.scope = block.scope
        self.lenient = lenient
        self.outputs = set(block.outputs)
        self.values: list[Value] = []
        self.index: dict[str, int] = {}
        self.steps: list[Step] = []
        self.workspaces: dict[int, Workspace] = {}  # by step
        self.workspace_values: dict[int, int] = {}
        self.is_lower_bound = False
        for name in block.inputs:
            self._value(name, StorageKind.INPUT, "a graph input")
        for index, node in enumerate(block.nodes):
            if index not in block.folded:
                self._step(index, node)
        for name in block.outputs:
            if name not in self.index:
                self._value(name, StorageKind.CONSTANT, "a graph output")

    def layouts(self, alignment_bytes: int) -> dict[int, Layout]:
        """Steps that cut a tensor into contiguous parts or join such parts, whoever owns them."""
        found: dict[int, Layout] = {}
        for position, step in enumerate(self.steps):
            layout = None
            if is_cut(step.node):
                layout = cut_layout(step, self.values, self.scope, alignment_bytes)
            elif is_join(step.node):
                layout = join_layout(step, self.values, alignment_bytes)
            if layout is not None:
                found[position] = layout
        return found

    def shares(self, zero_copy: Collection[str], alignment_bytes: int) -> set[int]:
        """Steps that do without a copy if these are asked to; see `lowered`."""
        return share(self.steps, self.values, self.scope, zero_copy, alignment_bytes).on_request

    def lowered(self, zero_copy: bool | Collection[str], alignment_bytes: int) -> Lowered:
        """Decide on storages; parameters as for `lower`.

        Raises
        ------
        LoweringError
            If a view changes the number of bytes, or there are too many of them.
        """
        sharing = share(self.steps, self.values, self.scope, zero_copy, alignment_bytes)
        tensors, storages = self._tables(sharing)
        total = sum(storage.size_bytes for storage in storages)
        if total > MAX_BYTES:
            raise LoweringError(
                f"the tensors of {self.block.where} take {total:,} bytes together: more than 2^53."
            )
        captured = {
            tensors[self.index[name]].storage
            for step in self.steps
            for name in step.node.captured
            if name in self.index
        }
        operators = tuple(
            self._operator(position, step, tensors, storages, captured, sharing)
            for position, step in enumerate(self.steps)
        )
        unknown: dict[str, int] = {}
        for step in self.steps:
            if not step.node.bodies and not table.is_known(step.node):
                unknown[step.node.type] = unknown.get(step.node.type, 0) + 1
        workspaces = list(self.workspaces.values())
        lower_bound = self.is_lower_bound or any(w.is_lower_bound for w in workspaces)
        shared = (first_result(self.steps[p].node) for p in sorted(sharing.on_request))
        return Lowered(
            *(operators, tuple(tensors), tuple(storages), workspaces, unknown, lower_bound),
            without_copy=tuple(shared),
        )

    def _value(self, name: str, kind: StorageKind, role: str) -> int:
        type_ = self.scope.type_of(name)
        if type_ is None or (type_.element == STRING and kind is not StorageKind.CONSTANT):
            if not self.lenient:
                raise LoweringError(self._why_unsized(name, type_, role))
            self.is_lower_bound = True
            type_, size = TensorType((0,), _UINT8), 0
        elif type_.element == STRING:
            size = self._string_bytes(name)
        else:
            size = type_.size_bytes
        return self._append(Value(name, type_, kind, name in self.outputs, size))

    def _append(self, value: Value) -> int:
        self.index[value.name] = len(self.values)
        self.values.append(value)
        return self.index[value.name]

    def _why_unsized(self, name: str, type_: TensorType | None, role: str) -> str:
        if type_ is not None:
            return no_number_message(name, role, "string tensor")
        if name in self.scope.kinds:
            return no_number_message(name, role, self.scope.kinds[name])
        return f'"{name}", {role}, has no static size.'

    def _string_bytes(self, name: str) -> int:
        tensor = self.scope.initializers.get(name)
        return 0 if tensor is None else sum(map(len, tensor.string_data))

    def _step(self, index: int, node: Node) -> None:
        scope = self.scope
        for name in node.reads:
            if name not in self.index:
                # Seen from a body, captured values and constants alike are bytes of others.
                self._value(name, StorageKind.CONSTANT, f"an operand of {node.label}")
        inputs = tuple(self.index[name] if name else -1 for name in node.inputs)
        outputs = tuple(
            self._value(name, StorageKind.ACTIVATION, f"a result of {node.label}") if name else -1
            for name in node.outputs
        )
        position = len(self.steps)
        self.steps.append(Step(node, inputs, outputs))
        if index in self.block.bodies:
            workspace = _workspace(node, self.block.bodies[index])
            self.workspaces[position] = workspace
            if workspace.peak_bytes:
                name = f"{node.name or next(iter(node.results), node.type)} (workspace)"
                while name in self.index or scope.type_of(name) is not None:
                    name += "'"
                type_ = TensorType((workspace.peak_bytes,), _UINT8)
                self.workspace_values[position] = self._append(
                    Value(name, type_, StorageKind.WORKSPACE, False, workspace.peak_bytes)
                )

    def _tables(self, sharing: Sharing) -> tuple[list[Tensor], list[Storage]]:
        """Tensors in order of appearance; a storage is named after its first tensor."""
        storage_of: dict[int, int] = {}
        names: list[str] = []
        is_output: list[bool] = []
        tensors: list[Tensor] = []
        for index, value in enumerate(self.values):
            root, offset = sharing.find(index)
            storage = storage_of.setdefault(root, len(storage_of))
            if storage == len(names):
                names.append(value.name)
                is_output.append(False)
            # An initializer that is a graph output is already where the caller finds it.
            is_output[storage] |= value.is_output and value.kind is not StorageKind.CONSTANT
            tensors.append(
                Tensor(
                    value.name,
                    value.type.shape,
                    value.type.dtype,
                    storage,
                    offset,
                    value.size_bytes,
                )
            )
        storages = [
            Storage(
                names[storage],
                self.values[root].size_bytes,
                self.values[root].kind,
                is_output[storage],
            )
            for root, storage in storage_of.items()
        ]
        return tensors, storages

    def _operator(
        self,
        position: int,
        step: Step,
        tensors: Sequence[Tensor],
        storages: Sequence[Storage],
        captured: set[int],
        sharing: Sharing,
    ) -> Operator:
        node = step.node
        operands = [self.values[i].type if i >= 0 else None for i in step.inputs]
        results = [self.values[i].type if i >= 0 else None for i in step.outputs]
        inputs = dict.fromkeys(i for i in step.inputs if i >= 0)
        inputs.update(dict.fromkeys(self.index[name] for name in node.captured))
        outputs = [i for i in step.outputs if i >= 0]
        in_place: tuple[InPlaceOption, ...] = ()
        workspace = self.workspaces.get(position)
        if workspace is not None:
            macs, vector_ops = workspace.macs, workspace.vector_ops
            if position in self.workspace_values:
                outputs.append(self.workspace_values[position])
        elif position in sharing.views:
            # Results that are views cost nothing; a mask beside one does.
            read = {tensors[i].storage for i in inputs}
            moved = [i for i in outputs if tensors[i].storage not in read]
            macs, vector_ops = 0, sum(self.values[i].type.elements for i in moved)
        else:
            macs = table.macs(node, operands, results)
            vector_ops = table.vector_operations(node, operands, results)
            if results and results[0] is not None:
                positions = overwritable_operands(node, operands, results[0])
                in_place = in_place_options(step, positions, tensors, storages, captured)
        return Operator(
            node.name or next(iter(node.results), node.type),
            node.type,
            tuple(inputs),
            tuple(outputs),
            in_place,
            min(macs, MAX_OPERATIONS),
            min(vector_ops, MAX_OPERATIONS),
            recomputable=is_deterministic(node, self.scope),
        )


def _workspace(node: Node, bodies: Sequence[Block]) -> Workspace:
    """Plan the bodies of a control-flow node: each as a graph of its own, in its own order."""
    result = Workspace(node)
    for body in bodies:
        lowered = lower(body, lenient=True)
        graph = lowered.graph(ModelReference(body.where))
        order = range(len(graph.operators))
        live = live_bytes(graph, order, storage_lifetimes(graph, order))
        result.peak_bytes = max(result.peak_bytes, int(live.max()) if len(live) else 0)
        result.is_lower_bound |= lowered.is_lower_bound
        result.nodes += len(graph.operators) + sum(w.nodes for w in lowered.workspaces)
        times = iterations(node, body, body.scope)
        result.counts_iterations &= times is not None
        times = 1 if times is None else times
        result.macs = max(result.macs, times * sum(op.macs for op in graph.operators))
        result.vector_ops = max(
            result.vector_ops, times * sum(op.vector_ops for op in graph.operators)
        )
    return result
