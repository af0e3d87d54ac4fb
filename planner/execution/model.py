"""A lowered model ready to run: constants computed, inputs chosen, one session per operator."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from onnx import numpy_helper

from frontends.onnx.dtypes import element_number
from planner.execution.sessions import (
    RuntimeRefusalError,
    ValueType,
    node_session,
    ort_value,
    prepared_weight,
    rounded,
    run_session,
)
from planner.graph import StorageKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from frontends.onnx.executable import Executable
    from frontends.onnx.nodes import Node
    from planner.execution.sessions import Weight
    from planner.graph import Graph


class OperatorSession(NamedTuple):
    """A session of one operator.

    Attributes
    ----------
    session : InferenceSession
    operands : dict of str to int
        Tensors by the name under which the session takes them; their bytes lie in an arena.
    results : dict of str to int
        Likewise those that it writes.
    constants : dict of str to OrtValue
        Operands that other nodes compute from constants alone.
    """

    session: Any
    operands: dict[str, int]
    results: dict[str, int]
    constants: dict[str, Any]


class RunnableModel:
    """A model whose operators can run one by one or many at once.

    Attributes
    ----------
    executable : Executable
    graph : Graph
        That of the plan: with parameters, constants are inputs in it.
    inputs : mapping of str to OrtValue
        Values of the graph inputs; empty until they are chosen.
    """

    def __init__(self, executable: Executable, graph: Graph) -> None:
        self.executable = executable
        self.graph = graph
        self.inputs: Mapping[str, Any] = {}
        self._tensors = {tensor.name: index for index, tensor in enumerate(graph.tensors)}
        self._constant_nodes = {
            name: node
            for node in executable.folded
            if node.op_type == "Constant"
            for name in node.results
        }
        self.halves = half_precision_values(graph)
        # Weights that are operands cannot be prepacked; then none are, wherever they are compared.
        self.prepacks = graph is executable.graph
        self._weights: dict[str, Weight] = {}
        self._sessions: dict[int, OperatorSession] = {}
        self._segments: dict[tuple[str, ...], tuple[Any, dict[str, Any]]] = {}

    def without_sessions(self) -> RunnableModel:
        """Return the same model with the same inputs and weights, and no session made yet."""
        other = RunnableModel(self.executable, self.graph)
        other.inputs, other._weights = self.inputs, self._weights
        return other

    @cached_property
    def feeds(self) -> dict[str, Any]:
        """Values of all storages that are there before the first step, by tensor name."""
        found: dict[str, Any] = {}
        for index, tensor in enumerate(self.graph.tensors):
            if (
                self.graph.storages[tensor.storage].kind is not StorageKind.INPUT
                or self.graph.producer[index] >= 0
            ):
                continue
            if tensor.name in self.inputs:
                found[tensor.name] = self.inputs[tensor.name]
            else:  # a constant that the plan fetches
                found[tensor.name] = self._constant_value(tensor.name)
        return found

    @cached_property
    def computed(self) -> dict[str, Any]:
        """Constants that nodes compute, by name: each value as ONNX Runtime computes it."""
        values = {
            name: ort_value(content.tobytes(), ValueType(_INT64, content.shape))
            for name, content in self.executable.shape_contents.items()
        }
        nodes = [node for node in self.executable.folded if node.op_type != "Constant"]
        read = {name for node in self.executable.nodes for name in node.reads}
        for group in version_groups(nodes):
            inside = {name for node in group for name in node.results}
            later = {name for node in nodes if node not in group for name in node.reads}
            results = sorted(inside & (read | later | set(self._tensors)))
            if not results:
                continue
            session, constants = self.session(group, results, values, moves=False)
            values.update(zip(results, run_session(session, results, constants), strict=True))
        return values

    def type_of(self, tensor: int) -> ValueType:
        """Element type and shape of a tensor of the graph."""
        described = self.graph.tensors[tensor]
        return ValueType(element_number(described.dtype) or 0, described.shape)

    def session_of(self, operator: int) -> OperatorSession:
        """Return the operator's session, made at its first use.

        Raises
        ------
        RuntimeRefusalError
            If ONNX Runtime does not take it.
        """
        if operator not in self._sessions:
            node = self.executable.nodes[operator]
            try:
                session, constants = self.session([node], node.results, self.computed)
            except RuntimeRefusalError as error:
                raise RuntimeRefusalError(f"{node.label}: {error}") from None
            self._sessions[operator] = OperatorSession(
                session,
                {name: self._tensors[name] for name in self._moving(node.reads)},
                {name: self._tensors[name] for name in node.results},
                constants,
            )
        return self._sessions[operator]

    def segment(self, operators: Sequence[int], values: Mapping[str, Any]) -> dict[str, Any]:
        """Run some operators at once and return all their results, by name.

        The session is kept: a second plan of the same order takes it again.

        Parameters
        ----------
        operators : sequence of int
            In topological order.
        values : mapping of str to OrtValue
            What they read and do not write.
        """
        nodes = [self.executable.nodes[operator] for operator in operators]
        found: dict[str, Any] = {}
        for group in version_groups(nodes):
            results = [name for node in group for name in node.results]
            inside = set(results)
            read = dict.fromkeys(name for node in group for name in self._moving(node.reads))
            key = tuple(results)
            if key not in self._segments:
                self._segments[key] = self.session(group, results, self.computed)
            session, constants = self._segments[key]
            feeds = {
                name: found[name] if name in found else values[name]
                for name in read
                if name not in inside
            }
            ran = run_session(session, results, {**feeds, **constants})
            found.update(zip(results, ran, strict=True))
        return found

    def _moving(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are no constants of the graph, once each."""
        tensors, storages = self.graph.tensors, self.graph.storages
        return [
            name
            for name in dict.fromkeys(names)
            if name in self._tensors
            and storages[tensors[self._tensors[name]].storage].kind is not StorageKind.CONSTANT
        ]

    def session(
        self,
        nodes: Sequence[Node],
        results: Iterable[str],
        computed: Mapping[str, Any],
        *,
        moves: bool = True,
    ) -> tuple[Any, dict[str, Any]]:
        """A session of some nodes, and the computed constants that it wants.

        Without ``moves`` weights have their values in it even where the plan fetches them.
        """
        inside = {name for node in nodes for name in node.results}
        read = [name for name in dict.fromkeys(_reads(nodes)) if name not in inside]
        moving = set(self._moving(read)) if moves else set()
        inputs: dict[str, ValueType] = {
            name: self.type_of(self._tensors[name]) for name in read if name in moving
        }
        weights: dict[str, Weight] = {}
        constants: dict[str, Any] = {}
        protos = []
        for name in read:
            if name in moving:
                continue
            if name in self._constant_nodes:
                protos.append(self._constant_nodes[name].proto)
            elif name in self.executable.initializers:
                weights[name] = self.weight(name)
            elif name in computed:
                value = constants[name] = computed[name]
                inputs[name] = ValueType(value.element_type(), tuple(value.shape()))
            else:
                raise RuntimeRefusalError(f'"{name}" has no value')
        protos += rounded([node.proto for node in nodes], self.halves)
        versions = {domain: v for node in nodes for domain, v in node.versions.items()}
        ir_version = self.executable.model.ir_version
        session = node_session(
            protos, inputs, results, weights, versions, ir_version, prepacks=self.prepacks
        )
        return session, constants

    def weight(self, name: str) -> Weight:
        """Return an initializer of that name, prepared once."""
        if name not in self._weights:
            self._weights[name] = prepared_weight(self.executable.initializers[name])
        return self._weights[name]

    def _constant_value(self, name: str) -> Any:
        if name in self.executable.initializers:
            tensor = self.executable.initializers[name]
            type_ = ValueType(tensor.data_type, tuple(tensor.dims))
            if tensor.raw_data:
                return ort_value(tensor.raw_data, type_)
            return ort_value(numpy_helper.to_array(tensor).tobytes(), type_)
        if name in self._constant_nodes:
            session, _ = self.session([self._constant_nodes[name]], [name], {})
            return run_session(session, [name], {})[0]
        return self.computed[name]


_INT64 = 7


def half_precision_values(graph: Graph) -> frozenset[str]:
    """Names of the tensors of 16-bit floating-point numbers."""
    return frozenset(t.name for t in graph.tensors if t.dtype in ("float16", "bfloat16"))


def version_groups(nodes: Sequence[Node]) -> list[list[Node]]:
    """Cut a sequence of nodes where operator-set versions contradict each other."""
    groups: list[list[Node]] = []
    known: dict[str, int] = {}
    for node in nodes:
        if not groups or any(known.get(d, v) != v for d, v in node.versions.items()):
            groups.append([])
            known = {}
        known.update(node.versions)
        groups[-1].append(node)
    return groups


def _reads(nodes: Collection[Node]) -> Iterable[str]:
    return (name for node in nodes for name in node.reads)
