"""A training step cut into a chain of blocks: forward operators and the backward ones they need."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from planner.training.problem import TrainingProblem

# More blocks than this are merged with their neighbours: the dynamic program is cubic in them.
MOST_BLOCKS = 96
# A storage that crosses a larger share of the forward half than this may count as a constant.
_CONSTANT_SPAN = 0.2
_MOST_CONSTANTS = 24
_WIDEST_CUT = 3


class Block(NamedTuple):
    """A stretch of the forward half, and the stretch of the backward half that belongs to it.

    Attributes
    ----------
    forward, backward : tuple of int
        Operators, ascending. The backward ones read forward storages of this block, its inputs and
        constants of the chain alone.
    inputs, outputs : tuple of int
        Storages over the cuts before and after the block, ascending. The outputs of a block are
        the inputs of the next.
    """

    forward: tuple[int, ...]
    backward: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Chain(NamedTuple):
    """Blocks in forward order.

    Attributes
    ----------
    blocks : tuple of Block
    constants : frozenset of int
        Forward storages that skip over blocks, such as masks that every layer reads: they stay
        live in every plan of the chain. Forward outputs are among them.
    """

    blocks: tuple[Block, ...]
    constants: frozenset[int]


def cut_chain(problem: TrainingProblem, most_blocks: int = MOST_BLOCKS) -> Chain:
    """Cut a training step at the narrowest places of its forward half.

    A cut is a place between two operators over which one storage passes, constants apart: those
    of the storages with the longest spans that make the largest block plus the constants smallest.
    If single storages do not cut it well, wider cuts are taken.
    """
    forward = _ForwardHalf(problem)
    cuts, skipping = forward.best_cuts(most_blocks)
    place = forward.places(cuts)
    crossing = [forward.crossing(p, skipping) for p in cuts]
    ends = _backward_ends(problem, place, crossing, skipping)
    return _chain(problem, place, crossing, ends)


class _ForwardHalf:
    """Positions of the operators that have to run forward, and the spans of their results."""

    def __init__(self, problem: TrainingProblem) -> None:
        self.problem = problem
        self.operators = np.flatnonzero(problem.in_forward & ~problem.is_backward)
        count = len(self.operators)
        position = np.full(len(problem.operator_names), -1, dtype=np.int64)
        position[self.operators] = np.arange(count)
        self.position = position
        producer = problem.producer
        self.first = np.where(producer >= 0, position[producer], -1)
        self.last = self.first.copy()
        reader = np.repeat(np.arange(len(problem.reads)), np.diff(problem.reads.offsets))
        np.maximum.at(self.last, problem.reads.values, position[reader])
        self.last[(self.first < 0) | (problem.size_bytes == 0)] = -1
        self.kept_bytes = np.zeros(count, dtype=np.int64)
        boundary = problem.boundary
        boundary = boundary[self.first[boundary] >= 0]
        np.add.at(self.kept_bytes, self.first[boundary], problem.size_bytes[boundary])

    def best_cuts(self, most_blocks: int) -> tuple[list[int], frozenset[int]]:
        """Return the cuts, as positions of the operators after them, and what skips over them."""
        span = self.last - self.first
        long = np.flatnonzero(span > max(2, _CONSTANT_SPAN * len(self.operators)))
        order = long[np.lexsort((long, -span[long]))][:_MOST_CONSTANTS].tolist()
        best: tuple[int, list[int], frozenset[int]] | None = None
        for width in range(1, _WIDEST_CUT + 1):
            found: tuple[int, list[int], frozenset[int]] | None = None
            for many in range(len(order) + 1):
                skipping = frozenset(order[:many])
                cuts = self._cuts(width, skipping, most_blocks)
                largest = max(self._block_bytes(cuts), default=0)
                score = largest + int(self.problem.size_bytes[order[:many]].sum())
                if found is None or score < found[0]:
                    found = score, cuts, skipping
            # Wider cuts make for costlier checkpoints: only where they halve the largest block.
            if found is not None and (best is None or 2 * found[0] < best[0]):
                best = found
        return ([], frozenset()) if best is None else best[1:]

    def _cuts(self, width: int, skipping: Collection[int], most_blocks: int) -> list[int]:
        count = len(self.operators)
        spans = np.flatnonzero(self.last > self.first)
        spans = spans[~np.isin(spans, list(skipping))]
        change = np.zeros(count + 1, dtype=np.int64)
        np.add.at(change, self.first[spans] + 1, 1)
        np.subtract.at(change, self.last[spans] + 1, 1)
        # The same storages over several places in a row make one cut, where they are complete.
        born = np.zeros(count + 1, dtype=np.bool_)
        born[self.first[spans] + 1] = True
        narrow = (np.cumsum(change)[:count] <= width) & born[:count]
        narrow[:1] = False
        places = np.flatnonzero(narrow)
        shortest = count / most_blocks
        cuts: list[int] = []
        for place in places.tolist():
            if len(places) < most_blocks or place - (cuts[-1] if cuts else 0) >= shortest:
                cuts.append(place)
        return cuts

    def _block_bytes(self, cuts: list[int]) -> list[int]:
        return [int(part.sum()) for part in np.split(self.kept_bytes, cuts)]

    def crossing(self, place: int, skipping: Collection[int]) -> tuple[int, ...]:
        """Return the storages over a place, without those that skip."""
        over = np.flatnonzero((self.first >= 0) & (self.first < place) & (self.last >= place))
        return tuple(s for s in over.tolist() if s not in skipping)

    def places(self, cuts: list[int]) -> NDArray[np.int64]:
        """Return the block of each forward operator; -1 of what reads nothing and may wait."""
        problem = self.problem
        place = np.searchsorted(np.array(cuts, dtype=np.int64), self.position, side="right")
        place[self.position < 0] = -1
        producer = problem.producer
        for operator in np.flatnonzero(~problem.is_backward & ~problem.in_forward).tolist():
            reads = problem.reads.row(operator)
            place[operator] = max((int(place[producer[s]]) for s in reads), default=-1)
        return place


def _backward_ends(
    problem: TrainingProblem,
    place: NDArray[np.int64],
    crossing: Sequence[Sequence[int]],
    skipping: Collection[int],
) -> list[int]:
    """Return where the backward stretch of each block ends, among the backward operators.

    Blocks run backward from the last to the first. Between the last operator that needs a block
    and the first that needs the one before, the stretch ends where the fewest bytes cross.
    """
    over = [frozenset(storages) for storages in crossing]
    blocks = len(over) + 1
    backward = problem.backward_operators.tolist()
    producer, forward = problem.producer, ~problem.is_backward
    lowest = np.full(len(backward), -1, dtype=np.int64)
    highest = np.full(len(backward), blocks, dtype=np.int64)
    for index, operator in enumerate(backward):
        for storage in problem.reads.row(operator).tolist():
            maker = int(producer[storage])
            if maker < 0 or not forward[maker] or place[maker] < 0 or storage in skipping:
                continue
            block = int(place[maker])
            crosses = block + 1 < blocks and storage in over[block]
            lowest[index] = max(lowest[index], block)
            highest[index] = min(highest[index], block + 1 if crosses else block)
    carried = _carried_bytes(problem, backward)
    ends = [len(backward)] * blocks
    start = 0
    for block in range(blocks - 1, 0, -1):
        needed = np.flatnonzero(lowest >= block)
        start = max(start, int(needed[-1]) + 1 if len(needed) else 0)
        below = np.flatnonzero(highest[start:] < block)
        stop = start + int(below[0]) if len(below) else len(backward)
        window = carried[start : stop + 1]
        start += len(window) - 1 - int(window[::-1].argmin())
        ends[block] = start
    return ends


def _carried_bytes(problem: TrainingProblem, backward: Sequence[int]) -> NDArray[np.int64]:
    """Return the gradient bytes that cross the place before each backward operator, and the end."""
    change = np.zeros(len(backward) + 2, dtype=np.int64)
    born = dict.fromkeys(problem.tangents.tolist(), 0)
    last: dict[int, int] = {}
    for index, operator in enumerate(backward):
        last.update(dict.fromkeys(problem.reads.row(operator).tolist(), index))
        born.update(dict.fromkeys(problem.writes.row(operator).tolist(), index + 1))
    handed = frozenset(problem.gradients.tolist())
    for storage, first in born.items():
        if storage in last and storage not in handed:
            change[first] += problem.size_bytes[storage]
            change[last[storage] + 1] -= problem.size_bytes[storage]
    return np.cumsum(change)[:-1]


def _chain(
    problem: TrainingProblem,
    place: NDArray[np.int64],
    crossing: Sequence[Sequence[int]],
    ends: Sequence[int],
) -> Chain:
    """Return the chain; what is read beyond its block and the cut after it is constant."""
    blocks = len(ends)
    backward = problem.backward_operators.tolist()
    block_of = place.copy()
    starts = [*ends[1:], 0]
    stretches = [backward[starts[b] : ends[b]] for b in range(blocks)]
    for block, operators in enumerate(stretches):
        block_of[operators] = block
    readers: dict[int, set[int]] = {}
    # Descending, so that what may wait is placed after its readers.
    for operator in range(len(block_of) - 1, -1, -1):
        if block_of[operator] < 0:
            used = [max(readers.get(s, {0})) for s in problem.writes.row(operator).tolist()]
            block_of[operator] = max(used, default=0)
        for storage in problem.reads.row(operator).tolist():
            readers.setdefault(storage, set()).add(int(block_of[operator]))
    constants = set(problem.forward_outputs.tolist())
    over = [frozenset(storages) for storages in crossing]
    handed = frozenset(problem.gradients.tolist())
    for operator in problem.forward_operators.tolist():
        block = int(block_of[operator])
        for storage in problem.writes.row(operator).tolist():
            beyond = {block}
            if block + 1 < blocks and storage in over[block]:
                beyond.add(block + 1)
            if storage in handed or not readers.get(storage, beyond) <= beyond:
                constants.add(storage)
    members: list[list[int]] = [[] for _ in range(blocks)]
    for operator in problem.forward_operators.tolist():
        members[int(block_of[operator])].append(operator)
    cuts = [(), *(tuple(s for s in storages if s not in constants) for storages in crossing), ()]
    return Chain(
        tuple(
            Block(tuple(members[b]), tuple(stretches[b]), cuts[b], cuts[b + 1])
            for b in range(blocks)
        ),
        frozenset(constants),
    )
