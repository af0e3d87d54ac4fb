"""Targets too small for the plan, and numbers that are not those of the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .damage import Case, Damage, K

if TYPE_CHECKING:
    import random


def _with_memory(case: Case, name: str, capacity: int) -> Case:
    return case._replace(target=case.target.with_capacities({name: capacity}))


def leave_no_room_for_the_constants(case: Case, rng: random.Random):
    if not case.graph.constant_bytes:
        return None
    capacity = case.graph.constant_bytes - 1
    return _with_memory(case, case.target.constant_memory, capacity), {K.CAPACITY}


def take_one_byte_from_the_arena(case: Case, rng: random.Random):
    name = case.target.nearest.name
    arena = case.plan.metrics.arena_bytes[name]
    return (_with_memory(case, name, arena - 1), {K.CAPACITY}) if arena else None


def _with_metrics(case: Case, **changes: object) -> Case:
    return case._replace(plan=replace(case.plan, metrics=replace(case.plan.metrics, **changes)))


def claim_a_smaller_peak(case: Case, rng: random.Random):
    peak = dict(case.plan.metrics.peak_bytes)
    name = rng.choice(sorted(peak))
    return _with_metrics(case, peak_bytes={**peak, name: peak[name] - 1}), {K.METRICS}


def claim_a_smaller_arena(case: Case, rng: random.Random):
    arena = dict(case.plan.metrics.arena_bytes)
    name = rng.choice(sorted(arena))
    return _with_metrics(case, arena_bytes={**arena, name: arena[name] + 1}), {K.METRICS}


def claim_an_arena_elsewhere(case: Case, rng: random.Random):
    arena = {**case.plan.metrics.arena_bytes, "tcm": 1}
    return _with_metrics(case, arena_bytes=arena), {K.METRICS}


def claim_other_traffic(case: Case, rng: random.Random):
    traffic = case.plan.metrics.traffic_bytes + rng.choice((-1, 1))
    return _with_metrics(case, traffic_bytes=traffic), {K.METRICS}


def claim_other_compulsory_bytes(case: Case, rng: random.Random):
    compulsory = case.plan.metrics.compulsory_bytes + rng.choice((-1, 1))
    return _with_metrics(case, compulsory_bytes=compulsory), {K.METRICS}


def claim_a_shorter_time(case: Case, rng: random.Random):
    if not case.plan.metrics.latency_s:
        return None
    field = rng.choice(("latency_s", "compute_s", "stall_s"))
    shorter = getattr(case.plan.metrics, field) - case.plan.metrics.latency_s * 1e-6
    return _with_metrics(case, **{field: shorter}), {K.METRICS}


def claim_times_without_rates(case: Case, rng: random.Random):
    if case.target.compute is not None:
        return None
    changed = {"latency_s": 1.0, "compute_s": 1.0, "stall_s": 0.0, "cost_source": "roofline"}
    return _with_metrics(case, **changed), {K.METRICS}


def claim_too_high_a_bound(case: Case, rng: random.Random):
    metrics = case.plan.metrics
    bounds: list[dict[str, float]] = [
        {"peak_lower_bound_bytes": metrics.peak_bytes[case.target.nearest.name] + 1},
        {"traffic_lower_bound_bytes": metrics.traffic_bytes + 1},
    ]
    if metrics.latency_s:
        bounds.append({"latency_lower_bound_s": metrics.latency_s * 1.01})
    return _with_metrics(case, **rng.choice(bounds)), {K.BOUND}


METRICS_DAMAGES: tuple[Damage, ...] = (
    leave_no_room_for_the_constants,
    take_one_byte_from_the_arena,
    claim_a_smaller_peak,
    claim_a_smaller_arena,
    claim_an_arena_elsewhere,
    claim_other_traffic,
    claim_other_compulsory_bytes,
    claim_a_shorter_time,
    claim_times_without_rates,
    claim_too_high_a_bound,
)
