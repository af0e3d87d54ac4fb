"""The forward and the backward module of a planned training step."""

from __future__ import annotations

import operator
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import fx
from torch._functorch import partitioners
from torch._functorch._aot_autograd.graph_compile import is_opaque_node
from torch._functorch._aot_autograd.utils import _is_bwd_seed_offset, _is_tangent
from torch.fx.experimental.proxy_tensor import is_sym_node
from torch.utils import _pytree as pytree

from frontends.torch.halves import results_of
from planner.errors import InvalidPlanError
from planner.torch.host_copies import to_device, to_host
from planner.torch.product_regions import separate_products

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frontends.torch.batch_norm import Replacement
    from frontends.torch.joint import JointProgram
    from planner.training.schedule import TrainingSchedule


def planned_halves(
    joint: JointProgram, schedule: TrainingSchedule
) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Return forward and backward modules that execute a schedule, in the form AOTAutograd wants.

    Operators run in the schedule's order, repetitions included. Views are made where they are
    first read, and again after their base is: bases alone cross between the halves, and no view
    keeps the memory of a base that the schedule has dropped.

    Raises
    ------
    planner.errors.InvalidPlanError
        If an operator reads what the schedule does not provide.
    """
    step = _Step(joint, schedule)
    backward = _Half(step, is_backward=True)
    backward.executed.update(step.operators[index] for index in schedule.forward)
    fetched = defaultdict(list)
    for offload in schedule.offloads:
        fetched[offload.fetched_before].append(offload.storage)
    for position, index in enumerate(schedule.backward):
        for storage in fetched[position]:
            backward.fetch(storage)
        backward.execute(step.operators[index], step.again[index])
    backward.finish(step.gradients)

    forward = _Half(step, is_backward=False)
    freed = defaultdict(list)
    for offload in schedule.offloads:
        freed[min(offload.freed_after, len(schedule.forward) - 1)].append(offload.storage)
    for position, index in enumerate(schedule.forward):
        forward.execute(step.operators[index], step.again[index])
        for storage in freed[position]:
            forward.execute(step.copies[storage].host)
    crossing = list(backward.inputs)
    forward.finish([*step.results, *crossing])

    # The order in which autograd wants what crosses, symbolic sizes and metadata are the business
    # of its own partitioner; the bodies of its two modules are ours.
    opaque = [n for n in crossing if is_opaque_node(n)]
    symbols = [n for n in crossing if is_sym_node(n)]
    tensors = [n for n in crossing if n not in {*opaque, *symbols}]
    modules = partitioners._extract_fwd_bwd_modules(
        step.returning(crossing),
        tensors,
        saved_sym_nodes=symbols,
        saved_opaque_nodes=opaque,
        num_fwd_outputs=joint.num_fwd_outputs,
    )
    _rewrite(modules[0], step, forward.lines)
    _rewrite(modules[1], step, backward.lines, step.gradients)
    for module in modules:
        separate_products(module.graph)
    return modules


class _Copies(NamedTuple):
    """The way of an offloaded storage: the copy to the host and the copy back."""

    host: fx.Node
    back: fx.Node


class _Line(NamedTuple):
    """One execution: what is executed, whose value it provides, and what stands in for it."""

    node: fx.Node
    value: fx.Node
    replacement: Replacement | None = None

    @property
    def operands(self) -> list[fx.Node]:
        """What it reads."""
        if self.replacement is None:
            return self.node.all_input_nodes
        taken = [self.node.args[i] for i in self.replacement.operands]
        return [operand for operand in taken if isinstance(operand, fx.Node)]

    def copy_to(self, graph: fx.Graph, current: dict[fx.Node, fx.Node]) -> fx.Node:
        """Add it to a graph in which ``current`` are the operands."""
        if self.replacement is None:
            return graph.node_copy(self.node, current.__getitem__)
        target, operands, results = self.replacement
        taken = tuple(self.node.args[i] for i in operands)
        copied = graph.call_function(
            target, tuple(current[x] if isinstance(x, fx.Node) else x for x in taken)
        )
        copied.meta = {**self.node.meta, "val": self.node.meta["val"][:results]}
        return copied


class _Step:
    """A copy of the joint graph that has the copies of offloaded storages as well."""

    def __init__(self, joint: JointProgram, schedule: TrainingSchedule) -> None:
        self.module = joint.module
        self.num_fwd_outputs = joint.num_fwd_outputs
        self.graph = fx.Graph()
        mapping: dict[fx.Node, fx.Node] = {}
        returned = self.graph.graph_copy(joint.module.graph, mapping)
        self.description = joint.module.graph.output_node().meta.get("desc")
        self.returned = list(pytree.tree_leaves(returned))
        self.results = self.returned[: self.num_fwd_outputs]
        self.gradients = self.returned[self.num_fwd_outputs :]
        self.operators = [mapping[n] for n in joint.nodes]
        self.is_operator = frozenset(self.operators)
        self.within = {mapping[n]: [mapping[w] for w in ws] for n, ws in joint.within.items()}
        self.again = [joint.recomputed_as.get(i) for i in range(len(joint.nodes))]
        self.values = [mapping[n] for n in joint.values]
        offloaded = {offload.storage for offload in schedule.offloads}
        handed = {*schedule.saved, *joint.problem.forward_outputs.tolist()} - offloaded
        self.crossing = {self.values[s] for s in handed}
        self.copies = {s: self._copies(self.values[s]) for s in sorted(offloaded)}
        self.crossing.update(copies.host for copies in self.copies.values())
        self.late = self._depends_on_tangents()
        self.parts = self._parts()
        self.views = self._views()

    def _copies(self, value: fx.Node) -> _Copies:
        tensor = value.meta["val"]
        with self.graph.inserting_after(value):
            host = self.graph.call_function(torch.ops.planner.to_host.default, (value,))
        with self.graph.inserting_after(host):
            back = self.graph.call_function(
                torch.ops.planner.to_device.default, (host, tensor.device)
            )
        with tensor.fake_mode:
            host.meta["val"] = to_host(tensor)
            back.meta["val"] = to_device(host.meta["val"], tensor.device)
        return _Copies(host, back)

    def _depends_on_tangents(self) -> set[fx.Node]:
        late: set[fx.Node] = set()
        for node in self.graph.nodes:
            if node.op == "placeholder":
                if _is_tangent(node) or _is_bwd_seed_offset(node):
                    late.add(node)
            elif partitioners._must_be_in_backward(node) or not late.isdisjoint(
                node.all_input_nodes
            ):
                late.add(node)
        return late

    def _parts(self) -> dict[fx.Node, list[fx.Node]]:
        """Return the nodes that take the results of an operator of several out of its tuple."""
        return {
            node: [user for user in node.users if user.target is operator.getitem]
            for node in self.operators
        }

    def _views(self) -> dict[fx.Node, list[fx.Node]]:
        """Return what is made of each operator's results without an operator in between."""
        views: dict[fx.Node, list[fx.Node]] = defaultdict(list)
        sources: dict[fx.Node, set[fx.Node]] = {}
        for node in self.graph.nodes:
            if node in self.is_operator:
                sources[node] = {node}
                continue
            sources[node] = set().union(*(sources[i] for i in node.all_input_nodes))
            for source in sources[node]:
                views[source].append(node)
        return views

    def effects(self, *, is_backward: bool) -> list[fx.Node]:
        """Return what a half does beside its operators: assertions, and writes to inputs."""
        return [
            node
            for node in self.graph.nodes
            if node.op == "call_function"
            and node not in self.is_operator
            and (node in self.late) == is_backward
            and node.is_impure()
        ]

    def returning(self, crossing: Sequence[fx.Node]) -> fx.GraphModule:
        """Return a step whose backward half hands out what crosses, so that all of it crosses."""
        gradients = [None] * len(self.gradients)
        output = self.graph.output((*self.results, *gradients, *crossing))
        description = self.description or [None] * len(self.returned)
        output.meta["desc"] = [*description, *([None] * len(crossing))]
        return fx.GraphModule(self.module, self.graph)


class _Half:
    """What one half executes, put together in order.

    Attributes
    ----------
    lines : list of _Line
    inputs : dict of fx.Node to None
        What the backward half takes from the forward half, in order of first use.
    """

    def __init__(self, step: _Step, *, is_backward: bool) -> None:
        self.step = step
        self.is_backward = is_backward
        self.lines: list[_Line] = []
        self.inputs: dict[fx.Node, None] = {}
        self.available: set[fx.Node] = set()
        self.executed: set[fx.Node] = set()

    def execute(self, node: fx.Node, again: Replacement | None = None) -> None:
        """Execute an operator, and split its results at once, so that each can die alone.

        Where ``again`` is given, it is executed in place of an operator that ran before.
        """
        line = _Line(node, node, again if node in self.executed else None)
        self.executed.add(node)
        self._provide(line.operands)
        self.lines.append(line)
        # What was made of the last execution's results would keep them alive.
        self.available.difference_update(self.step.views.get(node, ()))
        self.available.difference_update(self.step.within.get(node, ()))
        self.available.add(node)
        for part in self.step.parts.get(node, ()):
            if line.replacement is None or int(str(part.args[1])) < line.replacement.results:
                self.lines.append(_Line(part, part))
                self.available.add(part)

    def fetch(self, storage: int) -> None:
        """Copy an offloaded storage back."""
        copies, value = self.step.copies[storage], self.step.values[storage]
        self._provide([copies.host])
        self.lines.append(_Line(copies.back, value))
        self.available.add(value)

    def finish(self, returned: Sequence[Any]) -> None:
        """Make what the half returns, and leave out parts that nothing reads."""
        for node in self.step.effects(is_backward=self.is_backward):
            self.execute(node)
        results = [node for node in returned if isinstance(node, fx.Node)]
        self._provide(results)
        wanted = set(results)
        kept: list[_Line] = []
        for line in reversed(self.lines):
            if line.value in wanted or line.node.target is not operator.getitem:
                kept.append(line)
                wanted.discard(line.value)
                wanted.update(line.operands)
        self.lines = kept[::-1]

    def _provide(self, nodes: Sequence[fx.Node]) -> None:
        stack = list(nodes)
        while stack:
            node = stack[-1]
            if node in self.available or self._is_given(node):
                self.available.add(node)
                stack.pop()
                continue
            if node in self.step.is_operator:
                half = "backward" if self.is_backward else "forward"
                raise InvalidPlanError(
                    f'the {half} half reads "{node.name}", which the schedule neither saves nor '
                    "computes before."
                )
            missing = [i for i in node.all_input_nodes if i not in self.available]
            if missing:
                stack += reversed(missing)
            else:
                self.lines.append(_Line(node, node))
                self.available.add(node)
                stack.pop()

    def _is_given(self, node: fx.Node) -> bool:
        """Whether a value is there before the half begins; the backward half's are noted."""
        if node in self.step.late or not self.is_backward:
            return node.op == "placeholder"
        if node.op == "placeholder" or node in self.step.crossing or is_sym_node(node):
            self.inputs[node] = None
            return True
        return False


def _rewrite(
    module: fx.GraphModule,
    step: _Step,
    lines: Sequence[_Line],
    gradients: Sequence[Any] | None = None,
) -> None:
    """Replace the body of a module, and what it returns if ``gradients`` are given."""
    by_name = {node.name: node for node in step.graph.nodes}
    graph = fx.Graph()
    current: dict[fx.Node, fx.Node] = {}
    for placeholder in module.graph.find_nodes(op="placeholder"):
        current[by_name[placeholder.name]] = graph.node_copy(placeholder)
    for line in lines:
        node, value = line.node, line.value
        if node.op == "get_attr" and not hasattr(module, str(node.target)):
            setattr(module, str(node.target), getattr(step.module, str(node.target)))
        current[value] = line.copy_to(graph, current)
        if gradients is not None:
            current[value].meta["autograd_backward"] = True
    old = module.graph.output_node()
    returned = gradients
    if returned is None:
        results = results_of(module.graph)
        returned = [by_name[x.name] if isinstance(x, fx.Node) else x for x in results]
    values = tuple(current[x] if isinstance(x, fx.Node) else x for x in returned)
    output = graph.output(values)
    output.meta.update(old.meta)
    output.meta["desc"] = old.meta["desc"][: len(values)]
    output.meta["output_stack_traces"] = [
        x.meta.get("stack_trace") if isinstance(x, fx.Node) else None for x in values
    ]
    graph.lint()
    module.graph = graph
    module.recompile()
