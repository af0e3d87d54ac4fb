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

    A cut is a place between two operators over which one storage passes, constants apart: as many
    of the storages with the longest spans as make the largest block plus the constants smallest.
    """
    forward = _ForwardHalf(problem)
    cuts, skipping = forward.best_cuts(most_blocks)
    crossing = [forward.crossing(p, skipping) for p in cuts]
    reach = _reach(problem, forward.places(cuts), crossing, skipping)
    return _chain(problem, reach, crossing, _backward_ends(problem, reach, len(cuts) + 1))


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
        for many in range(len(order) + 1):
            skipping = frozenset(order[:many])
            cuts = self._cuts(skipping, most_blocks)
            score = max(self._block_bytes(cuts), default=0)
            score += int(self.problem.size_bytes[order[:many]].sum())
            if best is None or score < best[0]:
                best = score, cuts, skipping
        return ([], frozenset()) if best is None else best[1:]

    def _cuts(self, skipping: Collection[int], most_blocks: int) -> list[int]:
        count = len(self.operators)
        spans = np.flatnonzero(self.last > self.first)
        spans = spans[~np.isin(spans, list(skipping))]
        change = np.zeros(count + 1, dtype=np.int64)
        np.add.at(change, self.first[spans] + 1, 1)
        np.subtract.at(change, self.last[spans] + 1, 1)
        # Of several places in a row with the same storage over them, the first is the cut.
        born = np.zeros(count + 1, dtype=np.bool_)
        born[self.first[spans] + 1] = True
        narrow = (np.cumsum(change)[:count] <= 1) & born[:count]
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
        """Return the block of each operator that has to run forward, -1 of the others."""
        place = np.searchsorted(np.array(cuts, dtype=np.int64), self.position, side="right")
        place[self.position < 0] = -1
        return place


class _Reach(NamedTuple):
    """The first and last block to which a forward operator, or a reader of it, may belong.

    Both are -1 of operators that read nothing and may run in either half.

    Attributes
    ----------
    first, last : int64 array of shape [operators]
    readers : dict of int to (int, int)
        Of each forward storage, constants apart, the first and last block that may read it.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    readers: dict[int, tuple[int, int]]


def _reach(
    problem: TrainingProblem,
    place: NDArray[np.int64],
    crossing: Sequence[Sequence[int]],
    skipping: Collection[int],
) -> _Reach:
    first, last = place.copy(), place.copy()
    producer = problem.producer
    claimed = (place[producer] >= 0) & (producer >= 0)
    claimed[list(skipping)] = False
    home = place[producer].tolist()
    readers = {s: (home[s], home[s]) for s in np.flatnonzero(claimed).tolist()}
    for block, storages in enumerate(crossing):
        readers.update((s, (block, block + 1)) for s in storages)
    for operator in np.flatnonzero(~problem.is_backward & ~problem.in_forward).tolist():
        spans = [readers[s] for s in problem.read_rows[operator] if s in readers]
        if spans:
            first[operator] = max(span[0] for span in spans)
            last[operator] = max(first[operator], min(span[1] for span in spans))
            written = problem.write_rows[operator]
            readers.update(dict.fromkeys(written, (int(first[operator]), int(last[operator]))))
    return _Reach(first, last, readers)


def _backward_ends(problem: TrainingProblem, reach: _Reach, blocks: int) -> list[int]:
    """Return where the backward stretch of each block ends, among the backward operators.

    Blocks run backward from the last to the first. Between the last operator that needs a block
    and the first that needs the one before, the stretch ends where the fewest bytes cross.
    """
    backward = problem.backward_operators.tolist()
    lowest = np.full(len(backward), -1, dtype=np.int64)
    highest = np.full(len(backward), blocks, dtype=np.int64)
    for index, operator in enumerate(backward):
        for storage in problem.read_rows[operator]:
            if storage in reach.readers:
                first, last = reach.readers[storage]
                lowest[index] = max(lowest[index], first)
                highest[index] = min(highest[index], last)
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
        last.update(dict.fromkeys(problem.read_rows[operator], index))
        born.update(dict.fromkeys(problem.write_rows[operator], index + 1))
    handed = frozenset(problem.gradients.tolist())
    for storage, first in born.items():
        if storage in last and storage not in handed:
            change[first] += problem.size_bytes[storage]
            change[last[storage] + 1] -= problem.size_bytes[storage]
    return np.cumsum(change)[:-1]


def _chain(
    problem: TrainingProblem,
    reach: _Reach,
    crossing: Sequence[Sequence[int]],
    ends: Sequence[int],
) -> Chain:
    """Return the chain; what is read beyond its block and the cut after it is constant."""
    blocks = len(ends)
    backward = problem.backward_operators.tolist()
    starts = [*ends[1:], 0]
    stretches = [backward[starts[b] : ends[b]] for b in range(blocks)]
    block_of = np.zeros(len(problem.operator_names), dtype=np.int64)
    for block, operators in enumerate(stretches):
        block_of[operators] = block
    readers: dict[int, set[int]] = {}
    members: list[list[int]] = [[] for _ in range(blocks)]
    # Descending, so that what may be in one of several blocks is where its readers are.
    for operator in range(len(block_of) - 1, -1, -1):
        if not problem.is_backward[operator]:
            written = problem.write_rows[operator]
            block = max((max(readers[s]) for s in written if s in readers), default=0)
            if reach.first[operator] >= 0:
                block = min(max(block, int(reach.first[operator])), int(reach.last[operator]))
            block_of[operator] = block
            members[block].append(operator)
        for storage in problem.read_rows[operator]:
            readers.setdefault(storage, set()).add(int(block_of[operator]))
    constants = set(problem.forward_outputs.tolist())
    over = [*(frozenset(storages) for storages in crossing), frozenset()]
    handed = frozenset(problem.gradients.tolist())
    for operator in problem.forward_operators.tolist():
        block = int(block_of[operator])
        for storage in problem.write_rows[operator]:
            beyond = {block, block + 1} if storage in over[block] else {block}
            if storage in handed or not readers.get(storage, beyond) <= beyond:
                constants.add(storage)
    cuts = [(), *(tuple(s for s in storages if s not in constants) for storages in crossing), ()]
    return Chain(
        tuple(
            Block(tuple(members[b][::-1]), tuple(stretches[b]), cuts[b], cuts[b + 1])
            for b in range(blocks)
        ),
        frozenset(constants),
    )
