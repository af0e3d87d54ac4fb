"""Every case of the pipeline suite, one at a time: what is published, our race, what is named."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from planner.bench.cpu_time import cpu_seconds
from planner.errors import InvalidPlanError, UsageError
from planner.pipelining.checking.checker import check_pipeline
from planner.pipelining.checking.violation import PipelineViolationKind
from planner.pipelining.construction import built
from planner.pipelining.delayed_starts import best_timeline, cost_ticks
from planner.pipelining.memory import device_memory
from planner.pipelining.race import race, solver_names
from planner.pipelining.result import OVER_LIMIT
from planner.pipelining.simulator import simulate_pipeline
from planner.problem import Status
from planner.race_thread import RaceThread, run_interruptibly
from planner.registry import SOLVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from planner.bench.pipeline_cases import PipelineCase
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.result import PipelineResult
    from planner.pipelining.schedule import PipelineSchedule
    from solvers.protocol import Deadline

OURS = "ours"
FAILED, SKIPPED = "failed", "skipped"
_WARM_UP_S = 2.0
# Constructors end by themselves: after seconds, mostly.
_PUBLISHED_S = 600.0


class PipelineRun(NamedTuple):
    """What a constructor, a search or a race made of one case.

    Attributes
    ----------
    name : str
        `OURS`, or that of the constructor or search.
    placement : str
        Of the schedule.
    status : str
        As in `planner.pipelining.result.ContenderReport`.
    cost_ticks : int or None
        What the objective counts; None without a schedule.
    longest_stage_ticks, makespan_ticks : int or None
        Of the same schedule; the makespan if every pass starts as early as it can. None where
        only the cost is known.
    peak_bytes : int or None
        The most that a device holds.
    cpu_s : float
        Of all threads.
    is_checked : bool
        The checker found the schedule legal, memory included.
    note : str
        Whose schedule it is, or why there is none.
    """

    name: str
    placement: str
    status: str
    cost_ticks: int | None = None
    longest_stage_ticks: int | None = None
    makespan_ticks: int | None = None
    peak_bytes: int | None = None
    cpu_s: float = 0.0
    is_checked: bool = False
    note: str = ""


class CaseResult(NamedTuple):
    """All runs of one case.

    Attributes
    ----------
    case : PipelineCase
    ideal_ticks : int
        Of the busiest device without a pause.
    tick_s : float
    bound_ticks : int
        Proven for all placements.
    bound_name : str
        What proves it.
    published : tuple of PipelineRun
        Every published schedule in every placement it is made for.
    ours : PipelineRun
        The race.
    parts : tuple of PipelineRun
        The best of each search in our race.
    alone : tuple of PipelineRun
        Races of the solvers that were named, each by itself.
    late : tuple of str
        Constructors that there was no time for: in our race, or at all.
    notes : tuple of str
        Of our race.
    """

    case: PipelineCase
    ideal_ticks: int
    tick_s: float
    bound_ticks: int
    bound_name: str
    published: tuple[PipelineRun, ...]
    ours: PipelineRun
    parts: tuple[PipelineRun, ...] = ()
    alone: tuple[PipelineRun, ...] = ()
    late: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def best_published(self) -> PipelineRun | None:
        """The best of those that fit; None if none does."""
        fitting = [run for run in self.published if run.is_checked]
        return min(fitting, key=lambda run: run.cost_ticks or 0, default=None)

    def bubble(self, ticks: int | None) -> float | None:
        """Return the idle share of the busiest device in an iteration of so many ticks."""
        if ticks is None:
            return None
        return (ticks - self.ideal_ticks) / ticks if ticks else 0.0


def chosen_solvers(names: Sequence[str] | None) -> list[str]:
    """Return the names of solvers to race by themselves beside the race of all; none if None.

    Raises
    ------
    UsageError
        If a name is unknown, or there is none.
    """
    known = solver_names()
    for name in names or ():
        if name not in known:
            raise UsageError(f"no pipeline solver {name!r}. There are: {', '.join(known)}.")
    if names is not None and not names:
        raise UsageError(f"no solver is named. There are: {', '.join(known)}.")
    return list(dict.fromkeys(names or ()))


def run_cases(
    cases: Iterable[PipelineCase],
    solvers: Sequence[str],
    *,
    time_limit_s: float,
    seed: int,
    on_progress: Callable[[str], None],
) -> Iterator[CaseResult]:
    """Run everything one after the other, so that each has the machine to itself.

    Parameters
    ----------
    solvers : sequence of str
        Raced by themselves beside the race of all.
    time_limit_s : float
        For each race.
    on_progress : callable
        Receives a line before each run.

    Raises
    ------
    KeyboardInterrupt
        When interrupted; a case whose race has a schedule by then comes before.
    """
    on_progress("loading")
    _warm_up(seed)
    for case in cases:
        problems = case.problems()
        on_progress(f"{case.name}: published schedules")
        published = _published_runs(problems)
        on_progress(f"{case.name}: {OURS}")
        ours, result = _raced(problems, OURS, None, time_limit_s, seed)
        interrupted = result.interrupted
        alone: list[PipelineRun] = []
        for name in solvers:
            if interrupted:
                break
            on_progress(f"{case.name}: {name}")
            run, its_result = _raced(problems, name, [name], time_limit_s, seed)
            interrupted = its_result.interrupted
            alone.append(run)
        problem = result.problem
        yield CaseResult(
            case=case,
            ideal_ticks=problem.ideal_ticks,
            tick_s=float(problem.tick_s),
            bound_ticks=result.bound_ticks,
            bound_name=min(result.bounds, key=lambda bound: bound.ticks).name
            if result.bounds
            else "",
            published=published,
            ours=ours,
            parts=_parts(result),
            alone=tuple(alone),
            late=_late(published, result),
            notes=result.notes,
        )
        if interrupted:
            raise KeyboardInterrupt


def _warm_up(seed: int) -> None:
    """Load what the solvers need: that is no part of their time on the first case."""
    from planner.bench.pipeline_cases import PipelineCase, Setting
    from planner.pipelining.files.costs_file import CostRow

    times = (Fraction(time) for time in (3, 3, 2, 1))
    setting = Setting("warm-up", (CostRow(*times, activation_bytes=1000, kept_bytes=400),), 2, 3)
    for chunks in (1, 2):
        problems = PipelineCase(setting, chunks, "1").problems()
        if _raced(problems, OURS, None, _WARM_UP_S, seed)[1].interrupted:
            raise KeyboardInterrupt


def _published_runs(problems: Mapping[str, PipelineProblem]) -> tuple[PipelineRun, ...]:
    """Build them apart from the race, which has to do as well as the best of them."""
    from solvers.protocol import Deadline

    found: list[PipelineRun] = []
    deadline = Deadline(_PUBLISHED_S)
    thread = RaceThread("published schedules", lambda: _build_all(problems, deadline, found))
    if run_interruptibly(thread, deadline):
        raise KeyboardInterrupt
    if thread.error is not None:
        raise thread.error
    return tuple(found)


def _build_all(
    problems: Mapping[str, PipelineProblem], deadline: Deadline, found: list[PipelineRun]
) -> None:
    from planner.pipelining.contest import FALLBACK
    from solvers.pipeline.constructors.catalogue import CONSTRUCTORS

    published = [constructor for constructor in CONSTRUCTORS if constructor.name != FALLBACK]
    started = cpu_seconds()
    for report, schedule in built(published, problems, FALLBACK, deadline):
        run = PipelineRun(report.name, report.placement, report.status, note=report.note)
        if schedule is not None:
            run = _judged(run, problems[report.placement], schedule)
        now = cpu_seconds()
        found.append(run._replace(cpu_s=now - started))
        started = now


def _judged(run: PipelineRun, problem: PipelineProblem, schedule: PipelineSchedule) -> PipelineRun:
    try:
        timeline = best_timeline(problem, schedule)
    except InvalidPlanError as error:
        return run._replace(status=FAILED, note=f"illegal: {error}")
    violations = check_pipeline(problem, timeline)
    run = run._replace(
        cost_ticks=cost_ticks(problem, timeline),
        longest_stage_ticks=timeline.longest_stage,
        makespan_ticks=min(timeline.makespan, simulate_pipeline(problem, schedule).makespan),
        peak_bytes=max(profile.peak for profile in device_memory(problem, timeline)),
        note=violations[0].message if violations else "",
        is_checked=not violations,
    )
    if not violations:
        return run._replace(status=Status.FEASIBLE.value)
    memory = all(v.kind is PipelineViolationKind.MEMORY for v in violations)
    return run._replace(status=OVER_LIMIT if memory else FAILED)


def _late(published: Sequence[PipelineRun], result: PipelineResult) -> tuple[str, ...]:
    """Name what there was no time for, but for what has no schedule in any case."""
    from solvers.pipeline.constructors.catalogue import OUT_OF_TIME

    without = {
        run.name
        for run in published
        if run.status == SKIPPED and not run.note.startswith(OUT_OF_TIME)
    }
    late = [
        run.name for run in (*published, *result.contenders) if run.note.startswith(OUT_OF_TIME)
    ]
    return tuple(name for name in dict.fromkeys(late) if name not in without)


def _raced(
    problems: Mapping[str, PipelineProblem],
    name: str,
    solvers: Sequence[str] | None,
    time_limit_s: float,
    seed: int,
) -> tuple[PipelineRun, PipelineResult]:
    started = cpu_seconds()
    result = race(problems, time_limit=time_limit_s, seed=seed, solvers=solvers)
    run = PipelineRun(name, result.placement, result.status.value, cpu_s=cpu_seconds() - started)
    if result.timeline is None:
        return run._replace(placement="", note="; ".join(result.notes)), result
    violations = check_pipeline(result.problem, result.timeline)
    by = f"by {result.contender}{', interrupted' if result.interrupted else ''}"
    return (
        run._replace(
            cost_ticks=result.value_ticks,
            longest_stage_ticks=result.timeline.longest_stage,
            makespan_ticks=result.makespan_ticks,
            peak_bytes=max(result.peak_bytes),
            is_checked=not violations,
            note=violations[0].message if violations else by,
        ),
        result,
    )


def _parts(result: PipelineResult) -> tuple[PipelineRun, ...]:
    """Read the race's reports: every schedule offered to it is checked there."""
    parts = []
    for name in SOLVERS["pipeline"]:
        reports = [report for report in result.contenders if report.name == name]
        if not reports:
            continue
        best = min(
            reports,
            key=lambda report: (report.value_ticks is None, report.value_ticks or 0),
        )
        parts.append(
            PipelineRun(
                name,
                best.placement,
                best.status,
                best.value_ticks,
                peak_bytes=best.peak_bytes,
                cpu_s=sum(report.cpu_s for report in reports),
                is_checked=best.value_ticks is not None and best.status not in (OVER_LIMIT, FAILED),
                note=best.note,
            )
        )
    return tuple(parts)
