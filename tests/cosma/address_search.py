"""Least traffic in COSMA's terms by a search over memory maps: steps, addresses, copies."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from ..joint.brute_force import rows  # noqa: TID252

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.joint_problem import JointProblem

Map = tuple[tuple[int, int], ...]  # (storage, address), ascending


def least_traffic_with_addresses(problem: JointProblem) -> int | None:
    """Return the optimum of (1)-(12), None if there is none.

    Dijkstra's algorithm over (operators done, memory map, storages with a copy), one step at a
    time: of what was resident each is preserved where it lies, spilled or dropped; of what has a
    copy each may be retrieved to any address; results go to any address. No overwriting, no
    storages in parts.
    """
    size = problem.size.tolist()
    predecessors, users, starters = (
        rows(problem.predecessors), rows(problem.users), rows(problem.starters),
    )  # fmt: skip
    counted = [s for s in range(len(size)) if users[s]]
    everything = frozenset(range(problem.operators))

    def is_free(taken: Map, storage: int, address: int) -> bool:
        return all(
            address + size[storage] <= low or low + size[other] <= address for other, low in taken
        )

    def filled(taken: Map, missing: list[int]) -> Iterator[Map]:
        if not missing:
            yield tuple(sorted(taken))
            return
        for address in range(problem.capacity - size[missing[0]] + 1):
            if is_free(taken, missing[0], address):
                yield from filled((*taken, (missing[0], address)), missing[1:])

    def steps(
        done: frozenset[int], resident: Map, copied: frozenset[int]
    ) -> Iterator[tuple[int, tuple[frozenset[int], Map, frozenset[int]]]]:
        for v in everything - done:
            if not done.issuperset(predecessors[v]):
                continue
            after = done | {v}
            needed = {s for s in counted if v in users[s]}
            born = {s for s in needed if v in starters[s] and done.isdisjoint(starters[s])}
            wanted = [s for s in counted if not after.issuperset(users[s])]
            useful = [pair for pair in resident if pair[0] in needed or pair[0] in wanted]
            for kept in subsets(useful):
                stays = {s for s, _ in kept}
                spilled = {s for s, _ in resident if s in wanted} - stays - copied
                copies = copied | spilled | {s for s in born if problem.has_copy[s]}
                for back in subsets(sorted(copied - stays)):
                    if not needed - born <= stays | set(back):
                        continue
                    cost = sum(size[s] for s in (*back, *spilled))
                    for placed in filled(kept, [*sorted(born), *back]):
                        yield cost, (after, placed, copies)

    start = (frozenset[int](), (), frozenset[int]())
    queue = [(0, 0, start)]
    best: dict[object, int] = {start: 0}
    counter = 0
    while queue:
        cost, _, state = heapq.heappop(queue)
        if cost > best[state]:
            continue
        if state[0] == everything:
            return cost
        for extra, reached in steps(*state):
            if cost + extra < best.get(reached, 1 << 62):
                best[reached] = cost + extra
                counter += 1
                heapq.heappush(queue, (cost + extra, counter, reached))
    return None


def subsets(items: list) -> list[tuple]:
    chosen: list[tuple] = [()]
    for item in items:
        chosen += [(*subset, item) for subset in chosen]
    return chosen
