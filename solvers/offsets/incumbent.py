"""The best packing and bound of one run of an optimiser, checked exactly, and what they prove."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.problem import OffsetSolution, Outcome, Status
from solvers.offsets.bound import lower_bound
from solvers.offsets.greedy import GreedyOffsets
from solvers.offsets.pairs import clashing_pins, is_legal, least_offsets, sides_in_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from planner.problem import OffsetProblem
    from solvers import SharedBest
    from solvers.offsets.pairs import Pairs
    from solvers.protocol import Deadline

# No height reaches it.
NO_HEIGHT = 2**62


class Incumbent:
    """The lowest packing known and the highest bound proven. Any thread may call anything.

    Nothing enters that is not legal to the byte, whatever a floating point solver says of it. With
    a shared best both are exchanged with the other solvers of a race.

    Attributes
    ----------
    height : int
        2**62 while there is no packing.
    bound : int
        Proven lower bound; above the capacity once no packing can fit.
    offsets : int64 array of shape [buffers] or None
    """

    def __init__(
        self,
        solver: str,
        problem: OffsetProblem,
        pairs: Pairs,
        shared: SharedBest | None,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self._solver = solver
        self._problem = problem
        self._pairs = pairs
        self._shared = shared
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self.height = NO_HEIGHT
        self.offsets: NDArray[np.int64] | None = None
        self.bound = smallest_height(problem)
        self._clash = clashing_pins(problem, pairs)
        self.exchange()

    def offer(self, offsets: NDArray[np.int64]) -> bool:
        """Take legal offsets if they are lower; return whether they were."""
        if offsets.shape != self._problem.size.shape:
            raise ValueError(
                f"there are {offsets.size:,} offsets for {self._problem.size.size:,} buffers"
            )
        if not is_legal(self._problem, self._pairs, offsets):
            return False
        height = int((offsets + self._problem.size).max(initial=0))
        with self._lock:
            if height >= self.height:
                return False
            self.height, self.offsets = height, offsets
        if self._shared is not None:
            self._shared.offer(offsets, height)
        if self._on_progress is not None:
            self._on_progress(f"{self._solver}: height {height:,} bytes")
        return True

    def offer_bound(self, bound: int) -> None:
        """Take a proven bound if it is higher."""
        with self._lock:
            if bound <= self.bound:
                return
            self.bound = bound
        if self._shared is not None:
            self._shared.offer_bound(bound)

    def exchange(self) -> None:
        """Take what other solvers have found."""
        if self._shared is None:
            return
        with self._lock:
            self.bound = max(self.bound, self._shared.lower_bound)
        if self._shared.height < self.height:
            offsets = self._shared.offsets()
            if offsets is not None:
                self.offer(np.array(offsets, dtype=np.int64))

    def begin(self, given: OffsetSolution | None, deadline: Deadline) -> None:
        """Start from a given packing, or else from greedy ones."""
        if given is not None:
            self.offer(np.array(given.offsets, dtype=np.int64))
        if self.height < NO_HEIGHT or self._clash is not None or not len(self._problem.size):
            return
        # Above the capacity it is still a start.
        free = replace(self._problem, capacity=None)
        greedy = GreedyOffsets().solve(free, deadline=deadline.within(1.0)).solution
        if greedy is not None:
            self.offer(greedy.offsets)
        size = self._problem.size
        span = self._problem.upper - self._problem.lower
        for key in (-size, -span, -size.astype(np.float64) * span):
            self._stack(key)

    def _stack(self, key: NDArray) -> None:
        """Put each buffer on top of what it conflicts with; fixed ones first, then by key."""
        count = len(self._problem.size)
        free = np.zeros(count) if self._problem.fixed is None else self._problem.fixed < 0
        rank = np.empty(count, dtype=np.int64)
        rank[np.lexsort((np.arange(count), key, free))] = np.arange(count)
        sides = sides_in_order(self._pairs, rank)
        offsets = least_offsets(self._problem, self._pairs, sides, NO_HEIGHT)
        if offsets is not None:
            self.offer(offsets)

    @property
    def ceiling(self) -> int:
        """The height up to which a packing is of interest: the capacity, or below the best."""
        best = NO_HEIGHT if self.height == NO_HEIGHT else self.height - 1
        capacity = self._problem.capacity
        return best if capacity is None else min(capacity, best)

    def is_settled(self) -> bool:
        """Whether nothing is left to do: proven optimal, within the capacity, or impossible."""
        capacity = self._problem.capacity
        return (
            self._clash is not None
            or not len(self._problem.size)
            or self.height <= self.bound
            or (capacity is not None and (self.height <= capacity or self.bound > capacity))
        )

    def outcome(self, **statistics: Any) -> Outcome[OffsetSolution]:
        """Say what is proven. A packing above the capacity is not handed back, only its height."""
        capacity = self._problem.capacity
        solution = None
        if not len(self._problem.size):
            self.height, self.offsets = 0, np.zeros(0, dtype=np.int64)
        if self.offsets is not None:
            statistics["lowest_height"] = self.height
            if capacity is None or self.height <= capacity:
                solution = OffsetSolution(self.offsets, self.height)
        if self._clash is not None:
            statistics["clash"] = self._clash
            return Outcome(Status.INFEASIBLE, None, self.bound, statistics)
        if solution is not None:
            proven = self.height <= self.bound
            status = Status.OPTIMAL if proven else Status.FEASIBLE
        else:
            proven = capacity is not None and self.bound > capacity
            status = Status.INFEASIBLE if proven else Status.UNKNOWN
        return Outcome(status, solution, lower_bound=self.bound, statistics=statistics)


def smallest_height(problem: OffsetProblem) -> int:
    """Return a simple proven bound: the most bytes alive at once, or the top of a fixed buffer."""
    if not len(problem.size):
        return 0
    bound = lower_bound(problem)
    if problem.fixed is not None:
        pinned = problem.fixed >= 0
        bound = max(bound, int((problem.fixed + problem.size)[pinned].max(initial=0)))
    return bound
