"""What one operator costs on a target: as measured, or a roofline over arithmetic and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.errors import UsageError
from planner.graph import StorageKind
from planner.measured import CostLayer, measured_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from planner.graph import Graph, Tensor
    from planner.target import Compute, Memory, Target


class OperatorCost(NamedTuple):
    """Time of one execution in seconds, and where it goes.

    ``seconds`` is the larger of ``arithmetic_s`` and ``memory_s``, plus the launch overhead, unless
    the target has a measured time; these two are the roofline's in any case.
    """

    seconds: float
    arithmetic_s: float
    memory_s: float


def operand_tensors(graph: Graph, operator: int) -> Iterator[tuple[Tensor, bool]]:
    """Yield the tensors whose bytes an operator moves, constants apart, and whether it writes.

    Each distinct input once, then each output once; a view moves nothing.
    """
    if graph.is_view(operator):
        return
    node = graph.operators[operator]
    for tensors, writes in ((node.inputs, False), (node.outputs, True)):
        for index in tensors:
            tensor = graph.tensors[index]
            if graph.storages[tensor.storage].kind is not StorageKind.CONSTANT:
                yield tensor, writes


def operator_cost(
    graph: Graph, target: Target, operator: int, far: Mapping[int, str] | None = None
) -> OperatorCost:
    """Time of one operator: measured where the target has it (`planner.measured`), else a roofline.

    The roofline (Williams et al., "Roofline", CACM 2009): the larger of MACs over their rate,
    vector operations over theirs, and bytes over bandwidth, plus the launch overhead. Memories are
    read and written one after the other; constants are read from the target's constant memory. A
    view costs nothing.

    Parameters
    ----------
    operator : int
    far : mapping of storage to memory name, optional
        Operands used elsewhere than in the nearest memory (`planner.metrics.far_operands`).

    Raises
    ------
    UsageError
        If the target lacks a rate that the operator needs; the message names the field.
    """
    if target.compute is None:
        raise UsageError(
            f"target {target.name!r} has no [compute] rates, which times need. Use --objective "
            "peak or traffic, or another target."
        )
    if graph.is_view(operator):
        return OperatorCost(0.0, 0.0, 0.0)
    node, near = graph.operators[operator], target.nearest.name
    read: dict[str, int] = {}
    written: dict[str, int] = {}
    for tensor, writes in operand_tensors(graph, operator):
        memory = far.get(tensor.storage, near) if far else near
        moved = written if writes else read
        moved[memory] = moved.get(memory, 0) + tensor.size_bytes
    constants = sum(
        graph.tensors[index].size_bytes
        for index in node.inputs
        if graph.storages[graph.tensors[index].storage].kind is StorageKind.CONSTANT
    )
    if constants:
        read[target.constant_memory] = read.get(target.constant_memory, 0) + constants
    memory_s = sum(
        _memory_time(target, memory, read.get(memory.name, 0), written.get(memory.name, 0))
        for memory in target.memories
    )
    arithmetic_s = _arithmetic_time(graph, target, target.compute, operator)
    layer, seconds = measured_seconds(graph, target, operator)
    if layer is CostLayer.ROOFLINE:
        seconds = max(arithmetic_s, memory_s) + target.compute.launch_overhead_s
    return OperatorCost(seconds, arithmetic_s, memory_s)


def _memory_time(target: Target, memory: Memory, read_bytes: int, written_bytes: int) -> float:
    if not read_bytes and not written_bytes:
        return 0.0
    seconds = memory.latency_s
    for size, bandwidth, field in (
        (read_bytes, memory.read_bandwidth, "read_bandwidth"),
        (written_bytes, memory.write_bandwidth, "write_bandwidth"),
    ):
        if size:
            seconds += size / _rate(bandwidth, target, f"{field} of memory {memory.name!r}")
    return seconds


def _arithmetic_time(graph: Graph, target: Target, compute: Compute, operator: int) -> float:
    node = graph.operators[operator]
    seconds = 0.0
    if node.macs:
        dtype = graph.tensors[node.inputs[0]].dtype if node.inputs else "default"
        rate = compute.mac_rate.get(dtype, compute.mac_rate.get("default"))
        seconds = node.macs / _rate(rate, target, f"compute.mac_rate.{dtype}")
    if node.vector_ops:
        rate = _rate(compute.vector_rate, target, "compute.vector_rate")
        seconds = max(seconds, node.vector_ops / rate)
    return seconds


def _rate(value: float | None, target: Target, field: str) -> float:
    if not value:
        raise UsageError(
            f"target {target.name!r} has no {field}, which times need. Add it, or use "
            "--objective peak or traffic."
        )
    return value
