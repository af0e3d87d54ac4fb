"""The nearest memory of a plan as buffers at fixed offsets, for formats that know nothing else."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, NamedTuple

from planner.export.minimalloc import distinct_names, dropped
from planner.packing.problem import Buffer, MemorySpace, PackingProblem
from planner.plans import addresses_of

if TYPE_CHECKING:
    from planner.plans import Plan


class PlannedBuffers(NamedTuple):
    """A packing problem with the plan's answer, and what of the plan is not in it ("" if none)."""

    problem: PackingProblem
    note: str


def planned_buffers(plan: Plan) -> PlannedBuffers:
    """Take each placement in the nearest memory as a buffer whose lifetime is in steps.

    The input of an in-place pair ends one step early, where its bytes become the output's.
    """
    near = plan.target.nearest
    step_of = {operator: step for step, operator in enumerate(plan.order)}
    ends_early = {(pair.input, step_of[pair.operator] + 1) for pair in plan.in_place}
    names: list[str] = []
    rows: list[tuple[int, int, int, int, int]] = []
    parts = early = 0
    for placement in plan.placements:
        storage = plan.storages[placement.storage]
        held = addresses_of(placement, storage.size_bytes)
        if placement.memory != near.name or not held.size_bytes:
            continue
        is_early = (placement.storage, placement.end) in ends_early
        early += is_early
        parts += placement.part is not None
        upper = placement.end - is_early
        if placement.start < upper:
            names.append(storage.name)
            alignment = gcd(near.alignment_bytes, held.begin - placement.offset)
            rows.append((placement.start, upper, held.size_bytes, alignment, held.begin))
    buffers = tuple(
        Buffer(name, lower, upper, size, alignment, offset=offset)
        for name, (lower, upper, size, alignment, offset) in zip(
            distinct_names(names), rows, strict=True
        )
    )
    problem = PackingProblem(buffers, (MemorySpace(near.name, near.capacity_bytes),))
    lost = []
    elsewhere = sum(placement.memory != near.name for placement in plan.placements)
    if elsewhere:
        lost.append(f"{elsewhere:,} placements in other memories than {near.name}")
    if plan.transfers:
        lost.append(f"{len(plan.transfers):,} transfers")
    if early:
        lost.append(f"that {early:,} outputs lie on their inputs, which end a step early here")
    if parts:
        lost.append(f"that {parts:,} parts keep their distance from each other")
    sentence = f"Left out: {', '.join(lost)}." if lost else ""
    return PlannedBuffers(problem, " ".join(filter(None, (dropped(problem), sentence))))
