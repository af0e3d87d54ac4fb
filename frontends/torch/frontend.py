"""A traced program becomes a `Graph`: storages are those of the trace's fake tensors.

Values that share a storage in the trace are views of one storage, so that half of the nodes of a
training graph cost nothing. Of an operator with several results the results are planned, never the
tuple; what is computed from weights alone is folded into a constant.
"""

from __future__ import annotations

import operator as python_operator
from typing import TYPE_CHECKING, Any

import torch

from frontends.torch.operations import element_operations, multiply_accumulates
from frontends.torch.programs import (
    TracedProgram,
    is_random,
    operator_name,
    operator_type,
    traced_program,
)
from frontends.torch.sizes import Sizes, tensors_of
from planner.errors import LoweringError
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.fx import Node
    from torch.multiprocessing.reductions import StorageWeakRef


def load_torch(source: Any, *, dims: Mapping[str, int] | None = None) -> Graph:
    """Lower a torch program.

    Parameters
    ----------
    source : torch.export.ExportedProgram or torch.fx.GraphModule
        Of ATen operators, with fake values (``node.meta["val"]``).
    dims : mapping
        Sizes of symbolic dimensions, by the names of their symbols: ``{"s31": 8}``.

    Raises
    ------
    planner.errors.UsageError
        If the source is of another kind, or a dimension is unknown.
    planner.errors.LoweringError
        If a value has no static size, or the program is no graph of ATen operators.
    """
    return _Lowering(traced_program(source), Sizes(dims or {})).graph(dims or {})


class _Lowering:
    def __init__(self, program: TracedProgram, sizes: Sizes) -> None:
        self.program, self.sizes = program, sizes
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.storage_names: list[str] = []
        self.storage_sizes: list[int] = []
        self.storage_kinds: list[StorageKind] = []
        self.outputs: set[int] = set()
        self.folded = 0
        self._storage_of: dict[StorageWeakRef, int] = {}
        self._values: dict[Node, dict[str, int]] = {}

    def graph(self, dims: Mapping[str, int]) -> Graph:
        for node in self.program.graph.nodes:
            self._node(node)
        self.sizes.refuse_unused()
        storages = tuple(
            Storage(name, size, kind, index in self.outputs)
            for index, (name, size, kind) in enumerate(
                zip(self.storage_names, self.storage_sizes, self.storage_kinds, strict=True)
            )
        )
        notes = ()
        if self.folded:
            notes = (f"Folded {self.folded} nodes: constants alone decide the results.",)
        model = ModelReference(self.program.name, dims=tuple(dims.items()))
        return Graph(model, tuple(self.operators), tuple(self.tensors), storages, notes)

    def _node(self, node: Node) -> None:
        if node.op == "placeholder":
            constant = node.name in self.program.constants
            kind = StorageKind.CONSTANT if constant else StorageKind.INPUT
            self._values[node] = self._results(node, node.meta.get("val"), kind)
        elif node.op == "get_attr":
            value = node.meta.get("val")
            if value is None and self.program.module is not None:
                value = _attribute(self.program.module, str(node.target))
            self._values[node] = self._results(node, value, StorageKind.CONSTANT)
        elif node.op == "output":
            for result in node.all_input_nodes:
                for tensor in self._values[result].values():
                    storage = self.tensors[tensor].storage
                    if self.storage_kinds[storage] is not StorageKind.CONSTANT:
                        self.outputs.add(storage)
        elif node.target is python_operator.getitem:
            source, index = node.args[0], node.args[1]
            parts = self._values[source]  # type: ignore[index]
            key = f".{index}"
            self._values[node] = {"": parts[key]} if key in parts else {}
        else:
            self._call(node)

    def _call(self, node: Node) -> None:
        if "val" not in node.meta:
            if not node.users:
                return  # an assertion
            raise LoweringError(
                f'node "{node.name}" ({operator_type(node)}) has no fake value, so its size is '
                "unknown. Trace with torch.export.export(model, inputs)."
            )
        operands = [t for source in node.all_input_nodes for t in self._values[source].values()]
        constant = all(
            self.storage_kinds[self.tensors[t].storage] is StorageKind.CONSTANT for t in operands
        )
        folded = constant and not is_random(node)
        kind = StorageKind.CONSTANT if folded else StorageKind.ACTIVATION
        results = self._results(node, node.meta["val"], kind)
        self._values[node] = results
        if not results:
            return  # numbers, such as sizes
        if folded:
            self.folded += 1
            return
        type_ = operator_type(node)
        if not isinstance(node.target, (torch._ops.OpOverload, torch._ops.HigherOrderOperator)):
            raise LoweringError(
                f'node "{node.name}" calls {type_}, which is no ATen operator. Trace with '
                "torch.export.export(model, inputs)."
            )
        inputs = tuple(dict.fromkeys(operands))
        shapes = [self.tensors[t].shape for t in operands]
        result_shapes = [self.tensors[t].shape for t in results.values()]
        read = {self.tensors[t].storage for t in inputs}
        copies = any(self.tensors[t].storage not in read for t in results.values())
        self.operators.append(
            Operator(
                operator_name(node),
                type_,
                inputs,
                tuple(results.values()),
                macs=multiply_accumulates(type_, node, shapes, result_shapes) if copies else 0,
                vector_ops=element_operations(type_, shapes, result_shapes) if copies else 0,
                recomputable=not is_random(node),
            )
        )

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
                    *(name, traced.shape, traced.dtype, storage),
                    *(traced.offset_bytes, traced.size_bytes),
                )
            )
        return found


def _attribute(module: torch.nn.Module, target: str) -> Any:
    value: Any = module
    for name in target.split("."):
        value = getattr(value, name, None)
    return value
