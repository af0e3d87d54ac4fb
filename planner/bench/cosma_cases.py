"""Every network at every budget, one at a time: the baselines, our race, and what else is named."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from planner.bench.cosma_baselines import BaselineRun, run_baselines
from planner.bench.cosma_networks import input_text
from planner.bench.cosma_setting import SCRATCHPAD, capacities, least_peak, problem_at
from planner.bench.cpu_time import cpu_seconds
from planner.errors import DoesNotFitError, UsageError
from planner.race_thread import RaceThread, run_interruptibly
from planner.registry import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from planner.bench.cosma_networks import Capacities, Network
    from planner.bench.cosma_setting import LeastPeak
    from planner.graph import Graph
    from planner.problem import PlanningProblem
    from planner.result import PlanResult
    from solvers.protocol import Deadline

OURS = "ours"
BUDGETS = ("M_R", "M_H", "M_P")
_WARM_UP_S = 2.0


class PlanRun(NamedTuple):
    """How a race, or one contender, did at one budget.

    Attributes
    ----------
    name : str
        `OURS`, or the contender's.
    status : str
        As in `planner.result.ContenderReport`.
    traffic_bytes, bound_bytes : int or None
        Not compulsory; None without a plan, or without a bound.
    arena_bytes : int or None
        Highest address in the scratchpad.
    cpu_s : float
        Of all threads, from the graph to the checked plan.
    is_checked : bool
        The checker found the plan legal.
    note : str
    crashes : tuple of str
        Contenders of the race that failed, and why.
    """

    name: str
    status: str
    traffic_bytes: int | None = None
    bound_bytes: int | None = None
    arena_bytes: int | None = None
    cpu_s: float = 0.0
    is_checked: bool = False
    note: str = ""
    crashes: tuple[str, ...] = ()

    @property
    def gap(self) -> float | None:
        """By how much of the bound the plan may be above the optimum; None if not known."""
        if self.traffic_bytes is None or self.bound_bytes is None:
            return None
        above = self.traffic_bytes - self.bound_bytes
        return above / self.bound_bytes if self.bound_bytes else math.inf if above else 0.0


class Case(NamedTuple):
    """One network at one budget.

    Attributes
    ----------
    network, title, group : str
    input : str
        Shapes and element types, and options of the network.
    operators : int
    budgets : tuple of str
        Of `BUDGETS`; several where they coincide.
    capacity_bytes : int
    capacities : Capacities
    is_peak_proven : bool
        Whether the peak behind M_H and M_P is proven to be the smallest.
    order_cpu_s : float
        For the order of the smallest peak, once for each network.
    baselines : tuple of BaselineRun
    plans : tuple of PlanRun
        Ours first.
    """

    network: str
    title: str
    group: str
    input: str
    operators: int
    budgets: tuple[str, ...]
    capacity_bytes: int
    capacities: Capacities
    is_peak_proven: bool
    order_cpu_s: float
    baselines: tuple[BaselineRun, ...]
    plans: tuple[PlanRun, ...]

    @property
    def ours(self) -> PlanRun:
        """The default race."""
        return self.plans[0]


def chosen_contenders(names: Sequence[str] | None) -> list[str]:
    """Return the names of contenders to run by themselves beside the race; none if None.

    Raises
    ------
    UsageError
        If a name is unknown, or there is none.
    """
    for name in names or ():
        if name not in CONTENDERS:
            raise UsageError(f"no contender {name!r}. There are: {', '.join(CONTENDERS)}.")
    if names is not None and not names:
        raise UsageError(f"no contender is named. There are: {', '.join(CONTENDERS)}.")
    return list(dict.fromkeys(names or ()))


def run_cases(
    networks: Iterable[Network],
    contenders: Sequence[str],
    *,
    parameters: bool,
    time_limit_s: float,
    seed: int,
    on_progress: Callable[[str], None],
) -> Iterator[Case]:
    """Run everything one after the other, so that each has the machine to itself.

    Parameters
    ----------
    contenders : sequence of str
        Run by themselves beside the race.
    parameters : bool
        Let parameters pass through the scratchpad as well.
    time_limit_s : float
        For each race.
    on_progress : callable
        Receives a line before each run.

    Raises
    ------
    KeyboardInterrupt
        When interrupted; a case whose race has a plan by then comes before.
    """
    on_progress("loading")
    _warm_up(contenders, seed)
    for network in networks:
        on_progress(f"{network.title}: loading")
        graph = network.load()
        described = input_text(network, graph)
        if parameters:
            graph = _with_parameters(graph)
        on_progress(f"{network.title}: smallest peak")
        least = _least_peak(graph, time_limit_s, seed)
        sizes = network.capacities or capacities(graph, least.peak_bytes)
        for capacity in sorted(set(sizes)):
            budgets = tuple(
                name for name, size in zip(BUDGETS, sizes, strict=True) if size == capacity
            )
            problem = problem_at(graph, capacity)
            where = f"{network.title} at {'='.join(budgets)}"
            on_progress(f"{where}: baselines")
            baselines = _baselines(problem, least, time_limit_s)
            plans: list[PlanRun] = []
            interrupted = False
            for name in (OURS, *contenders):
                on_progress(f"{where}: {name}")
                run, interrupted = _plan(problem, name, time_limit_s, seed)
                plans.append(run)
                if interrupted:
                    break
            yield Case(
                network=network.name,
                title=network.title,
                group=network.group.value,
                input=described,
                operators=len(graph.operators),
                budgets=budgets,
                capacity_bytes=capacity,
                capacities=sizes,
                is_peak_proven=least.is_proven,
                order_cpu_s=least.cpu_s,
                baselines=baselines,
                plans=tuple(plans),
            )
            if interrupted:
                raise KeyboardInterrupt


def _with_parameters(graph: Graph) -> Graph:
    from planner.parameters import with_parameters

    return with_parameters(graph)


def _warm_up(contenders: Sequence[str], seed: int) -> None:
    """Load what the solvers need: that is no part of their time on the first network."""
    from frontends.bare_graph import bare_graph

    # Tensor 1 has to leave for operator 2, and nothing says so before a search.
    operands = [((0,), (1,)), ((1,), (2,)), ((2,), (3,)), ((3,), (4,)), ((1, 4), (5,))]
    problem = problem_at(bare_graph("warm-up", [1, 4, 4, 7, 1, 1], operands), 11)
    for name in (OURS, *contenders):
        if _plan(problem, name, _WARM_UP_S, seed)[1]:
            raise KeyboardInterrupt


def _least_peak(graph: Graph, time_limit_s: float, seed: int) -> LeastPeak:
    found: list[LeastPeak] = []
    _in_thread(
        "smallest peak",
        lambda deadline: found.append(least_peak(graph, deadline, seed)),
        time_limit_s,
    )
    return found[0]


def _baselines(
    problem: PlanningProblem, least: LeastPeak, time_limit_s: float
) -> tuple[BaselineRun, ...]:
    found: list[tuple[BaselineRun, ...]] = []
    _in_thread(
        "baselines",
        lambda deadline: found.append(run_baselines(problem, least.order, deadline)),
        time_limit_s,
    )
    return found[0]


def _in_thread(name: str, job: Callable[[Deadline], None], time_limit_s: float) -> None:
    """Run a job in a thread: the main one listens for Ctrl-C."""
    from solvers.protocol import Deadline

    deadline = Deadline(time_limit_s)
    thread = RaceThread(name, lambda: job(deadline))
    if run_interruptibly(thread, deadline):
        raise KeyboardInterrupt
    if thread.error is not None:
        raise thread.error
    if thread.running():
        raise RuntimeError(f"{name}: it did not stop at the time limit")


def _plan(
    problem: PlanningProblem, name: str, time_limit_s: float, seed: int
) -> tuple[PlanRun, bool]:
    """Race, and say whether the user stopped it."""
    from planner.api import plan

    started = cpu_seconds()
    try:
        result = plan(
            problem.graph,
            target=problem.target,
            objective=problem.objective,
            solvers=None if name == OURS else [name],
            time_limit=time_limit_s,
            seed=seed,
            in_place=problem.in_place,
        )
    except DoesNotFitError as error:
        cpu_s = cpu_seconds() - started
        return PlanRun(name, "failed", cpu_s=cpu_s, note=str(error)), False
    cpu_s = cpu_seconds() - started
    run = _race_run(result, cpu_s) if name == OURS else _contender_run(result, name, cpu_s)
    return run, result.interrupted


def _race_run(result: PlanResult, cpu_s: float) -> PlanRun:
    from planner.checker import check

    plan, storages = result.plan, result.graph.storages
    metrics = plan.metrics
    violations = check(result.graph, plan.target, plan)
    top = max(
        (
            placement.offset + storages[placement.storage].size_bytes
            for placement in plan.placements
            if placement.memory == SCRATCHPAD
        ),
        default=0,
    )
    return PlanRun(
        OURS,
        result.status.value,
        metrics.traffic_bytes,
        metrics.traffic_lower_bound_bytes,
        top,
        cpu_s,
        not violations,
        f"by {plan.provenance.contender}{', interrupted' if result.interrupted else ''}",
        tuple(
            f"{report.name} failed: {report.note}"
            for report in result.contenders
            if report.status == "failed"
        ),
    )


def _contender_run(result: PlanResult, name: str, cpu_s: float) -> PlanRun:
    """Read one contender's report: every plan offered to a race is checked there."""
    report = next(report for report in result.contenders if report.name == name)
    has_plan = report.value is not None
    return PlanRun(
        name,
        report.status,
        None if report.value is None else int(report.value),
        None if report.bound is None else int(report.bound),
        report.arena_bytes if has_plan else None,
        cpu_s,
        has_plan,
        report.note,
    )
