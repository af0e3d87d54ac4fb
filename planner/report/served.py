"""Which memory serves each use of an operand, where operands may lie in more than one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.cost import operands
from planner.graph import StorageKind
from planner.metrics import far_operands
from planner.plans import TransferKind
from planner.report.occupancy import copied_bytes

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Plan


class ServedOperand(NamedTuple):
    """A step reads or writes so many bytes of a storage in a memory; a view moves none."""

    step: int
    storage: int
    memory: str
    size_bytes: int


def served_operands(plan: Plan, graph: Graph | None) -> list[ServedOperand]:
    """Return the uses of operands, constants apart, step by step, each storage once per step.

    None where operands have to be in the nearest memory, or where the graph is not known.
    """
    if graph is None or plan.target.operands_resident:
        return []
    served = []
    for step, far in enumerate(far_operands(graph, plan.target, plan)):
        moved: dict[int, int] = {}
        for tensor, size, _ in operands(graph, plan.order[step]):
            if graph.storages[tensor.storage].kind is not StorageKind.CONSTANT and size:
                moved[tensor.storage] = moved.get(tensor.storage, 0) + size
        served += [
            ServedOperand(step, storage, far.get(storage, plan.target.nearest.name), size)
            for storage, size in sorted(moved.items())
        ]
    return served


class TrafficParts(NamedTuple):
    """Bytes of operands used in a farther memory, and of spills and reloads."""

    direct_bytes: int
    copied_bytes: int


def traffic_parts(plan: Plan) -> TrafficParts:
    """Split the traffic of a plan into what operators use directly and what is copied."""
    copied = sum(
        copied_bytes(plan, t)
        for t in plan.transfers
        if t.kind in (TransferKind.SPILL, TransferKind.RELOAD)
    )
    direct = 0 if plan.target.operands_resident else plan.metrics.traffic_bytes - copied
    return TrafficParts(direct, copied)
