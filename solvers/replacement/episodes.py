"""From residency to buffers and back: what the packer gets, and what a solution costs.

A **stay** is an episode without an address yet. Stays that meet in an in-place pair lie at one
address, so together they are one buffer for the packer.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.problem import Episode, OffsetProblem, ReplacementSolution

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from solvers.replacement.demand import Demand


class Stay(NamedTuple):
    """``storage`` is resident during steps [start, end)."""

    storage: int
    start: int
    end: int


class Buffers(NamedTuple):
    """Stays as an offset problem; ``of_stay[i]`` is the buffer that holds stay ``i``."""

    problem: OffsetProblem
    of_stay: tuple[int, ...]


def stays_between(demand: Demand, dropped: Set[tuple[int, int]]) -> list[Stay]:
    """Cut each storage where it leaves, (storage, last use step before) in ``dropped``."""
    stays = []
    for storage, uses in enumerate(demand.uses):
        if not uses:
            continue
        start = uses[0]
        for before, after in itertools.pairwise(uses):
            if (storage, before) in dropped:
                stays.append(Stay(storage, start, before + 1))
                start = after
        stays.append(Stay(storage, start, uses[-1] + 1))
    return stays


def traffic_bytes(demand: Demand, stays: Iterable[Stay | Episode]) -> int:
    """Bytes written out and read back: one read per return, one write per storage that leaves."""
    count: dict[int, int] = {}
    for stay in stays:
        count[stay.storage] = count.get(stay.storage, 0) + 1
    return sum(
        demand.size[storage] * (stays - 1 + (not demand.has_copy[storage]))
        for storage, stays in count.items()
        if stays > 1
    )


def episodes_to_buffers(demand: Demand, stays: Sequence[Stay]) -> Buffers:
    """Join the stays that meet in in-place pairs, and state the packing problem.

    A stay whose partner is not given is a buffer of its own.
    """
    starting = {(stay.storage, stay.start): i for i, stay in enumerate(stays)}
    ending = {(stay.storage, stay.end): i for i, stay in enumerate(stays)}
    source: dict[int, int] = {}
    for output, overwritten in demand.overwrites.items():
        step = demand.uses[output][0]
        above = starting.get((output, step))
        below = ending.get((overwritten, step + 1))
        if above is not None and below is not None:
            source[above] = below
    of_stay = [-1] * len(stays)
    heads = [i for i in range(len(stays)) if i not in source]
    for buffer, head in enumerate(heads):
        of_stay[head] = buffer
    for i in sorted(source, key=lambda i: stays[i].start):
        of_stay[i] = of_stay[source[i]]
    lower = [stays[head].start for head in heads]
    upper = [stays[head].end for head in heads]
    for buffer, stay in zip(of_stay, stays, strict=True):
        upper[buffer] = max(upper[buffer], stay.end)
    problem = OffsetProblem(
        lower=np.array(lower, dtype=np.int64),
        upper=np.array(upper, dtype=np.int64),
        size=np.array([demand.rounded[stays[head].storage] for head in heads], dtype=np.int64),
        alignment=np.full(len(heads), demand.alignment, dtype=np.int64),
        capacity=demand.capacity,
    )
    return Buffers(problem, tuple(of_stay))


def placed(
    demand: Demand, stays: Sequence[Stay], of_stay: Sequence[int], offsets: Sequence[int]
) -> ReplacementSolution:
    """Give each stay the offset of its buffer."""
    return solution(
        demand,
        [
            Episode(*stay, offset=offsets[buffer])
            for stay, buffer in zip(stays, of_stay, strict=True)
        ],
    )


def solution(demand: Demand, episodes: Iterable[Episode]) -> ReplacementSolution:
    """Sort episodes and count their traffic."""
    ordered = tuple(sorted(episodes))
    return ReplacementSolution(ordered, traffic_bytes(demand, ordered))


def evict_everything(demand: Demand) -> ReplacementSolution:
    """Place each step's operands side by side, and nothing else: the plan of last resort."""
    episodes = []
    for step, owners in enumerate(demand.owners):
        offset = 0
        at: dict[int, int] = {}
        for storage in owners:
            at[storage] = offset
            offset += demand.rounded[storage]
        for output, source in demand.overwritten_at.get(step, ()):
            at[output] = at[source]
        episodes += [Episode(storage, step, step + 1, at[storage]) for storage in at]
    return solution(demand, episodes)
