"""Times of operators as they were measured on a machine, and lines fitted through them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.graph import Graph
    from planner.target import Target


class CostLayer(StrEnum):
    """Where an operator's time comes from, from trusted to guessed.

    Measured with these very shapes, fitted to measured operators of its class, or the roofline.
    """

    MEASURED = "measured"
    FITTED = "fitted"
    ROOFLINE = "roofline"


@dataclass(frozen=True, slots=True)
class OperatorFit:
    """Seconds of one class of operators: a sum, each part absent where its rate is None.

    Attributes
    ----------
    overhead_s : float
        Seconds of every execution.
    mac_rate, vector_rate : float or None
        Multiply-accumulates and element operations per second.
    bandwidth : float or None
        Bytes per second, over all operands and results, constants included.
    """

    overhead_s: float = 0.0
    mac_rate: float | None = None
    vector_rate: float | None = None
    bandwidth: float | None = None

    def seconds(self, macs: float, vector_ops: float, size_bytes: float) -> float:
        """Time of an operator with that much to do."""
        parts = (
            (macs, self.mac_rate),
            (vector_ops, self.vector_rate),
            (size_bytes, self.bandwidth),
        )
        return self.overhead_s + sum(amount / rate for amount, rate in parts if rate)


@dataclass(frozen=True, slots=True)
class MeasuredCosts:
    """The measured part of a target.

    Attributes
    ----------
    source : str
        Who measured, where, and how, in one line.
    seconds : mapping of str to float
        By `planner.operator_signature.operator_signature`.
    fits : mapping of str to OperatorFit
        By `planner.operator_signature.operator_class`.
    """

    source: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    fits: Mapping[str, OperatorFit] = field(default_factory=dict)


def moved_bytes(graph: Graph, operator: int) -> int:
    """Bytes of all operands and results, constants included, each once."""
    node = graph.operators[operator]
    return sum(graph.tensors[index].size_bytes for index in (*node.inputs, *node.outputs))


def measured_seconds(graph: Graph, target: Target, operator: int) -> tuple[CostLayer, float]:
    """Time of an operator that is no view, from the first layer that knows it.

    The roofline is the layer that always does; its time is not computed here and given as 0.
    Measured times are of operands in the nearest memory. Where a target lets them be used
    elsewhere, the roofline is used for all.
    """
    measured = target.compute.measured if target.compute else None
    if measured is None or not target.operands_resident:
        return CostLayer.ROOFLINE, 0.0
    seconds = measured.seconds.get(graph.signatures[operator])
    if seconds is not None:
        return CostLayer.MEASURED, seconds
    fit = measured.fits.get(graph.operator_classes[operator])
    if fit is None:
        return CostLayer.ROOFLINE, 0.0
    node = graph.operators[operator]
    return CostLayer.FITTED, fit.seconds(node.macs, node.vector_ops, moved_bytes(graph, operator))


def cost_layers(graph: Graph, target: Target) -> Counter[CostLayer]:
    """How many operators get their time from which layer; views apart, which cost nothing."""
    return Counter(
        measured_seconds(graph, target, operator)[0]
        for operator in range(len(graph.operators))
        if not graph.is_view(operator)
    )


def measured_for(graph: Graph, target: Target) -> Target:
    """Return the target with those measured times alone that the graph's operators use.

    A plan holds its whole target, and a table holds the operators of many models.
    """
    measured = target.compute.measured if target.compute else None
    if target.compute is None or measured is None:
        return target
    seconds = measured.seconds
    unmeasured = {
        graph.operator_classes[operator]
        for operator, signature in enumerate(graph.signatures)
        if signature not in seconds
    }
    used = replace(
        measured,
        seconds={s: seconds[s] for s in sorted(set(graph.signatures)) if s in seconds},
        fits={kind: fit for kind, fit in measured.fits.items() if kind in unmeasured},
    )
    return replace(target, compute=replace(target.compute, measured=used))
