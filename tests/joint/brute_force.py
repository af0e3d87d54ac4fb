"""Least traffic over all orders by exhaustive search, and small instances to compare with."""

from __future__ import annotations

import heapq
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from planner.graph import RaggedArray
from planner.joint_problem import JointProblem

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(array: RaggedArray) -> list[list[int]]:
    return [array.row(i).tolist() for i in range(len(array))]


def least_traffic(problem: JointProblem, *, whole_writes: bool = True) -> int | None:
    """Return the optimum by capacity alone, None if no order is feasible.

    Without ``whole_writes`` a storage may leave between the writes of its parts, as in legal plans:
    it is written out then, whether or not the caller gets a copy later, and each write makes the
    copy in the farther memory useless.

    Dijkstra's algorithm over (operators done, resident storages, storages with a copy), one
    movement or operator at a time. The statement of `JointProblem`, line by line.
    """
    size = problem.size.tolist()
    rounded = problem.ordering().size.tolist()
    predecessors, in_place = rows(problem.predecessors), rows(problem.in_place)
    starters, users, writers = map(rows, (problem.starters, problem.users, problem.writers))
    counted = [s for s in range(len(size)) if size[s] > 0 and users[s]]
    uses = [[s for s in counted if v in users[s]] for v in range(problem.operators)]
    everything = frozenset(range(problem.operators))

    def alive(done: frozenset[int], storage: int) -> bool:
        begun = not starters[storage] or not done.isdisjoint(starters[storage])
        return begun and (problem.kept[storage] or not done.issuperset(users[storage]))

    def in_parts(done: frozenset[int], storage: int) -> bool:
        written = done.intersection(writers[storage])
        return bool(written) and len(written) < len(writers[storage])

    def moves(
        done: frozenset[int], resident: frozenset[int], copied: frozenset[int]
    ) -> Iterator[tuple[int, frozenset[int], frozenset[int], frozenset[int]]]:
        for s in counted:
            partly = in_parts(done, s)
            if s in resident and done and not (partly and whole_writes):
                has_copy = s in copied or (problem.has_copy[s] and not partly)
                cost = 0 if has_copy else size[s]
                yield cost, done, resident - {s}, copied | {s}
            if s not in resident and alive(done, s):
                used = sum(rounded[r] for r in resident) + rounded[s]
                if used <= problem.capacity:
                    yield size[s], done, resident | {s}, copied
        for v in everything - done:
            if not done.issuperset(predecessors[v]):
                continue
            after = done | {v}
            born = {s for s in uses[v] if not alive(done, s) and v in starters[s]}
            # used and neither resident nor born now: read back first
            needed = {s for s in uses[v] if s not in born}
            if after == everything:
                needed |= {s for s in counted if problem.kept[s] and s not in born}
            if not needed <= resident:
                continue
            gain = max(
                (rounded[s] for s in in_place[v] if after.issuperset(users[s]) and s in needed),
                default=0,
            )
            gain = min(gain, sum(rounded[s] for s in born))
            if sum(rounded[s] for s in resident | born) - gain > problem.capacity:
                continue
            stay = frozenset(s for s in resident | born if alive(after, s))
            valid = (s for s in copied if alive(after, s) and v not in writers[s])
            yield 0, after, stay, frozenset(valid)

    start = frozenset(s for s in counted if not starters[s])
    queue = [(0, 0, (frozenset[int](), start, frozenset[int]()))]
    best = {queue[0][2]: 0}
    counter = 0
    while queue:
        cost, _, state = heapq.heappop(queue)
        if cost > best[state]:
            continue
        if state[0] == everything:
            return cost
        for extra, *after in moves(*state):
            reached = (after[0], after[1], after[2])
            if cost + extra < best.get(reached, 1 << 62):
                best[reached] = cost + extra
                counter += 1
                heapq.heappush(queue, (cost + extra, counter, reached))
    return None


def smallest_capacity(problem: JointProblem) -> int:
    """Return the largest operands of one operator, overwriting apart."""
    rounded = problem.ordering().size
    needed = [0] * problem.operators
    for storage, row in enumerate(rows(problem.users)):
        for v in row:
            needed[v] += int(rounded[storage])
    return max(needed, default=0)


def random_problem(
    seed: int, operators: int, *, alignment: int = 1, everything: bool = False
) -> JointProblem:
    """Make a small problem at a capacity near the least.

    Parameters
    ----------
    everything : bool
        Storages in several parts, in-place options, kept results, inputs resident from the start;
        else graph inputs come at their first use and have a copy, and results die.
    """
    rng = random.Random(seed)
    size: list[int] = []
    starters: list[list[int]] = []
    users: list[list[int]] = []
    writers: list[list[int]] = []
    kept: list[bool] = []
    copy: list[bool] = []
    predecessors: list[set[int]] = [set() for _ in range(operators)]
    overwritten: list[set[int]] = [set() for _ in range(operators)]
    from_start = everything and rng.random() < 0.5

    def storage(first: list[int], *, given: bool) -> int:
        size.append(rng.randint(1, 9))
        starters.append(first)
        users.append(list(first))
        writers.append(list(first))
        kept.append(False)
        copy.append(given and not from_start)
        return len(size) - 1

    inputs = [storage([], given=True) for _ in range(rng.randint(0, 2))]
    available: list[int] = list(inputs)
    for v in range(operators):
        for s in rng.sample(available, min(len(available), rng.randint(1, 3))):
            users[s].append(v)
            predecessors[v].update(w for w in writers[s] if w < v)
            if everything and rng.random() < 0.4:
                overwritten[v].add(s)
        if everything and available and v > 1 and rng.random() < 0.2:
            target = rng.choice(available)
            if target not in inputs and v not in users[target] and len(users[target]) == 1:
                # a second part of a storage that nobody has read yet
                starters[target].append(v)
                writers[target].append(v)
                users[target].append(v)
                continue
        for _ in range(rng.choice((1, 1, 1, 2))):
            available.append(storage([v], given=False))
    for s in inputs:
        if not from_start:
            starters[s] = list(users[s])
    for s in range(len(size)):
        # a reader of a storage in parts comes after all of them
        for v in users[s]:
            if v not in writers[s]:
                predecessors[v].update(w for w in writers[s] if w < v)
    if everything:
        for s in range(len(size)):
            if s not in inputs and users[s] == writers[s] and rng.random() < 0.7:
                kept[s] = True
    problem = JointProblem(
        operators=operators,
        capacity=0,
        alignment=alignment,
        size=np.array(size, dtype=np.int64),
        has_copy=np.array(copy, dtype=bool),
        kept=np.array(kept, dtype=bool),
        predecessors=RaggedArray.from_rows([sorted(row) for row in predecessors]),
        starters=RaggedArray.from_rows(starters),
        users=RaggedArray.from_rows([sorted(set(row)) for row in users]),
        writers=RaggedArray.from_rows(writers),
        in_place=RaggedArray.from_rows([sorted(row) for row in overwritten]),
    )
    capacity = smallest_capacity(problem) + alignment * rng.randint(0, 3)
    return replace(problem, capacity=capacity // alignment * alignment)
