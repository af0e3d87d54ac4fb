"""Replacement by capacity alone: a policy's evictions when addresses do not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.replacement.eviction import Policy, Residents, choose_victims

if TYPE_CHECKING:
    from solvers.protocol import Deadline
    from solvers.replacement.demand import Demand


def evictions_by_capacity(
    demand: Demand, policy: Policy, deadline: Deadline, fraction: float = 1.0
) -> set[tuple[int, int]] | None:
    """Run the order and evict when the capacity does not suffice.

    Storages that are evicted count as gone since their last use: the traffic is the same.
    The furthest next use rule is L. A. Belady, "A study of replacement algorithms for a
    virtual-storage computer" (1966); it is optimal for equal sizes and equal costs only.

    Parameters
    ----------
    fraction : float
        Of the capacity, beyond which storages are evicted; the rest is slack for the packer.

    Returns
    -------
    set of (storage, last use step before it leaves), or None
        None when the deadline came first.
    """
    residents = Residents(demand)
    limits = demand.limits(fraction)
    used = 0
    evicted: set[tuple[int, int]] = set()
    for step, operands in enumerate(demand.operands):
        if step % 64 == 0 and deadline.expired():
            return None
        missing = [s for s in demand.owners[step] if s not in residents]
        used += sum(demand.rounded[s] for s in missing)
        if used > limits[step]:
            for storage in choose_victims(policy, residents, step, used - limits[step]):
                residents.leave(storage)
                residents.copied[storage] = True
                used -= demand.rounded[storage]
                evicted.add((storage, residents.last_use[storage]))
        for storage in missing:
            residents.enter(storage)
        residents.pass_step(step, operands, demand.following[step])
        for output, source in demand.overwritten_at.get(step, ()):
            residents.leave(source)
            residents.enter(output)
        for storage, after in zip(operands, demand.following[step], strict=True):
            if after == demand.steps and storage in residents:
                residents.leave(storage)
                used -= demand.rounded[storage]
    return evicted
