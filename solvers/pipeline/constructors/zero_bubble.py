"""The automatic zero-bubble schedule: the best of local rules under a memory limit.

After "Zero Bubble Pipeline Parallelism" (arXiv 2401.10241), section 3: ZB-1p and ZB-2p are this
schedule at limits of ``p`` and ``2p`` activations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers._native import zero_bubble_search
from solvers.pipeline.constructors.catalogue import InapplicableError
from solvers.pipeline.constructors.words import expect_one_chunk, expect_within_kernels
from solvers.pipeline.native_orders import native_model, schedule_of

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from solvers.protocol import Deadline

PASSES_PLAYED = 20_000_000
"""Passes of all the schedules that are tried: one to two seconds."""


def zero_bubble(problem: PipelineProblem, deadline: Deadline) -> PipelineSchedule:
    """Return the schedule of the least cost among the settings of the local rules.

    A device runs as many F before its first B as do not delay that B, or one more. Then it keeps up
    a lead of F over B, fills waits with W where they are long enough, and runs W where memory keeps
    the next F from starting. How far ahead, how large a lead, how long a wait and what goes first
    are settings of each device; systematic ones are tried first, then random changes of the best.
    Then single passes move where that costs nothing. At the deadline it is the best so far.

    Raises
    ------
    InapplicableError
        Unless there is one stage per device, and where a limit is below one activation.
    """
    expect_one_chunk(problem)
    for device, (stage, limit) in enumerate(zip(problem.stages, problem.limits, strict=True)):
        if limit is not None and limit < stage.activation_bytes:
            raise InapplicableError(
                f"device {device} may hold {limit:,} B, but one microbatch there takes "
                f"{stage.activation_bytes:,} B: that is the least limit"
            )
    expect_within_kernels(problem)
    order, _, _ = zero_bubble_search(
        native_model(problem),
        budget=PASSES_PLAYED,
        seed=0,
        time_limit_s=deadline.remaining_s(),
        cancel=deadline.cancel,
    )
    return schedule_of(problem, order, "zero-bubble")
