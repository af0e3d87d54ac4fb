"""ZB-H1 and ZB-H2: 1F1B with the gradients of the weights delayed.

"Zero Bubble Pipeline Parallelism" (arXiv 2401.10241), section 2. Like 1F1B they do not look at the
costs: how far F runs ahead, and W behind, follows from the device alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.pipelining.schedule import PassKind, PipelineSchedule
from solvers.pipeline.constructors.words import (
    BACKWARD,
    FORWARD,
    WEIGHT,
    expect_one_chunk,
    numbered,
)

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem


def zb_h1(problem: PipelineProblem) -> PipelineSchedule:
    """Return ZB-H1: F runs ahead as in 1F1B, and W of device ``i`` is ``i`` microbatches late.

    With enough microbatches device ``i`` holds ``p - i`` activations and what ``i`` W need.

    Raises
    ------
    InapplicableError
        Unless there is one stage per device.
    """
    return _handcrafted("zb-h1", problem, 1)


def zb_h2(problem: PipelineProblem) -> PipelineSchedule:
    """Return ZB-H2: F runs about twice as far ahead, and W is twice as late.

    With enough microbatches device ``i`` holds ``2(p - i) - 1`` activations and what ``2i`` W need.

    Raises
    ------
    InapplicableError
        Unless there is one stage per device.
    """
    return _handcrafted("zb-h2", problem, 2)


def _handcrafted(name: str, problem: PipelineProblem, per_hop: int) -> PipelineSchedule:
    expect_one_chunk(problem)
    last = problem.devices - 1
    passes = tuple(
        numbered(stage, _kinds(problem.microbatches, per_hop * (last - stage) + 1, per_hop * stage))
        for stage in range(problem.devices)
    )
    return PipelineSchedule(name, problem.device_of, passes)


def _kinds(microbatches: int, ahead: int, late: int) -> list[PassKind]:
    ahead, late = min(ahead, microbatches), min(late, microbatches)
    kinds = [FORWARD] * ahead
    for microbatch in range(microbatches):
        kinds.append(BACKWARD)
        if microbatch >= late:
            kinds.append(WEIGHT)
        if microbatch < microbatches - ahead:
            kinds.append(FORWARD)
    return kinds + [WEIGHT] * late
