"""A lowered joint graph as a `TrainingProblem`: operators that compute, storages that they write.

Views, parts of tuples and numbers are left out: whoever executes the schedule redoes them for free.
"""

from __future__ import annotations

import operator as python_operator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from frontends.torch.effects import is_collective, is_mutation, is_wait, may_run_again
from frontends.torch.programs import operator_name
from planner.cost import access_seconds, operator_cost
from planner.graph import RaggedArray, StorageKind
from planner.training.problem import PICOSECONDS, TrainingProblem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.fx import Node

    from frontends.torch.frontend import Lowering
    from planner.graph import Graph
    from planner.target import Target
    from planner.training.problem import HostLink


class Condensed(NamedTuple):
    """A problem and where it comes from.

    Attributes
    ----------
    problem : TrainingProblem
    nodes : tuple of Node
        Per operator.
    values : tuple of Node
        Per storage.
    """

    problem: TrainingProblem
    nodes: tuple[Node, ...]
    values: tuple[Node, ...]


def condense(
    lowering: Lowering, graph: Graph, target: Target, host: HostLink | None = None
) -> Condensed:
    """Drop from a lowered joint graph what takes neither time nor bytes.

    Parameters
    ----------
    lowering : Lowering
        That made the graph, of a training step.
    graph : Graph
    target : Target
        Whose rates give the durations.
    host : HostLink, optional
    """
    return _Condensing(lowering, graph, target).condensed(host)


class _Condensing:
    def __init__(self, lowering: Lowering, graph: Graph, target: Target) -> None:
        halves = lowering.program.halves
        assert halves is not None
        self.lowering, self.graph, self.target, self.halves = lowering, graph, target, halves
        self.nodes: list[Node] = []
        self.reads: list[list[int]] = []
        self.writes: list[list[int]] = []
        self.values: list[Node] = []
        self.names: list[str] = []
        self.sizes: list[int] = []
        # Per value, the storage of each of its tensors by suffix; None where it is static.
        self.roots: dict[Node, dict[str, int | None]] = {}

    def condensed(self, host: HostLink | None) -> Condensed:
        for node in self.lowering.program.graph.nodes:
            self._node(node)
        outputs = self._storages(self.halves.forward_outputs)
        backward = np.array([node in self.halves.backward for node in self.nodes], dtype=np.bool_)
        recomputable = np.array([self.lowering.recomputable(node) for node in self.nodes], np.bool_)
        problem = TrainingProblem(
            tuple(operator_name(node) for node in self.nodes),
            tuple(self.names),
            backward,
            self._in_forward(outputs, backward, recomputable),
            recomputable,
            RaggedArray.from_rows(self.reads),
            RaggedArray.from_rows(self.writes),
            np.array([self._workspace_bytes(node) for node in self.nodes], dtype=np.int64),
            np.array([self._duration_ps(node) for node in self.nodes], dtype=np.int64),
            np.array(self.sizes, dtype=np.int64),
            np.array(outputs, dtype=np.int32),
            np.array(self._storages((*self.halves.gradients, *self._seeds())), dtype=np.int32),
            np.array(self._storages(self.halves.tangents), dtype=np.int32),
            self._static_bytes(),
            host,
        )
        return Condensed(problem, tuple(self.nodes), tuple(self.values))

    def _seeds(self) -> list[Node]:
        """Return tangents of scalars: autograd holds what it begins with until it ends."""
        values = [(node, node.meta.get("val")) for node in self.halves.tangents]
        return [n for n, value in values if isinstance(value, torch.Tensor) and value.dim() == 0]

    def _node(self, node: Node) -> None:
        tensors = self.lowering.values.get(node, {})
        if node.op == "placeholder" and node in self.halves.tangents:
            self.roots[node] = {
                suffix: self._new(node, suffix, self._storage_bytes(tensor))
                for suffix, tensor in tensors.items()
            }
        elif node.op in ("placeholder", "get_attr"):
            self.roots[node] = dict.fromkeys(tensors)
        elif node.target is python_operator.getitem:
            self._part(node)
        elif node.op == "call_function":
            if self._is_view(node):
                self.roots[node] = self._shared(node)
            elif tensors or self._has_effect(node):
                self._operator(node)
            else:
                self.roots[node] = {}

    def _part(self, node: Node) -> None:
        source, index = node.args[0], node.args[1]
        key = f".{index}"
        roots = {
            suffix.removeprefix(key): root
            for suffix, root in self.roots[source].items()  # type: ignore[index]
            if suffix == key or suffix.startswith(f"{key}.")
        }
        self.roots[node] = roots
        whole = roots.get("")
        if whole is not None and self.values[whole] is source:
            self.values[whole] = node
        for suffix, root in roots.items():
            if suffix and root is not None and self.values[root] is source:
                self.values[root] = node

    def _is_view(self, node: Node) -> bool:
        """Whether a node's tensors are parts of one operand, and it does nothing else."""
        tensors = self.lowering.values[node]
        if not tensors or not may_run_again(node):
            return False
        operands = {
            self._graph_storage(tensor)
            for source in node.all_input_nodes
            for tensor in self.lowering.values[source].values()
        }
        results = {self._graph_storage(tensor) for tensor in tensors.values()}
        return len(operands) == 1 and results == operands

    def _shared(self, node: Node) -> dict[str, int | None]:
        source = next(n for n in node.all_input_nodes if self.roots[n])
        root = next(iter(self.roots[source].values()))
        return dict.fromkeys(self.lowering.values[node], root)

    def _has_effect(self, node: Node) -> bool:
        """Whether a node without tensors is more than arithmetic on sizes."""
        if not isinstance(node.target, (torch._ops.OpOverload, torch._ops.HigherOrderOperator)):
            return False
        return any(self.roots[source] for source in node.all_input_nodes) and (
            not may_run_again(node)
        )

    def _operator(self, node: Node) -> None:
        sources = list(node.all_input_nodes)
        if is_wait(node):
            sources += [
                n for source in sources if is_collective(source) for n in source.all_input_nodes
            ]
        reads = {root for source in sources for root in self.roots[source].values()}
        operands = {
            self._graph_storage(tensor)
            for source in node.all_input_nodes
            for tensor in self.lowering.values[source].values()
        }
        roots: dict[str, int | None] = {}
        for suffix, tensor in self.lowering.values[node].items():
            storage = self._graph_storage(tensor)
            size = self._storage_bytes(tensor)
            if storage in operands and not self.graph.storages[storage].kind.is_written:
                # The parameter or input that it is a view of lives in any case.
                size = 0
            roots[suffix] = self._new(node, suffix, size)
        self.roots[node] = roots
        self.nodes.append(node)
        self.reads.append(sorted(root for root in reads if root is not None))
        self.writes.append([root for root in roots.values() if root is not None])

    def _new(self, node: Node, suffix: str, size: int) -> int:
        self.values.append(node)
        self.names.append(f"{operator_name(node)}{suffix}")
        self.sizes.append(size)
        return len(self.sizes) - 1

    def _graph_storage(self, tensor: int) -> int:
        return self.graph.tensors[tensor].storage

    def _storage_bytes(self, tensor: int) -> int:
        return self.graph.storages[self._graph_storage(tensor)].size_bytes

    def _storages(self, nodes: Iterable[Node]) -> list[int]:
        found = {root for node in nodes for root in self.roots[node].values()}
        return sorted(root for root in found if root is not None)

    def _in_forward(
        self, outputs: list[int], backward: np.ndarray, recomputable: np.ndarray
    ) -> np.ndarray:
        producer = {storage: i for i, written in enumerate(self.writes) for storage in written}
        stack = [producer[storage] for storage in outputs]
        stack += np.flatnonzero(~backward & ~recomputable).tolist()
        needed = np.zeros(len(self.nodes), dtype=np.bool_)
        while stack:
            operator = stack.pop()
            if not needed[operator]:
                needed[operator] = True
                stack += [producer[storage] for storage in self.reads[operator]]
        return needed

    def _workspace_bytes(self, node: Node) -> int:
        operator = self.lowering.operator_of.get(node)
        if operator is None:
            return 0
        storages = {
            self._graph_storage(tensor) for tensor in self.graph.operators[operator].outputs
        }
        return sum(
            self.graph.storages[storage].size_bytes
            for storage in storages
            if self.graph.storages[storage].kind is StorageKind.WORKSPACE
        )

    def _duration_ps(self, node: Node) -> int:
        operator = self.lowering.operator_of.get(node)
        if operator is not None:
            return round(operator_cost(self.graph, self.target, operator).seconds * PICOSECONDS)
        if not is_mutation(node):
            return 0
        moved = sum(
            self.graph.tensors[tensor].size_bytes
            for source in node.all_input_nodes[1:]
            for tensor in self.lowering.values[source].values()
        )
        return round(access_seconds(self.target, self.target.nearest, moved, moved) * PICOSECONDS)

    def _static_bytes(self) -> int:
        storages = {
            self._graph_storage(tensor)
            for node in self.lowering.program.graph.nodes
            if node.op == "get_attr" or node in self.halves.statics
            for tensor in self.lowering.values[node].values()
        }
        return sum(self.graph.storages[storage].size_bytes for storage in storages)
