"""A node of an ONNX graph with its fields read out of the protobuf once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.errors import BadFileError, LoweringError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

MAX_DEPTH = 32
"""Bodies nested deeper than this are refused: it bounds all recursion over subgraphs."""

MAX_NODES = 500_000
"""A model of more nodes, bodies included and functions unfolded, is refused before any work."""

MAX_VALUES = 4 * MAX_NODES
"""Likewise for inputs, outputs, declared values and stored tensors together."""

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})


@dataclass(slots=True, eq=False)
class Node:
    """One node.

    Attributes
    ----------
    proto : NodeProto
        The node itself, for its attributes.
    name : str
        May be empty or repeated.
    domain, op_type : str
        The standard domain is always ``""``.
    type : str
        Operator type, with its domain unless that is the standard one.
    versions : mapping of str to int
        Operator-set versions by domain where the node was written, model or function.
    inputs, outputs : tuple of str
        Value names; ``""`` is an omitted operand or result.
    bodies : tuple of (str, GraphProto)
        Subgraphs by attribute name.
    captured : tuple of str
        Outer values that the bodies read, distinct.
    reads : tuple of str
        Inputs that exist and captured values; an operand used twice is in it twice.
    results : tuple of str
        Outputs that exist.
    """

    proto: NodeProto
    name: str
    domain: str
    op_type: str
    type: str
    versions: Mapping[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bodies: tuple[tuple[str, GraphProto], ...]
    captured: tuple[str, ...]
    reads: tuple[str, ...]
    results: tuple[str, ...]

    @property
    def version(self) -> int:
        """Version of the operator set of its domain; 0 when the model imports none."""
        return self.versions.get(self.domain, 0)

    @property
    def label(self) -> str:
        """How messages name it: the node's own name or, failing that, its first result."""
        own = self.name or next((name for name in self.outputs if name), "")
        return f'{self.type} "{own}"'

    def attribute(self, name: str) -> AttributeProto | None:
        """The attribute of that name."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                return attribute
        return None

    def integer(self, name: str, default: int) -> int:
        """An integer attribute or its default."""
        attribute = self.attribute(name)
        return default if attribute is None else attribute.i

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list-of-integers attribute; None if it is absent."""
        attribute = self.attribute(name)
        return None if attribute is None else tuple(attribute.ints)

    def text(self, name: str, default: str) -> str:
        """A string attribute or its default."""
        attribute = self.attribute(name)
        return default if attribute is None else attribute.s.decode("utf-8", "replace")


def read_node(proto: NodeProto, versions: Mapping[str, int]) -> Node:
    """Read the fields of a node once; protobuf access is the slow part of lowering.

    Parameters
    ----------
    versions : mapping of str to int
        Operator-set versions by domain, the standard domain as ``""``.
    """
    domain = proto.domain
    if domain in STANDARD_DOMAINS:
        domain = ""
    bodies = tuple(node_bodies(proto))
    captured: dict[str, None] = {}
    for _, body in bodies:
        captured.update(dict.fromkeys(captured_names(body)))
    inputs, outputs, op_type = tuple(proto.input), tuple(proto.output), proto.op_type
    return Node(
        proto,
        proto.name,
        domain,
        op_type,
        f"{domain}.{op_type}" if domain else op_type,
        versions,
        inputs,
        outputs,
        bodies,
        tuple(captured),
        tuple(filter(None, (*inputs, *captured))),
        tuple(filter(None, outputs)),
    )


def node_bodies(proto: NodeProto) -> Iterator[tuple[str, GraphProto]]:
    """All subgraphs among a node's attributes, with the attribute's name."""
    for attribute in proto.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        for graph in attribute.graphs:
            yield attribute.name, graph


def graph_values(graph: GraphProto) -> set[str]:
    """Names of all values a graph itself defines."""
    defined = {value.name for value in graph.input}
    defined.update(tensor.name for tensor in graph.initializer)
    defined.update(tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        defined.update(node.output)
    return defined


def captured_names(graph: GraphProto) -> list[str]:
    """Outer values that a body and the bodies inside it read, in order of first use."""
    defined = graph_values(graph)
    captured: dict[str, None] = {}
    for node in graph.node:
        captured.update(dict.fromkeys(node.input))
        for _, body in node_bodies(node):
            captured.update(dict.fromkeys(captured_names(body)))
    captured.update(dict.fromkeys(value.name for value in graph.output))
    return [name for name in captured if name and name not in defined]


def check_structure(model: ModelProto, where: str) -> None:
    """Bound the size of a model and the recursion over bodies; make sure that names are text.

    Parameters
    ----------
    where : str
        The model's name for messages.

    Raises
    ------
    LoweringError
        If bodies are nested deeper than `MAX_DEPTH`, or there are more than `MAX_NODES` nodes or
        `MAX_VALUES` declared values and stored tensors.
    BadFileError
        If a name is not UTF-8: protobuf then hands out bytes in place of text.
    """
    try:
        _check_graphs(model, where)
    except TypeError:
        raise BadFileError(f"{where} is no ONNX model: a name in it is not UTF-8 text.") from None


def _check_graphs(model: ModelProto, where: str) -> None:
    _require_text((model.graph.name, *(entry.domain for entry in model.opset_import)))
    pending = [(model.graph, 0)]
    nodes, values = len(model.functions), 0
    for function in model.functions:
        nodes += len(function.node)
        _check_count(nodes, MAX_NODES, "nodes", where)
        _require_text((function.name, function.domain, function.overload))
        _require_text((*function.input, *function.output, *function.attribute))
        _require_text(entry.domain for entry in function.opset_import)
        pending += _check_nodes(function.node, 0)
    while pending:
        graph, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise LoweringError(
                f"control flow is nested more than {MAX_DEPTH} levels deep. Refused."
            )
        nodes += len(graph.node)
        _check_count(nodes, MAX_NODES, "nodes", where)
        values += len(graph.input) + len(graph.output) + len(graph.value_info)
        values += len(graph.initializer) + len(graph.sparse_initializer)
        _check_count(values, MAX_VALUES, "declared values and stored tensors", where)
        _require_text(tensor.name for tensor in graph.initializer)
        _require_text(sparse.values.name for sparse in graph.sparse_initializer)
        for value in (*graph.input, *graph.output, *graph.value_info):
            dims = value.type.tensor_type.shape.dim
            _require_text((value.name, *(dim.dim_param for dim in dims)))
        pending += _check_nodes(graph.node, depth)


def _check_count(count: int, limit: int, what: str, where: str) -> None:
    if count > limit:
        raise LoweringError(f"{where} has more than {limit:,} {what}: {count:,} or more. Refused.")


def _check_nodes(nodes: Iterable[NodeProto], depth: int) -> list[tuple[GraphProto, int]]:
    """The bodies of the nodes, with their depth."""
    bodies: list[tuple[GraphProto, int]] = []
    for node in nodes:
        _require_text((node.name, node.op_type, node.domain, node.overload))
        _require_text(node.input)
        _require_text(node.output)
        for attribute in node.attribute:
            _require_text((attribute.name, attribute.ref_attr_name))
            if attribute.HasField("g"):
                bodies.append((attribute.g, depth + 1))
            bodies.extend((graph, depth + 1) for graph in attribute.graphs)
    return bodies


def _require_text(names: Iterable[str]) -> None:
    """Raise TypeError for bytes among the names; joining is the fastest way to look."""
    "".join(names)
