"""The bytes a plan needs and moves, counted from the plan alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cost import operands
from planner.graph import StorageKind
from planner.plans import ByteRange, Metrics, TransferKind, addresses_of, covers, part_of

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
    peak, arena = occupancy(graph, target, plan)
    compulsory = traffic = relocated = 0
    for transfer in plan.transfers:
        size = part_of(transfer, graph.storages[transfer.storage].size_bytes).size_bytes
        if transfer.kind in _COMPULSORY:
            compulsory += size
        elif transfer.kind is TransferKind.MOVE:
            relocated += size
        else:
            traffic += size
    for step, far in enumerate(far_operands(graph, target, plan)):
        if far:
            traffic += sum(
                operand.size_bytes
                for operand in operands(graph, plan.order[step])
                if operand.tensor.storage in far
            )
    return Metrics(
        peak_bytes=peak,
        arena_bytes=arena,
        traffic_bytes=traffic,
        compulsory_bytes=compulsory,
        relocated_bytes=relocated,
    )


def occupancy(graph: Graph, target: Target, plan: Plan) -> tuple[dict[str, int], dict[str, int]]:
    """Most bytes live at once, and the highest used address, per writable memory."""
    steps = len(plan.order)
    writable = [memory.name for memory in target.memories if memory.writable]
    arena = dict.fromkeys(writable, 0)
    change = {name: [0] * (steps + 1) for name in writable}
    ending: dict[tuple[int, str, int], list[Placement]] = {}
    starting: dict[tuple[int, int], list[Placement]] = {}
    for placement in plan.placements:
        storage, memory, _, start, end, _ = placement
        held = addresses_of(placement, graph.storages[storage].size_bytes)
        arena[memory] = max(arena[memory], held.end)
        change[memory][start] += held.size_bytes
        change[memory][end] -= held.size_bytes
        ending.setdefault((storage, memory, end), []).append(placement)
        starting.setdefault((storage, start), []).append(placement)
    step_of = {operator: step for step, operator in enumerate(plan.order)}
    for pair in plan.in_place:
        step = step_of[pair.operator]
        for placement in starting.get((pair.output, step), ()):
            written = part_of(placement, graph.storages[pair.output].size_bytes)
            for under in ending.get((pair.input, placement.memory, step + 1), ()):
                dying = part_of(under, graph.storages[pair.input].size_bytes)
                if under.offset == placement.offset and written.intersects(dying):
                    shared = min(written.end, dying.end) - max(written.begin, dying.begin)
                    change[placement.memory][step] -= shared
                    change[placement.memory][step + 1] += shared
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
    from the first write into it, or from the end of the first copy into it. Of a storage in parts
    all have to be there. All empty where the
    target requires operands in the nearest memory.
    """
    far: list[dict[int, str]] = [{} for _ in plan.order]
    if target.operands_resident:
        return far
    near = target.nearest.name
    placed: dict[tuple[int, str], list[Placement]] = {}
    for placement in plan.placements:
        placed.setdefault((placement.storage, placement.memory), []).append(placement)
    arrivals: dict[tuple[int, str], list[tuple[int, ByteRange]]] = {}
    for transfer in plan.transfers:
        part = part_of(transfer, graph.storages[transfer.storage].size_bytes)
        key = (transfer.storage, transfer.destination)
        arrivals.setdefault(key, []).append((transfer.end, part))
    written: set[Placement] = set()

    def filled(placement: Placement, step: int) -> list[ByteRange]:
        """Bytes of the storage that a placement holds by that step."""
        storage, memory, _, start, _, _ = placement
        own = part_of(placement, graph.storages[storage].size_bytes)
        is_input = graph.storages[storage].kind is StorageKind.INPUT
        given = is_input and start == 0 and memory == target.io_memory
        if given or placement in written:
            return [own]
        return [
            ByteRange(max(part.begin, own.begin), min(part.end, own.end))
            for end, part in arrivals.get((storage, memory), ())
            if start <= end <= step and part.intersects(own)
        ]

    for step, operator in enumerate(plan.order):
        for tensor, _, writes in operands(graph, operator):
            if graph.storages[tensor.storage].kind is StorageKind.CONSTANT:
                continue
            size = graph.storages[tensor.storage].size_bytes
            for memory in target.memories:
                held = [
                    placement
                    for placement in placed.get((tensor.storage, memory.name), ())
                    if placement.start <= step < placement.end
                ]
                parts = [
                    part
                    for placement in held
                    for part in ([part_of(placement, size)] if writes else filled(placement, step))
                ]
                if not held or not covers(parts, size):
                    continue
                if writes:
                    written.update(held)
                if memory.name != near:
                    far[step][tensor.storage] = memory.name
                break
    return far
