"""The mapping problem as a mixed-integer program, offsets left out.

Each buffer goes from access to access through three states: not in the fast memory, there and like
its slow copy, there and changed. Columns:

- ``served``: access served fast;
- ``clean``, ``dirty``: the buffer stays over the gap after an access, unchanged or changed;
- one per copy and window: copied in for this access from this boundary on, or written back in this
  gap by this boundary;
- one per row and set of accesses served fast in it (`solvers.mapping.rows`).

Rows: the states follow from one another; a buffer lies in the fast memory at most once at a time;
what lies there at a step fits. That the copies fit is said by `window_row`, for whichever
windows of rows matter: copies that may be interrupted fit if and only if they do in every window.

All entries are whole numbers of ticks or of units of the alignment.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.mapping.rows import add_row
from solvers.milp.program import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem, Residency

# Rows from an access to the ends of the groups of windows, where not all windows are told apart.
_DISTANCES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


class Grid(Enum):
    """Which windows copies have.

    Attributes
    ----------
    EXACT
        All: the binary points are the mappings.
    COARSE
        Groups of windows, each with the longest for its copy and the shortest for its bytes: a
        relaxation.
    SPARSE
        Some of them: a restriction.
    """

    EXACT = auto()
    COARSE = auto()
    SPARSE = auto()


class CopyChoice(NamedTuple):
    """A column: the copy of ``access`` in, or out after it, between two boundaries.

    It moves its bytes in rows [ready, deadline). The residency starts, or ends, at ``boundary``.
    The column ``held`` is the sum of all choices that hold the buffer at least as long as this one.
    """

    column: int
    held: int
    access: int
    inward: bool
    release: int
    deadline: int
    boundary: int
    ticks: int
    ready: int


class FixedCopy(NamedTuple):
    """A copy that is not decided here, of so many ticks in rows [ready, deadline)."""

    ready: int
    deadline: int
    ticks: int


class Relaxation:
    """The program of a mapping problem, and the meaning of its columns.

    Parameters
    ----------
    problem : MappingProblem
    grid : Grid
    incumbent : sequence of Residency
        Their boundaries are told apart from all others.
    apart : frozenset of (access, inward, boundary)
        And so are these.
    free : set of int or None
        Buffers to decide on; all if None. The others stay as in the incumbent.

    Attributes
    ----------
    rows : Rows
        The program.
    served : list of int
        Column of each access, -1 if its buffer is not free.
    clean, dirty : list of int
        Column of the gap after each access, -1 if there is none.
    choices : list of CopyChoice
    base : int
        Ticks to add to the program's cost.
    sums : list of (column, column, column)
        The first is the sum of the other two.
    sets : list of (column, fast, slow)
        The column stands for these accesses being served fast and these slow.
    room : list of (base, slopes)
        Of each row: ticks that it leaves for copies, as a linear function of columns.
    """

    def __init__(
        self,
        problem: MappingProblem,
        grid: Grid = Grid.EXACT,
        *,
        incumbent: Sequence[Residency] = (),
        apart: frozenset[tuple[int, bool, int]] = frozenset(),
        free: set[int] | None = None,
    ) -> None:
        self.problem = problem
        self.grid = grid
        self.rows = Rows()
        self.served = [-1] * problem.accesses
        self.clean = [-1] * problem.accesses
        self.dirty = [-1] * problem.accesses
        self.choices: list[CopyChoice] = []
        self.fixed_copies: list[FixedCopy] = []
        self.sums: list[tuple[int, int, int]] = []
        self._apart: dict[tuple[int, bool], list[int]] = {}
        for access, inward, boundary in apart | set(boundaries(problem, incumbent)):
            self._apart.setdefault((access, inward), []).append(boundary)
        free = set(range(problem.buffers)) if free is None else free
        fast_if_free = np.zeros(problem.accesses, dtype=bool)
        fixed_fast = np.zeros(problem.accesses, dtype=bool)
        for buffer in free:
            for access in problem.accesses_of.row(buffer).tolist():
                self.served[access] = self.rows.binary("")
                fast_if_free[access] = True
        self._held: list[dict[int, int]] = [{} for _ in range(problem.rows)]
        left = [problem.capacity // problem.alignment] * problem.rows
        for residency in incumbent:
            if residency.buffer not in free:
                served = problem.accesses_of.row(residency.buffer)
                fixed_fast[served[residency.first : residency.last + 1]] = True
                self.fixed_copies += copies_of(problem, residency)
                for step in range(residency.start, residency.end):
                    left[step] -= int(problem.size[residency.buffer]) // problem.alignment
        most_room = problem.room(fast_if_free | fixed_fast)
        self._room_until = [0, *np.cumsum(most_room).tolist()]
        for buffer in sorted(free):
            self._buffer(buffer)
        for held, units in zip(self._held, left, strict=True):
            if sum(held.values()) > units:
                self.rows.add("", held.items(), upper=units)
        by_row: list[list[int]] = [[] for _ in range(problem.rows)]
        for access, row in enumerate(problem.access_row.tolist()):
            by_row[row].append(access)
        self.base = 0
        self.sets: list[tuple[int, list[int], list[int]]] = []
        self.room: list[tuple[int, dict[int, int]]] = []
        for row, accesses in enumerate(by_row):
            columns = {a: self.served[a] for a in accesses if self.served[a] >= 0}
            fixed = {a: bool(fixed_fast[a]) for a in accesses if self.served[a] < 0}
            added = add_row(self.rows, problem, row, columns, fixed)
            self.base += added.base
            self.room.append(added.room)
            self.sets += added.sets

    def _buffer(self, buffer: int) -> None:
        """Add the states of a buffer."""
        problem, rows = self.problem, self.rows
        accesses = problem.accesses_of.row(buffer).tolist()
        at = problem.access_row[accesses].tolist()
        writes = problem.writes[accesses].tolist()
        last_write = -1
        present: list[list[int]] = [[] for _ in range(problem.rows)]
        changed: dict[int, int] = {}
        for place, access in enumerate(accesses):
            present[at[place]].append(self.served[access])
            arriving = {self.served[access]: -1}
            if place == 0 and writes[0]:
                arriving = {}
            elif last_write >= 0 or problem.has_copy[buffer]:
                valid = at[last_write] + 1 if last_write >= 0 else 0
                arriving |= dict.fromkeys(self._copies_in(access, valid, present), 1)
            if place > 0:
                before = accesses[place - 1]
                stayed = (self.clean[before], self.dirty[before])
                arriving |= {column: 1 for column in stayed if column >= 0}
            if arriving:
                rows.add("", arriving.items(), 0, 0)
            if writes[place]:
                last_write = place
                changed = {self.served[access]: 1}
            elif place > 0 and self.dirty[accesses[place - 1]] >= 0:
                changed = {self.dirty[accesses[place - 1]]: 1}
            if place + 1 == len(accesses):
                break
            self.clean[access] = clean = rows.binary("")
            staying = [clean]
            leaving = {self.served[access]: 1, clean: -1}
            for column, value in changed.items():
                leaving[column] = leaving.get(column, 0) - value
            rows.add("", leaving.items(), lower=0)
            if changed:
                self.dirty[access] = dirty = rows.binary("")
                staying.append(dirty)
                window = (at[last_write] + 1, at[place], at[place + 1])
                written = dict.fromkeys(self._copies_out(access, window, present), -1)
                rows.add("", {dirty: -1, **changed, **written}.items(), 0, 0)
            for step in range(at[place] + 1, at[place + 1]):
                present[step] += staying
        size = int(problem.size[buffer]) // problem.alignment
        stated = set()
        for step, columns in enumerate(present):
            self._held[step] |= dict.fromkeys(columns, size)
            key = frozenset(columns)
            if len(columns) > 1 and key not in stated:
                stated.add(key)
                rows.add("", [(column, 1) for column in columns], upper=1)

    def _copies_in(self, access: int, valid: int, present: list[list[int]]) -> list[int]:
        """Add the copies for an access that begin at boundary ``valid`` or later."""
        problem = self.problem
        row, buffer = int(problem.access_row[access]), problem.access_buffer[access]
        ticks, until = int(problem.copy_in[buffer]), self._room_until
        apart = [row - boundary for boundary in self._apart.get((access, True), ())]
        distances = self._distances(row - valid, apart)
        groups = [
            (row - furthest, row - nearest)
            for nearest, furthest in distances
            if until[row] - until[min(row, int(problem.ready_in[row - furthest]))] >= ticks
        ]
        choices, held = [], -1
        for release, start in reversed(groups):
            column = self.rows.binary("")
            held = self._sum(held, column)
            ready = int(problem.ready_in[release])
            choices.append(
                CopyChoice(column, held, access, True, release, row, start, ticks, ready)
            )
        ends = [choice.boundary for choice in choices[1:]] + [row]
        for choice, end in zip(choices, ends, strict=False):
            for step in range(choice.boundary, end):
                present[step].append(choice.held)
        self.choices += choices
        return [choice.column for choice in choices]

    def _copies_out(
        self, access: int, window: tuple[int, int, int], present: list[list[int]]
    ) -> list[int]:
        """Add the copies back of what was last written before boundary ``release``."""
        release, row, following = window
        ready = int(self.problem.ready_out[release])
        ticks = int(self.problem.copy_out[self.problem.access_buffer[access]])
        until = self._room_until
        apart = [boundary - row for boundary in self._apart.get((access, False), ())]
        distances = self._distances(following - row, apart)
        groups = [
            (row + nearest, row + furthest)
            for nearest, furthest in distances
            if until[row + furthest] - until[min(ready, row + furthest)] >= ticks
        ]
        choices, held = [], -1
        for end, deadline in reversed(groups):
            column = self.rows.binary("")
            held = self._sum(held, column)
            choices.append(
                CopyChoice(column, held, access, False, release, deadline, end, ticks, ready)
            )
        starts = [choice.boundary for choice in choices[1:]] + [row + 1]
        for choice, start in zip(choices, starts, strict=False):
            for step in range(start, choice.boundary):
                present[step].append(choice.held)
        self.choices += choices
        return [choice.column for choice in choices]

    def _distances(self, most: int, apart: list[int]) -> list[tuple[int, int]]:
        """Groups of distances, nearest and furthest, from 1 to ``most``."""
        if self.grid is Grid.EXACT:
            return [(distance, distance) for distance in range(1, most + 1)]
        alone = apart if self.grid is Grid.SPARSE else [*apart, *(d - 1 for d in apart)]
        ends = sorted({d for d in (*_DISTANCES, *alone, most) if 1 <= d <= most})
        if self.grid is Grid.SPARSE:
            return [(end, end) for end in ends]
        return list(zip([1, *(end + 1 for end in ends)], ends, strict=False))

    def _sum(self, held: int, column: int) -> int:
        """Return a column for the sum of two."""
        if held < 0:
            return column
        both = self.rows.variable("", 0, 1)
        self.sums.append((both, held, column))
        self.rows.add("", [(both, -1), (held, 1), (column, 1)], 0, 0)
        return both

    def window_row(self, start: int, end: int) -> tuple[dict[int, int], int]:
        """Return terms and upper limit: the copies that run in rows [start, end) fit there.

        A copy counts for what the rest of its window can never hold.
        """
        terms: dict[int, int] = {}
        limit = 0
        for base, slopes in self.room[start:end]:
            limit += base
            for column, ticks in slopes.items():
                terms[column] = terms.get(column, 0) - ticks
        for copy in self.fixed_copies:
            limit -= self._inside(copy, start, end)
        for choice in self.choices:
            inside = self._inside(choice, start, end)
            if inside:
                terms[choice.column] = terms.get(choice.column, 0) + inside
        return {column: value for column, value in terms.items() if value}, limit

    def _inside(self, copy: CopyChoice | FixedCopy, start: int, end: int) -> int:
        """Ticks of the copy that have to run in rows [start, end)."""
        until, outside = self._room_until, 0
        if copy.ready < start:
            outside += until[min(start, copy.deadline)] - until[copy.ready]
        if copy.deadline > end:
            outside += until[copy.deadline] - until[max(end, copy.ready)]
        return max(0, copy.ticks - outside)

    def excess(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far copies exceed each window's room, at values of the columns.

        Returns
        -------
        float64 array of shape [rows + 1, rows + 1]
            Of the copies whose windows lie in rows [start, end); 0 where ``end <= start``.
        """
        rows = self.problem.rows
        room = [
            base + sum(ticks * values[column] for column, ticks in slopes.items())
            for base, slopes in self.room
        ]
        until = np.concatenate([[0.0], np.cumsum(room)])
        load = np.zeros((rows + 1, rows + 1))
        for choice in self.choices:
            load[choice.ready, choice.deadline] += choice.ticks * values[choice.column]
        for copy in self.fixed_copies:
            load[copy.ready, copy.deadline] += copy.ticks
        load = load[::-1].cumsum(axis=0)[::-1].cumsum(axis=1)
        return np.triu(load - (until[None, :] - until[:, None]), 1)


def copies_of(problem: MappingProblem, residency: Residency) -> Iterable[FixedCopy]:
    """Yield the copies that a residency needs."""
    accesses = problem.accesses_of.row(residency.buffer)
    rows, writes = problem.access_row[accesses], problem.writes[accesses]
    if residency.first > 0 or not writes[0]:
        ticks = int(problem.copy_in[residency.buffer])
        ready = int(problem.ready_in[residency.start])
        yield FixedCopy(ready, int(rows[residency.first]), ticks)
    written = np.flatnonzero(writes[residency.first : residency.last + 1])
    if len(written) and residency.last + 1 < len(accesses):
        release = int(rows[residency.first + written[-1]]) + 1
        ready = int(problem.ready_out[release])
        yield FixedCopy(ready, residency.end, int(problem.copy_out[residency.buffer]))


def worst_windows(excess: NDArray[np.float64], least: float, most: int) -> list[tuple[int, int]]:
    """Return the windows of the largest excess per start and per end, the worst first.

    Parameters
    ----------
    excess : float64 array of shape [rows + 1, rows + 1]
    least : float
        Only those that exceed their room by more.
    most : int
        At most so many.
    """
    ends, starts = excess.argmax(axis=1).tolist(), excess.argmax(axis=0).tolist()
    windows = {*enumerate(ends), *((start, end) for end, start in enumerate(starts))}
    found = [(float(excess[window]), window) for window in windows if excess[window] > least]
    return [window for _, window in sorted(found, reverse=True)[:most]]


def boundaries(
    problem: MappingProblem, residencies: Iterable[Residency]
) -> Iterable[tuple[int, bool, int]]:
    """Yield the access, whether inward, and the boundary of both ends of each residency."""
    for residency in residencies:
        accesses = problem.accesses_of.row(residency.buffer)
        yield int(accesses[residency.first]), True, residency.start
        yield int(accesses[residency.last]), False, residency.end


def values_of(relaxation: Relaxation, residencies: Iterable[Residency]) -> dict[int, int]:
    """Return the values of the columns at a mapping, but for those of rows with many accesses."""
    problem = relaxation.problem
    states = (*relaxation.served, *relaxation.clean, *relaxation.dirty)
    point = dict.fromkeys((column for column in states if column >= 0), 0)
    point |= dict.fromkeys((choice.column for choice in relaxation.choices), 0)
    by_copy: dict[tuple[int, bool], list[CopyChoice]] = {}
    for choice in relaxation.choices:
        by_copy.setdefault((choice.access, choice.inward), []).append(choice)
    for residency in residencies:
        accesses = problem.accesses_of.row(residency.buffer).tolist()
        if relaxation.served[accesses[0]] < 0:
            continue
        changed = False
        for place in range(residency.first, residency.last + 1):
            access = accesses[place]
            point[relaxation.served[access]] = 1
            changed |= bool(problem.writes[access])
            if place < residency.last:
                point[relaxation.dirty[access] if changed else relaxation.clean[access]] = 1
        for choice in by_copy.get((accesses[residency.first], True), ()):
            if choice.release <= residency.start <= choice.boundary:
                point[choice.column] = 1
        for choice in by_copy.get((accesses[residency.last], False), ()):
            if changed and choice.boundary <= residency.end <= choice.deadline:
                point[choice.column] = 1
    for both, held, column in relaxation.sums:
        point[both] = point[held] + point[column]
    for column, fast, slow in relaxation.sets:
        served = [point[relaxation.served[access]] for access in (*fast, *slow)]
        point[column] = int(served == [1] * len(fast) + [0] * len(slow))
    return point
