"""What a schedule costs and needs at a glance, so that only those that may win are simulated.

Simulation and check take a second where there are fifty thousand passes, the native kernels some
hundredths.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule


class Glance(NamedTuple):
    """Ticks under the problem's objective, peak bytes per device, and what is over a limit."""

    cost: int
    peaks: tuple[int, ...]
    over_limit: str


def glance(problem: PipelineProblem, schedule: PipelineSchedule) -> Glance | None:
    """Return what the orders of F, B and W say; None for others, deadlocks and illegal orders.

    A glance is no check: who is to win has to pass ``check_pipeline``.
    """
    from solvers._native import pipeline_cost
    from solvers.pipeline.constructors.words import over_limit, peak_bytes
    from solvers.pipeline.native_orders import (
        native_model,
        native_order,
        schedule_of,
        within_kernels,
    )

    # A forward pass of no length may hold its memory for no time, which orders do not tell.
    timeless = any(stage.forward == 0 for stage in problem.stages)
    if timeless or problem.vocabulary is not None or problem.sharding is not None:
        return None
    unlimited = replace(problem, limits=(None,) * problem.devices)
    if not within_kernels(unlimited):
        return None
    model = native_model(unlimited)
    order = native_order(unlimited, model, schedule)
    # The kernels know neither fused passes nor microbatches that overtake each other.
    if order is None or schedule_of(problem, order, "").passes != schedule.passes:
        return None
    cost, _, _ = pipeline_cost(model, order)
    if cost < 0:
        return None
    peaks = peak_bytes(problem, schedule)
    return Glance(cost, peaks, over_limit(problem, peaks))
