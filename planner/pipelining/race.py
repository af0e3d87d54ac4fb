"""The race for a pipeline schedule: published constructors, then the bound, then the searches.

Every schedule is simulated and passes `check_pipeline` before it may win.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.errors import InvalidPlanError, UsageError
from planner.interruption import listening_for_ctrl_c
from planner.pipelining.checking.checker import check_pipeline
from planner.pipelining.checking.order_faults import order_faults
from planner.pipelining.contest import FALLBACK, Contest
from planner.pipelining.delayed_starts import best_timeline
from planner.registry import SOLVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.result import PipelineResult
    from planner.pipelining.schedule import PipelineSchedule
    from planner.pipelining.simulator import PipelineTimeline
    from solvers.pipeline.constructors.catalogue import Constructor

_LISTED = 5
_MOST_FORWARD_PASSES = 1 << 16


def race(
    problems: Mapping[str, PipelineProblem],
    *,
    time_limit: float = 30.0,
    seed: int = 0,
    solvers: Sequence[str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> PipelineResult:
    """Let constructors and searches compete and return the best schedule, checked.

    Parameters
    ----------
    problems : mapping of str to PipelineProblem
        By the name of the placement. They have the same devices, microbatches, limits and ticks.
    time_limit : float
        Seconds for the whole race. The fallback, one microbatch after the other, is let finish.
    seed : int
    solvers : sequence of str or None
        Names of constructors, and of ``planner.registry.SOLVERS["pipeline"]``; None for all. The
        fallback always takes part.
    on_progress : callable or None
        Receives one line per improvement.

    Returns
    -------
    PipelineResult
        Without timeline if none within the limits was found.

    Raises
    ------
    UsageError
        If a solver is unknown, or there are too many passes.
    KeyboardInterrupt
        If interrupted before the first schedule was found.
    """
    from solvers.protocol import Deadline

    started = time.monotonic()
    _require_a_plannable_size(next(iter(problems.values())))
    chosen = _chosen(solvers)
    contest = Contest(problems, chosen, Deadline(time_limit), seed, on_progress)
    with listening_for_ctrl_c() as interruption:
        contest.run(interruption)
        result = contest.standings.result(interruption)
        return replace(result, wall_s=time.monotonic() - started)


def price(
    problem: PipelineProblem,
    schedule: PipelineSchedule,
    *,
    placement: str,
    time_limit: float = 30.0,
) -> PipelineResult:
    """Check a schedule and say what it costs, beside the bound.

    Raises
    ------
    InvalidPlanError
        If it is illegal; the message lists the first reasons.
    """
    from solvers.protocol import Deadline

    started = time.monotonic()
    _require_a_plannable_size(problem)
    if problem.vocabulary is None:
        # The simulator stops at the first of them.
        _refuse(schedule.name, order_faults(schedule, problem.microbatches))
    require_legal(problem, best_timeline(problem, schedule))
    contest = Contest({placement: problem}, ((), ()), Deadline(time_limit), 0, None)
    contest.standings.offer(placement, schedule.name, schedule)
    with listening_for_ctrl_c() as interruption:
        interruption.hold()
        contest.prove(interruption)
        return replace(contest.standings.result(interruption), wall_s=time.monotonic() - started)


def require_legal(problem: PipelineProblem, timeline: PipelineTimeline) -> None:
    """Refuse a timeline that `check_pipeline` finds fault with.

    Raises
    ------
    InvalidPlanError
        The message lists the first reasons.
    """
    violations = check_pipeline(problem, timeline)
    _refuse(timeline.schedule.name, [violation.message for violation in violations])


def _refuse(name: str, faults: Sequence[str]) -> None:
    if faults:
        shown = "; ".join(faults[:_LISTED])
        more = f"; and {len(faults) - _LISTED:,} more" if len(faults) > _LISTED else ""
        raise InvalidPlanError(f"{name} is not legal: {shown}{more}.")


def solver_names() -> tuple[str, ...]:
    """Return the names that ``solvers`` takes."""
    from solvers.pipeline.constructors.catalogue import CONSTRUCTORS

    return (*(constructor.name for constructor in CONSTRUCTORS), *SOLVERS["pipeline"])


def _require_a_plannable_size(problem: PipelineProblem) -> None:
    """Do not begin what would take minutes and gigabytes before the first schedule."""
    stages, microbatches = len(problem.stages), problem.microbatches
    if stages * microbatches > _MOST_FORWARD_PASSES:
        raise UsageError(
            f"{stages:,} stages x {microbatches:,} microbatches are {stages * microbatches:,} "
            f"forward passes; at most {_MOST_FORWARD_PASSES:,} are scheduled. An iteration of "
            "fewer microbatches has the same steady state."
        )


def _chosen(
    solvers: Sequence[str] | None,
) -> tuple[tuple[Constructor, ...], tuple[str, ...]]:
    """Return constructors, the fallback first, and searches."""
    from solvers.pipeline.constructors.catalogue import CONSTRUCTORS

    if solvers is not None:
        known = solver_names()
        for name in solvers:
            if name not in known:
                raise UsageError(f"no pipeline solver {name!r}. There are: {', '.join(known)}.")
    constructors = sorted(
        (c for c in CONSTRUCTORS if solvers is None or c.name in solvers or c.name == FALLBACK),
        key=lambda constructor: constructor.name != FALLBACK,
    )
    searches = tuple(name for name in SOLVERS["pipeline"] if solvers is None or name in solvers)
    return tuple(constructors), searches
