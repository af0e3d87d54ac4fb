"""What the report's script is given: the plan as columns, in JSON that no markup can leave."""

from __future__ import annotations

import json
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from planner.graph import StorageKind
from planner.report.names import operator_label, operator_type, printable
from planner.report.occupancy import (
    constant_bytes,
    held_addresses,
    in_place_inputs,
    occupancies,
)
from planner.report.served import served_operands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from planner.graph import Graph
    from planner.plans import Plan, PlannedStorage
    from planner.report.occupancy import Occupancy
    from planner.simulator import Timeline

_KINDS = (StorageKind.INPUT, StorageKind.ACTIVATION, StorageKind.WORKSPACE)
_OUTPUT = len(_KINDS)
_LISTED_NAMES = 6


def page_data(plan: Plan, timeline: Timeline | None, graph: Graph | None) -> str:
    """Return the JSON for the page's data block.

    Storages without a placement are left out, and indices are those of the columns, so that a
    model with thousands of constants makes no larger page.
    """
    memories = occupancies(plan)
    over = in_place_inputs(plan)
    placed = sorted({p.storage for p in plan.placements})
    column_of = {storage: column for column, storage in enumerate(placed)}
    memory_of = {occupancy.memory.name: i for i, occupancy in enumerate(memories)}
    # A transfer of what is nowhere placed is not drawn.
    drawn = [
        i
        for i, t in enumerate(plan.transfers)
        if t.storage in column_of and t.source in memory_of and t.destination in memory_of
    ]
    transfers = [plan.transfers[i] for i in drawn]
    data: dict[str, Any] = {
        "axis": "step",
        "noun": "tensor",
        "kinds": [*(kind.value for kind in _KINDS), "output"],
        "steps": len(plan.order),
        "operators": {
            "label": [operator_label(plan, o, graph) for o in plan.order],
            "type": [operator_type(plan, o, graph) for o in plan.order],
        },
        "memories": [_memory(plan, occupancy, i == 0) for i, occupancy in enumerate(memories)],
        "storages": {
            "name": [printable(plan.storages[s].name) for s in placed],
            "size": [plan.storages[s].size_bytes for s in placed],
            "kind": [_kind(plan.storages[s]) for s in placed],
            "others": [_others(plan.storages[s]) for s in placed],
        },
        "placements": {
            "storage": [column_of[p.storage] for p in plan.placements],
            "memory": [memory_of[p.memory] for p in plan.placements],
            "offset": [held_addresses(plan, p).begin for p in plan.placements],
            "part": {i: list(p.part) for i, p in enumerate(plan.placements) if p.part is not None},
            "start": [p.start for p in plan.placements],
            "end": [p.end for p in plan.placements],
            "over": [over.get(i, -1) for i in range(len(plan.placements))],
        },
        "transfers": {
            "storage": [column_of[t.storage] for t in transfers],
            "from": [memory_of[t.source] for t in transfers],
            "to": [memory_of[t.destination] for t in transfers],
            "start": [t.start for t in transfers],
            "end": [t.end for t in transfers],
            "kind": [t.kind.value for t in transfers],
            "part": {i: list(t.part) for i, t in enumerate(transfers) if t.part is not None},
            "runs": None if timeline is None else [_runs(timeline, i) for i in drawn],
        },
        "served": _served(plan, graph, column_of, memory_of),
        "time": None
        if timeline is None
        else {
            "start": [round(step.start_s * 1e6, 6) for step in timeline.steps],
            "end": [round(step.end_s * 1e6, 6) for step in timeline.steps],
        },
    }
    return embedded_json(data)


def _runs(timeline: Timeline, transfer: int) -> list[float]:
    """Where in the steps a copy begins and ends in the simulated run: 12.5 is half of step 12."""
    return [round(_in_steps(timeline, at), 3) for at in timeline.transfers[transfer]]


def _in_steps(timeline: Timeline, at_s: float) -> float:
    step = bisect_right(timeline.steps, at_s, key=lambda interval: interval.start_s) - 1
    if step < 0:
        return 0.0
    start_s, end_s = timeline.steps[step]
    return step + (min(1.0, (at_s - start_s) / (end_s - start_s)) if end_s > start_s else 0.0)


def _served(
    plan: Plan, graph: Graph | None, column_of: Mapping[int, int], memory_of: Mapping[str, int]
) -> dict[str, list[int]] | None:
    """Uses of operands in steps, where they may lie in several memories."""
    served = served_operands(plan, graph)
    if not served:
        return None
    return {
        "step": [use.step for use in served],
        "storage": [column_of[use.storage] for use in served],
        "memory": [memory_of[use.memory] for use in served],
    }


def embedded_json(data: Mapping[str, Any]) -> str:
    """Return JSON that no markup can leave: every ``<`` is escaped."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _memory(plan: Plan, occupancy: Occupancy, is_nearest: bool) -> dict[str, Any]:
    memory = occupancy.memory
    capacity, label = memory.capacity_bytes, "capacity"
    if capacity is not None and plan.target.constant_memory == memory.name:
        constants = constant_bytes(plan)
        if constants:
            capacity, label = capacity - constants, "capacity beside constants"
    return {
        "name": printable(memory.name),
        "capacity": capacity,
        "capacityLabel": label,
        # A bound of nothing is no line to draw.
        "bound": (plan.metrics.peak_lower_bound_bytes or None) if is_nearest else None,
        "arena": occupancy.arena_bytes,
        "live": occupancy.live_bytes.tolist(),
    }


def _kind(storage: PlannedStorage) -> int:
    # A constant is never placed; a plan that places one anyway shows it as an input.
    if storage.is_output:
        return _OUTPUT
    return _KINDS.index(storage.kind) if storage.kind in _KINDS else 0


def _others(storage: PlannedStorage) -> str:
    """Names of the tensors that share the storage, apart from the first."""
    return listed([t.name for t in storage.tensors if t.name != storage.name])


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - _LISTED_NAMES
    shown = ", ".join(printable(name) for name in names[:_LISTED_NAMES])
    return shown + (f" and {more:,} more" if more > 0 else "")
