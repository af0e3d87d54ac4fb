"""Gaps in which only a part of a storage leaves: always its end, so that little is written.

Or always its beginning: which of the two is a matter of addresses, not of bytes. What is written of
a storage is then what leaves in the gap in which most of it leaves, and what is read back the sum
over all gaps. What leaves is cut off at a multiple of the alignment: other bytes could not be used
by anyone.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from planner.plans import ByteRange
from solvers.replacement.episodes import Stay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from solvers.replacement.demand import Demand
    from solvers.replacement.gaps import Gap

    # Bytes of each storage that stay in the gap after a use: (storage, use step) to a multiple of
    # the alignment. Gaps that are not named are kept.
    Kept = Mapping[tuple[int, int], int]


def stays_of_parts(demand: Demand, kept: Kept, from_the_end: Set[int] = frozenset()) -> list[Stay]:
    """Cut each storage where a part of it leaves, and its life where that part is away.

    Parameters
    ----------
    from_the_end : set of int
        Storages of which the end is kept and the beginning leaves.
    """
    stays = []
    for storage, uses in enumerate(demand.uses):
        if not uses:
            continue
        size, reverse = demand.size[storage], storage in from_the_end
        # Where the kept bytes end or, from the end, begin: multiples of the alignment both.
        edge = {
            use: demand.rounded[storage] - kept[storage, use] if reverse else kept[storage, use]
            for use in uses[:-1]
            if (storage, use) in kept
        }
        if reverse:
            edge = {use: size if at >= size else at for use, at in edge.items()}
        cuts = sorted(cut for cut in {0, size, *edge.values()} if cut <= size)
        for begin, end in itertools.pairwise(cuts):
            part = None if len(cuts) == 2 else ByteRange(begin, end)
            start = uses[0]
            for before, after in itertools.pairwise(uses):
                away = before in edge and (begin < edge[before] if reverse else edge[before] < end)
                if away:
                    stays.append(Stay(storage, start, before + 1, part))
                    start = after
            stays.append(Stay(storage, start, uses[-1] + 1, part))
    return stays


def parts_traffic(demand: Demand, kept: Kept) -> int:
    """Bytes read and written where only the rest of each storage leaves."""
    read = 0
    written: dict[int, int] = {}
    for (storage, _), bytes_ in kept.items():
        leaves = max(0, demand.size[storage] - bytes_)
        read += leaves
        if not demand.has_copy[storage]:
            written[storage] = max(written.get(storage, 0), leaves)
    return read + sum(written.values())


def overfull_bytes(
    demand: Demand, gaps: Sequence[Gap], kept: Kept, limits: Sequence[int] | None = None
) -> np.ndarray:
    """Rounded bytes by which each step exceeds the capacity, negative where some are free."""
    change = np.zeros(demand.steps + 1, dtype=np.int64)
    for gap in gaps:
        resident = kept.get((gap.storage, gap.before), demand.rounded[gap.storage])
        change[gap.before + 1] += resident
        change[gap.after] -= resident
    live = np.cumsum(change[:-1]) + np.array(demand.footprint, dtype=np.int64)
    return live - np.array(demand.capacity if limits is None else limits, dtype=np.int64)


def trimmed(demand: Demand, gaps: Sequence[Gap], kept: Kept) -> dict[tuple[int, int], int]:
    """Keep more of what leaves, gap by gap, as far as the capacity allows.

    Gaps of storages that have been written anyway come last: keeping there saves reads only.
    """
    result = dict(kept)
    free = -overfull_bytes(demand, gaps, result)
    rows = [gap for gap in gaps if (gap.storage, gap.before) in result]
    rows.sort(key=lambda gap: (demand.has_copy[gap.storage], gap.after - gap.before, gap))
    for gap in rows:
        steps = slice(gap.before + 1, gap.after)
        key = (gap.storage, gap.before)
        room = demand.rounded[gap.storage] - result[key]
        more = min(room, int(free[steps].min()) // demand.alignment * demand.alignment)
        if more > 0:
            result[key] += more
            free[steps] -= more
    return {key: bytes_ for key, bytes_ in result.items() if bytes_ < demand.rounded[key[0]]}
