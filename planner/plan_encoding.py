"""A plan as a JSON object."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from planner.plans import TransferKind

if TYPE_CHECKING:
    from planner.measured import MeasuredCosts
    from planner.plans import Placement, Plan, Transfer
    from planner.target import Target

FORMAT = "planner.plan"
# Parts, moves, links of a memory to itself or out of order, and measured times came with version 2.
# A plan without any of them is written as version 1, which older readers know.
VERSIONS = (1, 2)


def plan_object(plan: Plan) -> dict[str, Any]:
    """Return the JSON object of a plan, described in docs/plan_format.md."""
    metrics, provenance = plan.metrics, plan.provenance
    zero_copy = plan.model.zero_copy
    return {
        "format": FORMAT,
        "version": _version(plan),
        "model": {
            "name": plan.model.name,
            "sha256": plan.model.sha256,
            "dims": dict(plan.model.dims),
            "shapes": dict(plan.model.shapes),
            "zero_copy": zero_copy if isinstance(zero_copy, bool) else list(zero_copy),
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
        "placements": [
            {
                "storage": p.storage,
                "memory": p.memory,
                "offset": p.offset,
                "start": p.start,
                "end": p.end,
                **_part(p),
            }
            for p in plan.placements
        ],
        "transfers": [
            {
                "storage": t.storage,
                "from": t.source,
                "to": t.destination,
                "start": t.start,
                "end": t.end,
                "kind": t.kind.value,
                **_part(t),
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
            **({"relocated": metrics.relocated_bytes} if metrics.relocated_bytes else {}),
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


def _version(plan: Plan) -> int:
    """Return the lowest version that has what the plan uses."""
    in_parts = any(held.part is not None for held in (*plan.placements, *plan.transfers))
    moves = any(t.kind is TransferKind.MOVE for t in plan.transfers)
    relocates = any(link.source == link.destination for link in plan.target.links)
    measured = plan.target.compute is not None and plan.target.compute.measured is not None
    any_order = any(not link.fifo for link in plan.target.links)
    newer = in_parts or moves or relocates or any_order or measured or plan.metrics.relocated_bytes
    return 2 if newer else 1


def _part(held: Placement | Transfer) -> dict[str, list[int]]:
    return {} if held.part is None else {"bytes": list(held.part)}


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
                **({} if link.fifo else {"fifo": False}),
            }
            for link in target.links
        ],
    }
    if target.compute is not None:
        described["compute"] = {
            "mac_rate": {k: float(v) for k, v in target.compute.mac_rate.items()},
            "vector_rate": float(target.compute.vector_rate),
            "launch_overhead_s": float(target.compute.launch_overhead_s),
        }
        if target.compute.measured is not None:
            described["compute"]["measured"] = _measured_object(target.compute.measured)
    return described


def _measured_object(measured: MeasuredCosts) -> dict[str, Any]:
    return {
        "source": measured.source,
        "seconds": {key: float(value) for key, value in measured.seconds.items()},
        "fits": {
            kind: {key: float(value) for key, value in asdict(fit).items() if value is not None}
            for kind, fit in measured.fits.items()
        },
    }


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
