"""What training costs per operator of a forward graph: three passes, saved bytes, weights, cuts.

All of it is for one microbatch: the batch that the graph was lowered with. The loss is not part of
the model and costs nothing.

**Times.** The gradient of an operator's operands (B) and of its weights (W) are priced by the
roofline that prices the forward pass (`planner.cost`), over their own arithmetic and bytes: each
factor of a product takes as many multiply-accumulates as the forward pass, an element-wise
gradient reads the gradient of the result and what was saved and writes the gradient of each
operand. Where the target has a measured time of the forward pass, the gradients are scaled with
it. Only weights of products, convolutions, look-ups and recurrences have a W pass; gradients of
biases and of scales are made on the way, in B, as all published schedules count them.

**Saved bytes.** From the forward to the backward pass an operator keeps what its gradient reads
(`planner.pipelining.partitioning.gradient_rules`), whole storages, one that several operators read
once, weights apart. For a transformer layer this is ``34 sbh + 5 a s^2 b`` bytes in half precision
("Reducing Activation Recomputation in Large Transformer Models", arXiv 2205.05198).

**Kept bytes.** From B to W it keeps the operands that W reads, and the gradients of the results of
these operators: ``32 sbh`` for a transformer layer ("Zero Bubble Pipeline Parallelism", arXiv
2401.10241, section 3): 14 for the operands of its four products, 18 for the gradients of their
results. A gradient that an addition or a view passes on unchanged is counted once.

**States.** A trained element takes its own bytes, as many for its gradient, and Adam's two float32
moments, with a float32 copy where it is narrower: 16 bytes per parameter for float32 as for
float16. Other constants take their bytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.cost import access_seconds, arithmetic_seconds, operator_cost
from planner.errors import LoweringError, UsageError
from planner.graph import StorageKind
from planner.pipelining.partitioning.crossing import crossing_bytes
from planner.pipelining.partitioning.gradient_rules import LOOKUPS, GradientRule, gradient_rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from planner.graph import Graph, Operator, Tensor
    from planner.target import Target

_FLOATS = ("float", "bfloat")
_QUANTISED = ("QuantizeLinear", "QLinear", "MatMulInteger", "ConvInteger", "quantize_per")
_RECURRENT_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_MOMENTS_BYTES = 8
_MASTER_BYTES = 4


class Held(NamedTuple):
    """Bytes that an operator needs, and whose they are: equal keys are the same bytes."""

    key: int
    size_bytes: int


class Weight(NamedTuple):
    """A constant that an operator reads.

    Attributes
    ----------
    key : int
        Its storage.
    elements : int
        Elements that are trained; 0 for other constants.
    size_bytes : int
        Of the constant itself.
    state_bytes : int
        Of the constant, its gradient and the optimizer's state of it.
    """

    key: int
    elements: int
    size_bytes: int
    state_bytes: int


@dataclass(frozen=True)
class TrainingCosts:
    """Per operator of a graph, in its order; see the module's text.

    Attributes
    ----------
    graph : Graph
    forward_s, backward_s, weight_s : float64 arrays of shape [operators]
    saved, kept : tuple of tuple of Held
        Until B, and from B to W.
    weights : tuple of tuple of Weight
    crossing_bytes : int64 array of shape [operators + 1]
        Bytes of all tensors alive across the cut before the operator of that index: made or fed in
        before it and read behind it. 0 at both ends.
    unknown : dict of str to int
        How many operators of each type have no rule and are taken to save everything.
    """

    graph: Graph
    forward_s: NDArray[np.float64]
    backward_s: NDArray[np.float64]
    weight_s: NDArray[np.float64]
    saved: tuple[tuple[Held, ...], ...]
    kept: tuple[tuple[Held, ...], ...]
    weights: tuple[tuple[Weight, ...], ...]
    crossing_bytes: NDArray[np.int64]
    unknown: dict[str, int]

    @property
    def parameters(self) -> int:
        """Trained elements of the whole model."""
        return sum(distinct(self.weights, "elements"))


def distinct(rows: Iterable[tuple[Held, ...] | tuple[Weight, ...]], what: str) -> list[int]:
    """One number per distinct key of all rows."""
    found: dict[int, int] = {}
    for row in rows:
        for item in row:
            found[item.key] = max(found.get(item.key, 0), getattr(item, what))
    return list(found.values())


def training_costs(graph: Graph, target: Target) -> TrainingCosts:
    """Price the passes of every operator and count what they hold.

    Raises
    ------
    planner.errors.LoweringError
        If the graph has no operator, gradients already, or nothing that can be trained.
    planner.errors.UsageError
        If the target lacks a rate that the operators need.
    """
    _refuse_untrainable(graph)
    gradients = _Gradients(graph, target)
    for operator in range(len(graph.operators)):
        gradients.add(operator)
    if not any(weight.elements for row in gradients.weights for weight in row):
        types = ", ".join(sorted({tensor.dtype for tensor in graph.tensors}))
        raise LoweringError(
            f"{graph.model.name} has no weights that could be trained: its tensors are {types}, "
            "and no constant of a floating-point type is multiplied or looked up. A pipeline of "
            "training passes needs the forward pass of a model in floating point."
        )
    times = np.array(gradients.seconds, dtype=np.float64).reshape(-1, 3)
    return TrainingCosts(
        graph,
        *(times[:, column] for column in range(3)),
        saved=tuple(gradients.saved),
        kept=tuple(gradients.kept),
        weights=tuple(gradients.weights),
        crossing_bytes=crossing_bytes(graph),
        unknown=dict(gradients.unknown),
    )


def _refuse_untrainable(graph: Graph) -> None:
    if not graph.operators:
        raise LoweringError(f"{graph.model.name} has no operators: nothing can be split.")
    for operator in graph.operators:
        kind = operator.type.rpartition(".")[2]
        if any(word in kind for word in _QUANTISED):
            raise LoweringError(
                f'{graph.model.name} is quantised: {operator.type} "{operator.name}" has no '
                "gradient. Give the model in floating point."
            )
        if operator.phase != "forward" or kind.endswith(("Grad", "_backward")):
            raise LoweringError(
                f"{graph.model.name} holds gradients already, as {operator.type} "
                f'"{operator.name}". Give the forward pass alone: its gradients are derived.'
            )


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype.startswith(_FLOATS)


def _is_bias_or_scale(tensor: Tensor) -> bool:
    """At most one dimension longer than 1, and more than one element: no scalar and no mask."""
    return 1 < prod(tensor.shape) == max(tensor.shape, default=1)


def _is_square(node: Operator, rule: GradientRule) -> bool:
    """Whether a product of one operand multiplies it with itself.

    Of ONNX operators numbers are operands, of torch operators they are not.
    """
    return len(node.inputs) < len(rule.factors) and not node.type.startswith("aten.")


class _Gradients:
    """Walks the operators in order, so that what needs a gradient is known when it is read."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph, self.target = graph, target
        self.wanted = [False] * len(graph.tensors)
        self.seconds: list[tuple[float, float, float]] = []
        self.saved: list[tuple[Held, ...]] = []
        self.kept: list[tuple[Held, ...]] = []
        self.weights: list[tuple[Weight, ...]] = []
        self.unknown: Counter[str] = Counter()
        self.readers: list[list[int]] = [[] for _ in graph.tensors]
        for index, node in enumerate(graph.operators):
            for tensor in node.inputs:
                self.readers[tensor].append(index)

    def add(self, operator: int) -> None:
        """Append the operator to all lists."""
        node, tensors = self.graph.operators[operator], self.graph.tensors
        rule = gradient_rule(node.type)
        view = self.graph.is_view(operator)
        known = rule is not None or view
        if rule is None:
            rule = GradientRule()
        trained = [] if view else self._trained(node, rule, known=known)
        late = [t for t in trained if self._is_put_off(node, t)]
        sources = [t for t in node.inputs if self.wanted[t] and t not in trained]
        wanted = bool(sources or trained)
        for t in node.outputs:
            self.wanted[t] = wanted and _is_float(tensors[t]) and self._is_activation(t)
        if wanted and not known:
            self.unknown[node.type] += 1
        saved: list[int] = []
        extra = 0
        if wanted and not view:
            saved = self._saved(node, rule, {*sources, *trained}, known=known)
            extra = self._extra_bytes(node, rule)
        saved = [t for t in saved if self._is_activation(t)]
        self.saved.append(self._held(saved, operator, extra))
        self.kept.append(self._kept(node, rule, late, saved, operator, extra, known=known))
        self.weights.append(tuple(self._weights(node, trained)))
        self.seconds.append(self._seconds(operator, rule, sources, trained, late, saved, extra))

    def _is_activation(self, tensor: int) -> bool:
        kind = self.graph.storages[self.graph.tensors[tensor].storage].kind
        return kind in (StorageKind.ACTIVATION, StorageKind.INPUT)

    def _is_constant(self, tensor: int) -> bool:
        storage = self.graph.tensors[tensor].storage
        return self.graph.storages[storage].kind is StorageKind.CONSTANT

    def _trained(self, node: Operator, rule: GradientRule, *, known: bool) -> list[int]:
        found = []
        for position, t in enumerate(node.inputs):
            tensor = self.graph.tensors[t]
            if not self._is_constant(t) or not _is_float(tensor) or position in rule.frozen:
                continue
            multiplied = bool(node.macs) and position in rule.factors
            looked_up = node.type in LOOKUPS and position == 0
            matrix = prod(tensor.shape) > 1 and (multiplied or looked_up)
            if matrix or not known or _is_bias_or_scale(tensor):
                found.append(t)
        return found

    def _is_put_off(self, node: Operator, trained: int) -> bool:
        """Whether the gradient of a weight waits for W; that of a bias or a scale does not."""
        return (bool(node.macs) or node.type in LOOKUPS) and not _is_bias_or_scale(
            self.graph.tensors[trained]
        )

    def _saved(
        self, node: Operator, rule: GradientRule, differentiated: set[int], *, known: bool
    ) -> list[int]:
        if not known:
            return [*node.inputs, *node.outputs]
        positions = range(len(node.inputs))
        found = [node.inputs[p] for p in rule.operands if p in positions]
        factors = [node.inputs[p] for p in rule.factors if p in positions]
        for factor in factors:
            others = [other for other in factors if other != factor]
            if len(factors) == 1 and _is_square(node, rule):
                others = factors
            if differentiated.intersection(others):
                found.append(factor)
        if rule.result:
            found += node.outputs[:1]
        return list(dict.fromkeys(found))

    def _extra_bytes(self, node: Operator, rule: GradientRule) -> int:
        """Bytes of masks, indices and statistics, which are no tensors of the graph."""
        result = prod(self.graph.tensors[node.outputs[0]].shape) if node.outputs else 0
        extra = rule.bytes_per_result * result
        if rule.statistics and node.inputs:
            shape = self.graph.tensors[node.inputs[0]].shape
            extra += 4 * rule.statistics * prod(shape[1:2] if rule.per_channel else shape[:-1])
        gates = _RECURRENT_GATES.get(node.type, 0)
        return extra + gates * (self.graph.tensors[node.outputs[0]].size_bytes if gates else 0)

    def _held(self, tensors: list[int], operator: int, extra: int) -> tuple[Held, ...]:
        storages = dict.fromkeys(self.graph.tensors[t].storage for t in tensors)
        held = [Held(s, self.graph.storages[s].size_bytes) for s in storages]
        if extra:
            held.append(Held(-1 - operator, extra))
        return tuple(item for item in held if item.size_bytes)

    def _kept(
        self,
        node: Operator,
        rule: GradientRule,
        late: list[int],
        saved: list[int],
        operator: int,
        extra: int,
        *,
        known: bool,
    ) -> tuple[Held, ...]:
        if not late:
            return ()
        # What only the gradient of the operands reads goes with it.
        operands = saved if not known else [t for t in saved if t in node.inputs]
        held = list(self._held(operands, operator, 0 if known else extra))
        first = len(self.graph.storages)
        for t in node.outputs:
            if _is_float(self.graph.tensors[t]) and self._is_activation(t):
                owner = self._gradient_owner(t)
                size = self.graph.tensors[t].size_bytes
                held.append(Held(first + owner, size))
        return tuple(held)

    def _gradient_owner(self, tensor: int) -> int:
        """Return the last tensor down a chain of views and sums that has the same gradient."""
        while len(self.readers[tensor]) == 1:
            operator = self.readers[tensor][0]
            node = self.graph.operators[operator]
            rule = gradient_rule(node.type)
            passes_on = self.graph.is_view(operator) or (rule and rule.forwards_gradient)
            result = node.outputs[0] if node.outputs else tensor
            size = self.graph.tensors[tensor].size_bytes
            if not passes_on or self.graph.tensors[result].size_bytes != size:
                break
            tensor = result
        return tensor

    def _weights(self, node: Operator, trained: list[int]) -> list[Weight]:
        found: dict[int, Weight] = {}
        for t in node.inputs:
            if not self._is_constant(t):
                continue
            tensor = self.graph.tensors[t]
            size = self.graph.storages[tensor.storage].size_bytes
            elements = 0
            state = size
            if t in trained:
                elements = prod(tensor.shape) * size // max(tensor.size_bytes, 1)
                narrow = size < _MASTER_BYTES * elements
                state = 2 * size + (_MOMENTS_BYTES + narrow * _MASTER_BYTES) * elements
            found[tensor.storage] = Weight(tensor.storage, elements, size, state)
        return list(found.values())

    def _seconds(
        self,
        operator: int,
        rule: GradientRule,
        sources: list[int],
        trained: list[int],
        late: list[int],
        saved: list[int],
        extra: int,
    ) -> tuple[float, float, float]:
        graph, node = self.graph, self.graph.operators[operator]
        forward = operator_cost(graph, self.target, operator)
        if graph.is_view(operator) or not (sources or trained) or not node.outputs:
            return forward.seconds, 0.0, 0.0
        overhead = self.target.compute.launch_overhead_s if self.target.compute else 0.0
        roofline = max(forward.arithmetic_s, forward.memory_s) + overhead
        scale = forward.seconds / roofline if roofline else 1.0
        result = self._bytes(t for t in node.outputs if _is_float(graph.tensors[t]))
        backward = weight = 0.0
        early = [t for t in trained if t not in late]
        written = [t for t in (*sources, *early) if not self._shares_gradient(rule, node, t)]
        again = [t for t in sources if self.readers[t][-1] != operator]
        if written or again:
            products = rule.products or len(written) - len(early)
            backward = self._pass_seconds(
                node,
                int(node.macs * products),
                rule.passes * node.vector_ops * max(1, len(written)),
                read=result + self._bytes(saved) + extra + self._bytes(again),
                constants=self._bytes(t for t in late if sources and t in node.inputs),
                written=self._bytes(written),
            )
        if late:
            size = self._bytes(late)
            if node.type in LOOKUPS:
                size = min(size, result)
            weight = self._pass_seconds(
                node,
                node.macs * len(late),
                node.vector_ops,
                read=result + self._bytes(t for t in saved if t in node.inputs),
                constants=0,
                written=size,
            )
        return forward.seconds, scale * backward, scale * weight

    def _shares_gradient(self, rule: GradientRule, node: Operator, tensor: int) -> bool:
        """Whether a sum hands an operand the gradient of its result, and nothing is computed."""
        sizes = self.graph.tensors
        return (
            rule.forwards_gradient and sizes[tensor].size_bytes == sizes[node.outputs[0]].size_bytes
        )

    def _bytes(self, tensors: Iterable[int]) -> int:
        return sum(self.graph.tensors[t].size_bytes for t in tensors)

    def _pass_seconds(
        self, node: Operator, macs: int, vector_ops: int, *, read: int, constants: int, written: int
    ) -> float:
        target = self.target
        compute = target.compute
        if compute is None:
            raise UsageError(f"target {target.name!r} has no [compute] rates, which times need.")
        floats = (t for t in (*node.outputs, *node.inputs) if _is_float(self.graph.tensors[t]))
        dtype = self.graph.tensors[next(floats)].dtype
        moving = target.nearest.latency_s + access_seconds(target, target.nearest, read, written)
        if constants:
            memory = target.memory(target.constant_memory)
            moving += access_seconds(target, memory, constants, 0)
        arithmetic = arithmetic_seconds(target, compute, dtype, macs, vector_ops)
        return max(arithmetic, moving) + compute.launch_overhead_s
