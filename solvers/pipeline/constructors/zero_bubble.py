"""The automatic zero-bubble schedule: the best of local rules under a memory limit.

After "Zero Bubble Pipeline Parallelism" (arXiv 2401.10241), section 3: ZB-1p and ZB-2p are this
schedule at limits of ``p`` and ``2p`` activations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from planner.pipelining.problem import PipelineObjective
from planner.pipelining.schedule import PipelineSchedule
from solvers._native import zero_bubble_search
from solvers.pipeline.constructors.catalogue import InapplicableError
from solvers.pipeline.constructors.words import (
    BACKWARD,
    FORWARD,
    WEIGHT,
    expect_one_chunk,
    numbered,
)

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem

PASSES_PLAYED = 20_000_000
"""Passes of all the schedules that are tried: one to two seconds."""

_MOST = 1 << 60
_KINDS = (FORWARD, BACKWARD, WEIGHT)


def zero_bubble(problem: PipelineProblem) -> PipelineSchedule:
    """Return the schedule of the least cost among the settings of the local rules.

    A device runs as many F before its first B as do not delay that B, or one more. Then it keeps up
    a lead of F over B, fills waits with W where they are long enough, and runs W where memory keeps
    the next F from starting. How far ahead, how large a lead, how long a wait and what goes first
    are settings of each device; systematic ones are tried first, then random changes of the best.
    Then single passes move where that costs nothing.

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
    kinds, _, _ = zero_bubble_search(
        _rows(problem),
        problem.microbatches,
        makespan=problem.objective is PipelineObjective.MAKESPAN,
        budget=PASSES_PLAYED,
        seed=0,
        time_limit_s=math.inf,
        cancel=None,
    )
    words = kinds.reshape(problem.devices, 3 * problem.microbatches)
    passes = tuple(
        numbered(stage, [_KINDS[kind] for kind in word]) for stage, word in enumerate(words)
    )
    return PipelineSchedule("zero-bubble", problem.device_of, passes)


def _rows(problem: PipelineProblem) -> np.ndarray:
    everything = [problem.microbatches * stage.activation_bytes for stage in problem.stages]
    work = problem.microbatches * sum(s.work + s.communication for s in problem.stages)
    if max(work, *everything) >= _MOST:
        raise InapplicableError("its ticks or bytes are too many for 64 bits: use larger units")
    hops = (*problem.hops, 0)
    return np.array(
        [
            number
            for stage, hop, most, limit in zip(
                problem.stages, hops, everything, problem.limits, strict=True
            )
            for number in (
                stage.forward,
                stage.backward,
                stage.weight,
                hop,
                stage.activation_bytes,
                stage.kept_bytes,
                most if limit is None else min(limit, most),
            )
        ],
        dtype=np.int64,
    )
