"""Which accesses a small fast memory serves, under a fixed order: the problem of least latency.

The source of the problem is "Optimizing Memory Mapping Using Deep Reinforcement Learning" (arXiv
2305.07440), where it is a single-player game; compilers call it memory space assignment.

Times are whole numbers of **ticks**, so that sums are exact and the same everywhere. Row ``t`` is
step ``t`` of the order, and boundary ``t`` the instant before it.

A **buffer** is a storage that may lie in the fast memory for some of its accesses. It does so in
**residencies**: during steps ``[start, end)`` at one offset, in which all of its accesses from its
``first`` to its ``last`` are served fast. All others are served slow, in place, by the slow memory.

- A residency whose first access is the first of the buffer and writes it begins with that step.
  Any other is filled by a copy that begins no earlier than boundary ``start`` and is finished
  before the row of its first access. The slow copy has to be valid at boundary ``start``: from the
  beginning if ``has_copy``, and after the last write, if that was served slow, or after the
  write-back of the residency in which it was made.
- A residency that writes its buffer, and is not the last to access it, writes it back: the copy
  begins no earlier than the boundary after the last write in it, and is finished at boundary
  ``end``, before the next access.
- A copy that begins at a boundary moves its bytes in the rows from ``ready_in``, or ``ready_out``,
  of that boundary on: its set-up runs in the rows before, which take at least as long as they do
  when everything is served fast.

Row ``t`` takes ``overhead + max(arithmetic, memory)`` ticks, where ``memory`` is the sum of
``fast`` or ``slow`` of its accesses, of ``other_fast`` and ``other_slow``, which are not decided
here, and once of each memory's latency if the row touches it. The slow memory serves accesses
first, its latency included; what is left of its time in the row, ``room``, is for copies. All the
copies that move bytes in some rows have to fit into the room of these rows. Serving more accesses
fast never lessens any room: so nothing that was legal becomes illegal by it.

Residencies that share a step share no byte of the fast memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.graph import RaggedArray

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class MappingProblem:
    """Rows, buffers and accesses of one program on one target. See the module's text.

    Attributes
    ----------
    tick_s : float
        Seconds of one tick.
    capacity : int
        Bytes of the fast memory, a multiple of the alignment.
    alignment : int
        Of every offset.
    size : int64 array of shape [buffers]
        Bytes, rounded up to the alignment; positive, at most the capacity.
    has_copy : bool array of shape [buffers]
        The slow memory holds it from the beginning (graph inputs, weights).
    copy_in, copy_out : int64 arrays of shape [buffers]
        Ticks of the slow memory's time that a copy takes; positive.
    access_row, access_buffer : int32 arrays of shape [accesses]
        Ascending by row, then by buffer; a buffer is accessed at most once in a row.
    writes : bool array of shape [accesses]
        The access writes the buffer or a part of it. The first access of a buffer without
        ``has_copy`` does.
    fast, slow : int64 arrays of shape [accesses]
        Ticks of memory time if it is served fast, or slow. Where both are 0 (views), it touches
        neither memory.
    arithmetic, overhead, other_fast, other_slow : int64 arrays of shape [rows]
        Ticks; see the module's text.
    touches_fast, touches_slow : bool arrays of shape [rows]
        What is not decided here touches the memory.
    fast_latency, slow_latency : int
        Ticks, once per row that touches the memory.
    setup_in, setup_out : int
        Ticks from the beginning of a copy to its first byte, which take nothing of the slow
        memory's time.
    """

    tick_s: float
    capacity: int
    alignment: int
    size: NDArray[np.int64]
    has_copy: NDArray[np.bool_]
    copy_in: NDArray[np.int64]
    copy_out: NDArray[np.int64]
    access_row: NDArray[np.int32]
    access_buffer: NDArray[np.int32]
    writes: NDArray[np.bool_]
    fast: NDArray[np.int64]
    slow: NDArray[np.int64]
    arithmetic: NDArray[np.int64]
    overhead: NDArray[np.int64]
    other_fast: NDArray[np.int64]
    other_slow: NDArray[np.int64]
    touches_fast: NDArray[np.bool_]
    touches_slow: NDArray[np.bool_]
    fast_latency: int = 0
    slow_latency: int = 0
    setup_in: int = 0
    setup_out: int = 0

    @property
    def rows(self) -> int:
        """Number of steps."""
        return len(self.arithmetic)

    @property
    def buffers(self) -> int:
        """Number of buffers."""
        return len(self.size)

    @property
    def accesses(self) -> int:
        """Number of accesses."""
        return len(self.access_row)

    @cached_property
    def accesses_of(self) -> RaggedArray:
        """Per buffer, its accesses, ascending."""
        rows: list[list[int]] = [[] for _ in range(self.buffers)]
        for access, buffer in enumerate(self.access_buffer.tolist()):
            rows[buffer].append(access)
        return RaggedArray.from_rows(rows)

    def latency(self, served_fast: NDArray[np.bool_]) -> int:
        """Ticks of the whole program if these accesses (shape [accesses]) are served fast.

        Whether they can be, all together, is another question.
        """
        return int(self.row_times(served_fast).sum())

    def row_times(self, served_fast: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Ticks of each row if these accesses are served fast."""
        rows = self.access_row
        memory = self.other_fast + self.other_slow
        np.add.at(memory, rows, np.where(served_fast, self.fast, self.slow))
        touches_fast, touches_slow = self.touches_fast.copy(), self.touches_slow.copy()
        touches_fast[rows[served_fast & self.moves]] = True
        touches_slow[rows[~served_fast & self.moves]] = True
        memory += self.fast_latency * touches_fast + self.slow_latency * touches_slow
        return self.overhead + np.maximum(self.arithmetic, memory)

    def room(self, served_fast: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Ticks of the slow memory's time that each row leaves for copies."""
        slow = ~served_fast
        busy = self.other_slow.copy()
        np.add.at(busy, self.access_row[slow], self.slow[slow])
        touches_slow = self.touches_slow.copy()
        touches_slow[self.access_row[slow & self.moves]] = True
        return self.row_times(served_fast) - busy - self.slow_latency * touches_slow

    @cached_property
    def moves(self) -> NDArray[np.bool_]:
        """Whether each access touches a memory."""
        return (self.fast > 0) | (self.slow > 0)

    @cached_property
    def ready_in(self) -> NDArray[np.int64]:
        """Per boundary, the first row in which a copy in that begins there may move bytes.

        Returns
        -------
        int64 array of shape [rows + 1]
            Ascending; the number of rows where there is none.
        """
        return self._ready(self.setup_in)

    @cached_property
    def ready_out(self) -> NDArray[np.int64]:
        """The same for copies out."""
        return self._ready(self.setup_out)

    def _ready(self, setup: int) -> NDArray[np.int64]:
        shortest = self.row_times(np.ones(self.accesses, dtype=bool))
        passed = np.concatenate([[0], np.cumsum(shortest)])
        ready = np.searchsorted(passed, passed + setup, side="left")
        # Rows of no time would let a copy be ready before it begins.
        ready = np.maximum(ready, np.arange(self.rows + 1))
        return np.minimum(ready, self.rows).astype(np.int64)

    @cached_property
    def all_slow(self) -> int:
        """Ticks if nothing is served fast."""
        return self.latency(np.zeros(self.accesses, dtype=bool))

    @cached_property
    def all_fast(self) -> int:
        """Ticks if everything could be served fast."""
        return self.latency(np.ones(self.accesses, dtype=bool))

    @cached_property
    def floor(self) -> int:
        """Ticks that no mapping is below: each access served by whichever memory is faster.

        Latencies count where no mapping avoids them.
        """
        memory = self.other_fast + self.other_slow
        np.add.at(memory, self.access_row, np.minimum(self.fast, self.slow))
        memory += self.fast_latency * self.touches_fast
        memory += self.slow_latency * self.touches_slow
        return int((self.overhead + np.maximum(self.arithmetic, memory)).sum())


class Residency(NamedTuple):
    """``buffer`` lies in the fast memory at ``offset`` during steps [start, end).

    ``first`` and ``last`` count the accesses of the buffer, from 0; all from one to the other are
    served fast.
    """

    buffer: int
    first: int
    last: int
    start: int
    end: int
    offset: int


class MappingSolution(NamedTuple):
    """Residencies, sorted by buffer and first access, and the latency in ticks."""

    residencies: tuple[Residency, ...]
    latency: int
