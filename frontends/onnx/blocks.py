"""A graph or body resolved: nodes in order, types known, constants told from activations.

One walk in topological order, because the three questions depend on each other: shapes on the
contents of constants, constness on shapes, and the nodes themselves on conditions of `If` that
turn out constant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from frontends.onnx.constants import evaluate, is_foldable, is_shape_query
from frontends.onnx.control_flow import add_body_inputs, add_result_types
from frontends.onnx.inference import NodeInference
from frontends.onnx.inlining import branch_nodes
from frontends.onnx.nodes import captured_names, read_node
from frontends.onnx.order import sorted_nodes
from frontends.onnx.scope import Scope
from frontends.onnx.shapes import FILE, add_declared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import GraphProto

    from frontends.onnx.dims import Bindings
    from frontends.onnx.inlining import Names
    from frontends.onnx.nodes import Node


@dataclass(slots=True)
class Block:
    """One graph, top level or body.

    Attributes
    ----------
    where : str
        How messages call it.
    inputs, outputs : list of str
        Value names; inputs without initializers.
    nodes : list of Node
        In topological order.
    scope : Scope
    bodies : dict of int to list of Block
        Per node with subgraphs, by index.
    folded : set of int
        Nodes whose results are constants.
    shape_queries : int
        How many of them read nothing but the shape of an activation.
    """

    where: str
    inputs: list[str]
    outputs: list[str]
    scope: Scope
    nodes: list[Node] = field(default_factory=list)
    bodies: dict[int, list[Block]] = field(default_factory=dict)
    folded: set[int] = field(default_factory=set)
    shape_queries: int = 0

    def unknown_values(self) -> list[tuple[str, Node]]:
        """Values that need bytes but have no size, with the node that writes them."""
        types = self.scope.types
        open_values: dict[str, tuple[int, Node]] = {}
        for index, node in enumerate(self.nodes):
            for name in node.results:
                if name not in types:
                    open_values[name] = index, node
        if not open_values:
            return []
        kept = (node for index, node in enumerate(self.nodes) if index not in self.folded)
        read = {name for node in kept for name in node.reads}
        return [
            (name, node)
            for name, (index, node) in open_values.items()
            if index not in self.folded or name in read
        ]


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk needs besides the graph.

    Attributes
    ----------
    bindings : Bindings
        Symbols may occur in the declarations of bodies as well.
    names : Names
        For values of branches that are taken into the graph around them.
    inference : NodeInference
        Of known types too, so that contradictions come to light.
    """

    bindings: Bindings
    names: Names
    inference: NodeInference = field(default_factory=NodeInference)

    def resolve(self, block: Block, nodes: Sequence[Node]) -> None:
        """Fill in the block's nodes, bodies and folded set, and what its scope can learn."""
        scope, outputs = block.scope, set(block.outputs)
        pending = list(reversed(nodes))
        while pending:
            node = pending.pop()
            branch = taken_branch(node, scope)
            if branch is not None:
                pending.extend(reversed(self._unfold(node, branch, scope)))
                continue
            index = len(block.nodes)
            block.nodes.append(node)
            if node.bodies:
                block.bodies[index] = [
                    self._body(node, attribute, graph, scope) for attribute, graph in node.bodies
                ]
                add_result_types(node, block.bodies[index], scope)
            self.inference.infer(node, scope)
            # A node that writes a graph output runs whatever it depends on: somebody must.
            if not outputs.isdisjoint(node.outputs):
                self._note_content(node, scope)
            elif is_foldable(node, scope):
                block.folded.add(index)
                block.shape_queries += is_shape_query(node) and not scope.is_constant(
                    node.inputs[0]
                )
                scope.constants.update(node.results)
                self._note_content(node, scope)

    @staticmethod
    def _note_content(node: Node, scope: Scope) -> None:
        if is_foldable(node, scope) and (value := evaluate(node, scope)) is not None:
            scope.values[node.outputs[0]] = value

    def _unfold(self, node: Node, branch: GraphProto, scope: Scope) -> list[Node]:
        given = [*captured_names(branch), *(tensor.name for tensor in branch.initializer)]
        given += [sparse.values.name for sparse in branch.sparse_initializer]
        own = [read_node(proto, node.versions) for proto in branch.node]
        results = [value.name for value in branch.output]
        own, _ = sorted_nodes(own, set(given), results, f"a branch of {node.label}")
        protos = [inner.proto for inner in own]
        nodes, rename = branch_nodes(node, branch, protos, self.names)
        for tensor in branch.initializer:
            renamed = type(tensor)()
            renamed.CopyFrom(tensor)
            renamed.name = rename[tensor.name]
            scope.add_initializer(renamed)
        for sparse in branch.sparse_initializer:
            renamed = type(sparse)()
            renamed.CopyFrom(sparse)
            renamed.values.name = rename[sparse.values.name]
            scope.add_sparse_initializer(renamed)
        inner = Scope(scope)
        add_declared(inner, [*branch.value_info, *branch.output], self.bindings)
        for name, type_ in inner.types.items():
            if rename.get(name, name) not in scope.types:
                scope.add(rename.get(name, name), type_, FILE)
        return nodes

    def _body(self, node: Node, attribute: str, graph: GraphProto, scope: Scope) -> Block:
        inner = Scope(scope)
        for tensor in graph.initializer:
            inner.add_initializer(tensor)
        for sparse in graph.sparse_initializer:
            inner.add_sparse_initializer(sparse)
        inputs = [value for value in graph.input if value.name not in inner.initializers]
        add_declared(inner, [*graph.input, *graph.value_info, *graph.output], self.bindings)
        add_body_inputs(node, [value.name for value in inputs], inner)
        block = Block(
            f"{attribute} of {node.label}",
            [value.name for value in inputs],
            [value.name for value in graph.output],
            inner,
        )
        own = [read_node(proto, node.versions) for proto in graph.node]
        given = {*captured_names(graph), *inner.initializers, *block.inputs}
        nodes, _ = sorted_nodes(own, given, block.outputs, block.where)
        self.resolve(block, nodes)
        return block


def taken_branch(node: Node, scope: Scope) -> GraphProto | None:
    """The branch an `If` with a constant condition always takes."""
    if node.type != "If" or not node.inputs:
        return None
    condition = scope.value_of(node.inputs[0])
    if condition is None or condition.size != 1:
        return None
    wanted = "then_branch" if condition.reshape(()) else "else_branch"
    return next((graph for attribute, graph in node.bodies if attribute == wanted), None)
