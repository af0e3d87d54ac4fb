"""The race: contenders compete under one deadline, share the best plan and the bounds.

Greedy runs first and always, so no result is worse than greedy's. The race stops when the best
plan meets the bounds. A contender that crashes or makes an illegal plan loses; the others go on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from planner.errors import DoesNotFitError, LoweringError, UsageError
from planner.footprint import largest_footprint, require_fit
from planner.interruption import listening_for_ctrl_c
from planner.problem import Objective, Status
from planner.race_thread import RaceThread, wait_for
from planner.registry import CONTENDERS
from planner.result import Bounds, ContenderReport
from planner.scoreboard import Scoreboard, objective_value, with_bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from planner.interruption import Interruption
    from planner.plans import Plan
    from planner.problem import PlanningProblem
    from planner.target import Target
    from solvers.protocol import Availability, Deadline

_BASELINE = "greedy"
_PROVER = "exact"
_MAPPER = "malloc-game"
# How long a contender runs before the next one is started beside it.
_ALONE_S = 0.5
_LARGEST_TOTAL_BYTES = (1 << 53) - 1


class Contender(Protocol):
    """Composes solvers into whole plans."""

    name: str

    def available(self) -> Availability:
        """Whether it can run here."""
        ...

    def applies(self, problem: PlanningProblem, board: Scoreboard) -> str:
        """Return why there is nothing to do for it, or an empty string."""
        ...

    def run(
        self, problem: PlanningProblem, board: Scoreboard, *, deadline: Deadline, seed: int
    ) -> str:
        """Offer plans and bounds to the board until done; return a note for the report."""
        ...


@dataclass(frozen=True, slots=True)
class RaceResult:
    """The winner, everybody's report, and whether the user stopped the race."""

    plan: Plan
    status: Status
    reports: tuple[ContenderReport, ...]
    interrupted: bool


def race(
    problem: PlanningProblem,
    *,
    contenders: Sequence[str] | None = None,
    time_limit_s: float = 30.0,
    seed: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> RaceResult:
    """Let the contenders compete and return the best plan.

    Parameters
    ----------
    contenders : sequence of str or None
        Names from `planner.registry.CONTENDERS`; None for all. Greedy is always added.
    time_limit_s : float
        For the whole race. Greedy is let finish.

    Raises
    ------
    UsageError
        If a name is unknown, the graph has no operators, or the target lacks what the objective or
        its own ``io_memory`` needs.
    LoweringError
        If the tensors take more bytes than plans can count.
    DoesNotFitError
        If no plan can fit (``proven``), or none was found in time.
    KeyboardInterrupt
        If interrupted before the first plan was found.
    """
    from solvers.protocol import Deadline

    started = time.monotonic()
    names = _chosen(contenders)
    if not problem.graph.operators:
        raise UsageError(f"{problem.graph.model.name} has no operators: there is nothing to plan.")
    _require_links(problem.target)
    _require_countable(problem)
    require_fit(problem)
    board = Scoreboard(problem, on_progress)
    board.raise_bounds(_opening_bounds(problem))
    deadline = Deadline(time_limit_s)
    runs = {name: _Run(name) for name in names}
    with listening_for_ctrl_c() as interruption:
        interruption.hold_or_raise()
        _compete(runs, problem, board, deadline, seed, interruption)
        best = board.best
        reports = tuple(runs[name].report(problem, board) for name in names)
        if best is None:
            if interruption.heard:
                raise KeyboardInterrupt
            misfits = [run.misfit for run in runs.values() if run.misfit is not None]
            limit = f" within {time_limit_s:g} s" if deadline.expired() else ""
            raise _no_plan(problem, board, reports, misfits, limit)
        status = _status(best, problem.objective)
        wall_s = time.monotonic() - started
        provenance = replace(best.provenance, status=status.value, wall_s=wall_s)
        plan = replace(best, provenance=provenance)
        return RaceResult(plan, status, reports, interruption.heard)


def _compete(
    runs: Mapping[str, _Run],
    problem: PlanningProblem,
    board: Scoreboard,
    deadline: Deadline,
    seed: int,
    interruption: Interruption,
) -> None:
    """Run the contenders until the race is settled or over."""
    runs[_BASELINE].start(problem, board, deadline, seed)
    wait_for(
        _threads(runs),
        deadline,
        interruption,
        owes=lambda: board.best is None and not interruption.heard,
    )
    for run in _in_starting_order(runs, problem.objective):
        wait_for(_threads(runs), deadline, interruption, settled=board.settled, at_most_s=_ALONE_S)
        if interruption.heard:
            break
        run.start(problem, board, deadline, seed)
    wait_for(_threads(runs), deadline, interruption, settled=board.settled)


def _chosen(contenders: Sequence[str] | None) -> list[str]:
    if contenders is None:
        return [name for name, entry in CONTENDERS.items() if entry.by_default]
    for name in contenders:
        if name not in CONTENDERS:
            raise UsageError(f"no solver {name!r}. There are: {', '.join(CONTENDERS)}.")
    return [name for name in CONTENDERS if name == _BASELINE or name in contenders]


def _require_links(target: Target) -> None:
    near, outside = target.nearest.name, target.io_memory
    for source, destination in ((outside, near), (near, outside)):
        if outside != near and target.link(source, destination) is None:
            raise UsageError(
                f"target {target.name!r} has no link from {source} to {destination}, and its "
                f"io_memory is {outside}: graph inputs and outputs could not be copied. Add the "
                f"link, or leave them in {near}."
            )


def _require_countable(problem: PlanningProblem) -> None:
    """Refuse more bytes than a plan file can hold exactly, alignment included."""
    alignment = max(memory.alignment_bytes for memory in problem.target.memories)
    total = sum(storage.size_bytes + alignment for storage in problem.graph.storages)
    if total > _LARGEST_TOTAL_BYTES:
        raise LoweringError(
            f"the tensors of {problem.graph.model.name} take {total:,} bytes together, more than "
            f"{_LARGEST_TOTAL_BYTES:,}. A shape in the model or a --dim must be wrong."
        )


def _opening_bounds(problem: PlanningProblem) -> Bounds:
    graph = problem.graph
    footprint = 0
    if problem.target.operands_resident:
        footprint = largest_footprint(graph, in_place=problem.in_place).size_bytes
    latency = None
    if problem.target.compute is not None:
        from planner.simulator import latency_lower_bound

        latency = latency_lower_bound(graph, problem.target)
    elif problem.objective is Objective.LATENCY:
        raise UsageError(
            f"target {problem.target.name!r} has no [compute] rates, which --objective latency "
            "needs. Use --objective peak or traffic, or another target."
        )
    return Bounds(
        peak_bytes=footprint, footprint_bytes=footprint, traffic_bytes=0, latency_s=latency
    )


class _Run:
    """One contender in its thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.thread: RaceThread | None = None
        self._skipped = "not started"
        self.misfit: DoesNotFitError | None = None
        self._note = ""

    def start(
        self, problem: PlanningProblem, board: Scoreboard, deadline: Deadline, seed: int
    ) -> None:
        contender: Contender = CONTENDERS[self.name].load()
        availability = contender.available()
        self._skipped = availability.reason or contender.applies(problem, board)
        if not self._skipped and board.settled():
            self._skipped = "the best plan already meets the bound"
        if not self._skipped and deadline.expired() and self.name != _BASELINE:
            self._skipped = "no time left"
        if self._skipped:
            return

        def run() -> None:
            try:
                self._note = contender.run(problem, board, deadline=deadline, seed=seed)
            except DoesNotFitError as error:
                self.misfit = error
                self._note = str(error)

        self.thread = RaceThread(f"contender {self.name}", run)
        self.thread.start()

    def report(self, problem: PlanningProblem, board: Scoreboard) -> ContenderReport:
        if self.thread is None:
            return ContenderReport(self.name, "skipped", note=self._skipped)
        error, wall_s = self.thread.error, self.thread.wall_s
        note = self._note if error is None else f"{type(error).__name__}: {error}"
        if self.thread.running():
            note = "still running at the deadline"
        entry, bounds = board.entry(self.name), board.bounds
        if entry is None:
            status = "failed" if error is not None else Status.UNKNOWN.value
            return ContenderReport(self.name, status, wall_s=wall_s, note=note)
        plan = with_bounds(entry.plan, bounds)
        return ContenderReport(
            self.name,
            _status(plan, problem.objective).value,
            objective_value(plan, problem.objective),
            _bound(plan, problem.objective),
            wall_s,
            note,
            plan.metrics.arena_bytes.get(plan.target.nearest.name, 0),
        )


def _in_starting_order(runs: Mapping[str, _Run], objective: Objective) -> list[_Run]:
    """All but the baseline, first the one after which there is mostly little left to gain.

    That is the one that proves; for latency the only one that chooses where operands are used.
    """
    first = (_MAPPER, _PROVER) if objective is Objective.LATENCY else (_PROVER,)
    others = [run for name, run in runs.items() if name != _BASELINE]
    rank = {name: place for place, name in enumerate(first)}
    return sorted(others, key=lambda run: rank.get(run.name, len(rank)))


def _threads(runs: Mapping[str, _Run]) -> list[RaceThread]:
    return [run.thread for run in runs.values() if run.thread is not None]


def _bound(plan: Plan, objective: Objective) -> float | None:
    metrics = plan.metrics
    if objective is Objective.PEAK:
        return metrics.peak_lower_bound_bytes
    if objective is Objective.TRAFFIC:
        return metrics.traffic_lower_bound_bytes
    return metrics.latency_lower_bound_s


def _status(plan: Plan, objective: Objective) -> Status:
    bound = _bound(plan, objective)
    if bound is None:
        return Status.FEASIBLE
    met = objective_value(plan, objective) <= bound
    return Status.OPTIMAL if met else Status.FEASIBLE


def _no_plan(
    problem: PlanningProblem,
    board: Scoreboard,
    reports: Sequence[ContenderReport],
    misfits: Sequence[DoesNotFitError],
    limit: str,
) -> Exception:
    """Explain an empty board: a crash, a proven misfit, or a search that ran out of time."""
    failed = [report for report in reports if report.status == "failed"]
    if failed:
        return RuntimeError("; ".join(f"{r.name} failed: {r.note}" for r in failed))
    near = problem.target.nearest
    capacity = problem.target.activation_capacity(problem.graph.constant_bytes) or 0
    held = (near.capacity_bytes or 0) - capacity
    beside = f" left beside {held:,} of constants" if held else ""
    bound = board.bounds.peak_bytes or 0
    if bound > capacity and problem.target.spill_memory is None:
        return DoesNotFitError(
            f"does not fit: every order needs at least {bound:,} bytes of {near.name} at once, "
            f"it has {capacity:,}{beside}, and {problem.target.name} has no memory to spill to. "
            f"Use a larger memory, --memory {near.name}={-(-(bound + held) // 1024)}KiB.",
            proven=True,
        )
    if misfits:
        return misfits[0]
    if problem.target.spill_memory is not None:
        bound = board.bounds.footprint_bytes or 0
    return DoesNotFitError(
        f"no plan found{limit}: {near.name} has {capacity:,} bytes; proven lower bound "
        f"{bound:,}. Try {'a longer --time-limit or ' if limit else ''}a larger {near.name}.",
        proven=False,
    )
