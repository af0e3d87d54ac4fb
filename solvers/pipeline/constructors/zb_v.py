"""ZB-V: no bubble in the memory of 1F1B at equal costs (arXiv 2401.10241, section 6)."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, product, repeat
from typing import TYPE_CHECKING

import numpy as np

from solvers.pipeline.constructors.catalogue import OUT_OF_TIME, InapplicableError
from solvers.pipeline.constructors.words import expect_within_kernels
from solvers.pipeline.policy_search import cheapest, with_shorter_stages
from solvers.pipeline.ranked_order import OrderPolicy, RankedOrders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from solvers.protocol import Deadline

FORWARD, BACKWARD, WEIGHT = range(3)
_POLICIES = [
    OrderPolicy(reach_at_start=start, reach_at_end=1 << 30, weight_delay=delay)
    for start, delay in product((0, 20), (0, 15, 30, 100))
]


def zb_v(problem: PipelineProblem, deadline: Deadline) -> PipelineSchedule:
    """Return ZB-V with the gradients of the weights where they fit best at the true costs.

    Where a device has no limit, it holds as many microbatches of its two stages as there are
    devices.

    Raises
    ------
    InapplicableError
        If the limits leave no room for it, or nothing was found by the deadline.
    """
    expect_within_kernels(problem)
    devices, microbatches = problem.devices, problem.microbatches
    limits = tuple(
        devices * sum(problem.stages[stage].activation_bytes for stage in own)
        if limit is None
        else limit
        for limit, own in zip(problem.limits, problem.stages_of, strict=True)
    )
    orders = RankedOrders(replace(problem, limits=limits))
    found = [
        best
        for more in (0, 1, 2, 4)
        if not deadline.expired()
        and (best := cheapest(orders, zb_v_ranks(devices, microbatches, more), _POLICIES, deadline))
    ]
    if not found and deadline.expired():
        raise InapplicableError(OUT_OF_TIME)
    if not found:
        raise InapplicableError("the limits leave no room for a microbatch on every stage")
    found.sort(key=lambda chosen: chosen.cost)
    best = min(
        (with_shorter_stages(orders, chosen, deadline) for chosen in found[:2]),
        key=lambda chosen: chosen.cost,
    )
    return orders.schedule("zb-v", best.order)


def zb_v_ranks(devices: int, microbatches: int, more: int = 0) -> NDArray[np.int64]:
    """Return the places of F and B in the orders of the devices, W with its B.

    Parameters
    ----------
    devices, microbatches : int
    more : int
        Forward passes that each device starts with beyond the published.

    Returns
    -------
    numpy.ndarray
        ``[kind, stage, microbatch]``.
    """
    ranks = np.zeros((3, 2 * devices, microbatches), dtype=np.int64)
    for device in range(devices):
        done: dict[tuple[int, int], int] = {}
        for place, (kind, stage) in enumerate(_device_passes(devices, device, microbatches, more)):
            microbatch = done.get((kind, stage), 0)
            if microbatch < microbatches:
                ranks[kind, stage, microbatch] = place
                done[kind, stage] = microbatch + 1
    ranks[WEIGHT] = ranks[BACKWARD]
    return ranks


def _device_passes(
    devices: int, device: int, microbatches: int, more: int
) -> Iterator[tuple[int, int]]:
    down, up = device, 2 * devices - 1 - device
    first = max(1, 2 * (devices - device) - 1 + more)
    return chain(
        repeat((FORWARD, down), first),
        [(FORWARD, up), (FORWARD, down)] * device,
        [(FORWARD, up), (BACKWARD, up)] * (devices - device),
        [(FORWARD, down), (BACKWARD, down), (FORWARD, up), (BACKWARD, up)] * microbatches,
    )
