"""What of a joint graph runs forward and what backward, and which state it writes over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from torch.fx import Node

from frontends.torch.effects import is_mutation, may_run_again, operand
from frontends.torch.sizes import storages_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch.fx import Graph, GraphModule

_BACKWARD_INPUTS = ("tangents", "bwd_seed", "bwd_base_offset", "bwd_rng_state")
_STATISTICS = ("running_mean", "running_var")


class Halves(NamedTuple):
    """The parts of a training step.

    Attributes
    ----------
    tangents : tuple of Node
        Placeholders that the caller of the backward half fills.
    statics : tuple of Node
        The other placeholders: parameters, buffers, inputs.
    backward : frozenset of Node
        Depend on a tangent, or have an effect that belongs to the backward half.
    state : frozenset of Node
        Statics that the step writes over, in the graph or when the caller gets its results.
    state_readers : frozenset of Node
        Operators that read the state, by way of views or not.
    forward_outputs, gradients : tuple of Node
        Without what is none.
    """

    tangents: tuple[Node, ...]
    statics: tuple[Node, ...]
    backward: frozenset[Node]
    state: frozenset[Node]
    state_readers: frozenset[Node]
    forward_outputs: tuple[Node, ...]
    gradients: tuple[Node, ...]


def is_joint(module: GraphModule) -> bool:
    """Whether a module is a forward and backward graph as AOTAutograd traces it."""
    return any(
        str(node.target).startswith("tangents_")
        or node.meta.get("partitioner_tag") == "is_backward"
        for node in module.graph.nodes
    )


def primals(graph: Graph) -> list[Node]:
    """Parameters, buffers and inputs in the order of the traced function's arguments."""
    return [node for node in graph.find_nodes(op="placeholder") if "primals" in str(node.target)]


def forward_output_count(graph: Graph) -> int:
    """How many results are the forward half's: behind them there is one gradient a primal."""
    return max(len(results_of(graph)) - len(primals(graph)), 0)


def divide(graph: Graph, num_fwd_outputs: int, mutated_inputs: Collection[int] = ()) -> Halves:
    """Find the halves of a joint graph.

    Parameters
    ----------
    num_fwd_outputs : int
    mutated_inputs : collection of int
        Primals that the caller knows to be written over, besides those that the graph tells.
    """
    placeholders = graph.find_nodes(op="placeholder")
    backward: set[Node] = set()
    for node in graph.nodes:
        if _begins_backward(node) or not backward.isdisjoint(node.all_input_nodes):
            backward.add(node)
    output = next(iter(graph.find_nodes(op="output")))
    backward.discard(output)
    results = results_of(graph)
    tangents = [node for node in placeholders if "tangents" in str(node.target)]
    statics = [node for node in placeholders if node not in backward]
    state = _state(graph, statics, output)
    state.update(node for i, node in enumerate(primals(graph)) if i in set(mutated_inputs))
    return Halves(
        tuple(tangents),
        tuple(node for node in placeholders if node not in tangents),
        frozenset(backward),
        frozenset(state),
        frozenset(_readers(graph, state)),
        tuple(node for node in results[:num_fwd_outputs] if isinstance(node, Node)),
        tuple(node for node in results[num_fwd_outputs:] if isinstance(node, Node)),
    )


def _begins_backward(node: Node) -> bool:
    if node.op == "placeholder":
        return any(name in str(node.target) for name in _BACKWARD_INPUTS)
    tag = node.meta.get("partitioner_tag")
    if tag == "must_be_in_backward":
        return True
    # Such as a gathering of parameters: the step does it again on purpose.
    return tag == "is_backward" and node.op == "call_function" and not may_run_again(node)


def _state(graph: Graph, statics: list[Node], output: Node) -> set[Node]:
    found: set[Node] = set()
    known = set(statics)
    for node in graph.nodes:
        if is_mutation(node):
            found.update(known.intersection(_sources(node)))
        elif node.op == "call_function" and operand(node, "training", default=False):
            found.update(
                known.intersection(operand(node, name, default=None) for name in _STATISTICS)
            )
    written = [
        origin
        for result in output.meta.get("desc") or ()
        for origin in _origins(getattr(result, "mutated_input", None))
    ]
    for node in statics:
        if written and any(origin in written for origin in _origins(node.meta.get("desc"))):
            found.add(node)
    return found


def _sources(mutation: Node) -> list[Node]:
    """What a mutation writes over, views of it taken back."""
    sources = []
    for position, argument in enumerate(mutation.target._schema.arguments):  # type: ignore[union-attr]
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = (
                mutation.args[position]
                if position < len(mutation.args)
                else mutation.kwargs.get(argument.name)
            )
            while isinstance(value, Node) and value.op == "call_function" and value.args:
                value = value.args[0]
            if isinstance(value, Node):
                sources.append(value)
    return sources


def _origins(description: Any) -> list[Any]:
    """A description of an input and, of a part of a tensor subclass, those of the whole."""
    found = []
    while description is not None:
        found.append(description)
        description = getattr(description, "base", None)
    return found


def _readers(graph: Graph, state: set[Node]) -> set[Node]:
    if not state:
        return set()
    shared = {storage for node in state for storage in storages_of(node.meta.get("val"))}
    carriers = {
        node for node in graph.nodes if not shared.isdisjoint(storages_of(node.meta.get("val")))
    }
    return {
        user
        for node in carriers
        for user in node.users
        if user not in carriers and user.op == "call_function"
    }


def results_of(graph: Graph) -> list[Any]:
    """Nodes that a graph returns, and None where there is no result."""
    results = next(iter(graph.find_nodes(op="output"))).args[0]
    if isinstance(results, (tuple, list)):
        flat: list[Any] = []
        for result in results:
            flat += result if isinstance(result, (tuple, list)) else [result]
        return flat
    return [results]
