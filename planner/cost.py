"""What one operator costs on a target: as measured, or a roofline over arithmetic and bytes."""

from __future__ import annotations

import re
from math import prod
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


# ``float8e4m3fn`` has 8.
_BITS = re.compile(r"[0-9]+")


class Operand(NamedTuple):
    """A tensor that an operator reads or writes, and how many bytes of it."""

    tensor: Tensor
    size_bytes: int
    writes: bool


# Operators that read as much of their first operand, a table, as they give out.
_LOOKUPS = frozenset(
    {
        *("Gather", "GatherElements", "GatherND"),
        *("aten.embedding", "aten.gather", "aten.index", "aten.index_select"),
    }
)


def operands(graph: Graph, operator: int) -> Iterator[Operand]:
    """Yield what an operator reads, constants included, and what it writes, each tensor once.

    A view moves nothing.
    """
    if graph.is_view(operator):
        return
    node = graph.operators[operator]
    results = [graph.tensors[index] for index in node.outputs]
    looked_up = sum(tensor.size_bytes for tensor in results) if node.type in _LOOKUPS else None
    for position, index in enumerate(node.inputs):
        tensor = graph.tensors[index]
        size = _content_bytes(tensor)
        if position == 0 and looked_up is not None:
            size = min(size, looked_up)
        yield Operand(tensor, size, writes=False)
    for tensor in results:
        yield Operand(tensor, tensor.size_bytes, writes=True)


def _content_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's elements: fewer than those of its range if others lie between them."""
    bits = _BITS.search(tensor.dtype)
    if bits is None or not tensor.shape:
        return tensor.size_bytes
    return min(tensor.size_bytes, -(-prod(tensor.shape) * int(bits.group()) // 8))


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
    memory_s = sum(memory_seconds(graph, target, operator, far).values())
    arithmetic_s = _arithmetic_time(graph, target, target.compute, operator)
    layer, seconds = measured_seconds(graph, target, operator)
    if layer is CostLayer.ROOFLINE:
        seconds = max(arithmetic_s, memory_s) + target.compute.launch_overhead_s
    return OperatorCost(seconds, arithmetic_s, memory_s)


def memory_seconds(
    graph: Graph, target: Target, operator: int, far: Mapping[int, str] | None = None
) -> dict[str, float]:
    """Seconds for which an operator uses each memory that it touches, its latency included.

    Parameters
    ----------
    operator : int
    far : mapping of storage to memory name, optional
        Operands used elsewhere than in the nearest memory.

    Raises
    ------
    UsageError
        If the target lacks a bandwidth that the operator needs.
    """
    near = target.nearest.name
    read: dict[str, int] = {}
    written: dict[str, int] = {}
    for tensor, size, writes in operands(graph, operator):
        memory = far.get(tensor.storage, near) if far else near
        if graph.storages[tensor.storage].kind is StorageKind.CONSTANT:
            memory = target.constant_memory
        moved = written if writes else read
        moved[memory] = moved.get(memory, 0) + size
    seconds: dict[str, float] = {}
    for memory in target.memories:
        reads, writes_to = read.get(memory.name, 0), written.get(memory.name, 0)
        if reads or writes_to:
            moving_s = access_seconds(target, memory, reads, writes_to)
            seconds[memory.name] = memory.latency_s + moving_s
    return seconds


def access_seconds(target: Target, memory: Memory, read_bytes: int, written_bytes: int) -> float:
    """Seconds that an operator needs to read and write that much in a memory, without its latency.

    Raises
    ------
    UsageError
        If the target lacks the bandwidth.
    """
    seconds = 0.0
    for size, bandwidth, field in (
        (read_bytes, memory.read_bandwidth, "read_bandwidth"),
        (written_bytes, memory.write_bandwidth, "write_bandwidth"),
    ):
        if size:
            seconds += size / _rate(bandwidth, target, f"{field} of memory {memory.name!r}")
    return seconds


def _arithmetic_time(graph: Graph, target: Target, compute: Compute, operator: int) -> float:
    node = graph.operators[operator]
    dtype = graph.tensors[node.inputs[0]].dtype if node.inputs else "default"
    return arithmetic_seconds(target, compute, dtype, node.macs, node.vector_ops)


def arithmetic_seconds(
    target: Target, compute: Compute, dtype: str, macs: int, vector_ops: int
) -> float:
    """Seconds of so much arithmetic on elements of a type: the array and the vector unit overlap.

    Raises
    ------
    UsageError
        If the target lacks a rate.
    """
    seconds = 0.0
    if macs:
        rate = compute.mac_rate.get(dtype, compute.mac_rate.get("default"))
        seconds = macs / _rate(rate, target, f"compute.mac_rate.{dtype}")
    if vector_ops:
        rate = _rate(compute.vector_rate, target, "compute.vector_rate")
        seconds = max(seconds, vector_ops / rate)
    return seconds


def _rate(value: float | None, target: Target, field: str) -> float:
    if not value:
        raise UsageError(
            f"target {target.name!r} has no {field}, which times need. Add it, or use "
            "--objective peak or traffic."
        )
    return value
