"""A plan as a JSON object."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.plans import Plan
    from planner.target import Target

FORMAT = "planner.plan"
VERSION = 1


def plan_object(plan: Plan) -> dict[str, Any]:
    """Return the JSON object of a plan, described in docs/plan_format.md."""
    metrics, provenance = plan.metrics, plan.provenance
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": {
            "name": plan.model.name,
            "sha256": plan.model.sha256,
            "dims": dict(plan.model.dims),
            "shapes": dict(plan.model.shapes),
            "zero_copy": plan.model.zero_copy,
            **({"parameters": True} if plan.model.parameters else {}),
        },
        "target": _target_object(plan.target),
        "order": list(plan.order),
        "operators": [{"name": o.name, "type": o.type} for o in plan.operators],
        "storages": [
            {
                "id": index,
                "name": storage.name,
                "bytes": storage.size_bytes,
                "kind": storage.kind.value,
                "is_output": storage.is_output,
                "tensors": [
                    {"name": t.name, "offset": t.offset_bytes, "bytes": t.size_bytes}
                    for t in storage.tensors
                ],
            }
            for index, storage in enumerate(plan.storages)
        ],
        "placements": [placement._asdict() for placement in plan.placements],
        "transfers": [
            {
                "storage": t.storage,
                "from": t.source,
                "to": t.destination,
                "start": t.start,
                "end": t.end,
                "kind": t.kind.value,
            }
            for t in plan.transfers
        ],
        "in_place": [pair._asdict() for pair in plan.in_place],
        "recompute": [],
        "pipeline": None,
        "metrics": {
            "peak": dict(metrics.peak_bytes),
            "arena": dict(metrics.arena_bytes),
            "traffic": metrics.traffic_bytes,
            "compulsory": metrics.compulsory_bytes,
            "latency_s": _float(metrics.latency_s),
            "compute_s": _float(metrics.compute_s),
            "stall_s": _float(metrics.stall_s),
            "lower_bound": {
                "peak": metrics.peak_lower_bound_bytes,
                "traffic": metrics.traffic_lower_bound_bytes,
                "latency_s": _float(metrics.latency_lower_bound_s),
            },
            "cost_source": metrics.cost_source,
        },
        "provenance": {
            "planner": provenance.planner_version,
            "contender": provenance.contender,
            "status": provenance.status,
            "objective": provenance.objective,
            "seed": provenance.seed,
            "wall_s": float(provenance.wall_s),
            "settings": dict(provenance.settings),
        },
    }


def _target_object(target: Target) -> dict[str, Any]:
    memories = []
    for memory in target.memories:
        entry: dict[str, Any] = {
            "name": memory.name,
            "alignment": memory.alignment_bytes,
            "latency_s": float(memory.latency_s),
            "writable": memory.writable,
        }
        if memory.capacity_bytes is not None:
            entry["capacity"] = memory.capacity_bytes
        for field in ("read_bandwidth", "write_bandwidth"):
            if getattr(memory, field) is not None:
                entry[field] = float(getattr(memory, field))
        memories.append(entry)
    described: dict[str, Any] = {
        "name": target.name,
        "description": target.description,
        "operands_resident": target.operands_resident,
        "io_memory": target.io_memory,
        "constant_memory": target.constant_memory,
        "memories": memories,
        "links": [
            {
                "from": link.source,
                "to": link.destination,
                "bandwidth": float(link.bandwidth),
                "setup_s": float(link.setup_s),
                "channels": link.channels,
            }
            for link in target.links
        ],
    }
    if target.compute is not None:
        described["compute"] = {
            "mac_rate": {k: float(v) for k, v in asdict(target.compute)["mac_rate"].items()},
            "vector_rate": float(target.compute.vector_rate),
            "launch_overhead_s": float(target.compute.launch_overhead_s),
        }
    return described


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
