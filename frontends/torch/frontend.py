"""A traced program becomes a `Graph`: storages are those of the trace's fake tensors.

Values that share a storage in the trace are views of one storage, so that half of the nodes of a
training graph cost nothing. Of an operator with several results the results are planned, never the
tuple; what is computed from weights alone is folded into a constant, except in a training step.
"""

from __future__ import annotations

import operator as python_operator
from typing import TYPE_CHECKING, Any

import torch
from torch.fx.node import map_arg

from frontends.torch.effects import is_mutation, is_random, may_run_again
from frontends.torch.operations import element_operations, multiply_accumulates
from frontends.torch.programs import TracedProgram, operator_name, operator_type, traced_program
from frontends.torch.sizes import Sizes, tensors_of
from planner.errors import LoweringError
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch.fx import Node
    from torch.multiprocessing.reductions import StorageWeakRef


def load_torch(source: Any, *, dims: Mapping[str, int] | None = None) -> Graph:
    """Lower a torch program.

    Parameters
    ----------
    source : torch.export.ExportedProgram or torch.fx.GraphModule
        Of ATen operators, with fake values (``node.meta["val"]``). A module may be the joint
        forward and backward graph of a training step, as AOTAutograd hands it to a partitioner:
        nothing of it is folded, and its operators know their halves.
    dims : mapping
        Sizes of symbolic dimensions, by the names of their symbols: ``{"s31": 8}``. In a joint
        graph the others have the sizes that it was traced with.

    Raises
    ------
    planner.errors.UsageError
        If the source is of another kind, or a dimension is unknown.
    planner.errors.LoweringError
        If a value has no static size, or the program is no graph of ATen operators.
    """
    program = traced_program(source)
    sizes = Sizes(dims or {}, hints=program.halves is not None)
    return Lowering(program, sizes).graph(dims or {})


class Lowering:
    """One program on its way to a `Graph`.

    Parameters
    ----------
    program : TracedProgram
    sizes : Sizes
    workspace_bytes : callable, optional
        Scratch that the operator of a node needs; None where that is unknown.

    Attributes
    ----------
    values : mapping
        Per node, its tensors' indices by their suffixes in the node's value.
    operator_of : mapping
        Per node, its operator's index; nodes that compute nothing have none.
    """

    def __init__(
        self,
        program: TracedProgram,
        sizes: Sizes,
        workspace_bytes: Callable[[Node], int | None] | None = None,
    ) -> None:
        self.program, self.sizes, self.workspace_bytes = program, sizes, workspace_bytes
        self.values: dict[Node, dict[str, int]] = {}
        self.operator_of: dict[Node, int] = {}
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.storage_names: list[str] = []
        self.storage_sizes: list[int] = []
        self.storage_kinds: list[StorageKind] = []
        self.outputs: set[int] = set()
        self.folded = self.unknown_workspaces = 0
        self._storage_of: dict[StorageWeakRef, int] = {}

    def graph(self, dims: Mapping[str, int]) -> Graph:
        """Lower the program; `values` and `operator_of` belong to the result."""
        for node in self.program.graph.nodes:
            self._node(node)
        self.sizes.refuse_unused()
        storages = tuple(
            Storage(name, size, kind, index in self.outputs)
            for index, (name, size, kind) in enumerate(
                zip(self.storage_names, self.storage_sizes, self.storage_kinds, strict=True)
            )
        )
        notes: list[str] = []
        if self.folded:
            notes.append(f"Folded {self.folded} nodes: constants alone decide the results.")
        if self.unknown_workspaces:
            notes.append(
                f"The scratch of {self.unknown_workspaces} operators is not counted: they are too "
                "large to be run for a measurement."
            )
        model = ModelReference(self.program.name, dims=tuple(dims.items()))
        return Graph(model, tuple(self.operators), tuple(self.tensors), storages, tuple(notes))

    def _node(self, node: Node) -> None:
        if node.op == "placeholder":
            constant = node.name in self.program.constants
            kind = StorageKind.CONSTANT if constant else StorageKind.INPUT
            self.values[node] = self._results(node, node.meta.get("val"), kind)
        elif node.op == "get_attr":
            value = node.meta.get("val")
            if value is None and self.program.module is not None:
                value = _attribute(self.program.module, str(node.target))
            self.values[node] = self._results(node, value, StorageKind.CONSTANT)
        elif node.op == "output":
            for result in node.all_input_nodes:
                self._hand_out(result)
        elif node.target is python_operator.getitem:
            source, index = node.args[0], node.args[1]
            parts = self.values[source]  # type: ignore[index]
            key = f".{index}"
            self.values[node] = {
                suffix.removeprefix(key): tensor
                for suffix, tensor in parts.items()
                if suffix == key or suffix.startswith(f"{key}.")
            }
        elif is_mutation(node):
            self._write_back(node)
        else:
            self._call(node)

    def _hand_out(self, node: Node) -> None:
        for tensor in self.values[node].values():
            storage = self.tensors[tensor].storage
            if self.storage_kinds[storage] is not StorageKind.CONSTANT:
                self.outputs.add(storage)

    def _write_back(self, node: Node) -> None:
        """What is written over state is a result: a `Graph` has no other order than data's."""
        for source in node.all_input_nodes[1:]:
            self._hand_out(source)
        operand = node.all_input_nodes[0]
        of_state = all(
            not self.storage_kinds[self.tensors[t].storage].is_written
            for t in self.values[operand].values()
        )
        if not of_state:
            raise LoweringError(
                f'node "{node.name}" ({operator_type(node)}) writes over an intermediate value. '
                "Make the graph functional first."
            )
        self.values[node] = self.values[operand] if node.meta.get("val") is not None else {}

    def _call(self, node: Node) -> None:
        if "val" not in node.meta:
            if not node.users:
                self.values[node] = {}
                return  # an assertion
            raise LoweringError(
                f'node "{node.name}" ({operator_type(node)}) has no fake value, so its size is '
                "unknown. Trace with torch.export.export(model, inputs)."
            )
        sources: list[Node] = []
        map_arg((node.args, node.kwargs), sources.append)
        operands = [t for source in sources for t in self.values[source].values()]
        constant = self.program.halves is None and all(
            self.storage_kinds[self.tensors[t].storage] is StorageKind.CONSTANT for t in operands
        )
        folded = constant and not is_random(node)
        kind = StorageKind.CONSTANT if folded else StorageKind.ACTIVATION
        results = self._results(node, node.meta["val"], kind)
        self.values[node] = results
        if not results:
            return  # numbers, such as sizes
        if folded:
            self.folded += 1
            return
        type_ = operator_type(node)
        results = list(results.values())
        if not isinstance(node.target, (torch._ops.OpOverload, torch._ops.HigherOrderOperator)):
            raise LoweringError(
                f'node "{node.name}" calls {type_}, which is no ATen operator. Trace with '
                "torch.export.export(model, inputs)."
            )
        inputs = tuple(dict.fromkeys(operands))
        shapes = [self.tensors[t].shape for t in operands]
        result_shapes = [self.tensors[t].shape for t in results]
        read = {self.tensors[t].storage for t in inputs}
        copies = any(self.tensors[t].storage not in read for t in results)
        outputs = [*results, *(self._workspace(node) if copies else ())]
        self.operator_of[node] = len(self.operators)
        self.operators.append(
            Operator(
                operator_name(node),
                type_,
                inputs,
                tuple(outputs),
                macs=multiply_accumulates(type_, node, shapes, result_shapes) if copies else 0,
                vector_ops=element_operations(type_, shapes, result_shapes) if copies else 0,
                phase="backward" if self.in_backward(node) else "forward",
                recomputable=self.recomputable(node),
            )
        )

    def in_backward(self, node: Node) -> bool:
        """Whether a node belongs to the backward half of a training step."""
        return self.program.halves is not None and node in self.program.halves.backward

    def recomputable(self, node: Node) -> bool:
        """Whether an operator may run once more."""
        halves = self.program.halves
        if halves is None:
            return not is_random(node)
        return may_run_again(node) and (
            node not in halves.state_readers or node in self.program.replacements
        )

    def _workspace(self, node: Node) -> tuple[int, ...]:
        size = self.workspace_bytes(node) if self.workspace_bytes is not None else 0
        self.unknown_workspaces += size is None
        if not size:
            return ()
        name = f"{node.name}.workspace"
        self.storage_names.append(name)
        self.storage_sizes.append(size)
        self.storage_kinds.append(StorageKind.WORKSPACE)
        self.tensors.append(Tensor(name, (size,), "uint8", len(self.storage_names) - 1, 0, size))
        return (len(self.tensors) - 1,)

    def _results(self, node: Node, value: Any, kind: StorageKind) -> dict[str, int]:
        """Tensors of a node's value, by suffix; a storage is of the kind of its first tensor."""
        found: dict[str, int] = {}
        for suffix, tensor in tensors_of(value):
            name = node.name + suffix
            traced = self.sizes.tensor(tensor, name)
            storage = self._storage_of.setdefault(traced.storage, len(self.storage_names))
            end = traced.offset_bytes + traced.size_bytes
            if storage == len(self.storage_names):
                self.storage_names.append(name)
                self.storage_sizes.append(traced.storage_bytes)
                self.storage_kinds.append(kind)
            self.storage_sizes[storage] = max(self.storage_sizes[storage], end)
            found[suffix] = len(self.tensors)
            self.tensors.append(
                Tensor(
                    name,
                    traced.shape,
                    traced.dtype,
                    storage,
                    traced.offset_bytes,
                    traced.size_bytes,
                )
            )
        return found


def _attribute(module: torch.nn.Module, target: str) -> Any:
    value: Any = module
    for name in target.split("."):
        value = getattr(value, name, None)
    return value
