"""The joint forward and backward graph of AOTAutograd, ready to be planned as a training step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from frontends.torch.condensing import condense
from frontends.torch.frontend import Lowering
from frontends.torch.programs import joint_graph_program
from frontends.torch.sizes import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from torch.fx import GraphModule, Node

    from frontends.torch.batch_norm import Replacement
    from planner.graph import Graph
    from planner.target import Target
    from planner.training.problem import HostLink, TrainingProblem


@dataclass(frozen=True, eq=False)
class JointProgram:
    """A joint graph, its lowering, and the training problem that is made of it.

    Of the graph's nodes, the problem has those that compute tensors or have an effect. The others
    cost nothing, and who emits the two halves of a schedule redoes them where they are wanted:

    - *Views and parts of tuples*: each tensor of the graph follows by such nodes alone from the
      value of its storage (``values``) or from a static placeholder.
    - *Numbers* (symbolic sizes and arithmetic on them, ``sym_size`` among them; ``val`` is no
      tensor): those that the backward half needs are computed in the forward half and cross as
      integers, which take no bytes. Those that depend on a tangent are computed in the backward
      half. A number read from a tensor's elements (``item``) belongs to an operator without
      storages, which runs once; it crosses likewise.

    Sizes are those that a symbolic program was traced with.

    Attributes
    ----------
    module : torch.fx.GraphModule
        A copy of the given one without dead nodes and common subexpressions.
    graph : Graph
        Operators incl. views; what the step writes over its state counts as a result.
    problem : TrainingProblem
    nodes : tuple of Node
        Of ``module``, one per operator of the problem.
    values : tuple of Node
        Per storage of the problem the node whose value is the whole of it: the operator's node, its
        getitem, or a tangent. Of a tuple's part that nobody reads it is the tuple's node; such a
        storage never crosses.
    recomputed_as : mapping of int to Replacement
        Operators that must not run twice as they are, because they read what the step writes over,
        and what to run instead the second time. What the replacement leaves out of the results has
        crossed as a forward output, or is needed by nobody.
    num_fwd_outputs : int
    static_lifetime_input_indices : tuple of int
    within : mapping of Node to tuple of Node
        What an operator's kernel computes along with it, see `frontends.torch.fusion.fused`.
    """

    module: GraphModule
    graph: Graph
    problem: TrainingProblem
    nodes: tuple[Node, ...]
    values: tuple[Node, ...]
    num_fwd_outputs: int
    static_lifetime_input_indices: tuple[int, ...] = ()
    recomputed_as: Mapping[int, Replacement] = field(default_factory=dict)
    within: Mapping[Node, tuple[Node, ...]] = field(default_factory=dict)


def joint_program(
    module: GraphModule,
    *,
    num_fwd_outputs: int,
    static_lifetime_input_indices: Sequence[int] | None = None,
    target: Target,
    mutated_inputs: Collection[int] = (),
    workspaces: Callable[[Node], int | None] | None = None,
    host: HostLink | None = None,
) -> JointProgram:
    """Lower what AOTAutograd hands to a partitioner.

    Parameters
    ----------
    module : torch.fx.GraphModule
        With fake values; it is not changed.
    num_fwd_outputs : int
        The first so many results are the forward half's.
    static_lifetime_input_indices : sequence of int, optional
        Primals that are parameters and buffers.
    target : Target
        Whose rates give the durations.
    mutated_inputs : collection of int
        Primals that the step writes over, besides those that the graph tells by its writes, by the
        descriptions of its results and by its batch norms.
    workspaces : callable, optional
        Scratch bytes of an operator's node, see `frontends.torch.workspaces.workspace_bytes`.
        Default: none is counted.
    host : HostLink, optional
        Where saved storages may be offloaded.

    Raises
    ------
    planner.errors.LoweringError
        If the graph is none of ATen operators on dense tensors, or writes over its values.
    planner.errors.UsageError
        If the target has no rates.
    """
    program = joint_graph_program(
        module,
        num_fwd_outputs=num_fwd_outputs,
        static_lifetime_input_indices=static_lifetime_input_indices,
        mutated_inputs=mutated_inputs,
    )
    lowering = Lowering(program, Sizes({}, hints=True), workspaces)
    graph = lowering.graph({})
    condensed = condense(lowering, graph, target, host)
    assert program.module is not None
    return JointProgram(
        *(program.module, graph, *condensed),  # type: ignore[arg-type]
        num_fwd_outputs=num_fwd_outputs,
        static_lifetime_input_indices=tuple(static_lifetime_input_indices or ()),
        recomputed_as={
            index: program.replacements[node]
            for index, node in enumerate(condensed.nodes)
            if node in program.replacements
        },
    )
