"""V-Min: about a third of the memory of 1F1B (arXiv 2405.15362)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from solvers.pipeline.blocks import BuildingBlock, VSlots, v_block
from solvers.pipeline.constructors.catalogue import InapplicableError
from solvers.pipeline.constructors.words import expect_within_kernels
from solvers.pipeline.ranked_order import OrderPolicy, RankedOrders
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule


def v_min_block(devices: int) -> BuildingBlock:
    """Return the published block."""
    shift = 2 if devices % 3 == 0 else 0
    here = range(devices)
    return v_block(
        VSlots(
            [*here],
            [2 * devices - 1 - i for i in here],
            [2 * devices + shift + i for i in here],
            [4 * devices + shift - 1 - i for i in here],
        )
    )


def v_min(problem: PipelineProblem) -> PipelineSchedule:
    """Return V-Min: at equal costs ``floor((p + 4) / 3)`` microbatches of a device's two stages.

    Raises
    ------
    InapplicableError
        If the limits leave no room for it.
    """
    return repeated_block(problem, "v-min", v_min_block(problem.devices), OrderPolicy())


def repeated_block(
    problem: PipelineProblem, name: str, block: BuildingBlock, policy: OrderPolicy
) -> PipelineSchedule:
    """Return the block repeated for every microbatch.

    Every device may hold as many microbatches as the device that holds most of them.

    Raises
    ------
    InapplicableError
        If the limits leave less memory.
    """
    expect_within_kernels(problem)
    sizes = [stage.activation_bytes for stage in problem.stages]
    most = max(block.peaks([1] * len(sizes)))
    peaks = tuple(
        max(peak, -(-most * sum(sizes[stage] for stage in own) // len(own)))
        for peak, own in zip(block.peaks(sizes), problem.stages_of, strict=True)
    )
    for device, (limit, peak) in enumerate(zip(problem.limits, peaks, strict=True)):
        if limit is not None and limit < peak:
            raise InapplicableError(f"needs {peak:,} B on device {device}, which has {limit:,}")
    orders = RankedOrders(replace(problem, limits=peaks))
    order = orders.order(block.ranks(problem.microbatches), policy, Deadline(math.inf))
    if order is None:
        raise InapplicableError("the devices wait for each other within its memory")
    return orders.schedule(name, order)
