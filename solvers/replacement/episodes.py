"""From residency to buffers and back: what the packer gets, and what a solution costs.

A **stay** is an episode without an address yet. Stays that meet in an in-place pair lie at one
address, so together they are one buffer for the packer.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.problem import Episode, OffsetProblem, ReplacementSolution, Uses

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from planner.plans import ByteRange
    from solvers.replacement.demand import Demand


class Stay(NamedTuple):
    """``storage``, or only a ``part`` of it, is resident during steps [start, end)."""

    storage: int
    start: int
    end: int
    part: ByteRange | None = None


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


def part_bytes(demand: Demand, stay: Stay | Episode) -> int:
    """Exact bytes that a stay or an episode is about."""
    return demand.size[stay.storage] if stay.part is None else stay.part.size_bytes


def traffic_bytes(demand: Demand, stays: Iterable[Stay | Episode]) -> int:
    """Bytes written out and read back: one read per return, one write for all that leaves.

    Each part counts for itself. A stay that follows the previous one at once is no return where
    storages can be moved inside the memory.
    """
    returns: dict[tuple[int, ByteRange | None], int] = {}
    ended: dict[tuple[int, ByteRange | None], int] = {}
    size: dict[tuple[int, ByteRange | None], int] = {}
    for stay in sorted(stays, key=lambda stay: stay.start):
        key = (stay.storage, stay.part)
        moved = demand.relocation and ended.get(key) == stay.start
        if key in ended and not moved:
            returns[key] = returns.get(key, 0) + 1
        ended[key] = stay.end
        size[key] = part_bytes(demand, stay)
    return sum(
        size[key] * (count + (not demand.has_copy[key[0]])) for key, count in returns.items()
    )


class _Run(NamedTuple):
    """Stays of one storage that lie at one address, since some part is there all the time."""

    storage: int
    start: int
    end: int
    stays: list[int]


def _runs(stays: Sequence[Stay]) -> list[_Run]:
    """Join the stays of parts that meet in time; every other stay is a run of its own."""
    runs: list[_Run] = []
    in_parts: dict[int, list[int]] = {}
    for i, stay in enumerate(stays):
        if stay.part is None:
            runs.append(_Run(stay.storage, stay.start, stay.end, [i]))
        else:
            in_parts.setdefault(stay.storage, []).append(i)
    for storage, own in in_parts.items():
        latest: _Run | None = None
        for i in sorted(own, key=lambda i: stays[i].start):
            if latest is None or stays[i].start >= latest.end:
                latest = _Run(storage, stays[i].start, stays[i].end, [i])
            else:
                runs.remove(latest)
                end = max(latest.end, stays[i].end)
                latest = latest._replace(end=end, stays=[*latest.stays, i])
            runs.append(latest)
    return runs


def episodes_to_buffers(demand: Demand, stays: Sequence[Stay]) -> Buffers:
    """Join the stays that meet in in-place pairs, and state the packing problem.

    A stay whose partner is not given is a buffer of its own. Parts that are there together are one
    buffer, with what it uses when.
    """
    runs = _runs(stays)
    starting = {(run.storage, run.start): i for i, run in enumerate(runs)}
    ending = {(run.storage, run.end): i for i, run in enumerate(runs)}
    source: dict[int, int] = {}
    for output, overwritten in demand.overwrites.items():
        step = demand.uses[output][0]
        above = starting.get((output, step))
        below = ending.get((overwritten, step + 1))
        if above is not None and below is not None:
            source[above] = below
    of_run = [-1] * len(runs)
    heads = [i for i in range(len(runs)) if i not in source]
    for buffer, head in enumerate(heads):
        of_run[head] = buffer
    for i in sorted(source, key=lambda i: runs[i].start):
        of_run[i] = of_run[source[i]]
    lower = [runs[head].start for head in heads]
    upper = [runs[head].end for head in heads]
    of_stay = [-1] * len(stays)
    for buffer, run in zip(of_run, runs, strict=True):
        upper[buffer] = max(upper[buffer], run.end)
        for i in run.stays:
            of_stay[i] = buffer
    problem = OffsetProblem(
        lower=np.array(lower, dtype=np.int64),
        upper=np.array(upper, dtype=np.int64),
        size=np.array([demand.rounded[runs[head].storage] for head in heads], dtype=np.int64),
        alignment=np.full(len(heads), demand.alignment, dtype=np.int64),
        capacity=demand.capacity,
        uses=_uses(demand, stays, of_stay),
    )
    return Buffers(problem, tuple(of_stay))


def _uses(demand: Demand, stays: Sequence[Stay], of_stay: Sequence[int]) -> Uses | None:
    """Which bytes of which buffer are in use when; None where no stay is of a part."""
    if all(stay.part is None for stay in stays):
        return None
    rows = []
    for buffer, stay in zip(of_stay, stays, strict=True):
        begin, end = stay.part or (0, demand.size[stay.storage])
        end = -(-end // demand.alignment) * demand.alignment
        rows.append((buffer, stay.start, stay.end, begin, end))
    columns = np.array(sorted(rows), dtype=np.int64).T
    return Uses(columns[0].astype(np.int32), *columns[1:])


def placed(
    demand: Demand, stays: Sequence[Stay], of_stay: Sequence[int], offsets: Sequence[int]
) -> ReplacementSolution:
    """Give each stay the offset of its buffer."""
    return solution(
        demand,
        [
            Episode(stay.storage, stay.start, stay.end, offsets[buffer], stay.part)
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
