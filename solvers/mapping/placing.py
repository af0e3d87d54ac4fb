"""From the values of a mapping program to a legal mapping: what fits, and at which offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.mapping_problem import MappingSolution, Residency
from planner.mapping_replay import Copy, late_copy, replay
from planner.problem import OffsetProblem, Status
from solvers.deletion_filter import without_bystanders
from solvers.mapping.relaxation import copies_of
from solvers.offsets import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem
    from solvers.mapping.relaxation import CopyChoice, Relaxation
    from solvers.protocol import Deadline

# The exact packer may try for so long before residencies are given up.
PACKING_S = 1.0
# One proof that some residencies cannot be packed may take this long.
_PROOF_S = 0.5


class Proposal(NamedTuple):
    """A residency at offset 0, and the latest step at which it may start and the earliest end."""

    shortest: Residency
    longest: Residency


def decoded(relaxation: Relaxation, values: NDArray[np.float64]) -> list[Proposal]:
    """Return the residencies that a binary point stands for, each with any window of its group."""
    problem = relaxation.problem
    chosen = {
        (choice.access, choice.inward): choice
        for choice in relaxation.choices
        if values[choice.column] > 0.5
    }
    proposals = []
    for buffer in range(problem.buffers):
        accesses = problem.accesses_of.row(buffer).tolist()
        if not accesses or relaxation.served[accesses[0]] < 0:
            continue
        first = -1
        for place, access in enumerate(accesses):
            if values[relaxation.served[access]] < 0.5:
                continue
            first = place if first < 0 else first
            gaps = (relaxation.clean[access], relaxation.dirty[access])
            if any(gap >= 0 and values[gap] > 0.5 for gap in gaps):
                continue
            copy_in, copy_out = chosen.get((accesses[first], True)), chosen.get((access, False))
            start = int(problem.access_row[accesses[first]])
            end = int(problem.access_row[access]) + 1
            shortest = longest = Residency(buffer, first, place, start, end, 0)
            if copy_in is not None:
                shortest = shortest._replace(start=copy_in.boundary)
                longest = longest._replace(start=copy_in.release)
            if copy_out is not None:
                shortest = shortest._replace(end=copy_out.boundary)
                longest = longest._replace(end=copy_out.deadline)
            proposals.append(Proposal(shortest, longest))
            first = -1
    return proposals


def completed(
    problem: MappingProblem, proposals: Sequence[Proposal], deadline: Deadline
) -> MappingSolution:
    """Return a legal mapping of as many of the residencies as can be kept.

    They are as short as they may be, but for those whose copies would be late. Some are given up
    where the copies do not all fit, or where no offsets are found.
    """
    kept = _with_room(problem, proposals)
    offsets, _ = packed(problem, kept, deadline)
    if offsets is None:
        placed = _first_fit(problem, kept)
        # To give up more lessens the room of the rows.
        placed = _with_room(problem, [Proposal(r, r) for r in placed])
    else:
        placed = [r._replace(offset=o) for r, o in zip(kept, offsets, strict=True)]
    placed.sort()
    return MappingSolution(tuple(placed), replay(problem, placed))


def served_fast(problem: MappingProblem, residencies: Sequence[Residency]) -> NDArray[np.bool_]:
    """Return which accesses some residencies serve."""
    served = np.zeros(problem.accesses, dtype=bool)
    for residency in residencies:
        accesses = problem.accesses_of.row(residency.buffer)
        served[accesses[residency.first : residency.last + 1]] = True
    return served


def _with_room(problem: MappingProblem, proposals: Sequence[Proposal]) -> list[Residency]:
    """Lengthen, or else give up, the residency of a late copy until none is late."""
    kept = [proposal.shortest for proposal in proposals]
    longest: list[Residency | None] = [proposal.longest for proposal in proposals]
    bytes_left = np.full(problem.rows, problem.capacity, dtype=np.int64)
    for residency in kept:
        bytes_left[residency.start : residency.end] -= problem.size[residency.buffer]
    while True:
        copies = [
            Copy(copy.ready, copy.deadline, copy.ticks, place, True)
            for place, residency in enumerate(kept)
            for copy in copies_of(problem, residency)
        ]
        late = late_copy(copies, problem.room(served_fast(problem, kept)).tolist())
        if late is None:
            return kept
        at = late.buffer
        shorter, longer = kept[at], longest[at]
        size = problem.size[shorter.buffer]
        bytes_left[shorter.start : shorter.end] += size
        if longer is not None:
            neighbours = [r for r in kept[max(0, at - 1) : at + 2] if r.buffer == shorter.buffer]
            start = max([longer.start, *(r.end for r in neighbours if r.last < shorter.first)])
            end = min([longer.end, *(r.start for r in neighbours if r.first > shorter.last)])
            longer = longer._replace(start=start, end=end)
        if longer in (None, shorter) or bytes_left[longer.start : longer.end].min() < size:
            del kept[at], longest[at]
        else:
            kept[at], longest[at] = longer, None
            bytes_left[longer.start : longer.end] -= size


def offset_problem(problem: MappingProblem, residencies: Sequence[Residency]) -> OffsetProblem:
    """Return the problem of packing some residencies, in units of the alignment."""
    return OffsetProblem(
        lower=np.array([r.start for r in residencies], dtype=np.int64),
        upper=np.array([r.end for r in residencies], dtype=np.int64),
        size=problem.size[[r.buffer for r in residencies]] // problem.alignment,
        alignment=np.ones(len(residencies), dtype=np.int64),
        capacity=problem.capacity // problem.alignment,
    )


def packed(
    problem: MappingProblem, residencies: Sequence[Residency], deadline: Deadline
) -> tuple[list[int] | None, Status]:
    """Return offsets of the residencies, if any are found, and what that proves."""
    if not residencies:
        return [], Status.OPTIMAL
    outcome = pack(offset_problem(problem, residencies), deadline.within(PACKING_S))
    capacity = problem.capacity // problem.alignment
    if outcome.solution is None or outcome.solution.height > capacity:
        return None, outcome.status
    return (outcome.solution.offsets * problem.alignment).tolist(), Status.OPTIMAL


def conflict(
    problem: MappingProblem, residencies: list[Residency], deadline: Deadline
) -> list[Residency]:
    """Return a few of the residencies, which cannot all be packed, that cannot be either."""

    def impossible(some: list[Residency]) -> bool:
        limit = deadline.within(_PROOF_S)
        return packed(problem, some, limit)[1] is Status.INFEASIBLE

    by_time = sorted(residencies, key=lambda r: (r.start, r.end, r.buffer))
    return without_bystanders(by_time, impossible, deadline)


def conflict_row(
    relaxation: Relaxation, residencies: Sequence[Residency]
) -> tuple[dict[int, int], int]:
    """Return terms and upper limit: not all of these steps are spent in the fast memory.

    A residency that begins earlier or ends later is in the same conflict, so the sums of choices
    stand for it.
    """
    problem = relaxation.problem
    by_copy: dict[tuple[int, bool], list[CopyChoice]] = {}
    for choice in relaxation.choices:
        by_copy.setdefault((choice.access, choice.inward), []).append(choice)
    terms: dict[int, int] = {}
    limit = -1
    for residency in residencies:
        accesses = problem.accesses_of.row(residency.buffer).tolist()
        first, last = accesses[residency.first], accesses[residency.last]
        columns = [relaxation.served[first]]
        for choice in by_copy.get((first, True), ()):
            if choice.boundary <= residency.start:
                columns = [choice.held]
        writes = problem.writes[accesses[residency.first : residency.last + 1]].any()
        if writes and residency.last + 1 < len(accesses):
            ends = [c.held for c in by_copy.get((last, False), ()) if c.boundary >= residency.end]
            columns += ends[-1:]
        limit += len(columns) + residency.last - residency.first
        for access in accesses[residency.first : residency.last]:
            gaps = (relaxation.clean[access], relaxation.dirty[access])
            columns += [gap for gap in gaps if gap >= 0]
        for column in columns:
            terms[column] = terms.get(column, 0) + 1
    return terms, limit


def _first_fit(problem: MappingProblem, residencies: Sequence[Residency]) -> list[Residency]:
    """Place what finds a gap, the most valuable bytes first."""
    gain = problem.slow - problem.fast

    def worth(residency: Residency) -> float:
        accesses = problem.accesses_of.row(residency.buffer)
        saved = float(gain[accesses[residency.first : residency.last + 1]].sum())
        steps = residency.end - residency.start
        return saved / (float(problem.size[residency.buffer]) * steps)

    placed: list[Residency] = []
    for residency in sorted(residencies, key=lambda r: (-worth(r), r)):
        size, offset = int(problem.size[residency.buffer]), 0
        for other in sorted(placed, key=lambda r: r.offset):
            if other.start < residency.end and residency.start < other.end:
                if offset + size <= other.offset:
                    break
                offset = max(offset, other.offset + int(problem.size[other.buffer]))
        if offset + size <= problem.capacity:
            placed.append(residency._replace(offset=offset))
    return placed
