"""Why orders that came from outside are no schedule: what is missing, doubled or out of order."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from planner.errors import InvalidPlanError
from planner.pipelining.precedence import precedence
from planner.pipelining.problem import PipelineProblem, StageCosts
from planner.pipelining.schedule import PassKind, PipelineSchedule

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FORWARD, BACKWARD, WEIGHT, FUSED, _, _ = PassKind
_MOST_SHOWN = 3


def order_faults(schedule: PipelineSchedule, microbatches: int) -> list[str]:
    """Return what forbids to run the passes of a schedule; nothing if they are legal.

    Each stage must have, of each microbatch, F and then either D or first B and then W; and the
    ranks must not wait for each other in a circle. Copies and gathers are not looked at.

    Parameters
    ----------
    schedule : PipelineSchedule
        Of stages alone: without passes of a vocabulary layer.
    microbatches : int
        How many there should be.

    Returns
    -------
    list of str
        Every fault of single passes, else the deadlock; each names rank, pass and microbatch.
    """
    faults: list[str] = []
    for rank, passes in enumerate(schedule.passes):
        at: dict[tuple[int, PassKind], dict[int, int]] = {}
        for index, (kind, stage, microbatch) in enumerate(passes):
            own = at.setdefault((stage, kind), {})
            if microbatch in own:
                faults.append(f"rank {rank}: {kind} {stage}.{microbatch} is there twice")
            elif schedule.device_of[stage : stage + 1] != (rank,):
                faults.append(
                    f"rank {rank}: {kind} {stage}.{microbatch} is of another rank's stage"
                )
            elif microbatch >= microbatches:
                faults.append(
                    f"rank {rank}: {kind} {stage}.{microbatch} is of microbatch {microbatch}, "
                    f"but there are {microbatches}"
                )
            own.setdefault(microbatch, index)
        mine = (stage for stage, device in enumerate(schedule.device_of) if device == rank)
        for stage in mine:
            positions = {kind: at.get((stage, kind), {}) for kind in PassKind}
            faults += [f"rank {rank}: {text}" for text in _stage(stage, positions, microbatches)]
    return faults or _deadlock(schedule, microbatches)


def _stage(stage: int, at: Mapping[PassKind, Mapping[int, int]], microbatches: int) -> list[str]:
    faults: list[str] = []

    def lacks(kind: str, what: str, wanted: Collection[int], has: Collection[int]) -> None:
        # There may be far more wanted than there: nothing here goes through all of them.
        first = list(islice((j for j in wanted if j not in has), _MOST_SHOWN))
        if first:
            others = len(wanted) - sum(j in wanted for j in has) - len(first)
            more = f" and {others:,} more" if others else ""
            shown = ", ".join(map(str, first))
            faults.append(f"stage {stage} lacks {kind}, {what}, of microbatch {shown}{more}")

    forward, backward, weight, fused = (at[k] for k in (FORWARD, BACKWARD, WEIGHT, FUSED))
    everything = range(microbatches)
    lacks("F", "the forward pass", everything, forward)
    lacks("B or D", "the gradient of the input", everything, {*backward, *fused})
    lacks("W", "the gradient of the weights", backward, weight)
    for kind, own in ((BACKWARD, backward), (WEIGHT, weight)):
        faults += [
            f"{kind} {stage}.{j} stands beside D {stage}.{j}, which computes it too"
            for j in own
            if j in fused
        ]
    for kind, own, before, earlier in (
        (BACKWARD, backward, FORWARD, forward),
        (FUSED, fused, FORWARD, forward),
        (WEIGHT, weight, BACKWARD, backward),
    ):
        faults += [
            f"{kind} {stage}.{j} runs before {before} {stage}.{j}, whose result it needs"
            for j, index in own.items()
            if index < earlier.get(j, -1)
        ]
    return faults


def _deadlock(schedule: PipelineSchedule, microbatches: int) -> list[str]:
    # Who waits for whom does not depend on the costs.
    problem = PipelineProblem(
        stages=(StageCosts(1, 1, 1, 0, 0),) * len(schedule.device_of),
        device_of=schedule.device_of,
        microbatches=microbatches,
        limits=(None,) * len(schedule.passes),
    )
    orders = PipelineSchedule(schedule.name, schedule.device_of, schedule.passes)
    try:
        precedence(problem, orders)
    except InvalidPlanError as error:
        return [str(error)]
    return []
