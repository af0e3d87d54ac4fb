"""An exhaustive search over addresses and moves, and a judge of solutions."""

from __future__ import annotations

import heapq
import itertools

import numpy as np

from planner.problem import (
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
        if e.offset + rounded(problem, e.storage) > problem.capacity:
            found.append(f"beyond the capacity: {e}")
    pairs = {frozenset((output, source)): step for step, output, source in problem.merged}
    for a, b in itertools.combinations(episodes, 2):
        shared = range(max(a.start, b.start), min(a.end, b.end))
        if not shared:
            continue
        if a.storage == b.storage:
            found.append(f"resident twice: {a} {b}")
        disjoint = (
            a.offset + rounded(problem, a.storage) <= b.offset
            or b.offset + rounded(problem, b.storage) <= a.offset
        )
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
        if uses and (mine[0].start != uses[0] or mine[-1].end != uses[-1] + 1):
            found.append(f"storage {storage} lives beyond its uses")
        for step in uses:
            if sum(e.start <= step < e.end for e in mine) != 1:
                found.append(f"storage {storage} is absent at step {step}")
        if len(mine) > 1:
            traffic += int(problem.size[storage]) * (len(mine) - int(problem.has_copy[storage]))
    if traffic != solution.traffic_bytes:
        found.append(f"traffic is {traffic}, not {solution.traffic_bytes}")
    return found


def solved(solver, problem: ReplacementProblem, **options) -> Outcome[ReplacementSolution]:
    """Solve and insist on a legal solution."""
    outcome = solver.solve(problem, deadline=options.pop("deadline", Deadline(60)), **options)
    assert outcome.solution is not None, outcome
    found = complaints(problem, outcome.solution)
    assert found == [], found
    return outcome
