"""Problems and schedules as the native kernels see them: whole numbers in arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from planner.pipelining.problem import PipelineObjective
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from solvers._native import PIPELINE_NO_LIMIT, PipelineModel, pipeline_fault

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.pipelining.problem import PipelineProblem

KINDS = (PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT)


def within_kernels(problem: PipelineProblem) -> bool:
    """Whether sums of the problem's ticks and bytes are within the kernels' whole numbers."""
    ticks = sum(stage.work + 2 * stage.communication for stage in problem.stages)
    held = sum(stage.activation_bytes for stage in problem.stages)
    return max(ticks, held) * problem.microbatches < PIPELINE_NO_LIMIT // 8


def native_model(problem: PipelineProblem) -> PipelineModel:
    """Return the kernels' view of a problem's stages, devices and microbatches."""

    def ticks(name: str) -> NDArray[np.int64]:
        return np.array([getattr(stage, name) for stage in problem.stages], dtype=np.int64)

    return PipelineModel(
        forward=ticks("forward"),
        backward=ticks("backward"),
        weight=ticks("weight"),
        activation=ticks("activation_bytes"),
        kept=ticks("kept_bytes"),
        hop=np.array([*problem.hops, 0], dtype=np.int64),
        device_of=np.array(problem.device_of, dtype=np.int32),
        limit=np.array(
            [
                PIPELINE_NO_LIMIT if limit is None else min(limit, PIPELINE_NO_LIMIT)
                for limit in problem.limits
            ],
            dtype=np.int64,
        ),
        microbatches=problem.microbatches,
        makespan=problem.objective is PipelineObjective.MAKESPAN,
    )


def native_order(
    problem: PipelineProblem, model: PipelineModel, schedule: PipelineSchedule
) -> NDArray[np.int32] | None:
    """Return a schedule's passes by number, or None if it is none of F, B and W within the limits.

    A fused backward pass becomes its two parts: the gradient is then sent earlier and memory given
    back earlier. Passes of one kind and stage are numbered in the order in which they run.
    """
    if schedule.device_of != problem.device_of or any(schedule.copies) or any(schedule.units):
        return None
    numbers: list[int] = []
    count = [0] * (3 * len(problem.stages))
    for passes in schedule.passes:
        for kind, stage, _ in passes:
            if kind is PassKind.FUSED:
                letters = (3 * stage + 1, 3 * stage + 2)
            elif kind in KINDS:
                letters = (3 * stage + KINDS.index(kind),)
            else:
                return None
            for letter in letters:
                numbers.append(letter * problem.microbatches + count[letter])
                count[letter] += 1
    order = np.array(numbers, dtype=np.int32)
    return None if pipeline_fault(model, order) else order


def schedule_of(problem: PipelineProblem, order: NDArray[np.int32], name: str) -> PipelineSchedule:
    """Return the schedule that a kernel's order means."""
    letters, microbatches = np.divmod(order, problem.microbatches)
    stages, kinds = np.divmod(letters, 3)
    passes = [
        Pass(KINDS[kind], stage, microbatch)
        for kind, stage, microbatch in zip(
            kinds.tolist(), stages.tolist(), microbatches.tolist(), strict=True
        )
    ]
    per_device, begin = [], 0
    for mine in problem.stages_of:
        end = begin + 3 * len(mine) * problem.microbatches
        per_device.append(tuple(passes[begin:end]))
        begin = end
    return PipelineSchedule(name, problem.device_of, tuple(per_device))
