"""The bytes a plan needs and moves, counted from the plan alone."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from planner.cost import operand_tensors
from planner.graph import StorageKind
from planner.plans import Metrics, TransferKind

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Placement, Plan
    from planner.target import Target

_COMPULSORY = (TransferKind.FETCH, TransferKind.STORE)


def measure_bytes(graph: Graph, target: Target, plan: Plan) -> Metrics:
    """Peak, arena and traffic of a plan; times and bounds are left out.

    The plan need not be legal, but its indices and memories must exist.

    Returns
    -------
    Metrics
        ``peak_bytes`` and ``arena_bytes`` have one entry per writable memory.
    """
    peak, arena = _occupancy(graph, target, plan)
    compulsory = traffic = 0
    for transfer in plan.transfers:
        size = graph.storages[transfer.storage].size_bytes
        if transfer.kind in _COMPULSORY:
            compulsory += size
        else:
            traffic += size
    for step, far in enumerate(far_operands(graph, target, plan)):
        if far:
            traffic += sum(
                tensor.size_bytes
                for tensor, _ in operand_tensors(graph, plan.order[step])
                if tensor.storage in far
            )
    return Metrics(
        peak_bytes=peak, arena_bytes=arena, traffic_bytes=traffic, compulsory_bytes=compulsory
    )


def _occupancy(graph: Graph, target: Target, plan: Plan) -> tuple[dict[str, int], dict[str, int]]:
    """Most bytes live at once, and the highest used address, per writable memory."""
    steps = len(plan.order)
    writable = [memory.name for memory in target.memories if memory.writable]
    arena = dict.fromkeys(writable, 0)
    change = {name: [0] * (steps + 1) for name in writable}
    ending: dict[tuple[int, str, int], Placement] = {}
    starting: dict[tuple[int, int], list[Placement]] = {}
    for placement in plan.placements:
        size = graph.storages[placement.storage].size_bytes
        arena[placement.memory] = max(arena[placement.memory], placement.offset + size)
        change[placement.memory][placement.start] += size
        change[placement.memory][placement.end] -= size
        ending[placement.storage, placement.memory, placement.end] = placement
        starting.setdefault((placement.storage, placement.start), []).append(placement)
    step_of = {operator: step for step, operator in enumerate(plan.order)}
    for pair in plan.in_place:
        step = step_of[pair.operator]
        for placement in starting.get((pair.output, step), ()):
            under = ending.get((pair.input, placement.memory, step + 1))
            if under is not None and under.offset == placement.offset:
                size = graph.storages[pair.output].size_bytes
                change[placement.memory][step] -= size
                change[placement.memory][step + 1] += size
    peak = {}
    for name, deltas in change.items():
        live = most = 0
        for delta in deltas[:steps]:
            live += delta
            most = max(most, live)
        peak[name] = most
    return peak, arena


def far_operands(graph: Graph, target: Target, plan: Plan) -> list[dict[int, str]]:
    """Per step, the storages that the operator uses in a farther memory, and which memory.

    An operand is used in the nearest memory that holds its data at that step: a placement counts
    from the first write into it, or from the end of the first copy into it. All empty where the
    target requires operands in the nearest memory.
    """
    far: list[dict[int, str]] = [{} for _ in plan.order]
    if target.operands_resident:
        return far
    near = target.nearest.name
    placed: dict[tuple[int, str], list[Placement]] = {}
    for placement in sorted(plan.placements, key=lambda p: p.start):
        placed.setdefault((placement.storage, placement.memory), []).append(placement)
    arrivals: dict[tuple[int, str], list[int]] = {}
    for transfer in sorted(plan.transfers, key=lambda t: t.end):
        arrivals.setdefault((transfer.storage, transfer.destination), []).append(transfer.end)
    written: set[tuple[int, str, int]] = set()

    def covering(storage: int, memory: str, step: int) -> Placement | None:
        rows = placed.get((storage, memory), [])
        at = bisect_right(rows, step, key=lambda p: p.start) - 1
        return rows[at] if at >= 0 and step < rows[at].end else None

    def holds_data(placement: Placement, step: int) -> bool:
        storage, memory, _, start, _ = placement
        if (storage, memory, start) in written:
            return True
        is_input = graph.storages[storage].kind is StorageKind.INPUT
        if is_input and start == 0 and memory == target.io_memory:
            return True
        ends = arrivals.get((storage, memory), [])
        return bisect_right(ends, step) > bisect_right(ends, start - 1)

    for step, operator in enumerate(plan.order):
        for tensor, writes in operand_tensors(graph, operator):
            for memory in target.memories:
                placement = covering(tensor.storage, memory.name, step)
                if placement is None or not (writes or holds_data(placement, step)):
                    continue
                if writes:
                    written.add((tensor.storage, memory.name, placement.start))
                if memory.name != near:
                    far[step][tensor.storage] = memory.name
                break
    return far
