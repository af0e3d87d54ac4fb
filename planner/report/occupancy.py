"""Who holds which bytes of a memory when: read off a plan's placements, no model needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.graph import StorageKind
from planner.report.quantities import format_gap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.plans import Plan
    from planner.target import Memory


@dataclass(frozen=True, slots=True)
class Occupancy:
    """One memory under a plan.

    Attributes
    ----------
    memory : Memory
    placements : tuple of int
        Indices into ``plan.placements``.
    live_bytes : int64 array of shape [steps]
        Bytes live while each step runs. Bytes of an in-place pair count once.
    arena_bytes : int
        Highest address used.
    """

    memory: Memory
    placements: tuple[int, ...]
    live_bytes: NDArray[np.int64]
    arena_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Most bytes live at once; 0 for a plan without steps."""
        return int(self.live_bytes.max(initial=0))

    @property
    def peak_step(self) -> int | None:
        """The first step with that many; None for a plan without steps."""
        return int(self.live_bytes.argmax()) if len(self.live_bytes) else None


class LivePlacement(NamedTuple):
    """A placement that is live at a step.

    ``counted_bytes`` is 0 for the dying input of an in-place pair, whose bytes are its output's.
    """

    placement: int
    counted_bytes: int


def in_place_inputs(plan: Plan) -> dict[int, int]:
    """Map the placement of each output written in place to the placement it overwrites."""
    step_of = {operator: step for step, operator in enumerate(plan.order)}
    starting = {(p.storage, p.memory, p.start): i for i, p in enumerate(plan.placements)}
    ending = {(p.storage, p.memory, p.end): i for i, p in enumerate(plan.placements)}
    pairs: dict[int, int] = {}
    for pair in plan.in_place:
        step = step_of.get(pair.operator)
        if step is None:  # an illegal plan may still be looked at
            continue
        for memory in plan.target.memories:
            output = starting.get((pair.output, memory.name, step))
            overwritten = ending.get((pair.input, memory.name, step + 1))
            if output is not None and overwritten is not None:
                pairs[output] = overwritten
    return pairs


def occupancies(plan: Plan) -> tuple[Occupancy, ...]:
    """Return the memories that hold placements, nearest first; the nearest always."""
    overwritten = {source: output for output, source in in_place_inputs(plan).items()}
    result = []
    for memory in plan.target.memories:
        held = tuple(i for i, p in enumerate(plan.placements) if p.memory == memory.name)
        if not held and memory.name != plan.target.nearest.name:
            continue
        steps = len(plan.order)
        delta = np.zeros(steps + 1, dtype=np.int64)
        arena_bytes = 0
        for index in held:
            placement = plan.placements[index]
            size_bytes = plan.storages[placement.storage].size_bytes
            arena_bytes = max(arena_bytes, placement.offset + size_bytes)
            # An illegal plan, which may still be looked at, holds bytes past its last step.
            delta[min(placement.start, steps)] += size_bytes
            # The output takes the bytes over one step before their first owner ends.
            delta[min(placement.end - (index in overwritten), steps)] -= size_bytes
        result.append(Occupancy(memory, held, np.cumsum(delta[:-1]), arena_bytes))
    return tuple(result)


def live_at(plan: Plan, occupancy: Occupancy, step: int) -> list[LivePlacement]:
    """Return the placements live at a step, largest first."""
    overwritten = set(in_place_inputs(plan).values())
    live = []
    for index in occupancy.placements:
        placement = plan.placements[index]
        if placement.start <= step < placement.end:
            shared = index in overwritten and placement.end == step + 1
            size_bytes = plan.storages[placement.storage].size_bytes
            live.append(LivePlacement(index, 0 if shared else size_bytes))
    live.sort(key=lambda entry: _by_size(plan, entry.placement))
    return live


def longest_held(plan: Plan, occupancy: Occupancy, limit: int) -> list[int]:
    """Return the placements that hold the most bytes for the most steps (bytes x steps)."""

    def byte_steps(index: int) -> int:
        placement = plan.placements[index]
        size_bytes = plan.storages[placement.storage].size_bytes
        return size_bytes * (placement.end - placement.start)

    return sorted(occupancy.placements, key=lambda index: (-byte_steps(index), index))[:limit]


def arena_verdict(plan: Plan) -> str:
    """How the arena of the nearest memory compares with the lower bound.

    ``optimal`` where it equals the bound, ``optimal at alignment 64`` where it does after both
    are rounded up, else ``+0.6 %``; nothing where there is no bound.
    """
    bound, near = plan.metrics.peak_lower_bound_bytes, plan.target.nearest
    arena = plan.metrics.arena_bytes.get(near.name, 0)
    if bound is None:
        return ""
    if arena == bound:
        return "optimal"
    if -(-arena // near.alignment_bytes) == -(-bound // near.alignment_bytes):
        return f"optimal at alignment {near.alignment_bytes:,}"
    return format_gap(arena, bound)


def constant_bytes(plan: Plan) -> int:
    """Bytes of the model's constants, which are never part of an arena."""
    return sum(s.size_bytes for s in plan.storages if s.kind is StorageKind.CONSTANT)


def no_reuse_bytes(plan: Plan) -> int:
    """Bytes of all other storages: the arena without any reuse."""
    return sum(s.size_bytes for s in plan.storages if s.kind is not StorageKind.CONSTANT)


def _by_size(plan: Plan, index: int) -> tuple[int, int]:
    return (-plan.storages[plan.placements[index].storage].size_bytes, index)
