"""Why stays do not fit: small sets of them that provably cannot be placed together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.problem import Status
from solvers.deletion_filter import without_bystanders
from solvers.replacement.episodes import Stay
from solvers.replacement.packing import place_stays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from solvers.protocol import Deadline
    from solvers.replacement.demand import Demand
    from solvers.replacement.packing import Packer

# One proof may take this long; a set that is not decided by then counts as placeable.
PROOF_LIMIT_S = 0.5
SHORTEST_WINDOW = 4


def find_conflicts(
    demand: Demand, stays: Sequence[Stay], pack: Packer, deadline: Deadline
) -> list[list[Stay]]:
    """Find conflicts in windows of time, the shortest windows first.

    Stays clipped to a window are a relaxation, and small ones are decided quickly. All
    conflicts found in windows of one length are returned; then longer ones are not tried.

    Returns
    -------
    list of list of Stay
        Each list cannot be placed in the capacity. Empty if nothing could be proven in time.
    """
    length = SHORTEST_WINDOW
    while True:
        conflicts: list[list[Stay]] = []
        start = 0
        while start < demand.steps and not deadline.expired():
            window = clipped(stays, start, start + length)
            if _impossible(demand, window, pack, deadline):
                conflicts.append(_smallest(demand, window, pack, deadline))
                start += length // 2
            start += length // 2
        if conflicts or length >= demand.steps or deadline.expired():
            return conflicts
        length *= 2


def clipped(stays: Sequence[Stay], start: int, end: int) -> list[Stay]:
    """Parts of the stays during steps [start, end)."""
    return [
        Stay(stay.storage, max(stay.start, start), min(stay.end, end))
        for stay in stays
        if stay.start < end and stay.end > start
    ]


def _impossible(demand: Demand, stays: Sequence[Stay], pack: Packer, deadline: Deadline) -> bool:
    limit = deadline.within(PROOF_LIMIT_S)
    return place_stays(demand, stays, pack, limit)[0] is Status.INFEASIBLE


def _smallest(demand: Demand, stays: list[Stay], pack: Packer, deadline: Deadline) -> list[Stay]:
    by_time = sorted(stays, key=lambda stay: (stay.start, stay.end, stay.storage))
    return without_bystanders(
        by_time, lambda rest: _impossible(demand, rest, pack, deadline), deadline
    )
