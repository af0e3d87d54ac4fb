"""The pair bound's linear program: what holds of every schedule, at the points of a grid.

Take some devices; the others count only as delays. Let ``x_k(t)`` be how many passes of type k, a
kind and a stage, are processed by tick t, a running pass in proportion, with t from the first start
on the device called anchor. Whatever the schedule:

- ``x_k`` only grows, from 0 to the number of microbatches, and is 0 before a path of passes can
  lead to it and complete when the path that follows it must begin.
- A device processes one tick's worth per tick.
- If a microbatch's pass l starts at least D after its pass k, its ramp starts D later and ends at
  least ``D + T_l - T_k`` later. So shifted by ``D + min(0, T_l - T_k)``, it lies nowhere above; nor
  does the sum over all microbatches: ``x_l(t + shift) <= x_k(t)``. As ``x_k`` grows, t may be
  rounded up to a point of the grid.
- Memory is taken when F starts and given back when B and W end, so that what the ramps hold is at
  most what the device holds. The difference, summed over time, is half a pass for each pass: over
  any window it is in proportion to what is processed in it, but for an eighth of a pass at
  either end.

The cell in the middle has ``more`` additional ticks. A point of the tail and one of the head come
apart by as much; in that time a type processes at most ``more / T_k`` passes. The program minimises
``more``, so its value bounds every schedule that takes at least ``base`` ticks; and so all, if
``base`` is a bound itself.
"""

from __future__ import annotations

from bisect import bisect_left
from math import lcm
from typing import TYPE_CHECKING, NamedTuple

from planner.pipelining.problem import PipelineObjective
from planner.pipelining.schedule import PassKind
from solvers.pipeline.bounds.paths import path
from solvers.pipeline.bounds.room import room

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from solvers.pipeline.bounds.grid import Grid

FORWARD, BACKWARD, WEIGHT = PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT


class Question(NamedTuple):
    """Which linear program.

    Attributes
    ----------
    devices : tuple of int
        Those that are looked at; the first is the anchor.
    objective : PipelineObjective
        Whether the anchor's span or, with device 0 as anchor, the makespan is bounded.
    grid : Grid
    """

    devices: tuple[int, ...]
    objective: PipelineObjective
    grid: Grid


class Row(NamedTuple):
    """The sum of coefficients times columns is at most ``most``; all whole numbers."""

    terms: dict[int, int]
    most: int


class WholeProgram(NamedTuple):
    """Minimise column 0 under the rows, each column between its limits; all whole numbers."""

    lower: list[int]
    upper: list[int]
    rows: list[Row]


class PassType(NamedTuple):
    """All passes of one kind on one stage.

    Attributes
    ----------
    ticks : int
    start : int
        The least tick of a start, counted from the anchor's first.
    need : int or None
        Least ticks from the end of a pass to the end of all; None if nothing waits for it.
    held : int
        Bytes that a pass takes, or, below 0, gives back.
    """

    kind: PassKind
    stage: int
    device: int
    ticks: int
    start: int
    need: int | None
    held: int


def whole_program(problem: PipelineProblem, question: Question) -> WholeProgram:
    """Return the linear program of a question; it holds of every schedule. See the module's text.

    Problems with a vocabulary layer are bounded too: its passes only lengthen the path.
    """
    return _Builder(problem, question).build()


def pass_types(
    problem: PipelineProblem, devices: tuple[int, ...], objective: PipelineObjective
) -> list[PassType]:
    """Return the types on the devices: F and B in the order of the path, then W.

    Stages before the anchor's first are left out: they are at work before time begins.
    """
    ways, stages, device_of = path(problem), problem.stages, problem.device_of
    anchor = devices[0]
    origin = problem.stages_of[anchor][0]
    whole = objective is PipelineObjective.MAKESPAN
    mine = [s for s in range(origin, len(stages)) if device_of[s] in devices]
    begin = ways.forward[origin]
    # Stages whose W must be over at the end, and when each then is at the earliest.
    closing = [s for s in range(len(stages)) if whole or device_of[s] == anchor]
    closed = {s: ways.backward[s] + stages[s].backward + stages[s].weight for s in closing}

    types = []
    for s in mine:
        stage = stages[s]
        need = max(closed.values()) - ways.forward[s] - stage.forward
        types.append(
            PassType(
                FORWARD, s, device_of[s], stage.forward, ways.forward[s] - begin, need,
                stage.activation_bytes,
            )
        )  # fmt: skip
    for s in reversed(mine):
        stage = stages[s]
        ended = ways.backward[s] + stage.backward
        need = max(closed[other] - ended for other in closing if other <= s)
        types.append(
            PassType(
                BACKWARD, s, device_of[s], stage.backward, ways.backward[s] - begin, need,
                stage.kept_bytes - stage.activation_bytes,
            )
        )  # fmt: skip
    for s in mine:
        stage = stages[s]
        start = ways.backward[s] + stage.backward - begin
        need = 0 if s in closed else None
        types.append(
            PassType(WEIGHT, s, device_of[s], stage.weight, start, need, -stage.kept_bytes)
        )
    return types


class _Builder:
    def __init__(self, problem: PipelineProblem, question: Question) -> None:
        self.problem = problem
        self.question = question
        self.m = problem.microbatches
        self.grid = question.grid
        self.points = question.grid.points
        self.heads = len(question.grid.head)
        self.cells = [
            (n, after - before)
            for n, (before, after) in enumerate(zip(self.points, self.points[1:]))  # noqa: B905
            if n != self.heads - 1
        ]
        self.types = pass_types(problem, question.devices, question.objective)
        self.rows: list[Row] = []
        stride = len(self.points)
        self.integrals = 1 + len(self.types) * stride
        columns = self.integrals + len(self.types) * (stride - 1)
        self.lower = [0] * columns
        # One microbatch after the other is a schedule, within any limits that allow one.
        ways = path(problem)
        self.upper = [self.m * (ways.backward[0] + problem.stages[0].backward + ways.drain[0])]
        self.upper += [self.m] * (columns - 1)

    def x(self, k: int, n: int) -> int:
        """Return the column of what is processed of type ``k`` by point ``n``."""
        return 1 + k * len(self.points) + n

    def area(self, k: int, n: int) -> int:
        """Return the column of the integral of ``x_k`` over the cell after point ``n``."""
        return self.integrals + k * (len(self.points) - 1) + n

    def add(self, terms: dict[int, int], most: int) -> None:
        self.rows.append(Row({column: value for column, value in terms.items() if value}, most))

    def build(self) -> WholeProgram:
        for k in range(len(self.types)):
            self._ramp(k)
        for device in self.question.devices:
            mine = [k for k, kind in enumerate(self.types) if kind.device == device]
            self._work(mine)
            free = room(self.problem, device)
            if free is not None:
                self._memory(mine, free)
                self._memory_over_time(device, mine, free)
        path_length = 2 * len(self.types) // 3
        for k in range(path_length):
            kind = self.types[k]
            for other in range(k + 1, path_length):
                self._precede(k, other)
            if kind.kind is BACKWARD:
                for other in range(path_length, len(self.types)):
                    if self.types[other].stage == kind.stage:
                        self._precede(k, other)
        return WholeProgram(self.lower, self.upper, self.rows)

    def _ramp(self, k: int) -> None:
        kind, points = self.types[k], self.points
        for n, tick in enumerate(points):
            column = self.x(k, n)
            if tick <= kind.start:
                if n < self.heads:
                    self.upper[column] = 0
                elif kind.ticks:
                    self.add({column: kind.ticks, 0: -1}, 0)
            if kind.need is not None and tick >= self.grid.base - kind.need:
                if n >= self.heads:
                    self.lower[column] = self.m
                elif kind.ticks:
                    self.add({column: -kind.ticks, 0: -1}, -self.m * kind.ticks)
            if n + 1 == self.heads:
                self.add({column: 1, self.x(k, n + 1): -1}, 0)
        for n, length in self.cells:
            column = self.area(k, n)
            self.upper[column] = length * self.m
            self.add({self.x(k, n): length, column: -1}, 0)
            self.add({column: 1, self.x(k, n + 1): -length}, 0)

    def _work(self, mine: list[int]) -> None:
        for n, (before, after) in enumerate(zip(self.points, self.points[1:])):  # noqa: B905
            terms = {self.x(k, n + 1): self.types[k].ticks for k in mine}
            terms |= {self.x(k, n): -self.types[k].ticks for k in mine}
            if n + 1 == self.heads:
                terms[0] = -1
            self.add(terms, after - before)
        # The same for windows as long as a cell, on the average over their starts in a cell.
        for (n, length), (later, other) in zip(self.cells, self.cells[1:]):  # noqa: B905
            if later == n + 1 and length == other:
                terms = {self.area(k, later): self.types[k].ticks for k in mine}
                terms |= {self.area(k, n): -self.types[k].ticks for k in mine}
                self.add(terms, length * length)

    def _memory(self, mine: list[int], free: int) -> None:
        for n in range(len(self.points)):
            self.add({self.x(k, n): self.types[k].held for k in mine}, free)

    def _memory_over_time(self, device: int, mine: list[int], free: int) -> None:
        """Add rows, times 8, on bytes times ticks in windows about a microbatch's work long."""
        takes = [t.held * t.ticks for t in (self.types[k] for k in mine) if t.held > 0]
        gives = [-t.held * t.ticks for t in (self.types[k] for k in mine) if t.held < 0]
        slack = max(takes, default=0) + max(gives, default=0)
        work = self.problem.busy_ticks(device) // self.m
        for begin, end in self._windows(work):
            length = self.points[end] - self.points[begin]
            terms: dict[int, int] = {}
            for k in mine:
                held, ticks = self.types[k].held, self.types[k].ticks
                terms |= {self.area(k, n): 8 * held for n in range(begin, end)}
                terms[self.x(k, end)] = 4 * abs(held) * ticks
                terms[self.x(k, begin)] = -4 * abs(held) * ticks
            self.add(terms, 8 * free * length + slack)

    def _windows(self, work: int) -> list[tuple[int, int]]:
        windows = []
        for first, last in ((0, self.heads - 1), (self.heads, len(self.points) - 1)):
            for least in (work, 2 * work):
                for begin in range(first, last):
                    end = bisect_left(self.points, self.points[begin] + least, first, last)
                    windows.append((begin, end))
            windows.append((first, last))
        return sorted({window for window in windows if window[0] < window[1]})

    def _precede(self, k: int, other: int) -> None:
        one, two = self.types[k], self.types[other]
        shift = two.start - one.start + min(0, two.ticks - one.ticks)
        for n, tick in enumerate(self.points):
            at = bisect_left(self.points, tick - shift)
            if n < self.heads or at >= self.heads:
                self.add({self.x(other, n): 1, self.x(k, at): -1}, 0)
            else:
                self.add({self.x(other, n): 1, self.x(k, self.heads): -1}, 0)
                if one.ticks:
                    self.add({self.x(other, n): one.ticks, self.x(k, at): -one.ticks, 0: -1}, 0)
        for n, length in self.cells:
            self._precede_over_time(k, other, n, length, shift)

    def _precede_over_time(self, k: int, other: int, n: int, length: int, shift: int) -> None:
        """Add a row: the integral of the later over a cell is at most the earlier's, shifted.

        Of a growing function, the mean over the first part of what is left of a cell is at most
        the mean over all that is left.
        """
        begin, end = self.points[n] - shift, self.points[n + 1] - shift
        if end <= 0:
            return
        begin = max(0, begin)
        first = max(0, bisect_left(self.points, begin + 1) - 1)
        last = bisect_left(self.points, end) - 1
        if first <= self.heads - 1 <= last:
            return
        pieces = []
        for cell in range(first, last + 1):
            since, until = self.points[cell], self.points[cell + 1]
            skipped = max(0, begin - since)
            share = min(end, until) - max(begin, since)
            pieces.append((cell, skipped, share, until - since - skipped))
        scale = lcm(*(left for _, _, _, left in pieces))
        terms = {self.area(other, n): scale}
        for cell, skipped, share, left in pieces:
            factor = scale // left * share
            terms[self.area(k, cell)] = -factor
            terms[self.x(k, cell)] = terms.get(self.x(k, cell), 0) + factor * skipped
        ticks = self.types[k].ticks
        if n >= self.heads and last < self.heads:
            if not ticks:
                return
            terms = {column: value * ticks for column, value in terms.items()}
            terms[0] = -scale * length
        self.add(terms, 0)
