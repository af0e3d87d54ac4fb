"""The groups assigned to one memory as an offset problem, and offsets back to buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.errors import UsageError
from planner.packing import LIMIT, uses
from planner.problem import OffsetProblem, Uses
from solvers.packing.groups import congruence
from solvers.packing.pair_rules import Piece, moved_uses, pair_rules
from solvers.packing.rectangles import disjoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from planner.packing import PackingProblem
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
    rectangles: list[list[tuple[int, int, int, int]]] = []
    for index in members:
        group = groups[index]
        alignment, lead = congruence(problem, group, memory)
        above = group.distances if lead == 0 else tuple(d + lead for d in group.distances)
        pieces.append(Piece(group.members, above))
        alignments.append(alignment)
        fixed.append(-1 if group.offset is None else group.offset - lead)
        rectangles.append(_rectangles(problem, pieces[-1]))
    size = [_size(problem, piece) for piece in pieces]
    total = sum(size) + sum(alignments)
    if total >= LIMIT:
        raise UsageError(
            f"sizes and alignments in memory {problem.memories[memory].name!r} add up to "
            f"{total:,} bytes; solvers count in 62 bits."
        )
    buffer = [member for piece in pieces for member in piece.members]
    row = [index for index, piece in enumerate(pieces) for _ in piece.members]
    above = [start for piece in pieces for start in piece.above]
    rules = ()
    if problem.separations or problem.overlaps:
        rules = pair_rules(problem, pieces, dict(zip(buffer, row, strict=True)))
    return LoweredMemory(
        OffsetProblem(
            lower=_array(min(r[0] for r in rows) for rows in rectangles),
            upper=_array(max(r[1] for r in rows) for rows in rectangles),
            size=_array(size),
            alignment=_array(alignments),
            capacity=problem.memories[memory].capacity,
            fixed=_array(fixed) if any(offset >= 0 for offset in fixed) else None,
            uses=_uses(rectangles, size),
            pair_rules=rules,
        ),
        _array(buffer),
        _array(row),
        _array(above),
    )


def _array(values: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(values, dtype=np.int64)


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


def _uses(
    rectangles: Sequence[Sequence[tuple[int, int, int, int]]], size: Sequence[int]
) -> Uses | None:
    """Return None where each row is one rectangle of all its bytes, which solvers like best."""
    if all(
        len(rows) == 1 and rows[0][2] == 0 and rows[0][3] == bytes_
        for rows, bytes_ in zip(rectangles, size, strict=True)
    ):
        return None
    table = np.array([entry for rows in rectangles for entry in rows], dtype=np.int64)
    owner = np.repeat(np.arange(len(rectangles)), [len(rows) for rows in rectangles])
    lower, upper, begin, end = (np.ascontiguousarray(column) for column in table.T)
    return Uses(owner.astype(np.int32), lower, upper, begin, end)
