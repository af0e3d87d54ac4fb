"""What a traced program consists of: its nodes, and which of its values are weights."""

from __future__ import annotations

import warnings
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch._ops import HigherOrderOperator
from torch.export import ExportedProgram
from torch.fx import GraphModule

from frontends.torch.batch_norm import forget_unused_statistics, replacements
from frontends.torch.duplicates import without_duplicates
from frontends.torch.effects import is_mutation, may_run_again
from frontends.torch.halves import divide, forward_output_count, is_joint, primals, results_of
from frontends.torch.kept_state import keep_state_for_backward
from frontends.torch.module_paths import module_path
from planner.errors import LoweringError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch.fx import Graph, Node

    from frontends.torch.batch_norm import Replacement
    from frontends.torch.halves import Halves


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
    halves : Halves or None
        Of a training step, which writes over its state at the end and runs every operator in each
        step, those on constants alone included. None for other programs.
    replacements : mapping of Node to Replacement
        What may be run in place of operators that must not run again themselves.
    """

    name: str
    graph: Graph
    constants: frozenset[str]
    module: torch.nn.Module | None
    halves: Halves | None = None
    replacements: Mapping[Node, Replacement] = MappingProxyType({})


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
        return joint_graph_program(source) if is_joint(source) else _module(source)
    raise UsageError(
        f"cannot plan a {type(source).__name__}. Give a torch.export.ExportedProgram "
        "(torch.export.export(model, inputs)) or a torch.fx.GraphModule."
    )


def joint_graph_program(
    module: GraphModule,
    *,
    num_fwd_outputs: int | None = None,
    static_lifetime_input_indices: Collection[int] | None = None,
    mutated_inputs: Collection[int] = (),
) -> TracedProgram:
    """Read a joint forward and backward graph as AOTAutograd traces it.

    Parameters
    ----------
    module : GraphModule
        Is not changed: the program is a simplified copy, ``program.module``.
    num_fwd_outputs : int, optional
        Default: all results but the last ones, of which there is one a primal.
    static_lifetime_input_indices : collection of int, optional
        Primals that are parameters and buffers. Default: those that have a gradient or are written
        over.
    mutated_inputs : collection of int
        Primals that are written over, besides those that the graph tells.

    Raises
    ------
    planner.errors.LoweringError
        If nodes call modules, or run graphs of their own, as conditions and loops do.
    """
    _refuse_calls(module)
    _refuse_bodies(module)
    module = without_duplicates(module)
    forget_unused_statistics(module.graph)
    if num_fwd_outputs is None:
        num_fwd_outputs = forward_output_count(module.graph)
    halves = divide(module.graph, num_fwd_outputs, mutated_inputs)
    if keep_state_for_backward(module.graph, halves):
        halves = divide(module.graph, num_fwd_outputs, mutated_inputs)
    inputs = primals(module.graph)
    if static_lifetime_input_indices is None:
        gradients = results_of(module.graph)[num_fwd_outputs:]
        trained = [
            node for node, gradient in zip(inputs, gradients, strict=False) if gradient is not None
        ]
        constants = {*trained, *halves.state}
    else:
        constants = {inputs[index] for index in static_lifetime_input_indices}
    return TracedProgram(
        *(type(module).__name__, module.graph, frozenset(node.name for node in constants), module),
        halves,
        replacements(module.graph, halves.state),
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
    _refuse_calls(module)
    for node in module.graph.nodes:
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


def _refuse_calls(module: GraphModule) -> None:
    for node in module.graph.nodes:
        if node.op in ("call_module", "call_method"):
            raise LoweringError(
                f'node "{node.name}" calls {node.target}, whose operators are not in the graph. '
                "Trace with torch.export.export(model, inputs) instead of symbolic_trace."
            )


def _refuse_bodies(module: GraphModule) -> None:
    for node in module.graph.nodes:
        if not isinstance(node.target, HigherOrderOperator) or may_run_again(node):
            continue
        bodies = [source for source in node.all_input_nodes if source.op == "get_attr"]
        if any(isinstance(getattr(module, str(body.target), None), GraphModule) for body in bodies):
            raise LoweringError(
                f'node "{node.name}" ({node.target}) runs a graph of its own, and what that holds '
                "is not known before it runs. Leave such conditions and loops out of the step, or "
                "in a part that is not compiled (torch.compiler.disable)."
            )


def operator_type(node: Node) -> str:
    """Return ``aten.linear``: namespace and name without the overload."""
    schema = getattr(node.target, "_schema", None)
    if schema is not None:
        return schema.name.replace("::", ".")
    target = node.target
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def operator_name(node: Node) -> str:
    """Return the node's name behind the path of the module that called it: ``b.0.qkv.linear``."""
    path = module_path(node)
    return f"{path}.{node.name}" if path else node.name
