"""The least latency by CP-SAT: capacity first, then windows of copies and offsets where needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from planner.mapping_problem import MappingSolution
from planner.problem import Outcome, Status
from solvers.mapping.bound import linear_bound
from solvers.mapping.integer_program import IntegerProgram, quantum
from solvers.mapping.lns import MappingNeighbourhood
from solvers.mapping.placing import completed, conflict, conflict_row, decoded, packed
from solvers.mapping.relaxation import Grid, Relaxation, values_of, worst_windows
from solvers.milp.highs import ortools_available

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from planner.mapping_problem import MappingProblem, Residency
    from solvers.mapping.placing import Proposal
    from solvers.protocol import Availability, Deadline

# Shares of the time for neighbourhoods, and for the linear program, which finds most windows.
_NEIGHBOURHOOD_SHARE = 0.25
_LINEAR_SHARE = 0.2
_FIRST_SEARCH_S = 2.0
_WINDOWS = 60


class CpMapping:
    """Proves the least latency of small programs, offsets included.

    After some neighbourhood search it begins with a relaxation in which windows of copies are
    grouped (`Grid.COARSE`) and few of them are told to CP-SAT at all. What CP-SAT proposes is made
    a legal mapping by giving up some residencies. Then windows of rows that the proposal overfills
    are added, and conflicts of residencies that provably cannot be packed; once there are none, the
    groups that the proposal chose are split. ``optimal`` means that a legal mapping, judged by the
    replay, meets the bound proven of a relaxation.
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

        Statistics: ``cpu_s``, ``searches``, ``windows``, ``conflicts``, ``splits``.

        Raises
        ------
        ImportError
            If ortools cannot be loaded.
        """
        started_s = time.process_time()
        best = incumbent or MappingSolution((), problem.all_slow)
        search = _Search(problem, best, problem.floor, deadline, seed, on_progress)
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
        self.windows: list[tuple[int, int]] = []
        self.conflicts: list[list[Residency]] = []
        self.statistics: dict[str, Any] = {"searches": 0, "windows": 0, "conflicts": 0, "splits": 0}

    def open(self) -> bool:
        return self.lower < self.best.latency

    def run(self) -> None:
        """Search relaxation after relaxation, each closer to the problem."""
        problem, deadline = self.problem, self.deadline
        limit = deadline.within(_NEIGHBOURHOOD_SHARE * deadline.remaining_s())
        polished = MappingNeighbourhood().solve(
            problem, deadline=limit, seed=self.seed, incumbent=self.best
        )
        if polished.solution is not None:
            self.offer(polished.solution)
        relaxation = Relaxation(problem, Grid.COARSE)
        linear = linear_bound(relaxation, deadline.within(_LINEAR_SHARE * deadline.remaining_s()))
        self.lower = max(self.lower, linear.ticks)
        self.windows = list(linear.windows)
        ticks = quantum(problem.all_slow)
        apart: frozenset[tuple[int, bool, int]] = frozenset()
        while self.open() and not deadline.expired():
            proposals = self.search(relaxation, ticks)
            if proposals is None:
                break
            split = frozenset(_middles(problem, proposals)) - apart
            if split:
                apart |= split
                self.statistics["splits"] += len(split)
                relaxation = Relaxation(problem, Grid.COARSE, apart=apart)
            elif ticks > 1:
                ticks = 1
            else:
                break
        self.statistics["windows"] = len(self.windows)
        self.statistics["conflicts"] = len(self.conflicts)

    def search(self, relaxation: Relaxation, ticks: int) -> list[Proposal] | None:
        """Search one relaxation with costs rounded to so many ticks, and raise the bound.

        Returns
        -------
        list of Proposal or None
            An optimal point with which no window and no conflict is at odds.
        """
        program = IntegerProgram(relaxation, ticks)
        for window in self.windows:
            program.add_most(*relaxation.window_row(*window))
        for some in self.conflicts:
            program.add_most(*conflict_row(relaxation, some))
        limit_s = _FIRST_SEARCH_S
        while self.open() and not self.deadline.expired():
            program.hint(values_of(relaxation, self.best.residencies).items())
            answer = program.solve(self.deadline.within(limit_s), self.seed)
            self.statistics["searches"] += 1
            limit_s *= 2
            if answer.values is None or answer.bound is None:
                continue
            self.lower = max(self.lower, answer.bound)
            proposals = decoded(relaxation, answer.values)
            self.offer(completed(self.problem, proposals, self.deadline))
            worst = worst_windows(relaxation.excess(answer.values), 0.5, _WINDOWS)
            for window in worst:
                program.add_most(*relaxation.window_row(*window))
            self.windows += worst
            if worst or not self.open():
                continue
            shortest = [proposal.shortest for proposal in proposals]
            if packed(self.problem, shortest, self.deadline)[1] is Status.INFEASIBLE:
                some = conflict(self.problem, shortest, self.deadline)
                program.add_most(*conflict_row(relaxation, some))
                self.conflicts.append(some)
            elif answer.proven:
                return proposals
        return None

    def offer(self, solution: MappingSolution) -> None:
        if solution.latency < self.best.latency:
            self.best = solution
            if self.on_progress is not None:
                seconds, bound = (t * self.problem.tick_s for t in (solution.latency, self.lower))
                self.on_progress(f"latency {seconds:.6g} s, bound {bound:.6g} s")


def _middles(
    problem: MappingProblem, proposals: Iterable[Proposal]
) -> Iterable[tuple[int, bool, int]]:
    """Yield what splits the groups that were chosen: access, whether inward, boundary."""
    for shortest, longest in proposals:
        accesses = problem.accesses_of.row(shortest.buffer)
        if longest.start < shortest.start:
            middle = (longest.start + shortest.start) // 2
            yield int(accesses[shortest.first]), True, middle
        if shortest.end < longest.end:
            yield int(accesses[shortest.last]), False, (shortest.end + longest.end + 1) // 2
