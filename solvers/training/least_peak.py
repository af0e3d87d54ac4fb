"""The least peak of any schedule of a training step: a bound from below.

Each backward operator needs what it reads, what it writes, its workspace and what is certainly on
the device then. Each forward result that it reads has been held since the halves met, on top of
all that is certain at each moment since, or its operator ran in between, on top of what is certain
in between; and what that one read was there by the same rule.

Where an operator reads several results, all are there when the last of them is made: so the
operator that makes it runs beside all the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from planner.training.problem import TrainingProblem
    from solvers.protocol import Deadline
    from solvers.training.moments import Moments

_NEVER = np.iinfo(np.int64).max


def least_peak(
    problem: TrainingProblem, known: Moments, *, deadline: Deadline | None = None
) -> int:
    """Return a number of bytes that no schedule's peak is below; a weaker one if time runs out."""
    peak = max(int(known.base_bytes.max()), _forward_peak(problem))
    levels = _Levels(problem, known)
    for operator in problem.forward_operators.tolist():
        if deadline is not None and deadline.expired():
            return peak
        levels.add(operator)
    for moment, storages in enumerate(known.wanted):
        if moment:
            peak = max(peak, int(levels.together(storages, moment - 1, moment)[0]))
    return peak


def _forward_peak(problem: TrainingProblem) -> int:
    """Return what the forward half needs: an operator, or the last one that made its operands."""
    size = problem.size_bytes
    peak = 0
    kept = _kept_once(problem)
    producer = problem.producer.tolist()
    for operator in np.flatnonzero(problem.in_forward).tolist():
        reads = set(problem.reads.row(operator).tolist())
        live = reads | set(problem.writes.row(operator).tolist())
        if not problem.recomputable[operator]:
            live |= kept.pop(operator)
        peak = max(peak, _bytes(size, live) + int(problem.workspace_bytes[operator]))
        if reads:
            peak = max(
                peak,
                min(
                    _bytes(size, {*reads, *_touched(problem, maker)})
                    + int(problem.workspace_bytes[maker])
                    for maker in {producer[s] for s in reads}
                ),
            )
    return peak


def _kept_once(problem: TrainingProblem) -> dict[int, set[int]]:
    """Return what is live while each operator runs that runs once, made and read by such ones."""
    once = np.flatnonzero(~problem.recomputable & ~problem.is_backward).tolist()
    last: dict[int, int] = {}
    for operator in once:
        last.update(dict.fromkeys(problem.reads.row(operator).tolist(), operator))
    for storage in problem.forward_outputs.tolist():
        last[storage] = len(problem.reads)
    found: dict[int, set[int]] = {}
    live: set[int] = set()
    for operator in once:
        live = {s for s in live if last.get(s, -1) >= operator}
        found[operator] = set(live)
        live.update(problem.writes.row(operator).tolist())
    return found


def _touched(problem: TrainingProblem, operator: int) -> list[int]:
    return [*problem.reads.row(operator).tolist(), *problem.writes.row(operator).tolist()]


def _bytes(size: NDArray[np.int64], storages: Collection[int]) -> int:
    return int(size[list(storages)].sum()) if storages else 0


class _Levels:
    """Least peaks up to each moment for having a forward storage then, or running its operator."""

    def __init__(self, problem: TrainingProblem, known: Moments) -> None:
        self.problem = problem
        self.known = known
        self.size = problem.size_bytes.tolist()
        self.producer = problem.producer.tolist()
        self.outputs = set(problem.forward_outputs.tolist())
        self.wanted_at: dict[int, list[int]] = {}
        for moment, storages in enumerate(known.wanted):
            for storage in storages:
                self.wanted_at.setdefault(storage, []).append(moment)
        self.held: dict[int, NDArray[np.int64]] = {}
        self.run: dict[int, NDArray[np.int64]] = {}

    def add(self, operator: int) -> None:
        """Work out an operator; those that it depends on come first."""
        problem, known = self.problem, self.known
        count = len(known.base_bytes)
        run = np.full(count, _NEVER, dtype=np.int64)
        if problem.recomputable[operator]:
            reads = {s for s in problem.reads.row(operator).tolist() if s not in self.outputs}
            run[1:] = self._beside(operator, (), 0, count - 1)
            if reads:
                np.maximum(run[1:], self.together(reads, 0, count - 1), out=run[1:])
        self.run[operator] = run
        for storage in problem.writes.row(operator).tolist():
            if storage not in self.outputs:
                floor = known.base_bytes + self._extra(storage)
                self.held[storage] = _clamped(floor, run)

    def together(self, storages: Collection[int], first: int, last: int) -> NDArray[np.int64]:
        """Return least peaks for having all of these in each stage after moments first to last."""
        stages = slice(first + 1, last + 1)
        before = slice(first, last)
        if not storages:
            return np.zeros(last - first, dtype=np.int64)
        peak = np.zeros(last - first, dtype=np.int64)
        all_held = self.known.base_bytes[before].copy()
        for storage in storages:
            held = self.held[storage][before]
            run = self.run[self.producer[storage]][stages]
            np.maximum(peak, np.minimum(held, run), out=peak)
            all_held += self._extra(storage)[before]
        for storage in storages:
            np.maximum(all_held, self.held[storage][before], out=all_held)
        ways = all_held
        for maker in {self.producer[s] for s in storages}:
            if self.problem.recomputable[maker]:
                way = self._beside(maker, storages, first, last)
                ways = np.minimum(ways, np.maximum(way, self.run[maker][stages]))
        return np.maximum(peak, ways)

    def _beside(
        self, operator: int, storages: Collection[int], first: int, last: int
    ) -> NDArray[np.int64]:
        """Return what is live while an operator runs beside some storages, in each stage."""
        problem, known = self.problem, self.known
        stages = np.arange(first + 1, last + 1)
        written = set(problem.writes.row(operator).tolist())
        live = known.through_bytes[first + 1 : last + 1] + int(problem.workspace_bytes[operator])
        live += sum(self.size[s] for s in written)
        for storage in {*problem.reads.row(operator).tolist(), *storages} - written - self.outputs:
            # Until its last reader it is among what certainly stays.
            live += np.where(stages > known.last[storage], self.size[storage], 0)
        return live

    def _extra(self, storage: int) -> NDArray[np.int64]:
        """Return the bytes that holding a storage takes on top of what is certain."""
        known, host = self.known, self.problem.host
        extra = np.full(len(known.base_bytes), self.size[storage], dtype=np.int64)
        if host is not None and self.size[storage] <= host.capacity_bytes:
            extra[:] = 0
        extra[: known.last[storage] + 1] = 0
        extra[self.wanted_at.get(storage, [])] = 0
        return extra


def _clamped(floor: NDArray[np.int64], run: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``held`` with ``held[t] = max(floor[t], min(held[t - 1], run[t]))``.

    Each step holds a value between two limits; so do any number of steps, and the limits of twice
    as many follow from those of half.
    """
    low = floor.copy()
    high = np.maximum(floor, run)
    high[0] = floor[0]
    width = 1
    while width < len(low):
        later_low, later_high = low[width:].copy(), high[width:].copy()
        low[width:] = np.minimum(np.maximum(low[:-width], later_low), later_high)
        high[width:] = np.minimum(np.maximum(high[:-width], later_low), later_high)
        width *= 2
    return low
