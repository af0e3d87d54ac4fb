"""The best of several policies for orders by rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from solvers.pipeline.ranked_order import OrderPolicy, RankedOrder, RankedOrders
    from solvers.protocol import Deadline

_STEPS = 40


class ChosenOrder(NamedTuple):
    """An order, its cost under the problem's objective, and what it was made with."""

    cost: int
    order: RankedOrder
    rank: NDArray[np.int64]
    policy: OrderPolicy


def cheapest(
    orders: RankedOrders,
    rank: NDArray[np.int64],
    policies: Iterable[OrderPolicy],
    deadline: Deadline,
) -> ChosenOrder | None:
    """Return the cheapest order of these policies, or of those that there is time for.

    None if a device has no room for any, or no time is left.
    """
    best = None
    for policy in policies:
        if deadline.expired():
            break
        order = orders.order(rank, policy, deadline)
        if order is not None and (best is None or orders.cost(order) < best.cost):
            best = ChosenOrder(orders.cost(order), order, rank, policy)
    return best


def with_shorter_stages(
    orders: RankedOrders, chosen: ChosenOrder, deadline: Deadline
) -> ChosenOrder:
    """Return the order, or a cheaper one whose devices fill gaps sooner that make them too long."""
    least = orders.problem.ideal_ticks
    best = chosen
    for step in range(1, _STEPS // 2):
        target = least + (chosen.cost - least) * (_STEPS - step) // _STEPS
        policy = chosen.policy._replace(longest_stage=target)
        found = cheapest(orders, chosen.rank, (policy,), deadline)
        if found is not None and found.cost < best.cost:
            best = found
    return best
