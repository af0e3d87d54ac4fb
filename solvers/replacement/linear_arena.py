"""A linear arena with best fit that evicts online: the baselines COSMA compares with.

"COSMA: Combined Scheduling, Memory Allocation and Tensor Replacement for Minimizing Off-Chip Data
Accesses of DNN Accelerators" (arXiv 2311.18246) compares with the linear memory arena of TensorFlow
Lite, with evictions by Belady's rule or by a greedy ILP. It says little more about them, so this is
our reading of an underspecified text:

- Operators run in the given order. Whatever an operator needs and is not resident is allocated one
  by one, what is read back before what is new, in the smallest hole that fits.
- An address is kept until the storage is evicted or dead. Nothing is known of the future but the
  next use, and nothing is moved.
- Without a hole, residents that the running operator does not need leave. **Belady**: the one with
  the furthest next use, one after another until there is a hole, whether or not each of them helped
  to make it. **Greedy**: the set with the fewest off-chip bytes whose removal makes a hole, bytes
  out for those without a copy and bytes back in for all of them.
- The operands of the running operator stay where they are. If they leave no hole, the arena fails
  by **fragmentation**, even where their bytes would fit. At a capacity that one operator fills, it
  mostly does.

Since the paper has figures for its baselines, they cannot fail as often as that. The kinder
reading, **moving**, differs in one point: where the strict one fails, the cheapest set of the
running operator's operands is written out and read back to another address, which never fails.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from planner.problem import Outcome, Status
from solvers.protocol import Availability
from solvers.replacement.arena import _Arena
from solvers.replacement.demand import Demand
from solvers.replacement.episodes import solution
from solvers.replacement.eviction import Policy, choose_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import ReplacementProblem, ReplacementSolution
    from solvers.protocol import Deadline


class EvictionRule(StrEnum):
    """Which residents make room, see the module."""

    BELADY = "belady"
    GREEDY = "greedy"


class Fragmented(NamedTuple):
    """The arena failed: ``storage`` found no hole at ``step``.

    Attributes
    ----------
    step, storage : int
    needed_bytes : int
        Of the storage, rounded up to the alignment.
    free_bytes, largest_hole_bytes : int
        Of the arena, with nothing in it but the operands of the step that were already there.
    """

    step: int
    storage: int
    needed_bytes: int
    free_bytes: int
    largest_hole_bytes: int


def simulate_linear_arena(
    demand: Demand, rule: EvictionRule, deadline: Deadline, *, moving: bool = False
) -> ReplacementSolution | Fragmented | None:
    """Run the order; None if the deadline came first. The demand must not be infeasible.

    Parameters
    ----------
    moving : bool
        Move operands where there is no hole otherwise.
    """
    # Its own policy decides nothing here.
    arena = _Arena(demand, Policy.LEAST_BYTES_NOW)
    residents = arena.residents
    for step, operands in enumerate(demand.operands):
        if step % 64 == 0 and deadline.expired():
            return None
        missing = [storage for storage in demand.owners[step] if storage not in arena.resident]
        for storage in sorted(missing, key=lambda s: residents.last_use[s] < 0):
            offset = _hole(arena, rule, step, demand.rounded[storage])
            if offset is not None:
                arena.insert(storage, offset, step)
            elif moving:
                arena.rearrange(step, demand.owners[step], missing)
                break
            else:
                return _fragmented(arena, step, storage)
        residents.pass_step(step, operands, demand.following[step])
        for output, source in demand.overwritten_at.get(step, ()):
            arena.insert(output, arena.remove(source), step)
        for storage, after in zip(operands, demand.following[step], strict=True):
            if after == demand.steps and storage in arena.resident:
                arena.remove(storage)
    return solution(demand, arena.episodes)


def _hole(arena: _Arena, rule: EvictionRule, step: int, size: int) -> int | None:
    """Return the address of the smallest hole that fits, after evictions if there is none."""
    residents = arena.residents
    offset = arena.best_fit(size)
    if offset is not None:
        return offset
    if rule is EvictionRule.GREEDY:
        # The blocks in a window are a set whose removal makes a hole, and every such set that is
        # minimal consists of the blocks in some window.
        window = choose_window(
            Policy.LEAST_BYTES_NOW, residents, arena.blocks, arena.demand.capacity, step, size
        )
        if window is None:
            return None
        arena.clear(window, window + size)
        return arena.best_fit(size)
    while offset is None:
        next_use, minus = residents.by_next_use[-1]
        if next_use <= step:
            return None
        arena.evict(-minus)
        offset = arena.best_fit(size)
    return offset


def _fragmented(arena: _Arena, step: int, storage: int) -> Fragmented:
    operands = set(arena.demand.owners[step])
    holes, low = [], 0
    for block in arena.blocks:
        if block.storage in operands:
            holes.append(block.start - low)
            low = block.end
    holes.append(arena.demand.capacity - low)
    return Fragmented(step, storage, arena.demand.rounded[storage], sum(holes), max(holes))


class LinearArena:
    """A baseline: it decides online, may fail, and knows no bound but 0.

    Parameters
    ----------
    rule : {"belady", "greedy"}
    moving : bool
        The kinder reading, see the module.
    """

    def __init__(self, rule: str, *, moving: bool = False) -> None:
        self._rule = EvictionRule(rule)
        self._moving = moving
        self.name = f"linear-arena-{rule}{'-moving' if moving else ''}"

    def available(self) -> Availability:
        """Needs nothing beyond the core."""
        return Availability(True)

    def solve(
        self,
        problem: ReplacementProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: ReplacementSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[ReplacementSolution]:
        """Run the arena once.

        Status ``unknown`` with ``failure`` = ``fragmentation`` in the statistics, beside the fields
        of `Fragmented`, says that it failed; ``infeasible`` that no method can do it.

        Parameters
        ----------
        seed
            Nothing is random.
        incumbent
            Not used: a baseline answers for itself.
        """
        started = time.process_time()
        demand = Demand.of(problem)
        infeasible = demand.infeasible()
        if infeasible is not None:
            return infeasible
        found = simulate_linear_arena(demand, self._rule, deadline, moving=self._moving)
        statistics = {"cpu_s": time.process_time() - started}
        if found is None:
            return Outcome(Status.UNKNOWN, None, 0, statistics)
        if isinstance(found, Fragmented):
            failure = {"failure": "fragmentation", **found._asdict()}
            return Outcome(Status.UNKNOWN, None, 0, {**failure, **statistics})
        if on_progress is not None:
            on_progress(f"{self.name}: {found.traffic_bytes:,} bytes of traffic")
        status = Status.FEASIBLE if found.traffic_bytes else Status.OPTIMAL
        return Outcome(status, found, 0, statistics)
