"""Which storages leave when bytes are missing: the policies of the two online solvers.

A policy decides twice: which storages to evict for a number of bytes wherever they lie
(`choose_victims`), and which window of addresses to clear (`choose_window`).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from enum import StrEnum
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from solvers.replacement.demand import Demand

# Above this many units the smallest cover is computed on sizes rounded to coarser units.
COVER_UNITS = 4096


class Policy(StrEnum):
    """Evict what is needed last (Belady), or what costs the fewest bytes for this one decision."""

    FURTHEST_NEXT_USE = "furthest-next-use"
    LEAST_BYTES_NOW = "least-bytes-now"


class Residents:
    """Who is resident in an online simulation, and what it knows of each storage.

    Attributes
    ----------
    by_next_use : list of (next use step, -storage)
        Of all residents, ascending; read from the end, equals come in storage order.
    last_use : list of int, per storage
        Latest use passed, -1 if none.
    copied : list of bool, per storage
        Whether a farther copy exists.
    """

    def __init__(self, demand: Demand) -> None:
        self.size = demand.size
        self.rounded = demand.rounded
        self.last_use = [-1] * len(demand.uses)
        self.copied = list(demand.has_copy)
        self.by_next_use: list[tuple[int, int]] = []
        self._next_use = [uses[0] if uses else demand.steps for uses in demand.uses]
        self._present: set[int] = set()

    def __contains__(self, storage: int) -> bool:
        return storage in self._present

    def enter(self, storage: int) -> None:
        """Make a storage resident."""
        self._present.add(storage)
        insort(self.by_next_use, (self._next_use[storage], -storage))

    def leave(self, storage: int) -> None:
        """Make a storage absent."""
        self._present.remove(storage)
        del self.by_next_use[bisect_left(self.by_next_use, (self._next_use[storage], -storage))]

    def pass_step(self, step: int, operands: Sequence[int], following: Sequence[int]) -> None:
        """Note that a step has used its operands."""
        for storage, after in zip(operands, following, strict=True):
            resident = storage in self._present
            if resident:
                self.leave(storage)
            self._next_use[storage] = after
            self.last_use[storage] = step
            if resident:
                self.enter(storage)

    def leaving_costs(self, storage: int) -> int:
        """Bytes for a write, if there is no copy yet, and for the read at the next use."""
        return self.size[storage] * (1 if self.copied[storage] else 2)


def choose_victims(policy: Policy, residents: Residents, step: int, deficit: int) -> list[int]:
    """Choose residents not used in this step with enough rounded bytes; there must be some."""
    if policy is Policy.LEAST_BYTES_NOW:
        candidates = [-minus for after, minus in residents.by_next_use if after > step]
        victims = _smallest_cover(residents, candidates, deficit)
    else:
        victims = (-minus for _, minus in reversed(residents.by_next_use))
    return _without_superfluous(residents, victims, deficit)


def _without_superfluous(residents: Residents, victims: Iterable[int], deficit: int) -> list[int]:
    """Take victims in order until the deficit is covered, then spare those not needed."""
    chosen, covered = [], 0
    for storage in victims:
        if covered >= deficit:
            break
        chosen.append(storage)
        covered += residents.rounded[storage]
    for storage in reversed(chosen[:-1]):
        if covered - residents.rounded[storage] >= deficit:
            covered -= residents.rounded[storage]
            chosen.remove(storage)
    return chosen


def _smallest_cover(residents: Residents, candidates: Sequence[int], deficit: int) -> list[int]:
    """Cheapest subset with enough bytes (covering knapsack by dynamic programming).

    Exact when the deficit is at most `COVER_UNITS` times the gcd of the sizes; else sizes are
    rounded down to coarser units, which still covers, or fails and takes everything.
    """
    unit = max(math.gcd(*(residents.rounded[s] for s in candidates)), -(-deficit // COVER_UNITS))
    goal = -(-deficit // unit)
    cost = np.full(goal + 1, np.inf)
    cost[0] = 0.0
    takes = np.zeros((len(candidates), goal + 1), dtype=bool)
    for i, storage in enumerate(candidates):
        units = min(goal, residents.rounded[storage] // unit)
        before = np.concatenate([np.full(units, cost[0]), cost[: goal + 1 - units]])
        taken = before + residents.leaving_costs(storage)
        takes[i] = taken < cost
        cost = np.where(takes[i], taken, cost)
    if not np.isfinite(cost[goal]):
        return sorted(candidates, key=lambda s: (residents.leaving_costs(s), s))
    victims, left = [], goal
    for i in range(len(candidates) - 1, -1, -1):
        if takes[i, left]:
            victims.append(candidates[i])
            left = max(0, left - residents.rounded[candidates[i]] // unit)
    return victims


class Block(NamedTuple):
    """Bytes [start, end) of the arena held by ``storage``."""

    start: int
    end: int
    storage: int


def choose_window(
    policy: Policy,
    residents: Residents,
    blocks: Sequence[Block],
    capacity: int,
    step: int,
    size: int,
) -> int | None:
    """Choose where to clear ``size`` bytes; the blocks they touch are to be evicted.

    Parameters
    ----------
    blocks : sequence of Block
        All residents, sorted by address.
    step : int
        Its operands may not be evicted.

    Returns
    -------
    int or None
        Address of the window; None if those operands leave no room anywhere.
    """
    if policy is Policy.FURTHEST_NEXT_USE:
        spans = _span_of_furthest(residents, blocks, capacity, step, size)
    else:
        pinned = {-minus for after, minus in residents.by_next_use if after <= step}
        spans = _spans_between(blocks, pinned, capacity)
    best: tuple[int, int] | None = None
    for low, high, inside in spans:
        if high - low >= size:
            window = _cheapest_window(residents, low, high, inside, size)
            best = window if best is None else min(best, window)
    return None if best is None else best[1]


Span = tuple[int, int, "list[Block]"]


def _spans_between(blocks: Sequence[Block], kept: set[int], capacity: int) -> list[Span]:
    """Split the arena at the kept blocks; each span comes with the other blocks inside it."""
    spans: list[Span] = []
    low, inside = 0, []
    for block in blocks:
        if block.storage in kept:
            spans.append((low, block.start, inside))
            low, inside = block.end, []
        else:
            inside.append(block)
    spans.append((low, capacity, inside))
    return spans


def _span_of_furthest(
    residents: Residents, blocks: Sequence[Block], capacity: int, step: int, size: int
) -> list[Span]:
    """Remove blocks, furthest next use first, until a span is long enough: that span.

    Every window that touches only later used blocks is then inside it, so the earliest next use
    among its victims is as late as possible.
    """
    index = {block.storage: i for i, block in enumerate(blocks)}
    before: dict[int, int] = {}
    after: dict[int, int] = {}
    for next_use, minus in reversed(residents.by_next_use):
        if next_use <= step:
            break
        i = index[-minus]
        below, above = before.get(i, i - 1), after.get(i, i + 1)
        after[below], before[above] = above, below
        low = blocks[below].end if below >= 0 else 0
        high = blocks[above].start if above < len(blocks) else capacity
        if high - low >= size:
            return [(low, high, list(blocks[below + 1 : above]))]
    return []


def _cheapest_window(
    residents: Residents, low: int, high: int, inside: list[Block], size: int
) -> tuple[int, int]:
    """Window of ``size`` bytes in [low, high) whose blocks cost least to evict: (cost, address)."""
    starts = [block.start for block in inside]
    ends = [block.end for block in inside]
    cost = list(accumulate((residents.leaving_costs(b.storage) for b in inside), initial=0))
    addresses = {low, high - size}
    addresses.update(end for end in ends if end + size <= high)
    addresses.update(start - size for start in starts if start - size >= low)
    return min(
        (cost[bisect_left(starts, address + size)] - cost[bisect_right(ends, address)], address)
        for address in addresses
    )
