"""Plans in which only parts of storages leave, on a fixed order."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from solvers.replacement.packing import SLACK_FRACTIONS, place_stays
from solvers.replacement.parts import stays_of_parts, trimmed
from solvers.replacement.relocation import place_with_moves

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set

    from planner.problem import ReplacementSolution
    from solvers.protocol import Deadline
    from solvers.replacement.demand import Demand
    from solvers.replacement.gaps import Gap
    from solvers.replacement.packing import Packer
    from solvers.replacement.partial_model import PartialAnswer
    from solvers.replacement.parts import Kept

# Storages in parts of which all ways of keeping the beginning or the end are tried.
MOST_PARTED = 4
# How much less of the capacity matters where amounts are chosen byte by byte.
FINE_FRACTIONS = (0.999, 0.995, 0.99)
# Of the time left, what one choice of parts and one packing may take.
MODEL_SHARE = 0.4
PACKING_SHARE = 0.3
SLACK_SHARE = 0.1


def place_parts(
    demand: Demand, kept: Kept, pack: Packer, deadline: Deadline
) -> ReplacementSolution | None:
    """Place what stays, with moves only where that cannot be done without."""
    for from_the_end in _kept_ends(demand, kept):
        stays = stays_of_parts(demand, kept, from_the_end)
        solution = place_stays(demand, stays, pack, deadline)[1]
        if solution is not None:
            return solution
        if deadline.expired():
            break
    if demand.relocation:
        return place_with_moves(demand, stays_of_parts(demand, kept), deadline)
    return None


def _kept_ends(demand: Demand, kept: Kept) -> Iterator[frozenset[int]]:
    """Yield storages of which to keep the end: what is kept lies better at an edge of the memory.

    None at first. Of few storages in parts every subset, of more every other one.
    """
    parted = sorted({storage for (storage, _), bytes_ in kept.items() if bytes_ > 0})
    if len(parted) <= MOST_PARTED:
        for count in range(len(parted) + 1):
            yield from map(frozenset, combinations(parted, count))
        return
    yield frozenset()
    yield frozenset(parted[::2])
    yield frozenset(parted[1::2])


def trim_evictions(
    demand: Demand,
    gaps: Sequence[Gap],
    evictions: Set[tuple[int, int]],
    pack: Packer,
    deadline: Deadline,
) -> ReplacementSolution | None:
    """Let no more leave in the gaps that a policy chose than has to."""
    return place_parts(demand, trimmed(demand, gaps, dict.fromkeys(evictions, 0)), pack, deadline)


def plan_in_parts(
    demand: Demand, gaps: Sequence[Gap], pack: Packer, deadline: Deadline, best_bytes: int
) -> tuple[ReplacementSolution | None, int]:
    """Choose parts with the least traffic and place them, for less of the capacity if need be.

    Parameters
    ----------
    best_bytes : int
        Traffic of a plan that is known; what is not better is not placed.

    Returns
    -------
    ReplacementSolution or None
        None if nothing better has been placed.
    int
        A bound on the traffic of all plans.

    Raises
    ------
    ImportError
        If ortools cannot be loaded.
    """
    from solvers.replacement.partial_model import choose_parts

    bound = 0
    for fraction in (1.0, *FINE_FRACTIONS, *SLACK_FRACTIONS):
        if deadline.expired():
            break
        share = deadline.remaining_s() * (MODEL_SHARE if fraction == 1.0 else SLACK_SHARE)
        answer: PartialAnswer = choose_parts(demand, gaps, deadline.within(share), fraction)
        if fraction == 1.0:
            bound = answer.bound
        if answer.kept is None:
            continue
        share = deadline.remaining_s() * (PACKING_SHARE if fraction == 1.0 else SLACK_SHARE)
        solution = place_parts(demand, answer.kept, pack, deadline.within(share))
        if solution is not None:
            return (solution if solution.traffic_bytes < best_bytes else None), bound
    return None, bound
