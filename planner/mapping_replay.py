"""Judges a solution of the mapping problem by its rules alone: legal or not, and how many ticks.

It shares no code with the solvers. Whether all copies fit is decided by running them, the earliest
deadline first, in what room the rows leave: one resource, releases and deadlines, interruption
allowed, so this finds a schedule if there is one.
"""

from __future__ import annotations

import operator
from bisect import bisect_left, insort
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.mapping_problem import Residency

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.mapping_problem import MappingProblem


class InvalidMappingError(ValueError):
    """A residency, or all of them together, break a rule of the mapping problem."""


class Copy(NamedTuple):
    """A copy of ``buffer`` that takes ``ticks`` of the room of rows [release, deadline)."""

    release: int
    deadline: int
    ticks: int
    buffer: int
    inward: bool


def replay(problem: MappingProblem, residencies: Sequence[Residency], *, fifo: bool = False) -> int:
    """Return the latency in ticks of a mapping, after checking every rule of the problem.

    Parameters
    ----------
    problem : MappingProblem
    residencies : sequence of Residency
        Sorted by buffer and first access.
    fifo : bool
        Whether each direction carries its copies one after the other, in the order of the
        boundaries from which they may run: one that may begin earlier ends no later.

    Raises
    ------
    InvalidMappingError
        Naming the first offence.
    """
    kept = [_checked(problem, position, item) for position, item in enumerate(residencies)]
    served_fast = np.zeros(problem.accesses, dtype=bool)
    for residency in kept:
        of_buffer = problem.accesses_of.row(residency.buffer)
        served_fast[of_buffer[residency.first : residency.last + 1]] = True
    _check_disjoint(kept)
    copies = [
        copy
        for position, residency in enumerate(kept)
        for copy in _copies(problem, kept, position, residency, served_fast)
    ]
    _check_bytes(problem, kept)
    room = problem.room(served_fast).tolist()
    late = late_copy(in_turn(copies) if fifo else copies, room)
    if late is not None:
        raise InvalidMappingError(
            f"the copy of buffer {late.buffer} {'in' if late.inward else 'out'}, {late.ticks} "
            f"ticks, is not finished at boundary {late.deadline}: the copies that have to run "
            f"in the rows before it exceed their room"
        )
    return problem.latency(served_fast)


def late_copy(copies: Sequence[Copy], room: Sequence[int]) -> Copy | None:
    """Return a copy that misses its deadline, or None if all fit into the rows' room.

    Parameters
    ----------
    copies : sequence of Copy
    room : sequence of int
        Per row, ticks of the slow memory's time.
    """
    waiting = sorted(copies, reverse=True)
    ready: list[tuple[int, int, int]] = []
    left = []
    for row, ticks in enumerate(room):
        while waiting and waiting[-1].release <= row:
            copy = waiting.pop()
            heappush(ready, (copy.deadline, copy.release, len(left)))
            left.append([copy.ticks, copy])
        while ready and ticks:
            pending = left[ready[0][2]]
            if ready[0][0] <= row:
                return pending[1]
            spent = min(ticks, pending[0])
            pending[0] -= spent
            ticks -= spent
            if not pending[0]:
                heappop(ready)
        if ready and ready[0][0] <= row + 1:
            return left[ready[0][2]][1]
    return left[ready[0][2]][1] if ready else (waiting[-1] if waiting else None)


def in_turn(copies: Sequence[Copy]) -> list[Copy]:
    """Return the copies with deadlines so early that each direction runs them in turn.

    A copy has to be finished before all that begin later in its direction, so it inherits the
    earliest of their deadlines. The earliest deadline first then never overtakes.
    """
    hastened = []
    for inward in (False, True):
        earliest: int | None = None
        group = sorted(copy for copy in copies if copy.inward == inward)
        for copy in reversed(group):
            earliest = copy.deadline if earliest is None else min(earliest, copy.deadline)
            hastened.append(copy._replace(deadline=earliest))
    return hastened


def _checked(problem: MappingProblem, position: int, item: Residency) -> Residency:
    """Return the residency in plain whole numbers, all of them in bounds."""
    try:
        residency = Residency(*(operator.index(field) for field in item))
    except TypeError as error:
        raise InvalidMappingError(
            f"residency {position} is {item!r}, not six whole numbers"
        ) from error
    where = f"residency {position}, {residency}"
    if not 0 <= residency.buffer < problem.buffers:
        raise InvalidMappingError(f"{where}: there are {problem.buffers} buffers")
    of_buffer = problem.accesses_of.row(residency.buffer)
    if not 0 <= residency.first <= residency.last < len(of_buffer):
        raise InvalidMappingError(f"{where}: the buffer has {len(of_buffer)} accesses")
    if not 0 <= residency.start < residency.end <= problem.rows:
        raise InvalidMappingError(f"{where}: steps have to lie in [0, {problem.rows})")
    rows = problem.access_row[of_buffer]
    if residency.start > rows[residency.first] or residency.end <= rows[residency.last]:
        raise InvalidMappingError(
            f"{where}: its accesses lie in rows {rows[residency.first]} to {rows[residency.last]}"
        )
    if residency.last + 1 < len(of_buffer) and residency.end > rows[residency.last + 1]:
        raise InvalidMappingError(
            f"{where}: the buffer is accessed next in row {rows[residency.last + 1]}, which the "
            f"residency does not serve"
        )
    if residency.offset % problem.alignment:
        raise InvalidMappingError(f"{where}: offsets are multiples of {problem.alignment}")
    top = residency.offset + int(problem.size[residency.buffer])
    if residency.offset < 0 or top > problem.capacity:
        raise InvalidMappingError(
            f"{where}: bytes [{residency.offset}, {top}) are not all in [0, {problem.capacity})"
        )
    return residency


def _check_disjoint(residencies: Sequence[Residency]) -> None:
    """Check that residencies are sorted, and that those of one buffer share no access or step."""
    for position in range(1, len(residencies)):
        before, after = residencies[position - 1], residencies[position]
        if (before.buffer, before.first) > (after.buffer, after.first):
            raise InvalidMappingError(
                f"residency {position}, {after}, stands after {before}: they have to be sorted "
                f"by buffer and first access"
            )
        if before.buffer == after.buffer:
            if after.first <= before.last:
                raise InvalidMappingError(f"{before} and {after} serve the same access")
            if after.start < before.end:
                raise InvalidMappingError(f"{before} and {after} share a step")


def _copies(
    problem: MappingProblem,
    residencies: Sequence[Residency],
    position: int,
    residency: Residency,
    served_fast: np.ndarray,
) -> list[Copy]:
    """Return the copies that fill a residency and write it back, checked against the rules."""
    buffer, first, last, start, end, _ = residency
    of_buffer = problem.accesses_of.row(buffer)
    rows, writes = problem.access_row[of_buffer].tolist(), problem.writes[of_buffer].tolist()
    where = f"residency {position}, {residency}"
    copies = []
    if first == 0 and writes[0]:
        if start != rows[0]:
            raise InvalidMappingError(
                f"{where}: it begins with the write in row {rows[0]}, so it starts there"
            )
    else:
        earlier = [access for access in range(first) if writes[access]]
        if earlier:
            last_write = earlier[-1]
            if not served_fast[of_buffer[last_write]]:
                valid_from = rows[last_write] + 1
            else:
                valid_from = next(
                    other.end
                    for other in reversed(residencies[:position])
                    if other.first <= last_write <= other.last
                )
            if start < valid_from:
                raise InvalidMappingError(
                    f"{where}: the slow memory holds the buffer only from boundary {valid_from}"
                )
        elif not problem.has_copy[buffer]:
            raise InvalidMappingError(f"{where}: the slow memory does not hold the buffer yet")
        ready = int(problem.ready_in[start])
        copies.append(Copy(ready, rows[first], int(problem.copy_in[buffer]), buffer, True))
    written = [access for access in range(first, last + 1) if writes[access]]
    if written and last + 1 < len(rows):
        ready = int(problem.ready_out[rows[written[-1]] + 1])
        copies.append(Copy(ready, end, int(problem.copy_out[buffer]), buffer, False))
    for copy in copies:
        if copy.release >= copy.deadline:
            raise InvalidMappingError(
                f"{where}: its copy {'in' if copy.inward else 'out'} may move bytes in rows "
                f"[{copy.release}, {copy.deadline}), which are none"
            )
    return copies


def _check_bytes(problem: MappingProblem, residencies: Sequence[Residency]) -> None:
    """Check that residencies that share a step share no byte."""
    events = sorted(
        [(residency.start, 1, position) for position, residency in enumerate(residencies)]
        + [(residency.end, 0, position) for position, residency in enumerate(residencies)]
    )
    present: list[tuple[int, int, int]] = []
    for _, arrives, position in events:
        residency = residencies[position]
        item = (residency.offset, residency.offset + int(problem.size[residency.buffer]), position)
        if not arrives:
            present.remove(item)
            continue
        place = bisect_left(present, item)
        for other in present[max(0, place - 1) : place + 1]:
            if other[0] < item[1] and item[0] < other[1]:
                raise InvalidMappingError(
                    f"{residencies[other[2]]} and {residency} share bytes: their sizes are "
                    f"{other[1] - other[0]} and {item[1] - item[0]}"
                )
        insort(present, item)
