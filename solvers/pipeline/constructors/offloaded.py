"""Published orders that fit because a part of what they hold is offloaded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.pipelining.delayed_starts import cost_ticks
from planner.pipelining.placements import v_placement
from planner.pipelining.schedule import PipelineSchedule
from planner.pipelining.simulator import simulate_pipeline
from solvers.pipeline.constructors.catalogue import OUT_OF_TIME, InapplicableError
from solvers.pipeline.constructors.grouped_order import grouped_order
from solvers.pipeline.constructors.v_half import v_half
from solvers.pipeline.constructors.v_min import v_min
from solvers.pipeline.constructors.zb_v import zb_v
from solvers.pipeline.offloading import with_offloading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.pipelining.problem import PipelineProblem
    from solvers.protocol import Deadline


def offloaded(problem: PipelineProblem, deadline: Deadline) -> PipelineSchedule:
    """Return the cheapest of some published orders with copies that keep it within the limits.

    The limits may be below what any schedule without copies needs.

    Raises
    ------
    InapplicableError
        If the costs have no link to the host, or no order fits with it or was found in time.
    """
    if problem.offloading is None:
        raise InapplicableError("the costs have no link to the host")
    best: tuple[int, PipelineSchedule] | None = None
    for plain in _orders(replace(problem, limits=(None,) * problem.devices), deadline):
        if deadline.expired():
            break
        found = with_offloading(problem, plain)
        if found is None:
            continue
        cost = cost_ticks(problem, simulate_pipeline(problem, found))
        if best is None or cost < best[0]:
            best = (cost, found)
    if best is None and deadline.expired():
        raise InapplicableError(OUT_OF_TIME)
    if best is None:
        raise InapplicableError("no order fits, even with copies to the host")
    return replace(best[1], name="offload")


def _orders(problem: PipelineProblem, deadline: Deadline) -> Iterator[PipelineSchedule]:
    devices = problem.devices
    if problem.device_of == v_placement(devices):
        yield v_min(problem)
        yield v_half(problem)
        yield zb_v(problem, deadline)
        return
    for group in dict.fromkeys((devices, 2 * devices)):
        warm_up = [
            group * (len(own) - 1) + devices - 1 - device
            for device, own in enumerate(problem.stages_of)
        ]
        order = grouped_order(problem, group, warm_up)
        yield PipelineSchedule("grouped", problem.device_of, order)
