"""All orders of a small pipeline's passes, and the best of them."""

from __future__ import annotations

from functools import cache
from itertools import pairwise, product
from typing import TYPE_CHECKING

from planner.errors import InvalidPlanError
from planner.pipelining.delayed_starts import best_timeline, cost_ticks
from planner.pipelining.memory import device_memory
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem

F, B, W = PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT


@cache
def words(stages: tuple[int, ...], microbatches: int) -> list[tuple[Pass, ...]]:
    """Return all orders of a device's passes, microbatches in order."""
    found = []
    # What must be behind a pass of the same microbatch.
    before = {(B, s): (F, s) for s in stages} | {(W, s): (B, s) for s in stages}
    before |= {(F, later): (F, earlier) for earlier, later in pairwise(stages)}

    def extend(word: tuple[Pass, ...], done: dict[tuple[PassKind, int], int]) -> None:
        if len(word) == 3 * len(stages) * microbatches:
            found.append(word)
        for kind, s in product((F, B, W), stages):
            j = done.get((kind, s), 0)
            waits = before.get((kind, s))
            if j < microbatches and (waits is None or done.get(waits, 0) > j):
                extend((*word, Pass(kind, s, j)), done | {(kind, s): j + 1})

    extend((), {})
    return found


def fits(problem: PipelineProblem, schedule: PipelineSchedule) -> bool:
    memory = device_memory(problem, best_timeline(problem, schedule))
    return all(
        limit is None or profile.peak <= limit
        for profile, limit in zip(memory, problem.limits, strict=True)
    )


def least_ticks(problem: PipelineProblem) -> int | None:
    """Return the cost of the best of all orders that fit."""
    best = None
    rows = [words(own, problem.microbatches) for own in problem.stages_of]
    for passes in product(*rows):
        schedule = PipelineSchedule("any", problem.device_of, passes)
        try:
            if fits(problem, schedule):
                cost = cost_ticks(problem, best_timeline(problem, schedule))
                best = cost if best is None else min(best, cost)
        except InvalidPlanError:
            continue
    return best
