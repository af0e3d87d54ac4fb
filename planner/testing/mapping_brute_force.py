"""The least latency of a tiny mapping problem, by trying everything.

Which accesses are fast, and between which two of them the buffer stays, give the latency. These
patterns are tried from the fastest to the slowest; the first that some steps and offsets make legal
is the best. Only the replay says what is legal.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from planner.mapping_problem import MappingSolution, Residency
from planner.mapping_replay import InvalidMappingError, replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem

# (first access, last access) of the residencies of one buffer.
_Spans = tuple[tuple[int, int], ...]


def least_latency(problem: MappingProblem) -> MappingSolution:
    """Return a mapping of least latency, for problems of about seven accesses."""
    patterns = []
    counts = [len(problem.accesses_of.row(buffer)) for buffer in range(problem.buffers)]
    for spans in product(*(_ways(count) for count in counts)):
        served = np.zeros(problem.accesses, dtype=bool)
        for buffer, of_buffer in enumerate(spans):
            for first, last in of_buffer:
                served[problem.accesses_of.row(buffer)[first : last + 1]] = True
        patterns.append((problem.latency(served), spans, problem.room(served)))
    for latency, spans, room in sorted(patterns, key=lambda pattern: pattern[0]):
        found = _legal(problem, spans, room)
        if found is not None:
            return MappingSolution(found, latency)
    raise AssertionError("a mapping without residencies is always legal")


def _ways(accesses: int) -> list[_Spans]:
    """All sets of disjoint runs of accesses."""
    ways: list[_Spans] = [()]
    for first in range(accesses):
        for last in range(first, accesses):
            rest = _ways(accesses - last - 1)
            shift = last + 1
            ways += [((first, last), *((a + shift, b + shift) for a, b in way)) for way in rest]
    return ways


def _legal(
    problem: MappingProblem, spans: Sequence[_Spans], room: NDArray[np.int64]
) -> tuple[Residency, ...] | None:
    """Return residencies of these spans that are legal together, if there are any."""
    choices: list[list[Residency]] = []
    for buffer, of_buffer in enumerate(spans):
        for first, last in of_buffer:
            alone = list(_steps(problem, buffer, first, last, room))
            if not alone:
                return None
            choices.append(alone)
    for chosen in product(*choices):
        packed = _packed(problem, chosen)
        if packed is not None and _is_legal(problem, packed):
            return packed
    return None


def _steps(
    problem: MappingProblem, buffer: int, first: int, last: int, room: NDArray[np.int64]
) -> Iterator[Residency]:
    """All steps of one residency that leave room for its own copies.

    Clean residencies end with their last access: to stay longer helps nobody.
    """
    of_buffer = problem.accesses_of.row(buffer)
    rows = problem.access_row[of_buffer].tolist()
    written = [access for access in range(first, last + 1) if problem.writes[of_buffer[access]]]
    starts, ends = range(rows[first]), range(rows[last] + 1, rows[last] + 2)
    if first == 0 and problem.writes[of_buffer[0]]:
        starts = range(rows[0], rows[0] + 1)
    else:
        ready = problem.ready_in
        starts = [
            s for s in starts if room[ready[s] : rows[first]].sum() >= problem.copy_in[buffer]
        ]
    if written and last + 1 < len(rows):
        release = problem.ready_out[rows[written[-1]] + 1]
        ends = range(rows[last] + 1, rows[last + 1] + 1)
        ends = [end for end in ends if room[release:end].sum() >= problem.copy_out[buffer]]
    for start, end in product(starts, ends):
        yield Residency(buffer, first, last, start, end, 0)


def _packed(
    problem: MappingProblem, residencies: Sequence[Residency]
) -> tuple[Residency, ...] | None:
    """Return the residencies at offsets where no two share a byte, if there are any."""
    placed: list[Residency] = []

    def place() -> bool:
        if len(placed) == len(residencies):
            return True
        item = residencies[len(placed)]
        size = int(problem.size[item.buffer])
        for offset in range(0, problem.capacity - size + 1, problem.alignment):
            if all(
                item.end <= other.start
                or other.end <= item.start
                or offset + size <= other.offset
                or other.offset + int(problem.size[other.buffer]) <= offset
                for other in placed
            ):
                placed.append(item._replace(offset=offset))
                if place():
                    return True
                placed.pop()
        return False

    return tuple(placed) if place() else None


def _is_legal(problem: MappingProblem, residencies: Sequence[Residency]) -> bool:
    try:
        replay(problem, residencies)
    except InvalidMappingError:
        return False
    return True
