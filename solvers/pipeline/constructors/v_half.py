"""V-Half: half of the memory of 1F1B (arXiv 2405.15362)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.pipeline.blocks import BuildingBlock, VSlots, v_block
from solvers.pipeline.constructors.v_min import repeated_block
from solvers.pipeline.ranked_order import OrderPolicy

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule


def v_half_block(devices: int) -> BuildingBlock:
    """Return the published block."""
    shift = 3 if devices % 2 == 0 else 0
    here = range(devices)
    return v_block(
        VSlots(
            [2 * i for i in here],
            [3 * devices - 2 - i for i in here],
            [3 * devices + shift + 2 * i - 1 for i in here],
            [6 * devices + shift - i - 2 for i in here],
        )
    )


def v_half(problem: PipelineProblem) -> PipelineSchedule:
    """Return V-Half: at equal costs ``floor((p + 2) / 2)`` microbatches of a device's two stages.

    Forward passes within two slots fill the gaps of the warm-up, and backward passes those of the
    drain.

    Raises
    ------
    InapplicableError
        If the limits leave no room for it.
    """
    block = v_half_block(problem.devices)
    return repeated_block(
        problem,
        "v-half",
        block,
        OrderPolicy(reach_at_start=2, reach_at_end=block.period),
    )
