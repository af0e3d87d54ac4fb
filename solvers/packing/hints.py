"""Fewer moved buffers at the same height: hinted offsets are pinned and the rest packed around."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.problem import OffsetSolution
from solvers.offsets import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from planner.packing.problem import PackingProblem
    from planner.problem import OffsetProblem
    from solvers.packing.lowering import LoweredMemory
    from solvers.protocol import Deadline

# Hints come last: one attempt to pack around pinned rows gets so many seconds, all attempts
# together so many, and the proof that no more hints can be kept.
_ATTEMPT_S = 0.25
_ATTEMPTS_S = 5.0
_PROOF_S = 3.0


class Wish(NamedTuple):
    """A row's offset that keeps the hints of so many of its buffers."""

    row: int
    offset: int
    buffers: int


def wishes(problem: PackingProblem, lowered: LoweredMemory, ceiling: int) -> list[Wish]:
    """Return the offsets up to a height that hints ask for, one entry for each row and offset."""
    counts: dict[tuple[int, int], int] = {}
    for buffer, row, above in zip(
        lowered.buffer.tolist(), lowered.row.tolist(), lowered.above.tolist(), strict=True
    ):
        hint = problem.buffers[buffer].hint
        if hint is not None:
            counts[row, hint - above] = counts.get((row, hint - above), 0) + 1
    size, alignment = lowered.problem.size.tolist(), lowered.problem.alignment.tolist()
    fixed = lowered.problem.fixed
    return [
        Wish(row, offset, buffers)
        for (row, offset), buffers in counts.items()
        if 0 <= offset <= ceiling - size[row]
        and offset % alignment[row] == 0
        and (fixed is None or fixed[row] in (-1, offset))
    ]


def kept_buffers(wished: Sequence[Wish], offsets: NDArray[np.int64]) -> int:
    """Return how many buffers lie where their hints want them."""
    return sum(wish.buffers for wish in wished if offsets[wish.row] == wish.offset)


class HintSearch:
    """One search; the best it has found may be read at any time, from any thread.

    Parameters
    ----------
    problem : OffsetProblem
    wished : sequence of Wish
    ceiling : int
        No packing may be higher.
    start : OffsetSolution
        Legal, and not above the ceiling.
    clashes : callable
        Given rows and their offsets, the rows that break a rule alone, and the pairs that break one
        together, maybe not all at once.

    Attributes
    ----------
    best : OffsetSolution
    """

    def __init__(
        self,
        problem: OffsetProblem,
        wished: Sequence[Wish],
        ceiling: int,
        start: OffsetSolution,
        clashes: Callable[[NDArray[np.int64], NDArray[np.int64]], list[tuple[int, ...]]],
    ) -> None:
        self._problem = replace(problem, capacity=ceiling)
        self._wished = wished
        self._clashes = clashes
        self.best = start

    def run(self, deadline: Deadline, seed: int) -> None:
        """Pin more and more hints until all are kept or time is out."""
        preferred: dict[int, Wish] = {}
        for wish in self._wished:
            known = preferred.get(wish.row)
            if known is None or known.buffers < wish.buffers:
                preferred[wish.row] = wish
        limit = deadline.within(_ATTEMPTS_S)
        self._extend(self._compatible(list(preferred.values()), limit), limit)
        if kept_buffers(self._wished, self.best.offsets) < sum(
            w.buffers for w in preferred.values()
        ):
            self._prove(deadline, seed)

    def _keeps(self, wish: Wish) -> bool:
        return bool(self.best.offsets[wish.row] == wish.offset)

    def _compatible(self, candidates: list[Wish], deadline: Deadline) -> list[Wish]:
        """Drop wishes until no two clash. Those that hold already, and larger ones, come first."""
        size = self._problem.size
        ranked = sorted(
            candidates, key=lambda w: (not self._keeps(w), -w.buffers, -int(size[w.row]), w.row)
        )
        rank = {wish.row: index for index, wish in enumerate(ranked)}
        chosen = {wish.row: wish for wish in ranked}
        while chosen and not deadline.expired():
            rows = np.array(list(chosen), dtype=np.int64)
            offsets = np.array([wish.offset for wish in chosen.values()], dtype=np.int64)
            clashes = self._clashes(rows, offsets)
            if not clashes:
                break
            for clash in clashes:
                if all(row in chosen for row in clash):
                    del chosen[max(clash, key=rank.__getitem__)]
        return list(chosen.values())

    def _extend(self, candidates: list[Wish], deadline: Deadline) -> None:
        """Pin what holds already and the candidates; where that fails, one half after the other."""
        candidates = [wish for wish in candidates if not self._keeps(wish)]
        if not candidates or deadline.expired():
            return
        if self._pinned(candidates, deadline) or len(candidates) == 1:
            return
        half = len(candidates) // 2
        self._extend(candidates[:half], deadline)
        self._extend(candidates[half:], deadline)

    def _pinned(self, candidates: Sequence[Wish], deadline: Deadline) -> bool:
        """Pack around the wishes that hold already and the candidates; whether that works."""
        count = len(self._problem.size)
        fixed = np.full(count, -1, dtype=np.int64)
        if self._problem.fixed is not None:
            fixed[:] = self._problem.fixed
        for wish in self._wished:
            if self._keeps(wish):
                fixed[wish.row] = wish.offset
        for wish in candidates:
            fixed[wish.row] = wish.offset
        pinned = replace(self._problem, fixed=fixed)
        solution = pack(pinned, deadline.within(_ATTEMPT_S)).solution
        if solution is None:
            return False
        self.best = solution
        return True

    def _prove(self, deadline: Deadline, seed: int) -> None:
        """Let CP-SAT keep as many hints as can be kept, where the problem is small enough."""
        from solvers.packing.hints_model import keep_most

        if deadline.expired():
            return
        limit = deadline.within(_PROOF_S)
        offsets = keep_most(self._problem, self._wished, self.best, limit, seed)
        if offsets is None:
            return
        if kept_buffers(self._wished, offsets) > kept_buffers(self._wished, self.best.offsets):
            self.best = OffsetSolution(offsets, int((offsets + self._problem.size).max()))
