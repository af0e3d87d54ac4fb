"""From a graph under a fixed order to the problem of mapping its storages to the fast memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.cost import access_seconds, operands, operator_cost
from planner.dataflow import step_access
from planner.graph import StorageKind
from planner.mapping_problem import MappingProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from planner.problem import PlanningProblem
    from planner.target import Link

# Ticks of the whole program with everything served slow, roughly.
_TICKS = 1 << 40
# What takes longer than this counts as so long: no program of use waits for it.
_MOST_TICKS = 1 << 50


class MappedProgram(NamedTuple):
    """A mapping problem, the storage of each of its buffers, and the order of its rows."""

    problem: MappingProblem
    storages: tuple[int, ...]
    order: tuple[int, ...]


def why_not_mappable(problem: PlanningProblem) -> str:
    """Return why the operands of a problem cannot be mapped, or an empty string."""
    target = problem.target
    if target.compute is None:
        return f"{target.name} has no [compute] rates"
    if target.operands_resident:
        return f"operators of {target.name} take operands in {target.nearest.name} alone"
    if problem.capacity_bytes is None:
        return f"{target.nearest.name} has no capacity"
    if problem.inputs_resident:
        return f"inputs and outputs of {target.name} lie in {target.nearest.name}"
    if problem.capacity_bytes <= 0:
        return f"nothing of {target.nearest.name} is left beside the constants"
    return ""


def mapping_program(problem: PlanningProblem, order: Sequence[int]) -> MappedProgram:
    """State the mapping problem of a graph under an order, see `mapping_programs`."""
    return next(mapping_programs(problem, [order]))


def mapping_programs(
    problem: PlanningProblem, orders: Iterable[Sequence[int]]
) -> Iterator[MappedProgram]:
    """State the mapping problem of a graph under each of several orders, in the same ticks.

    Graph outputs are left out, since they have to end in the slow memory, and so is what is larger
    than the fast memory. Both are served slow.

    Parameters
    ----------
    problem : PlanningProblem
        For which `why_not_mappable` gives no reason.
    orders : iterable of sequences of int
        Operator indices.

    Raises
    ------
    UsageError
        If the target lacks a rate that the costs need.
    """
    rows = [_row(problem, operator) for operator in range(len(problem.graph.operators))]
    tick_s = (sum(row.slow_s for row in rows) or 1.0) / _TICKS
    for order in orders:
        taken = tuple(int(operator) for operator in order)
        yield _in_order(problem, taken, [rows[operator] for operator in taken], tick_s)


def _in_order(
    problem: PlanningProblem, order: tuple[int, ...], rows: Sequence[_Row], tick_s: float
) -> MappedProgram:
    graph, target = problem.graph, problem.target
    near, far = target.nearest, target.memory(problem.far_memory)
    capacity, unit = problem.capacity_bytes or 0, near.alignment_bytes

    def ticks(seconds: float) -> int:
        return round(min(seconds / tick_s, _MOST_TICKS))

    def ticks_up(seconds: float) -> int:
        return -int(-min(seconds, _MOST_TICKS * tick_s) // tick_s)

    buffer_of: dict[int, int] = {}
    sizes: list[int] = []
    for row in rows:
        for storage in row.accesses:
            described = graph.storages[storage]
            size = -(-described.size_bytes // unit) * unit
            if storage not in buffer_of and size <= capacity and not described.is_output:
                buffer_of[storage] = len(sizes)
                sizes.append(size)
    accesses: list[tuple[int, int, bool, int, int]] = []
    other_fast, other_slow = [0] * len(rows), [0] * len(rows)
    touches_fast, touches_slow = [False] * len(rows), [False] * len(rows)
    for step, row in enumerate(rows):
        for storage, (read, written, writes) in row.accesses.items():
            slow = access_seconds(target, far, read, written)
            if storage in buffer_of:
                fast = access_seconds(target, near, read, written)
                accesses.append((step, buffer_of[storage], writes, ticks(fast), ticks(slow)))
            elif slow:
                other_slow[step] += ticks(slow)
                touches_slow[step] = True
        if row.constant_bytes and target.constant_memory == far.name:
            other_slow[step] += ticks(access_seconds(target, far, row.constant_bytes, 0))
            touches_slow[step] = True
        elif row.constant_bytes:
            memory = target.memory(target.constant_memory)
            seconds = access_seconds(target, memory, row.constant_bytes, 0)
            touches_fast[step] |= memory == near
            other_fast[step] += ticks(seconds + (0.0 if memory == near else memory.latency_s))
    accesses.sort()
    columns = list(zip(*accesses, strict=True)) or [(), (), (), (), ()]
    storages = tuple(buffer_of)
    bytes_of = [graph.storages[storage].size_bytes for storage in storages]
    copies = [[paid + size / rate for size in bytes_of] for paid, rate in _copy_costs(problem)]
    setups = [link.setup_s * (not link.fifo) for link in _links(problem)]
    mapped = MappingProblem(
        tick_s=tick_s,
        capacity=capacity,
        alignment=unit,
        size=np.array(sizes, dtype=np.int64),
        has_copy=np.array([graph.storages[s].kind is StorageKind.INPUT for s in storages], bool),
        copy_in=np.array([max(1, ticks_up(seconds)) for seconds in copies[0]], dtype=np.int64),
        copy_out=np.array([max(1, ticks_up(seconds)) for seconds in copies[1]], dtype=np.int64),
        access_row=np.array(columns[0], dtype=np.int32),
        access_buffer=np.array(columns[1], dtype=np.int32),
        writes=np.array(columns[2], dtype=bool),
        fast=np.array(columns[3], dtype=np.int64),
        slow=np.array(columns[4], dtype=np.int64),
        arithmetic=np.array([ticks(row.arithmetic_s) for row in rows], dtype=np.int64),
        overhead=np.array([ticks(row.overhead_s) for row in rows], dtype=np.int64),
        other_fast=np.array(other_fast, dtype=np.int64),
        other_slow=np.array(other_slow, dtype=np.int64),
        touches_fast=np.array(touches_fast, dtype=bool),
        touches_slow=np.array(touches_slow, dtype=bool),
        fast_latency=ticks(near.latency_s),
        slow_latency=ticks(far.latency_s),
        setup_in=ticks_up(setups[0]),
        setup_out=ticks_up(setups[1]),
    )
    return MappedProgram(mapped, storages, order)


class _Access(NamedTuple):
    """Bytes that an operator reads and writes of a storage, and whether it changes any of them."""

    read_bytes: int
    written_bytes: int
    writes: bool


class _Row(NamedTuple):
    """What an operator costs: its accesses by storage, and the rest."""

    accesses: dict[int, _Access]
    constant_bytes: int
    arithmetic_s: float
    overhead_s: float
    slow_s: float


def _row(problem: PlanningProblem, operator: int) -> _Row:
    """Collect what an operator does; a view accesses its operands too, and moves nothing."""
    graph, target = problem.graph, problem.target
    reads, writes = step_access(graph, operator)
    accesses = {s: _Access(0, 0, writes=s in writes) for s in sorted({*reads, *writes})}
    constant_bytes = 0
    for tensor, size, is_result in operands(graph, operator):
        if graph.storages[tensor.storage].kind is StorageKind.CONSTANT:
            constant_bytes += size
        elif size:
            read, written, changed = accesses[tensor.storage]
            if is_result:
                written += size
            else:
                read += size
            accesses[tensor.storage] = _Access(read, written, changed)
    cost = operator_cost(graph, target, operator, dict.fromkeys(accesses, problem.far_memory))
    overhead_s = cost.seconds - max(cost.arithmetic_s, cost.memory_s)
    return _Row(accesses, constant_bytes, cost.arithmetic_s, overhead_s, cost.seconds)


def _copy_costs(problem: PlanningProblem) -> list[tuple[float, float]]:
    """Cost of copies into the nearest memory and out of it, in the farther memory's time.

    Seconds per copy, and bytes per second. An engine slower than the memory is counted as if it
    kept the memory busy for as long, and so are the set-ups of an engine that does one copy after
    the other.
    """
    far = problem.target.memory(problem.far_memory)
    rates = (far.read_bandwidth, far.write_bandwidth)
    return [
        (link.setup_s * link.fifo, min(link.bandwidth, rate) if rate else link.bandwidth)
        for link, rate in zip(_links(problem), rates, strict=True)
    ]


def _links(problem: PlanningProblem) -> tuple[Link, Link]:
    """Return the links into the nearest memory and out of it."""
    target, near, far = problem.target, problem.target.nearest.name, problem.far_memory
    inward, outward = target.link(far, near), target.link(near, far)
    if inward is None or outward is None:
        raise ValueError(f"{target.name} lacks a link between {far} and {near}")
    return inward, outward
