"""The peak of an order, counted the plain way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.problem import OrderProblem


def peak_of(problem: OrderProblem, order: Iterable[int]) -> int:
    """Return the largest number of bytes live at once when the operators run in this order.

    Follows the definition in `planner.problem.OrderProblem` storage by storage and shares nothing
    with the kernels. Storages that are kept are never overwritten in place. O(operators x storages).

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

    def is_live(storage: int, *, running: int | None = None) -> bool:
        begun = ran if running is None else ran | {running}
        started = not starters[storage] or bool(starters[storage] & begun)
        return started and (bool(problem.kept[storage]) or not users[storage] <= ran)

    def live_bytes(running: int | None = None) -> int:
        return sum(b for s, b in enumerate(size) if is_live(s, running=running))

    peak = live_bytes()
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
        peak = max(peak, live_bytes(running=v) - max(gains, default=0))
        ran.add(v)
    if len(ran) != problem.operators:
        raise ValueError(f"{len(ran):,} of {problem.operators:,} operators run")
    return peak
