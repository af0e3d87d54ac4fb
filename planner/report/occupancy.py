"""Who holds which bytes of a memory when: read off a plan's placements, no model needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.graph import StorageKind
from planner.plans import addresses_of, part_of
from planner.report.quantities import format_gap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.plans import ByteRange, Placement, Plan, Transfer
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

    ``counted_bytes`` leaves out what the output of an in-place pair takes over from a dying input.
    """

    placement: int
    counted_bytes: int


def held_addresses(plan: Plan, placement: Placement) -> ByteRange:
    """Bytes of its memory that a placement reserves."""
    return addresses_of(placement, plan.storages[placement.storage].size_bytes)


def copied_bytes(plan: Plan, transfer: Transfer) -> int:
    """Bytes that a transfer copies."""
    return part_of(transfer, plan.storages[transfer.storage].size_bytes).size_bytes


def part_name(held: Placement | Transfer) -> str:
    """Which bytes of its storage are meant; nothing where all are."""
    return "" if held.part is None else f"bytes [{held.part.begin:,}, {held.part.end:,})"


class SharedBytes(NamedTuple):
    """The placements of an in-place pair, and the bytes that they share at ``step``."""

    output: int
    overwritten: int
    step: int
    size_bytes: int


def shared_bytes(plan: Plan) -> list[SharedBytes]:
    """Bytes that outputs take over from their inputs; in parts, each pair that has some."""
    step_of = {operator: step for step, operator in enumerate(plan.order)}
    starting: dict[tuple[int, str, int], list[int]] = {}
    ending: dict[tuple[int, str, int], list[int]] = {}
    for i, p in enumerate(plan.placements):
        starting.setdefault((p.storage, p.memory, p.start), []).append(i)
        ending.setdefault((p.storage, p.memory, p.end), []).append(i)
    shared: list[SharedBytes] = []
    for pair in plan.in_place:
        step = step_of.get(pair.operator)
        if step is None:  # an illegal plan may still be looked at
            continue
        for memory in plan.target.memories:
            for output in starting.get((pair.output, memory.name, step), ()):
                for under in ending.get((pair.input, memory.name, step + 1), ()):
                    above, below = (plan.placements[i] for i in (output, under))
                    size_bytes = held_addresses(plan, below).size_bytes
                    if above.part is not None or below.part is not None:
                        written, dying = held_addresses(plan, above), held_addresses(plan, below)
                        size_bytes = min(written.end, dying.end) - max(written.begin, dying.begin)
                    if size_bytes > 0:
                        shared.append(SharedBytes(output, under, step, size_bytes))
    return shared


def in_place_inputs(plan: Plan) -> dict[int, int]:
    """Map the placement of each output written in place to the placement it overwrites.

    In parts, to the one with which it shares most bytes.
    """
    by_size = sorted(shared_bytes(plan), key=lambda shared: shared.size_bytes)
    return {shared.output: shared.overwritten for shared in by_size}


def occupancies(plan: Plan) -> tuple[Occupancy, ...]:
    """Return the memories that hold placements, nearest first; the nearest always."""
    shared = shared_bytes(plan)
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
            addresses = held_addresses(plan, placement)
            arena_bytes = max(arena_bytes, addresses.end)
            # An illegal plan, which may still be looked at, holds bytes past its last step.
            delta[min(placement.start, steps)] += addresses.size_bytes
            delta[min(placement.end, steps)] -= addresses.size_bytes
        for _, under, step, size_bytes in shared:
            # The output takes the bytes over one step before their first owner ends.
            if plan.placements[under].memory == memory.name:
                delta[step] -= size_bytes
                delta[step + 1] += size_bytes
        result.append(Occupancy(memory, held, np.cumsum(delta[:-1]), arena_bytes))
    return tuple(result)


def live_at(plan: Plan, occupancy: Occupancy, step: int) -> list[LivePlacement]:
    """Return the placements live at a step, largest first."""
    taken_over: dict[int, int] = {}
    for shared in shared_bytes(plan):
        if shared.step == step:
            taken_over[shared.overwritten] = (
                taken_over.get(shared.overwritten, 0) + shared.size_bytes
            )
    live = []
    for index in occupancy.placements:
        placement = plan.placements[index]
        if placement.start <= step < placement.end:
            size_bytes = held_addresses(plan, placement).size_bytes
            counted_bytes = max(0, size_bytes - taken_over.get(index, 0))
            live.append(LivePlacement(index, counted_bytes))
    live.sort(key=lambda entry: _by_size(plan, entry.placement))
    return live


def longest_held(plan: Plan, occupancy: Occupancy, limit: int) -> list[int]:
    """Return the placements that hold the most bytes for the most steps (bytes x steps)."""

    def byte_steps(index: int) -> int:
        placement = plan.placements[index]
        size_bytes = held_addresses(plan, placement).size_bytes
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
    return (-held_addresses(plan, plan.placements[index]).size_bytes, index)
