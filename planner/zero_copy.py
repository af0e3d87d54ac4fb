"""Planning with the choice which operators do without a copy: where it pays, never where it costs.

The choice is made by quick plans; then its lowering races, and beside it the one in which everybody
copies, unless that cannot win. All share one time limit.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import DoesNotFitError
from planner.problem import Objective
from planner.race_thread import RaceThread, run_interruptibly
from planner.result import ZeroCopy
from planner.sharing import shared_candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from planner.graph import Graph
    from planner.portfolio import RaceResult
    from planner.problem import PlanningProblem
    from planner.sharing import Lowerings

# Of the time limit, what the choice may take; of what is left then, the race of its lowering.
_CHOICE_SHARE = 0.2
_RACE_SHARE = 0.6
# A race without any time still lets greedy finish.
_NO_TIME_S = 1e-3


class ChosenSharing(NamedTuple):
    """The lowering that a quick search prefers, what is said of it, and a proven bound.

    Attributes
    ----------
    graph : Graph
    report : ZeroCopy
    copying_bound_bytes : int
        No plan without spills in which everybody copies has a smaller peak.
    """

    graph: Graph
    report: ZeroCopy
    copying_bound_bytes: int


class SharingRace(NamedTuple):
    """The winner of the races, the problem that it solves, and what is said of its sharing."""

    problem: PlanningProblem
    outcome: RaceResult
    report: ZeroCopy


def chosen_sharing(
    lowerings: Lowerings,
    problem_of: Callable[[Graph], PlanningProblem],
    *,
    time_limit_s: float,
    seed: int = 0,
) -> ChosenSharing:
    """Choose who shares, by quick plans.

    Parameters
    ----------
    problem_of : callable
        Makes the planning problem of a lowering.
    time_limit_s : float
        Of planning as a whole, of which the choice takes a share at most.

    Raises
    ------
    KeyboardInterrupt
        If interrupted.
    """
    from solvers.protocol import Deadline
    from solvers.sharing.choice import SharingSearch

    search = SharingSearch(lowerings, problem_of)
    deadline = Deadline(_CHOICE_SHARE * time_limit_s)
    thread = RaceThread("zero copy", lambda: search.run(deadline=deadline, seed=seed))
    if run_interruptibly(thread, deadline):
        raise KeyboardInterrupt
    if thread.error is not None:
        raise thread.error
    graph = search.graph
    report = sharing_report(graph, lowerings, search.peak_bound_bytes or None)
    return ChosenSharing(graph, report, search.copying_bound_bytes)


def sharing_report(
    graph: Graph, lowerings: Lowerings, peak_bound_bytes: int | None = None
) -> ZeroCopy:
    """Count the operators of a lowering that do without a copy, and the bytes."""
    shared = shared_candidates(graph, lowerings.candidates)
    return ZeroCopy(
        operators=tuple(candidate.name for candidate in shared),
        candidates=len(lowerings.candidates),
        bytes_not_copied=sum(candidate.copied_bytes for candidate in shared),
        peak_bound_bytes=peak_bound_bytes,
    )


def race_sharing(
    lowerings: Lowerings,
    problem_of: Callable[[Graph], PlanningProblem],
    *,
    contenders: Sequence[str] | None = None,
    time_limit_s: float = 30.0,
    seed: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> SharingRace:
    """Choose who shares, and plan; the plan is no worse than the one in which everybody copies.

    Parameters
    ----------
    problem_of : callable
        Makes the planning problem of a lowering.
    contenders, time_limit_s, seed, on_progress
        As for `planner.portfolio.race`. The time limit is for the choice and the races together.

    Raises
    ------
    PlannerError
        As `planner.portfolio.race`.
    KeyboardInterrupt
        If interrupted before the first plan was found.
    """
    from planner.portfolio import race

    end = time.monotonic() + time_limit_s
    chosen = chosen_sharing(lowerings, problem_of, time_limit_s=time_limit_s, seed=seed)
    if on_progress is not None:
        on_progress(f"zero copy: {chosen.report.summary()}")

    def raced(graph: Graph, share: float) -> SharingRace:
        problem = problem_of(graph)
        outcome = race(
            problem,
            contenders=contenders,
            time_limit_s=max(share * (end - time.monotonic()), _NO_TIME_S),
            seed=seed,
            on_progress=on_progress,
        )
        report = sharing_report(graph, lowerings, chosen.report.peak_bound_bytes)
        return SharingRace(problem, outcome, report)

    copying = lowerings.graph(())
    if not chosen.report.operators:
        return raced(copying, 1.0)
    try:
        sharing = raced(chosen.graph, _RACE_SHARE)
    except DoesNotFitError as misfit:
        try:
            return raced(copying, 1.0)
        except DoesNotFitError:
            raise misfit from None
    if sharing.outcome.interrupted or _cannot_lose(sharing, chosen.copying_bound_bytes):
        return sharing
    try:
        other = raced(copying, 1.0)
    except DoesNotFitError:
        return sharing
    except KeyboardInterrupt:
        return sharing._replace(outcome=replace(sharing.outcome, interrupted=True))
    return _better(sharing, other)


def _cannot_lose(sharing: SharingRace, copying_bound_bytes: int) -> bool:
    """Whether copying everywhere is proven to need no less, in the peak and in the arena."""
    plan, near = sharing.outcome.plan, sharing.problem.target.nearest
    unit = near.alignment_bytes
    return (
        sharing.problem.objective is not Objective.LATENCY
        and plan.metrics.traffic_bytes == 0
        and plan.metrics.peak_bytes.get(near.name, 0) <= copying_bound_bytes
        and plan.metrics.arena_bytes.get(near.name, 0) <= -(-copying_bound_bytes // unit) * unit
    )


def _better(sharing: SharingRace, copying: SharingRace) -> SharingRace:
    """Return the better of two; at equal worth the one that copies less."""
    interrupted = copying.outcome.interrupted
    if _rank(copying) < _rank(sharing):
        return copying
    return sharing._replace(outcome=replace(sharing.outcome, interrupted=interrupted))


def _rank(race: SharingRace) -> tuple[float, float, float]:
    """Rank its plan; the arena counts in whole units of the alignment."""
    from planner.scoreboard import rank

    plan, near = race.outcome.plan, race.problem.target.nearest
    unit = near.alignment_bytes
    arena = -(-plan.metrics.arena_bytes.get(near.name, 0) // unit) * unit
    metrics = replace(plan.metrics, arena_bytes={**plan.metrics.arena_bytes, near.name: arena})
    return rank(replace(plan, metrics=metrics), race.problem.objective)
