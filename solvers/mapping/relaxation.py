"""The mapping problem as a mixed-integer program, offsets left out.

Each buffer goes from access to access through three states: not in the fast memory, there and like
its slow copy, there and changed. Columns:

- ``served``: access served fast;
- ``clean``, ``dirty``: the buffer stays over the gap after an access, unchanged or changed;
- one per copy and window: copied in for this access from this boundary on, or written back in this
  gap by this boundary;
- one per row and set of accesses served fast in it. The row takes exactly as long, and leaves
  exactly as much room, as this set says: that is the convex hull of a row.

Rows: the states follow from one another; a buffer lies in the fast memory at most once at a time;
what lies there at a step fits. That the copies fit is said by `window_row`, for whichever
windows of rows matter.

With `Grid.EXACT` the binary points are the mappings. With `Grid.COARSE` the windows are
grouped, and each group has the longest window for its copy and the shortest for its bytes.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.milp.program import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem
    from solvers.milp.program import Program

# Rows with more accesses than this are not described by all of their sets.
MOST_OF_HULL = 6
# Rows before an access at which a coarse group of starts ends.
_COARSE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


class Grid(Enum):
    """Which windows copies have."""

    EXACT = auto()
    COARSE = auto()


class CopyChoice(NamedTuple):
    """A column: the copy of ``access`` in or, after it, out, in rows [release, deadline).

    The residency starts, or ends, at ``boundary``.
    """

    column: int
    access: int
    inward: bool
    release: int
    deadline: int
    boundary: int
    ticks: int


class Relaxation:
    """The program of a mapping problem, and the meaning of its columns.

    Attributes
    ----------
    base : int
        Ticks if nothing is served fast, of which the program's cost is the difference.
    served : list of int
        Column of each access.
    clean, dirty : list of int
        Column of the gap after each access, -1 if there is none.
    choices : list of CopyChoice
    time, room : list of (base, slopes)
        Of each row: its ticks, and those it leaves for copies, as linear functions of columns.
    """

    def __init__(self, problem: MappingProblem, grid: Grid = Grid.EXACT) -> None:
        self.problem = problem
        self.grid = grid
        self.base = problem.all_slow
        self.rows = Rows()
        self.served = [self.rows.binary("") for _ in range(problem.accesses)]
        self.clean = [-1] * problem.accesses
        self.dirty = [-1] * problem.accesses
        self.choices: list[CopyChoice] = []
        all_fast = np.ones(problem.accesses, dtype=bool)
        self._room_until = [0, *np.cumsum(problem.room(all_fast)).tolist()]
        self._held: list[dict[int, int]] = [{} for _ in range(problem.rows)]
        for buffer in range(problem.buffers):
            self._buffer(buffer)
        capacity = problem.capacity // problem.alignment
        for held in self._held:
            if sum(held.values()) > capacity:
                self.rows.add("", held.items(), upper=capacity)
        self.time: list[tuple[int, dict[int, int]]] = []
        self.room: list[tuple[int, dict[int, int]]] = []
        by_row: list[list[int]] = [[] for _ in range(problem.rows)]
        for access, row in enumerate(problem.access_row.tolist()):
            by_row[row].append(access)
        for row, accesses in enumerate(by_row):
            self._row(row, accesses)

    # -- buffers

    def _buffer(self, buffer: int) -> None:
        problem, rows = self.problem, self.rows
        accesses = problem.accesses_of.row(buffer).tolist()
        at = problem.access_row[accesses].tolist()
        writes = problem.writes[accesses].tolist()
        last_write = -1
        present: list[dict[int, int]] = [{} for _ in range(problem.rows)]
        changed: dict[int, int] = {}
        for place, access in enumerate(accesses):
            present[at[place]][self.served[access]] = 1
            arriving = {self.served[access]: -1}
            if place == 0 and writes[0]:
                arriving = {}
            elif last_write >= 0 or problem.has_copy[buffer]:
                valid = at[last_write] + 1 if last_write >= 0 else 0
                for column in self._copies_in(access, at[place], valid, buffer, present):
                    arriving[column] = 1
            if place > 0:
                before = accesses[place - 1]
                arriving[self.clean[before]] = 1
                if self.dirty[before] >= 0:
                    arriving[self.dirty[before]] = 1
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
                flow = {dirty: -1, **changed}
                window = (at[last_write] + 1, at[place], at[place + 1])
                for column in self._copies_out(access, window, buffer, present):
                    flow[column] = -1
                rows.add("", flow.items(), 0, 0)
            for step in range(at[place] + 1, at[place + 1]):
                for column in staying:
                    present[step][column] = 1
        size = int(problem.size[buffer]) // problem.alignment
        stated = set()
        for step, columns in enumerate(present):
            for column in columns:
                self._held[step][column] = size
            key = frozenset(columns)
            if len(columns) > 1 and key not in stated:
                stated.add(key)
                rows.add("", [(column, 1) for column in columns], upper=1)

    def _copies_in(
        self, access: int, row: int, valid: int, buffer: int, present: list[dict[int, int]]
    ) -> list[int]:
        """Add the copies into the fast memory for an access; a cumulated column holds the bytes."""
        ticks = int(self.problem.copy_in[buffer])
        groups: list[tuple[int, int]] = []
        if self.grid is Grid.EXACT:
            groups = [(start, start) for start in range(row - 1, valid - 1, -1)]
        else:
            latest = row - 1
            for distance in (*_COARSE[1:], row - valid + 1):
                earliest = max(valid, row - distance + 1)
                if latest >= earliest:
                    groups.append((earliest, latest))
                    latest = earliest - 1
        columns, before = [], -1
        for earliest, latest in reversed(groups):
            if self._room_until[row] - self._room_until[earliest] < ticks:
                continue
            column = self.rows.binary("")
            columns.append(column)
            self.choices.append(CopyChoice(column, access, True, earliest, row, latest, ticks))
        # Bytes are held from the start of each choice on: one cumulated column per distinct start.
        copies = self.choices[len(self.choices) - len(columns) :]
        for place, copy in enumerate(copies):
            if place == 0:
                before = copy.column
            else:
                held = self.rows.variable("", 0, 1)
                self.rows.add("", [(held, -1), (before, 1), (copy.column, 1)], 0, 0)
                before = held
            until = copies[place + 1].boundary if place + 1 < len(copies) else row
            for step in range(copy.boundary, until):
                present[step][before] = 1
        return columns

    def _copies_out(
        self, access: int, window: tuple[int, int, int], buffer: int, present: list[dict[int, int]]
    ) -> list[int]:
        release, row, following = window
        ticks = int(self.problem.copy_out[buffer])
        groups: list[tuple[int, int]] = []
        if self.grid is Grid.EXACT:
            groups = [(end, end) for end in range(row + 1, following + 1)]
        else:
            earliest = row + 1
            for distance in (*_COARSE, following - row):
                latest = min(following, row + distance)
                if latest >= earliest:
                    groups.append((earliest, latest))
                    earliest = latest + 1
        groups = [
            (earliest, latest)
            for earliest, latest in groups
            if self._room_until[latest] - self._room_until[release] >= ticks
        ]
        copies = []
        for earliest, latest in reversed(groups):
            column = self.rows.binary("")
            copies.append(CopyChoice(column, access, False, release, latest, earliest, ticks))
        self.choices += copies
        before = -1
        for place, copy in enumerate(copies):
            if place == 0:
                before = copy.column
            else:
                held = self.rows.variable("", 0, 1)
                self.rows.add("", [(held, -1), (before, 1), (copy.column, 1)], 0, 0)
                before = held
            since = copies[place + 1].boundary if place + 1 < len(copies) else row + 1
            for step in range(since, copy.boundary):
                present[step][before] = 1
        return [copy.column for copy in copies]

    # -- rows

    def _row(self, row: int, accesses: list[int]) -> None:
        """Add a row's time to the cost, and note its room as a linear function."""
        problem, rows = self.problem, self.rows
        cost = RowCost(problem, row)
        base_time, base_room = cost.of(accesses, 0)
        time, room = {}, {}
        if len(accesses) <= MOST_OF_HULL:
            terms: list[dict[int, int]] = [{self.served[access]: -1} for access in accesses]
            columns = []
            for chosen in range(1, 1 << len(accesses)):
                ticks, left = cost.of(accesses, chosen)
                column = self.served[accesses[0]]
                if len(accesses) > 1:
                    column = rows.variable("", 0, 1)
                    columns.append(column)
                    for place, term in enumerate(terms):
                        if chosen >> place & 1:
                            term[column] = 1
                time[column] = ticks - base_time
                room[column] = left - base_room
            if columns:
                rows.add("", [(column, 1) for column in columns], upper=1)
                for term in terms:
                    rows.add("", term.items(), 0, 0)
        else:
            base_time, time, base_room, room = self._long_row(cost, accesses)
        for column, ticks in time.items():
            rows.charge(column, ticks)
        self.time.append((base_time, time))
        self.room.append((base_room, room))

    def _long_row(
        self, cost: RowCost, accesses: list[int]
    ) -> tuple[int, dict[int, int], int, dict[int, int]]:
        """Bound a row's time from below and its room from above, with a column for its time.

        A set saves no more than the sum of what each access saves in the best company, and no
        more than all of them do.
        """
        problem, rows = self.problem, self.rows
        slowest, base_room = cost.of(accesses, 0)
        _, most_room = cost.of(accesses, (1 << len(accesses)) - 1)
        most = max(0, slowest - cost.least(accesses))
        saved = rows.variable("", 0, 1)
        terms = {saved: most}
        room = {}
        for access in accesses:
            slow = int(problem.slow[access]) + problem.slow_latency
            fast = int(problem.fast[access])
            terms[self.served[access]] = -min(most, max(0, slow - fast))
            freed = max(slow, fast + problem.fast_latency)
            room[self.served[access]] = min(most_room - base_room, freed)
        rows.add("", terms.items(), upper=0)
        return slowest, {saved: -most}, base_room, room

    def program(self) -> Program:
        """Return the program without windows of copies."""
        return self.rows.program()

    def window_row(self, start: int, end: int) -> tuple[dict[int, int], int]:
        """Return terms and upper limit: the copies that run in rows [start, end) fit there.

        A copy counts for what its window outside of these rows can never hold.
        """
        terms: dict[int, int] = {}
        limit, room_until = 0, self._room_until
        for row in range(start, end):
            base, slopes = self.room[row]
            limit += base
            for column, ticks in slopes.items():
                terms[column] = terms.get(column, 0) - ticks
        for choice in self.choices:
            outside = 0
            if choice.release < start:
                outside += room_until[min(start, choice.deadline)] - room_until[choice.release]
            if choice.deadline > end:
                outside += room_until[choice.deadline] - room_until[max(end, choice.release)]
            if choice.ticks > outside:
                terms[choice.column] = terms.get(choice.column, 0) + choice.ticks - outside
        return {column: value for column, value in terms.items() if value}, limit


class RowCost:
    """Time and room of one row for each set of accesses that are served fast in it."""

    def __init__(self, problem: MappingProblem, row: int) -> None:
        self.problem = problem
        self.row = row

    def of(self, accesses: list[int], chosen: int) -> tuple[int, int]:
        """Return ticks and room if these of the row's accesses (bits) are served fast."""
        problem, row = self.problem, self.row
        slow, fast = int(problem.other_slow[row]), int(problem.other_fast[row])
        touches_fast, touches_slow = bool(problem.touches_fast[row]), bool(problem.touches_slow[row])
        for place, access in enumerate(accesses):
            if chosen >> place & 1:
                fast += int(problem.fast[access])
                touches_fast = True
            else:
                slow += int(problem.slow[access])
                touches_slow = True
        slow += problem.slow_latency * touches_slow
        fast += problem.fast_latency * touches_fast
        ticks = int(problem.overhead[row]) + max(int(problem.arithmetic[row]), slow + fast)
        return ticks, ticks - slow

    def least(self, accesses: list[int]) -> int:
        """Return ticks that no set undercuts."""
        problem, row = self.problem, self.row
        memory = int(problem.other_slow[row] + problem.other_fast[row])
        memory += sum(int(min(problem.fast[access], problem.slow[access])) for access in accesses)
        memory += problem.fast_latency * bool(problem.touches_fast[row])
        memory += problem.slow_latency * bool(problem.touches_slow[row])
        return int(problem.overhead[row]) + max(int(problem.arithmetic[row]), memory)
