"""The output layer of a language model, split over all devices.

The classifier over a vocabulary is as much work as several layers, so that it makes the last stage
the longest. "Balancing Pipeline Parallelism with Vocabulary Parallelism" (arXiv 2411.05288) splits
its matrix over the devices: see `planner.pipelining.problem.VocabularyLayer`.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from planner.pipelining.partitioning.gradient_rules import LOOKUPS
from planner.pipelining.partitioning.partition_problem import OperatorBytes, StageBytes

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.pipelining.partitioning.training_costs import TrainingCosts

_STATISTICS_BYTES = 8


class OutputLayer(NamedTuple):
    """A projection onto a vocabulary and all that follows it.

    Attributes
    ----------
    first : int
        The projection, an operator; all from it on belong to the layer.
    vocabulary : int
        Rows of its matrix.
    embedding : int
        The operator that looks a table of as many rows up, -1 if there is none.
    """

    first: int
    vocabulary: int
    embedding: int


class SplitOutputLayer(NamedTuple):
    """What each device does and holds of an output layer that is split over all of them.

    Attributes
    ----------
    layer : OutputLayer
    forward_s, backward_s, weight_s : float
        Seconds of each device's part.
    operand_bytes : int
        What the last stage sends to the other devices.
    reduced_bytes : int
        What the barriers add up over the devices: a maximum and a sum per row, in float32, and the
        gradient of the operand.
    activation_bytes, state_bytes : int
        Per device: the whole operand, and its part of the rest; its part of the weights.
    """

    layer: OutputLayer
    forward_s: float
    backward_s: float
    weight_s: float
    operand_bytes: int
    reduced_bytes: int
    activation_bytes: int
    state_bytes: int


def find_output_layer(costs: TrainingCosts) -> OutputLayer | None:
    """Return the output layer of a language model, or None.

    It is the last operator whose weights have a gradient pass of their own, if only operators that
    depend on it follow and it widens its operand more than fourfold, which inner layers do not
    exceed, or its matrix is as large as a table that is looked up.
    """
    graph = costs.graph
    weighted = [
        i for i, operator in enumerate(graph.operators) if costs.weight_s[i] and operator.macs
    ]
    if not weighted:
        return None
    first = weighted[-1]
    if not _all_depend_on(graph, first):
        return None
    elements = max(weight.elements for weight in costs.weights[first])
    rows = graph.tensors[graph.operators[first].outputs[0]].shape[-1:]
    if not rows or not rows[0] or elements % rows[0]:
        return None
    embedding = _table_of(graph, rows[0], elements)
    if rows[0] <= 4 * (elements // rows[0]) and embedding < 0:
        return None
    return OutputLayer(first, rows[0], embedding)


def split_output_layer(costs: TrainingCosts, layer: OutputLayer, devices: int) -> SplitOutputLayer:
    """Divide the layer's work and bytes evenly over the devices."""
    held = StageBytes()
    for operator in range(layer.first, len(costs.graph.operators)):
        held.add(operator_bytes(costs, operator))
    operand = int(costs.crossing_bytes[layer.first])
    node = costs.graph.operators[layer.first]
    rows = prod(costs.graph.tensors[node.outputs[0]].shape[:-1])
    times = (costs.forward_s, costs.backward_s, costs.weight_s)
    return SplitOutputLayer(
        layer,
        *(float(seconds[layer.first :].sum()) / devices for seconds in times),
        operand_bytes=operand,
        reduced_bytes=_STATISTICS_BYTES * rows + operand,
        activation_bytes=operand + -(-max(0, held.activation - operand) // devices),
        state_bytes=-(-held.states.total // devices),
    )


def operator_bytes(costs: TrainingCosts, operator: int) -> OperatorBytes:
    """Return what an operator holds, as stages count it."""
    from planner.pipelining.partitioning.training_costs import Held

    states = tuple(Held(weight.key, weight.state_bytes) for weight in costs.weights[operator])
    return OperatorBytes(costs.saved[operator], costs.kept[operator], states)


def _all_depend_on(graph: Graph, first: int) -> bool:
    reached = set(graph.operators[first].outputs)
    for node in graph.operators[first + 1 :]:
        if not reached.intersection(node.inputs):
            return False
        reached.update(node.outputs)
    return True


def _table_of(graph: Graph, rows: int, elements: int) -> int:
    for index, node in enumerate(graph.operators):
        if node.type in LOOKUPS and node.inputs:
            shape = graph.tensors[node.inputs[0]].shape
            if shape[:1] == (rows,) and prod(shape) == elements:
                return index
    return -1
