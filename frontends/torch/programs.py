"""What a traced program consists of: its nodes, and which of its values are weights."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

from planner.errors import LoweringError, UsageError

if TYPE_CHECKING:
    from torch.fx import Graph, Node


class TracedProgram(NamedTuple):
    """A program of ATen operators without mutation.

    Attributes
    ----------
    name : str
    graph : torch.fx.Graph
    constants : frozenset of str
        Placeholders that hold parameters, buffers and lifted constants.
    module : torch.nn.Module or None
        What ``get_attr`` nodes name attributes of.
    """

    name: str
    graph: Graph
    constants: frozenset[str]
    module: torch.nn.Module | None


def traced_program(source: Any) -> TracedProgram:
    """Read an ``ExportedProgram``, or a ``GraphModule`` of ATen operators with fake values.

    Raises
    ------
    planner.errors.UsageError
        If it is neither.
    planner.errors.LoweringError
        If a ``GraphModule`` was traced otherwise, or writes over its values.
    """
    if isinstance(source, ExportedProgram):
        return _exported(source)
    if isinstance(source, GraphModule):
        return _module(source)
    raise UsageError(
        f"cannot plan a {type(source).__name__}. Give a torch.export.ExportedProgram "
        "(torch.export.export(model, inputs)) or a torch.fx.GraphModule."
    )


def _exported(program: ExportedProgram) -> TracedProgram:
    if any(map(is_mutation, program.graph.nodes)):
        with warnings.catch_warnings():
            # Its own deprecations are no business of whoever exported the model.
            warnings.simplefilter("ignore")
            # An empty table decomposes nothing: mutation is made functional, and no more.
            program = program.run_decompositions({})
    signature = program.graph_signature
    constants = {
        *signature.inputs_to_parameters,
        *signature.inputs_to_buffers,
        *signature.inputs_to_lifted_tensor_constants,
    }
    return TracedProgram("ExportedProgram", program.graph, frozenset(constants), None)


def _module(module: GraphModule) -> TracedProgram:
    for node in module.graph.nodes:
        if node.op in ("call_module", "call_method"):
            raise LoweringError(
                f'node "{node.name}" calls {node.target}, whose operators are not in the graph. '
                "Trace with torch.export.export(model, inputs) instead of symbolic_trace."
            )
        if is_mutation(node):
            raise LoweringError(
                f'node "{node.name}" ({node.target}) writes over its operand. Make the graph '
                "functional first, as torch.export does with run_decompositions."
            )
    constants = {
        node.name
        for node in module.graph.nodes
        if node.op == "placeholder" and isinstance(node.meta.get("val"), torch.nn.Parameter)
    }
    return TracedProgram(type(module).__name__, module.graph, frozenset(constants), module)


def is_mutation(node: Node) -> bool:
    """Whether a node's operator writes over an operand."""
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and bool(schema.is_mutable)


def is_random(node: Node) -> bool:
    """Whether two runs of a node's operator give different results."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def operator_type(node: Node) -> str:
    """Return ``aten.linear``: namespace and name without the overload."""
    schema = getattr(node.target, "_schema", None)
    if schema is not None:
        return schema.name.replace("::", ".")
    target = node.target
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def operator_name(node: Node) -> str:
    """Return the node's name behind the path of the module that called it: ``b.0.qkv.linear``."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next((entry[0] for entry in reversed(list(stack.values()))), "")
    return f"{path}.{node.name}" if path else node.name
