"""The groups assigned to one memory as an offset problem, and offsets back to buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.errors import UsageError
from planner.packing.problem import LIMIT, uses
from planner.problem import OffsetProblem, Uses
from solvers.offsets.arrays import largest_sum
from solvers.offsets.rectangles import disjoint
from solvers.packing.groups import congruence
from solvers.packing.pair_rules import Piece, moved_uses, pair_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from planner.packing.problem import PackingProblem
    from solvers.packing.groups import Group


class LoweredMemory(NamedTuple):
    """One memory's offset problem: a row for each group.

    Attributes
    ----------
    problem : OffsetProblem
    buffer : int64 array of shape [buffers in this memory]
        Index into the packing problem.
    row : int64 array of shape [buffers in this memory]
        Row of the offset problem that the buffer belongs to.
    above : int64 array of shape [buffers in this memory]
        Bytes from the row's offset to the buffer's.
    """

    problem: OffsetProblem
    buffer: NDArray[np.int64]
    row: NDArray[np.int64]
    above: NDArray[np.int64]

    def buffer_offsets(self, row_offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the offset of each of ``buffer``."""
        return row_offsets[self.row] + self.above

    def row_offsets(self, buffer_offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the offset of each row from those of all buffers of the packing problem."""
        offsets = np.empty(len(self.problem.size), dtype=np.int64)
        offsets[self.row] = buffer_offsets[self.buffer] - self.above
        return offsets


def offset_problem(
    problem: PackingProblem, groups: Sequence[Group], members: Iterable[int], memory: int
) -> LoweredMemory:
    """Lower the groups that lie in one memory.

    Parameters
    ----------
    groups : sequence of Group
        All groups of the problem.
    members : iterable of int
        Those that lie in this memory, which must be one they may lie in.
    memory : int

    Raises
    ------
    UsageError
        If the numbers are too large for sums of 62 bits.
    """
    pieces: list[Piece] = []
    alignments: list[int] = []
    fixed: list[int] = []
    rectangles: list[tuple[int, int, int, int]] = []
    first: list[int] = []
    for index in members:
        group = groups[index]
        alignment, lead = congruence(problem, group, memory)
        above = group.distances if lead == 0 else tuple(d + lead for d in group.distances)
        pieces.append(Piece(group.members, above))
        alignments.append(alignment)
        fixed.append(-1 if group.offset is None else group.offset - lead)
        first.append(len(rectangles))
        rectangles += _rectangles(problem, pieces[-1])
    size = [_size(problem, piece) for piece in pieces]
    _require_62_bits("sizes and alignments", problem, memory, sum(size) + sum(alignments))
    uses_ = _uses(rectangles, first)
    buffer = _array([member for piece in pieces for member in piece.members])
    row = np.repeat(np.arange(len(pieces)), [len(piece.members) for piece in pieces])
    rules = ()
    if problem.separations or problem.overlaps:
        row_of = dict(zip(buffer.tolist(), row.tolist(), strict=True))
        rules = pair_rules(problem, pieces, row_of)
    sizes = _array(size)
    rows = OffsetProblem(
        lower=np.minimum.reduceat(uses_.lower, first) if first else _array([]),
        upper=np.maximum.reduceat(uses_.upper, first) if first else _array([]),
        size=sizes,
        alignment=_array(alignments),
        capacity=problem.memories[memory].capacity,
        fixed=_array(fixed) if any(offset >= 0 for offset in fixed) else None,
        uses=None if _are_whole(uses_, sizes) else uses_,
        pair_rules=rules,
    )
    _require_62_bits(
        "sizes, alignments, the highest fixed offset, separations and overlaps",
        problem,
        memory,
        largest_sum(rows),
    )
    return LoweredMemory(
        rows, buffer, row, _array([start for piece in pieces for start in piece.above])
    )


def _require_62_bits(what: str, problem: PackingProblem, memory: int, total: int) -> None:
    if total >= LIMIT:
        raise UsageError(
            f"{what} in memory {problem.memories[memory].name!r} add up to {total:,} bytes; "
            "solvers count in 62 bits."
        )


def _array(values: Sequence[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _size(problem: PackingProblem, piece: Piece) -> int:
    """Count the bytes from the row's offset to the end of its last member."""
    if len(piece.members) == 1:
        return piece.above[0] + problem.buffers[piece.members[0]].size
    return max(
        start + problem.buffers[member].size
        for member, start in zip(piece.members, piece.above, strict=True)
    )


def _rectangles(problem: PackingProblem, piece: Piece) -> list[tuple[int, int, int, int]]:
    """Return the bytes, counted from the row's offset, that its members use, and when."""
    # The common case, in which nothing moves.
    if len(piece.members) == 1:
        return uses(problem.buffers[piece.members[0]])
    rows = moved_uses(problem.buffers, piece)
    return disjoint(rows) or rows


def _uses(rectangles: Sequence[tuple[int, int, int, int]], first: Sequence[int]) -> Uses:
    """Return the rectangles as columns, those of each row from its first one on."""
    table = np.array(rectangles, dtype=np.int64).reshape(-1, 4)
    owner = np.repeat(np.arange(len(first)), np.diff([*first, len(rectangles)]))
    return Uses(owner.astype(np.int32), *np.ascontiguousarray(table.T))


def _are_whole(uses_: Uses, size: NDArray[np.int64]) -> bool:
    """Whether each row is one rectangle of all its bytes, which solvers like best as None."""
    return (
        len(uses_.buffer) == len(size) and not uses_.begin.any() and np.array_equal(uses_.end, size)
    )
