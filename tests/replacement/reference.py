"""An exhaustive search over addresses and moves, and a judge of solutions."""

from __future__ import annotations

import heapq
import itertools

import numpy as np

from planner.plans import ByteRange
from planner.problem import (
    Episode,
    OffsetProblem,
    OffsetSolution,
    Outcome,
    ReplacementProblem,
    ReplacementSolution,
    Status,
)
from solvers.protocol import Deadline

from .problems import rounded


def exhaustive_pack(problem: OffsetProblem, deadline: Deadline) -> Outcome[OffsetSolution]:
    """Decide by trying every address: a sweep over all sets of live placements."""
    assert problem.capacity is not None
    order = sorted(range(len(problem.size)), key=lambda i: int(problem.lower[i]))
    states: dict[frozenset[tuple[int, int]], tuple[int, ...]] = {frozenset(): ()}
    for i in order:
        start, size, step = (int(a[i]) for a in (problem.lower, problem.size, problem.alignment))
        reached: dict[frozenset[tuple[int, int]], tuple[int, ...]] = {}
        for placed, offsets in states.items():
            alive = [(j, at) for j, at in placed if problem.upper[j] > start]
            for offset in range(0, problem.capacity - size + 1, step):
                if all(at + problem.size[j] <= offset or offset + size <= at for j, at in alive):
                    reached.setdefault(frozenset([*alive, (i, offset)]), (*offsets, offset))
        states = reached
    if not states:
        return Outcome(Status.INFEASIBLE, None)
    found = np.zeros(len(order), dtype=np.int64)
    found[order] = next(iter(states.values()))
    height = int(np.max(found + problem.size, initial=0))
    return Outcome(Status.FEASIBLE, OffsetSolution(found, height))


def undecided_pack(problem: OffsetProblem, deadline: Deadline) -> Outcome[OffsetSolution]:
    """A packer that always runs out of time."""
    return Outcome(Status.UNKNOWN, None)


def cheapest_plan(problem: ReplacementProblem) -> int:
    """Least traffic of all legal plans, moves included: Dijkstra over single actions.

    State: step about to run, (storage, offset) of residents, storages with a copy.
    """
    uses = [problem.uses.row(s).tolist() for s in range(len(problem.size))]
    size = problem.size.tolist()
    bytes_ = [rounded(problem, s) for s in range(len(size))]

    def free(placed: frozenset[tuple[int, int]], storage: int) -> list[int]:
        return [
            at
            for at in range(0, problem.capacity - bytes_[storage] + 1, problem.alignment)
            if all(o + bytes_[s] <= at or at + bytes_[storage] <= o for s, o in placed)
        ]

    def after_running(step: int, placed: frozenset[tuple[int, int]]):
        here = {s for s, _ in placed}
        operands = {s for s, u in enumerate(uses) if step in u}
        if any(s not in here and uses[s][0] < step for s in operands):
            return []
        pairs = {output: source for t, output, source in problem.merged if t == step}
        results = [placed]
        for s in sorted(operands - here - pairs.keys()):
            results = [p | {(s, at)} for p in results for at in free(p, s)]
        offsets = [dict(p) for p in results]
        for where in offsets:
            where.update({output: where[source] for output, source in pairs.items()})
        return [
            frozenset((s, o) for s, o in where.items() if uses[s][-1] > step) for where in offsets
        ]

    start = (0, frozenset(), frozenset(np.flatnonzero(problem.has_copy).tolist()))
    queue = [(0, 0, start)]
    best = {start: 0}
    ticket = itertools.count(1)
    while queue:
        cost, _, state = heapq.heappop(queue)
        step, placed, copies = state
        if step == problem.steps:
            return cost
        if best[state] < cost:
            continue
        here = {s for s, _ in placed}
        options = [(0, (step + 1, p, copies)) for p in after_running(step, placed)]
        for s, o in placed:
            if s in copies:
                options.append((0, (step, placed - {(s, o)}, copies)))
            else:
                options.append((size[s], (step, placed, copies | {s})))
        for s in copies:
            if s not in here and uses[s] and uses[s][0] < step <= uses[s][-1]:
                options += [(size[s], (step, placed | {(s, at)}, copies)) for at in free(placed, s)]
        for more, reached in options:
            if cost + more < best.get(reached, cost + more + 1):
                best[reached] = cost + more
                heapq.heappush(queue, (cost + more, next(ticket), reached))
    raise AssertionError("no legal plan")


def complaints(problem: ReplacementProblem, solution: ReplacementSolution) -> list[str]:
    """Everything illegal about a solution, found step by step."""
    found = []
    episodes = list(solution.episodes)
    if episodes != sorted(episodes):
        found.append("not sorted")
    for e in episodes:
        if e.offset % problem.alignment or e.offset < 0 or e.start >= e.end:
            found.append(f"bad episode {e}")
        if _addresses(problem, e).end > problem.capacity:
            found.append(f"beyond the capacity: {e}")
    pairs = {frozenset((output, source)): step for step, output, source in problem.merged}
    for a, b in itertools.combinations(episodes, 2):
        shared = range(max(a.start, b.start), min(a.end, b.end))
        if not shared:
            continue
        disjoint = not _addresses(problem, a).intersects(_addresses(problem, b))
        if a.storage == b.storage:
            if a.offset != b.offset:
                found.append(f"parts at two addresses: {a} {b}")
            if _part(problem, a).intersects(_part(problem, b)):
                found.append(f"resident twice: {a} {b}")
            continue
        step = pairs.get(frozenset((a.storage, b.storage)))
        if list(shared) == [step]:
            if a.offset != b.offset:
                found.append(f"in-place pair at two addresses: {a} {b}")
        elif not disjoint:
            found.append(f"overlap: {a} {b}")
    traffic = 0
    for storage in range(len(problem.size)):
        uses = problem.uses.row(storage).tolist()
        mine = [e for e in episodes if e.storage == storage]
        last = max((e.end for e in mine), default=0)
        if uses and (mine[0].start != uses[0] or last != uses[-1] + 1):
            found.append(f"storage {storage} lives beyond its uses")
        for step in uses:
            there = sum(_part(problem, e).size_bytes for e in mine if e.start <= step < e.end)
            if there != problem.size[storage]:
                found.append(f"storage {storage} is absent at step {step}")
        for part in {_part(problem, e) for e in mine}:
            own = [e for e in mine if _part(problem, e) == part]
            returns = sum(
                not (problem.relocation and a.end == b.start) for a, b in itertools.pairwise(own)
            )
            if returns:
                traffic += part.size_bytes * (returns + 1 - int(problem.has_copy[storage]))
    if problem.relocation:
        found += _moves_out_of_order(problem, episodes)
    if traffic != solution.traffic_bytes:
        found.append(f"traffic is {traffic}, not {solution.traffic_bytes}")
    return found


def _part(problem: ReplacementProblem, episode: Episode) -> ByteRange:
    return episode.part or ByteRange(0, int(problem.size[episode.storage]))


def _addresses(problem: ReplacementProblem, episode: Episode) -> ByteRange:
    """Bytes held, rounded up to the alignment."""
    begin, end = _part(problem, episode)
    end = -(-end // problem.alignment) * problem.alignment
    return ByteRange(episode.offset + begin, episode.offset + end)


def _moves_out_of_order(problem: ReplacementProblem, episodes: list[Episode]) -> list[str]:
    """Moves at one boundary that change the order of addresses."""
    found = []
    moves: dict[int, list[tuple[int, int]]] = {}
    for a in episodes:
        for b in episodes:
            if (a.storage, a.part, a.end) == (b.storage, b.part, b.start):
                old, new = _addresses(problem, a), _addresses(problem, b)
                moves.setdefault(b.start, []).append((old.begin, new.begin))
    for step, pairs in moves.items():
        if [new for _, new in sorted(pairs)] != sorted(new for _, new in pairs):
            found.append(f"moves before step {step} change places: {pairs}")
    return found


def cheapest_by_capacity(problem: ReplacementProblem, *, in_parts: bool) -> int:
    """Least traffic if only the number of bytes matters, whole storages or byte by byte.

    Dijkstra over single actions. Bytes of one storage are interchangeable: of those there, what
    has a copy leaves first. State: step about to run, bytes there and bytes with a copy for each
    storage.
    """
    uses = [problem.uses.row(s).tolist() for s in range(len(problem.size))]
    size = problem.size.tolist()
    unit = [1 if in_parts else bytes_ for bytes_ in size]
    copies = tuple(size[s] if copy else 0 for s, copy in enumerate(problem.has_copy.tolist()))
    start = (0, tuple(0 for _ in size), copies)
    queue = [(0, start)]
    best = {start: 0}

    def after_running(step: int, there: tuple[int, ...]) -> tuple[int, ...] | None:
        operands = [s for s, u in enumerate(uses) if step in u]
        if any(there[s] != size[s] and uses[s][0] < step for s in operands):
            return None
        now = [size[s] if s in operands else bytes_ for s, bytes_ in enumerate(there)]
        shared = sum(size[output] for t, output, _ in problem.merged if t == step)
        if sum(now) - shared > problem.capacity:
            return None
        return tuple(0 if uses[s] and uses[s][-1] == step else b for s, b in enumerate(now))

    while queue:
        cost, state = heapq.heappop(queue)
        step, there, copied = state
        if step == problem.steps:
            return cost
        if best[state] < cost:
            continue
        options = []
        now = after_running(step, there)
        if now is not None:
            options.append((0, (step + 1, now, copied)))
        for s, bytes_ in enumerate(there):
            if bytes_:
                fresh = copied[s] <= size[s] - bytes_
                leaves = _changed(there, s, -unit[s])
                with_copy = _changed(copied, s, unit[s]) if fresh else copied
                options.append((unit[s] if fresh else 0, (step, leaves, with_copy)))
            if bytes_ < size[s] and uses[s] and uses[s][0] < step <= uses[s][-1]:
                options.append((unit[s], (step, _changed(there, s, unit[s]), copied)))
        for more, reached in options:
            if cost + more < best.get(reached, cost + more + 1):
                best[reached] = cost + more
                heapq.heappush(queue, (cost + more, reached))
    raise AssertionError("no legal plan")


def _changed(values: tuple[int, ...], at: int, by: int) -> tuple[int, ...]:
    return (*values[:at], values[at] + by, *values[at + 1 :])


def solved(solver, problem: ReplacementProblem, **options) -> Outcome[ReplacementSolution]:
    """Solve and insist on a legal solution."""
    outcome = solver.solve(problem, deadline=options.pop("deadline", Deadline(60)), **options)
    assert outcome.solution is not None, outcome
    found = complaints(problem, outcome.solution)
    assert found == [], found
    return outcome
