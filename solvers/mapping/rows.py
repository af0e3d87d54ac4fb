"""Time and room of a row of a mapping problem, as linear functions of what is served fast in it.

A row with few free accesses has a column per set of them, and takes exactly as long, and leaves
exactly as much room, as this set says: that is the convex hull of a row. Others have a column for
their time, which a binary ties to the arithmetic or to the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.mapping_problem import MappingProblem
    from solvers.milp.program import Rows

# Rows with more free accesses than this are not described by all of their sets.
MOST_OF_HULL = 6


class AddedRow(NamedTuple):
    """What `add_row` added.

    Attributes
    ----------
    base : int
        Ticks of the row to add to the cost.
    room : (base, slopes)
        Ticks that the row leaves for copies, as a linear function of columns.
    sets : list of (column, fast, slow)
        The column is 1 if these accesses are served fast and these slow.
    """

    base: int
    room: tuple[int, dict[int, int]]
    sets: list[tuple[int, list[int], list[int]]]


def add_row(
    rows: Rows,
    problem: MappingProblem,
    row: int,
    columns: Mapping[int, int],
    fixed: Mapping[int, bool],
) -> AddedRow:
    """Add a row's time to the cost of a program.

    Parameters
    ----------
    rows : Rows
    problem : MappingProblem
    row : int
    columns : mapping from access to column
        Those that are decided.
    fixed : mapping from access to bool
        Of the others, whether each is served fast.
    """
    share = _Share(problem, row, fixed)
    accesses = list(columns)
    if len(accesses) > MOST_OF_HULL:
        return _long_row(rows, share, columns)
    base_ticks, base_room = share.ticks_and_room([], accesses)
    terms = [{columns[access]: -1} for access in accesses]
    slopes = {}
    sets: list[tuple[int, list[int], list[int]]] = []
    for chosen in range(1, 1 << len(accesses)):
        fast = [access for place, access in enumerate(accesses) if chosen >> place & 1]
        slow = [access for place, access in enumerate(accesses) if not chosen >> place & 1]
        ticks, room = share.ticks_and_room(fast, slow)
        column = columns[accesses[0]]
        if len(accesses) > 1:
            column = rows.variable("", 0, 1)
            sets.append((column, fast, slow))
            for place, term in enumerate(terms):
                if chosen >> place & 1:
                    term[column] = 1
        rows.charge(column, ticks - base_ticks)
        slopes[column] = room - base_room
    if sets:
        rows.add("", [(column, 1) for column, _, _ in sets], upper=1)
        for term in terms:
            rows.add("", term.items(), 0, 0)
    return AddedRow(base_ticks, (base_room, slopes), sets)


class _Share(NamedTuple):
    """A row with what is fixed in it."""

    problem: MappingProblem
    row: int
    fixed: Mapping[int, bool]

    def memory(self, fast: list[int], slow: list[int]) -> tuple[int, int]:
        """Ticks of the fast and of the slow memory, without what of the row touches neither."""
        problem, row = self.problem, self.row
        fast = fast + [access for access, served in self.fixed.items() if served]
        slow = slow + [access for access, served in self.fixed.items() if not served]
        of_fast = int(problem.other_fast[row] + problem.fast[fast].sum())
        of_slow = int(problem.other_slow[row] + problem.slow[slow].sum())
        of_fast += problem.fast_latency * bool(
            problem.moves[fast].any() or problem.touches_fast[row]
        )
        of_slow += problem.slow_latency * bool(
            problem.moves[slow].any() or problem.touches_slow[row]
        )
        return of_fast, of_slow

    def ticks_and_room(self, fast: list[int], slow: list[int]) -> tuple[int, int]:
        of_fast, of_slow = self.memory(fast, slow)
        ticks = int(self.problem.overhead[self.row])
        ticks += max(int(self.problem.arithmetic[self.row]), of_fast + of_slow)
        return ticks, ticks - of_slow

    def may_touch(self) -> tuple[bool, bool]:
        """Whether the free accesses decide that the row touches the fast memory, and the slow."""
        problem, row = self.problem, self.row
        served = [served for access, served in self.fixed.items() if problem.moves[access]]
        decides_fast = not (any(served) or problem.touches_fast[row])
        decides_slow = not (served.count(False) or problem.touches_slow[row])
        fast, slow = problem.fast_latency > 0, problem.slow_latency > 0
        return decides_fast and fast, decides_slow and slow


def _long_row(rows: Rows, share: _Share, columns: Mapping[int, int]) -> AddedRow:
    problem, row = share.problem, share.row
    accesses = list(columns)
    touching = {access: column for access, column in columns.items() if problem.moves[access]}
    any_fast, all_fast = share.may_touch()
    of_fast, of_slow = share.memory([], accesses)
    # Memory time is `total` plus `slopes` of the columns, the slow memory's `of_slow` plus `busy`.
    total = of_fast + of_slow
    slopes = {c: int(problem.fast[a] - problem.slow[a]) for a, c in columns.items()}
    busy = {c: -int(problem.slow[a]) for a, c in columns.items()}
    if any_fast:
        touched = rows.binary("")
        slopes[touched] = problem.fast_latency
        for column in touching.values():
            rows.add("", [(touched, 1), (column, -1)], lower=0)
        rows.add("", [(touched, -1), *((c, 1) for c in touching.values())], lower=0)
    if all_fast and touching:
        spared = rows.binary("")
        slopes[spared] = busy[spared] = -problem.slow_latency
        for column in touching.values():
            rows.add("", [(spared, -1), (column, 1)], lower=0)
        rows.add("", [(spared, -1), *((c, 1) for c in touching.values())], upper=len(touching) - 1)
    least = total + sum(min(0, slope) for slope in slopes.values())
    most = total + sum(max(0, slope) for slope in slopes.values())
    arithmetic = int(problem.arithmetic[row])
    lower, upper = max(arithmetic, least), max(arithmetic, most)
    time = rows.variable("", lower, upper, integer=True, cost=1)
    rows.add("", [(time, 1), *((c, -v) for c, v in slopes.items())], lower=total)
    if least < arithmetic < most:
        bound = rows.binary("")
        rows.add("", [(time, 1), (bound, upper - arithmetic)], upper=upper)
        rows.add(
            "",
            [(time, 1), (bound, least - arithmetic), *((c, -v) for c, v in slopes.items())],
            upper=total,
        )
    elif arithmetic <= least:
        rows.add("", [(time, 1), *((c, -v) for c, v in slopes.items())], upper=total)
    # No access saves more than all of them do.
    slowest = max(arithmetic, total)
    gains = [(c, min(slowest - lower, max(0, -v))) for c, v in slopes.items()]
    rows.add("", [(time, 1), *gains], lower=slowest)
    overhead = int(problem.overhead[row])
    room = {column: -value for column, value in busy.items()}
    return AddedRow(overhead, (overhead - of_slow, {time: 1, **room}), [])
