"""Plans that move nothing: the lowest of several placements of whole lives, and its entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from solvers.contenders.assemble import assemble
from solvers.contenders.fixed_order import place_whole_lives

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.problem import PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.contenders.fixed_order import FixedOrder, Packer, WholeLifePlacement
    from solvers.protocol import Deadline

# Of the time left, what one placement may take; the first ones are the most promising.
_SHARE = 0.5


class Placed(NamedTuple):
    """A fixed order and offsets for it."""

    fixed: FixedOrder
    placement: WholeLifePlacement


def lowest_placement(
    problem: PlanningProblem, candidates: Iterable[FixedOrder], pack: Packer, deadline: Deadline
) -> Placed | None:
    """Place each candidate and return the lowest arena; None if none fits the memory.

    Stops when an arena is as low as the candidates' peaks allow. Of equal arenas the earlier
    candidate wins.

    Parameters
    ----------
    candidates : iterable of FixedOrder
        The first one has the lowest peak. Taken one by one, so that a generator makes no more of
        them than are needed.
    """
    capacity = problem.capacity_bytes
    alignment = problem.target.nearest.alignment_bytes
    seen: set[tuple[object, ...]] = set()
    best: Placed | None = None
    known: Placed | None = None
    lowest_peak: int | None = None
    for fixed in candidates:
        if lowest_peak is None:
            lowest_peak = fixed.peak_bytes
        if (fixed.order, fixed.in_place, fixed.optional) in seen:
            continue
        seen.add((fixed.order, fixed.in_place, fixed.optional))
        if best is not None and (
            deadline.expired() or fixed.peak_bytes + alignment > best.placement.height_bytes
        ):
            continue
        share = deadline.within(_SHARE * deadline.remaining_s())
        start = known.placement if known and known.fixed.order == fixed.order else None
        placement = place_whole_lives(fixed, pack, share, start)
        if placement is None:
            continue
        if start is None or placement.height_bytes < start.height_bytes:
            known = Placed(fixed, placement)
        if capacity is not None and placement.height_bytes > capacity:
            continue
        if best is None or placement.height_bytes < best.placement.height_bytes:
            best = Placed(fixed, placement)
            if placement.height_bytes < lowest_peak + alignment:
                break
    return best


def offer_placement(
    problem: PlanningProblem,
    board: Scoreboard,
    placed: Placed,
    contender: str,
    *,
    deadline: Deadline,
    seed: int,
) -> None:
    """Write the plan down and enter it."""
    board.offer(
        contender,
        assemble(
            problem,
            placed.fixed.order,
            placed.placement.in_place,
            placed.placement.episodes,
            contender=contender,
            deadline=deadline,
            seed=seed,
        ),
    )
