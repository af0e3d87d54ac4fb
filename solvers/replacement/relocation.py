"""Addresses with moves: whatever fits by capacity is placed, and little is moved.

Blocks keep their order of addresses when they move. So those that go down can be moved from the
lowest on, then those that go up from the highest on, and none overwrites one that moves later.
"""

from __future__ import annotations

from bisect import insort
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.problem import Episode
from solvers.replacement.episodes import episodes_to_buffers, solution, stays_between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.problem import OffsetProblem, ReplacementSolution
    from solvers.protocol import Deadline
    from solvers.replacement.demand import Demand
    from solvers.replacement.episodes import Stay

# Above this many blocks the fewest bytes to move are not looked for, which takes their number
# squared: all blocks move together.
MOST_BLOCKS = 1000

_IMPOSSIBLE = -1


class _Fit(Enum):
    """Which of the holes that are large enough takes an arrival."""

    BEST = "best"
    FIRST = "first"


class _Block:
    """A buffer in the arena: ``size`` bytes at ``offset``, ``data`` of them worth moving."""

    __slots__ = ("buffer", "data", "offset", "size")

    def __init__(self, buffer: int, size: int) -> None:
        self.buffer = buffer
        self.size = size
        self.offset = 0
        self.data = 0

    @property
    def end(self) -> int:
        return self.offset + self.size

    def __lt__(self, other: _Block) -> bool:
        return self.offset < other.offset


class _Layout(NamedTuple):
    """New offsets of blocks, and of what arrives among them (0 where nothing does)."""

    offsets: list[int]
    arrival: int


def place_with_moves(
    demand: Demand, stays: Sequence[Stay], deadline: Deadline
) -> ReplacementSolution | None:
    """Place stays that fit the capacity at each step, moving storages where that makes room.

    What is there of a storage in parts has to begin at its first byte.

    Returns
    -------
    ReplacementSolution or None
        Of two placements the one that moves fewer bytes; None if at some step the stays exceed the
        capacity.
    """
    buffers = episodes_to_buffers(demand, stays)
    best: tuple[int, list[list[tuple[int, int]]]] | None = None
    for fit in _Fit:
        if best is not None and (best[0] == 0 or deadline.expired()):
            break
        arena = _Arena(demand.capacity, fit, len(buffers.problem.size))
        if not arena.run(_heights(buffers.problem)):
            return None
        if best is None or arena.moved_bytes < best[0]:
            best = (arena.moved_bytes, arena.offsets)
    if best is None:
        return None
    episodes = [
        episode
        for stay, buffer in zip(stays, buffers.of_stay, strict=True)
        for episode in _episodes(stay, best[1][buffer])
    ]
    return solution(demand, episodes)


def keep_nothing(demand: Demand, deadline: Deadline) -> ReplacementSolution:
    """Place only what each step needs: the plan of last resort where storages can be moved."""
    gaps = {
        (storage, before)
        for storage, uses in enumerate(demand.uses)
        for before, after in pairwise(uses)
        if after - before > 1
    }
    found = place_with_moves(demand, stays_between(demand, gaps), deadline)
    if found is None:
        raise ValueError("the operands of a step exceed the capacity")
    return found


def _episodes(stay: Stay, offsets: Sequence[tuple[int, int]]) -> list[Episode]:
    """Cut a stay where its buffer moves."""
    at = max(i for i, (step, _) in enumerate(offsets) if step <= stay.start)
    found, start = [], stay.start
    for (_, offset), (step, _) in zip(offsets[at:], offsets[at + 1 :], strict=False):
        if step >= stay.end:
            break
        found.append(Episode(stay.storage, start, step, offset, stay.part))
        start, at = step, at + 1
    return [*found, Episode(stay.storage, start, stay.end, offsets[at][1], stay.part)]


def _heights(problem: OffsetProblem) -> dict[int, dict[int, int]]:
    """Per step, the buffers of which more or fewer bytes are there than before, and how many."""
    changes: dict[int, dict[int, int]] = {}
    lower, upper, size = problem.lower.tolist(), problem.upper.tolist(), problem.size.tolist()
    if problem.uses is None:
        for buffer, (start, end) in enumerate(zip(lower, upper, strict=True)):
            changes.setdefault(start, {})[buffer] = size[buffer]
            changes.setdefault(end, {}).setdefault(buffer, 0)
        return changes
    rows: dict[int, list[tuple[int, int, int]]] = {}
    uses = problem.uses
    for buffer, start, end, high in zip(
        uses.buffer.tolist(), uses.lower.tolist(), uses.upper.tolist(), uses.end.tolist(),
        strict=True,
    ):  # fmt: skip
        rows.setdefault(buffer, []).append((start, end, high))
    for buffer, own in rows.items():
        for step in sorted({edge for start, end, _ in own for edge in (start, end)}):
            height = max((high for start, end, high in own if start <= step < end), default=0)
            changes.setdefault(step, {})[buffer] = height
    return changes


class _Arena:
    """Blocks by address, boundary by boundary, and where each buffer was when."""

    def __init__(self, capacity: int, fit: _Fit, buffers: int) -> None:
        self.capacity = capacity
        self.fit = fit
        self.blocks: list[_Block] = []
        self.offsets: list[list[tuple[int, int]]] = [[] for _ in range(buffers)]
        self.moved_bytes = 0

    def run(self, heights: dict[int, dict[int, int]]) -> bool:
        """Place everything; return whether the capacity sufficed."""
        return all(self.pass_boundary(step, heights[step]) for step in sorted(heights))

    def pass_boundary(self, step: int, changes: dict[int, int]) -> bool:
        there = {block.buffer: block for block in self.blocks}
        for block in self.blocks:
            block.data = block.size
        for buffer, height in changes.items():
            if buffer in there:
                there[buffer].data = min(there[buffer].size, height)
                there[buffer].size = height
        self.blocks = [block for block in self.blocks if block.size > 0]
        if not self.settle():
            return False
        arriving = [
            _Block(buffer, height)
            for buffer, height in changes.items()
            if buffer not in there and height > 0
        ]
        for block in sorted(arriving, key=lambda block: (-block.size, block.buffer)):
            if not self.admit(block):
                return False
        for block in self.blocks:
            past = self.offsets[block.buffer]
            if not past or past[-1][1] != block.offset:
                past.append((step, block.offset))
        return True

    def settle(self) -> bool:
        """Let blocks that grew have their bytes."""
        ends = [block.end for block in self.blocks]
        starts = [*(block.offset for block in self.blocks), self.capacity][1:]
        if all(end <= start for end, start in zip(ends, starts, strict=True)):
            return True
        layout = self.layout(0)
        if layout is None:
            return False
        self.move(layout)
        return True

    def admit(self, block: _Block) -> bool:
        """Place an arrival in a hole, or make one."""
        offset = self.hole(block.size)
        if offset is None:
            layout = self.layout(block.size)
            if layout is None:
                return False
            self.move(layout)
            offset = layout.arrival
        block.offset = offset
        insort(self.blocks, block)
        return True

    def hole(self, size: int) -> int | None:
        low, found = 0, None
        for start, end in [*((b.offset, b.end) for b in self.blocks), (self.capacity, 0)]:
            room = start - low
            if room >= size and (found is None or room < found[0]):
                found = (room, low)
                if self.fit is _Fit.FIRST:
                    break
            low = end
        return None if found is None else found[1]

    def move(self, layout: _Layout) -> None:
        for block, offset in zip(self.blocks, layout.offsets, strict=True):
            if block.offset != offset:
                self.moved_bytes += block.data
                # Once it moves at this boundary it may as well go elsewhere.
                block.data = 0
                block.offset = offset

    def layout(self, arrival: int) -> _Layout | None:
        """Offsets in the same order that leave room for an arrival and move the fewest bytes.

        Dynamic programming over the blocks that stay where they are: two of them can stay if
        there is room between them for those in between. The blocks are the rows and columns
        1 .. n; 0 and n + 1 are the ends of the memory.
        """
        count = len(self.blocks)
        size = np.array([0, *(block.size for block in self.blocks), 0], dtype=np.int64)
        start = np.array([0, *(b.offset for b in self.blocks), self.capacity], dtype=np.int64)
        # In one number: first the data that stays, then the number of blocks that do.
        worth = np.array([0, *(b.data * (count + 1) + 1 for b in self.blocks), 0], dtype=np.int64)
        total = np.cumsum(size)
        stays = np.full((2, count + 2), _IMPOSSIBLE, dtype=np.int64)
        before = np.zeros((2, count + 2), dtype=np.int64)
        took = np.zeros(count + 2, dtype=bool)
        stays[0, 0] = 0
        for j in range(1, count + 2) if count <= MOST_BLOCKS else [count + 1]:
            rows = slice(0, j) if count <= MOST_BLOCKS else slice(0, 1)
            room = start[j] - start[rows] - size[rows] - (total[j - 1] - total[rows])
            for taken in (0, 1):
                values = np.where(room >= 0, stays[taken, rows], _IMPOSSIBLE)
                if taken:
                    here = np.where(room >= arrival, stays[0, rows], _IMPOSSIBLE)
                    took[j] = here.max() > values.max()
                    values = here if took[j] else values
                before[taken, j] = values.argmax()
                if values.max() >= 0:
                    stays[taken, j] = values.max() + worth[j]
        if stays[1, count + 1] < 0:
            return None
        return self.read(before, took, arrival)

    def read(self, before: np.ndarray, took: np.ndarray, arrival: int) -> _Layout:
        """Follow the stayers from the last to the first."""
        offsets = [block.offset for block in self.blocks]
        at, taken, arrival_offset = len(self.blocks) + 1, 1, 0
        while at > 0:
            previous = int(before[taken, at])
            top = self.blocks[previous - 1].end if previous else 0
            for i in range(previous, at - 1):
                offsets[i] = top
                top += self.blocks[i].size
            if taken and took[at]:
                arrival_offset, taken = top, 0
            at = previous
        return _Layout(offsets, arrival_offset)
