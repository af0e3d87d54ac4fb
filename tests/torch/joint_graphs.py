"""Joint graphs of models, caught on their way to a partitioner."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.partitioners import default_partition
from torch.fx import Graph, GraphModule, Node

from frontends.torch import zoo
from frontends.torch.joint import JointProgram, joint_program
from planner.target_file import read_target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class JointGraph(NamedTuple):
    """What AOTAutograd hands to a partitioner."""

    module: GraphModule
    num_fwd_outputs: int
    static_lifetime_input_indices: tuple[int, ...]

    def program(self, **options: Any) -> JointProgram:
        """Lower it for a CPU."""
        return joint_program(
            self.module,
            num_fwd_outputs=self.num_fwd_outputs,
            static_lifetime_input_indices=self.static_lifetime_input_indices,
            target=read_target("cpu-core"),
            **options,
        )


@cache
def model_graph(name: str) -> JointGraph:
    """Trace one step of a model of the zoo, once a process."""
    return joint_graph(*getattr(zoo, name)())


def joint_graph(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    decompositions: Any = None,
    dynamic: bool | None = None,
) -> JointGraph:
    """Trace one step of a function whose result is a loss."""
    caught: list[JointGraph] = []

    def partition(module: GraphModule, joint_inputs: Any, **options: Any) -> Any:
        graph = Graph()
        copies: dict[Node, Node] = {}
        for node in module.graph.nodes:
            copies[node] = graph.node_copy(node, lambda operand: copies[operand])
        caught.append(
            JointGraph(
                GraphModule(module, graph),
                options["num_fwd_outputs"],
                tuple(options.get("static_lifetime_input_indices") or ()),
            )
        )
        return default_partition(module, joint_inputs, **options)

    def compiler(module: GraphModule, example_inputs: Any) -> Any:
        return module.forward

    torch._dynamo.reset()
    backend = aot_autograd(
        fw_compiler=compiler,
        bw_compiler=compiler,
        partition_fn=partition,
        **({} if decompositions is None else {"decompositions": decompositions}),
    )
    compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=dynamic)
    compiled(*inputs)
    return caught[0]
