"""The least latency by CP-SAT: capacity first, then windows of copies and offsets where needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from planner.mapping_problem import MappingSolution
from planner.problem import Outcome, Status
from solvers.mapping.bound import linear_bound, simple_bound
from solvers.mapping.integer_program import IntegerProgram, quantum
from solvers.mapping.placing import completed, conflict, conflict_row, decoded, packed
from solvers.mapping.relaxation import Grid, Relaxation, values_of, worst_windows
from solvers.milp.highs import ortools_available

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.mapping_problem import MappingProblem
    from solvers.protocol import Availability, Deadline

# With more pairs of accesses and rows before them, not all windows of copies are told apart.
MOST_WINDOWS = 30_000
# Share of the time for the linear program, which finds most of the windows that matter.
_LINEAR_SHARE = 0.2
_FIRST_SEARCH_S = 2.0
_WINDOWS = 60


class CpMapping:
    """Proves the least latency of small programs, offsets included.

    What CP-SAT proposes is legal by capacity and by the windows of rows told to it so far. Windows
    that its point overfills are added, and so are conflicts of residencies that provably cannot be
    packed, and it searches again. Every point is also made a legal mapping by giving up some
    residencies. ``optimal`` means that the best legal mapping meets the bound proven of the program,
    which leaves out only what could raise it.
    """

    name = "cp"

    def available(self) -> Availability:
        """Whether ortools can be loaded."""
        return ortools_available()

    def solve(
        self,
        problem: MappingProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: MappingSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[MappingSolution]:
        """Solve until proven or the deadline; never worse than the incumbent.

        Statistics: ``cpu_s``, ``searches``, ``windows``, ``conflicts``, ``grid``.

        Raises
        ------
        ImportError
            If ortools cannot be loaded.
        """
        started_s = time.process_time()
        best = incumbent or MappingSolution((), problem.all_slow)
        search = _Search(problem, best, simple_bound(problem), deadline, seed, on_progress)
        if search.open():
            search.run()
        status = Status.FEASIBLE if search.open() else Status.OPTIMAL
        statistics = search.statistics | {"cpu_s": time.process_time() - started_s}
        return Outcome(status, search.best, search.lower, statistics)


class _Search:
    """One run: the best mapping and the bound, and what CP-SAT was told."""

    def __init__(
        self,
        problem: MappingProblem,
        best: MappingSolution,
        lower: int,
        deadline: Deadline,
        seed: int,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self.problem = problem
        self.best = best
        self.lower = lower
        self.deadline = deadline
        self.seed = seed
        self.on_progress = on_progress
        self.cuts: list[tuple[dict[int, int], int]] = []
        self.statistics: dict[str, Any] = {"searches": 0, "windows": 0, "conflicts": 0}

    def open(self) -> bool:
        return self.lower < self.best.latency

    def run(self) -> None:
        problem, deadline = self.problem, self.deadline
        coarse = Relaxation(problem, Grid.COARSE)
        limit = deadline.within(_LINEAR_SHARE * deadline.remaining_s())
        linear = linear_bound(coarse, limit)
        self.lower = max(self.lower, linear.ticks)
        exact = int(problem.access_row.sum()) <= MOST_WINDOWS
        grid = Grid.EXACT if exact else Grid.SPARSE
        self.statistics["grid"] = grid.name.lower()
        self.relaxation = Relaxation(problem, grid, incumbent=self.best.residencies)
        for window in linear.windows:
            self.cut(*self.relaxation.window_row(*window), "windows")
        ticks = quantum(problem.all_slow)
        while self.open() and not deadline.expired():
            finished = self.search(ticks)
            if not finished or ticks == 1:
                return
            ticks = 1

    def cut(self, terms: dict[int, int], limit: int, kind: str) -> None:
        self.statistics[kind] += 1
        self.cuts.append((terms, limit))

    def search(self, ticks: int) -> bool:
        """Search with costs rounded to so many ticks; whether that came to a proven end."""
        program = IntegerProgram(self.relaxation, ticks)
        told, limit_s = 0, _FIRST_SEARCH_S
        while self.open() and not self.deadline.expired():
            for terms, limit in self.cuts[told:]:
                program.add(terms, upper=limit)
            told = len(self.cuts)
            program.hint(values_of(self.relaxation, self.best.residencies).items())
            answer = program.solve(self.deadline.within(limit_s), self.seed)
            self.statistics["searches"] += 1
            if self.relaxation.grid is Grid.EXACT:
                self.lower = min(self.best.latency, max(self.lower, answer.bound))
            if answer.values is None:
                if answer.infeasible:
                    return False
                limit_s *= 2
                continue
            proposed = decoded(self.relaxation, answer.values)
            self.offer(completed(self.problem, proposed, self.deadline))
            excess = self.relaxation.excess(answer.values)
            for window in worst_windows(excess, 0.5, _WINDOWS):
                self.cut(*self.relaxation.window_row(*window), "windows")
            if len(self.cuts) > told:
                continue
            if packed(self.problem, proposed, self.deadline)[1] is Status.INFEASIBLE:
                some = conflict(self.problem, proposed, self.deadline)
                self.cut(*conflict_row(self.relaxation, some), "conflicts")
            elif answer.proven:
                return True
            limit_s *= 2
        return False

    def offer(self, solution: MappingSolution) -> None:
        if solution.latency < self.best.latency:
            self.best = solution
            if self.on_progress is not None:
                seconds, bound = (t * self.problem.tick_s for t in (solution.latency, self.lower))
                self.on_progress(f"latency {seconds:.6g} s, bound {bound:.6g} s")
