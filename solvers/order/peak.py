"""The peak of an order, counted the plain way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.problem import OrderProblem


def peak_of(problem: OrderProblem, order: Iterable[int]) -> int:
    """Return the largest number of bytes live at once when the operators run in this order.

    Follows the definition in `planner.problem.OrderProblem` storage by storage and shares nothing
    with the kernels. Storages that are kept are never overwritten in place. Takes time in
    proportion to operators times storages.

    Parameters
    ----------
    order : iterable of int
        Every operator once, each after its predecessors.

    Raises
    ------
    ValueError
        If it is no such order.
    """
    size = [int(bytes_) for bytes_ in problem.size]
    starters = [set(problem.starters.row(s).tolist()) for s in range(len(size))]
    users = [set(problem.users.row(s).tolist()) for s in range(len(size))]
    ran: set[int] = set()

    def live_bytes(begun: set[int]) -> int:
        return sum(
            size[s]
            for s in range(len(size))
            if (not starters[s] or not starters[s].isdisjoint(begun))
            and (problem.kept[s] or not users[s] <= ran)
        )

    peak = live_bytes(ran)
    for v in order:
        if not 0 <= v < problem.operators or v in ran:
            raise ValueError(f"operator {v} is unknown or runs twice")
        if not set(problem.predecessors.row(v).tolist()) <= ran:
            raise ValueError(f"operator {v} runs before one of its predecessors")
        gains = [
            size[s]
            for s in problem.in_place.row(v).tolist()
            if users[s] - ran <= {v} and not problem.kept[s]
        ]
        peak = max(peak, live_bytes(ran | {v}) - max(gains, default=0))
        ran.add(v)
    if len(ran) != problem.operators:
        raise ValueError(f"{len(ran):,} of {problem.operators:,} operators run")
    return peak
