"""Every method on every program, one at a time, each mapping replayed."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.bench.cpu_time import cpu_seconds
from planner.bench.latency_methods import BOUND, TIMEKEEPERS
from planner.mapping_replay import InvalidMappingError, replay
from planner.race_thread import RaceThread, run_interruptibly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from planner.bench.latency_methods import Bound, Method
    from planner.bench.latency_programs import Program
    from planner.mapping_problem import MappingProblem

# Clocks of processes are no finer.
_LEAST_S = 1e-4
_WARM_UP_ROWS = 16
# Who has nothing to do for its decodes could have any number of them.
_MOST_FACTOR = 20.0


class Budget(StrEnum):
    """What is the same for all methods that search."""

    NONE = "none"
    DECODES = "decodes"
    TIME = "time"


class LatencyRun(NamedTuple):
    """One method on one program with one seed.

    Attributes
    ----------
    method : str
    budget : Budget
        ``none`` for methods that do not search.
    seed : int
    latency : int or None
        Ticks, of a mapping that the replay found legal; None where there is none.
    lower_bound : int or None
        Ticks, where the method proves a bound.
    decodes : int
    cpu_s : float
        Of all threads, from the problem to the mapping; the replay is no part of it.
    note : str
        What went wrong.
    """

    method: str
    budget: Budget
    seed: int
    latency: int | None
    lower_bound: int | None
    decodes: int
    cpu_s: float
    note: str = ""


class ProgramResult(NamedTuple):
    """All methods on one program; times in ticks of ``tick_s`` seconds."""

    name: str
    graph: str
    family: str
    target: str
    rows: int
    buffers: int
    capacity: int
    tick_s: float
    all_slow: int
    all_fast: int
    proven_bound: Bound | None
    runs: tuple[LatencyRun, ...]

    @property
    def lower_bound(self) -> int:
        """What no mapping is below: the largest of what is proven."""
        proven = [run.lower_bound for run in self.runs if run.lower_bound is not None]
        return max(
            [
                self.all_fast,
                *([] if self.proven_bound is None else [self.proven_bound.ticks]),
                *proven,
            ]
        )

    @property
    def best(self) -> int:
        """Fewest ticks found."""
        found = [run.latency for run in self.runs if run.latency is not None]
        return min([self.all_slow, *found])

    def score(self, latency: float) -> float:
        """Return 0 where everything is slow, 1 where everything is fast."""
        return (self.all_slow - latency) / (self.all_slow - self.all_fast)


def run_programs(
    programs: Iterable[Program],
    methods: Mapping[str, Method],
    *,
    decodes: int,
    seeds: Sequence[int],
    time_limit_s: float,
    on_progress: Callable[[str], None],
) -> Iterator[ProgramResult]:
    """Run everything one after the other, so that each has the machine to itself.

    Parameters
    ----------
    decodes : int
        For each method with a budget. Then again with as many as cost what the timekeeper took for
        them, judged by what its own decodes cost it: a clock would measure what else the machine
        does, and who hands back late.
    time_limit_s : float
        For each run, and for the bound.

    Raises
    ------
    KeyboardInterrupt
        When interrupted; the program at hand is left out.
    """
    is_warm = False
    for program in programs:
        on_progress(f"{program.name}: lowering")
        problem = program.build()
        if not is_warm:
            _warm_up(program, problem, methods, time_limit_s, on_progress)
            is_warm = True
        run = _Runner(program, problem, time_limit_s, on_progress)
        yield run.result(methods, decodes, seeds)


def _warm_up(
    program: Program,
    problem: MappingProblem,
    methods: Mapping[str, Method],
    time_limit_s: float,
    on_progress: Callable[[str], None],
) -> None:
    """Load what the methods need: that is no part of their time on the first program."""
    from solvers.mapping.variants import cropped

    rows = cropped(problem, 0, min(problem.rows, _WARM_UP_ROWS))
    run = _Runner(program._replace(name="warm-up"), rows, time_limit_s, on_progress)
    run.result(methods, 1, (0,))


class _Runner(NamedTuple):
    program: Program
    problem: MappingProblem
    time_limit_s: float
    on_progress: Callable[[str], None]

    def result(
        self, methods: Mapping[str, Method], decodes: int, seeds: Sequence[int]
    ) -> ProgramResult:
        runs: list[LatencyRun] = []
        searching = {name: method for name, method in methods.items() if method.has_budget}
        for name in methods.keys() - searching.keys():
            runs.append(self._run(name, methods[name], Budget.NONE, seeds[0], None))
        order = list(methods)
        runs.sort(key=lambda run: order.index(run.method))
        timekeeper = next((name for name in TIMEKEEPERS if name in searching), None)
        for seed in seeds:
            counted = {
                name: self._run(name, method, Budget.DECODES, seed, decodes)
                for name, method in searching.items()
            }
            runs += counted.values()
            if timekeeper is None:
                continue
            kept_s = max(counted[timekeeper].cpu_s, _LEAST_S)
            # The timekeeper's own run is both.
            runs.append(counted[timekeeper]._replace(budget=Budget.TIME))
            for name, method in searching.items():
                if name != timekeeper:
                    factor = kept_s / max(counted[name].cpu_s, _LEAST_S)
                    affordable = max(1, round(decodes * min(factor, _MOST_FACTOR)))
                    runs.append(self._run(name, method, Budget.TIME, seed, affordable))
        problem = self.problem
        return ProgramResult(
            name=self.program.name,
            graph=self.program.graph,
            family=self.program.family,
            target=self.program.target,
            rows=problem.rows,
            buffers=problem.buffers,
            capacity=problem.capacity,
            tick_s=problem.tick_s,
            all_slow=problem.all_slow,
            all_fast=problem.all_fast,
            proven_bound=self._bound(),
            runs=tuple(runs),
        )

    def _run(
        self,
        name: str,
        method: Method,
        budget: Budget,
        seed: int,
        decodes: int | None,
    ) -> LatencyRun:
        """Run a method, and replay what it hands back."""
        self.on_progress(f"{self.program.name}: {name}")
        limit_s = self.time_limit_s
        function = method.load()
        assert function is not None
        mapped, cpu_s, fault = self._timed(
            f"method {name}",
            lambda: function(
                self.problem, decodes=decodes, seconds=limit_s, seed=seed, **method.arguments
            ),
            limit_s,
        )
        latency = None
        if mapped is not None:
            try:
                latency = replay(self.problem, mapped.residencies)
                if latency != mapped.latency:
                    fault = f"{mapped.latency:,} ticks are claimed, the replay takes {latency:,}"
            except InvalidMappingError as error:
                fault = f"illegal mapping: {error}"
            if fault:
                latency = None
        return LatencyRun(
            name,
            budget,
            seed,
            latency,
            getattr(mapped, "lower_bound", None),
            getattr(mapped, "decodes_used", 0),
            cpu_s,
            fault,
        )

    def _bound(self) -> Bound | None:
        function = BOUND.load()
        if function is None:
            return None
        self.on_progress(f"{self.program.name}: bound")
        bound, _, _ = self._timed(
            "bound", lambda: function(self.problem, seconds=self.time_limit_s), self.time_limit_s
        )
        return bound

    def _timed(self, name: str, job: Callable[[], Any], limit_s: float) -> tuple[Any, float, str]:
        """Run it in a thread: the main one listens for Ctrl-C.

        Returns
        -------
        tuple of Any, float and str
            The result or None, CPU seconds, and what went wrong.
        """
        from solvers.protocol import Deadline

        results: list[Any] = []
        thread = RaceThread(name, lambda: results.append(job()))
        cpu_started = cpu_seconds()
        if run_interruptibly(thread, Deadline(limit_s)):
            raise KeyboardInterrupt
        cpu_s = cpu_seconds() - cpu_started
        if thread.error is not None:
            return None, cpu_s, f"{type(thread.error).__name__}: {thread.error}"
        if not results:
            return None, cpu_s, "it did not stop at the time limit"
        return results[0], cpu_s, ""
