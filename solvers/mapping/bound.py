"""Lower bounds on the latency of any mapping."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.problem import Outcome, Status
from solvers.mapping.integer_program import IntegerProgram, quantum
from solvers.mapping.relaxation import Grid, Relaxation, values_of, worst_windows
from solvers.milp.highs import ortools_available
from solvers.milp.linear import GrowingProgram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from planner.mapping_problem import MappingProblem, MappingSolution
    from solvers.protocol import Availability, Deadline

# Windows added after one solve, and what part of all ticks they have to exceed their room by.
_WINDOWS = 60
_TOLERANCE = 1e-6
# Share of the time for the linear program.
_LINEAR_SHARE = 0.5
# The first search for an integer bound takes this long, each later one twice as long.
_FIRST_SEARCH_S = 2.0


class LinearBound(NamedTuple):
    """What the linear relaxation proves.

    Attributes
    ----------
    ticks : int
    windows : list of (start, end)
        Windows of rows that the copies had to be told to respect.
    closed : bool
        No further window is overfull.
    """

    ticks: int
    windows: list[tuple[int, int]]
    closed: bool


def linear_bound(relaxation: Relaxation, deadline: Deadline) -> LinearBound:
    """Solve the linear relaxation, and add the windows that it overfills, until there are none.

    The bound is computed again from the prices of the rows, so that no tolerance of the solver
    can spoil it (`solvers.milp.linear`).

    Raises
    ------
    ImportError
        If ortools cannot be loaded.
    """
    problem = relaxation.problem
    best = -math.inf
    windows: list[tuple[int, int]] = []
    if deadline.expired():
        return LinearBound(0, [], closed=False)
    linear = GrowingProgram(relaxation.rows.program())
    closed = False
    while not closed and not deadline.expired():
        answer = linear.solve(deadline)
        best = max(best, answer.bound)
        if answer.values is None:
            break
        excess = relaxation.excess(answer.values)
        worst = worst_windows(excess, _TOLERANCE * problem.all_slow, _WINDOWS)
        worst = [window for window in worst if window not in windows]
        for window in worst:
            terms, limit = relaxation.window_row(*window)
            linear.add(terms, upper=limit)
        windows += worst
        closed = not worst
    ticks = 0
    if best > -math.inf:
        ticks = relaxation.base + math.ceil(best)
    return LinearBound(ticks, windows, closed)


def _integer_bounds(
    relaxation: Relaxation, program: IntegerProgram, deadline: Deadline, seed: int
) -> Iterator[tuple[int, int]]:
    """Yield bounds by CP-SAT, and how many windows each search was found to overfill."""
    limit_s = _FIRST_SEARCH_S
    while not deadline.expired():
        answer = program.solve(deadline.within(limit_s), seed)
        limit_s *= 2
        if answer.values is None or answer.bound is None:
            continue
        worst = worst_windows(relaxation.excess(answer.values), 0.5, _WINDOWS)
        yield answer.bound, len(worst)
        if answer.proven and not worst:
            break
        for window in worst:
            program.add_most(*relaxation.window_row(*window))


class MappingBound:
    """A bound by linear programming, raised by CP-SAT for as long as there is time.

    The relaxation leaves out offsets, and groups the windows of copies; so it holds for every
    mapping, with whatever prefetch window. CP-SAT's bound is in whole numbers, rounded down.
    """

    name = "bound"

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
        """Bound the latency from below. The incumbent, if there is one, is handed back.

        It is optimal if the bound reaches it. Statistics: ``cpu_s``, ``simple``, ``linear`` (the
        bounds in ticks that came before the last one), ``windows``.

        Raises
        ------
        ImportError
            If ortools cannot be loaded.
        """
        started_s = time.process_time()
        best = problem.floor
        statistics: dict[str, Any] = {"simple": best}
        enough = math.inf if incumbent is None else incumbent.latency

        def report() -> None:
            if on_progress is not None:
                on_progress(f"bound {best * problem.tick_s:.6g} s")

        if best < enough and not deadline.expired():
            relaxation = Relaxation(problem, Grid.COARSE)
            limit = deadline.within(_LINEAR_SHARE * deadline.remaining_s())
            linear = linear_bound(relaxation, limit)
            best = max(best, linear.ticks)
            statistics |= {"linear": best, "windows": len(linear.windows)}
            report()
            if best < enough and not deadline.expired():
                program = IntegerProgram(relaxation, quantum(problem.all_slow))
                residencies = () if incumbent is None else incumbent.residencies
                program.hint(values_of(relaxation, residencies).items())
                for window in linear.windows:
                    program.add_most(*relaxation.window_row(*window))
                for bound, windows in _integer_bounds(relaxation, program, deadline, seed):
                    best = max(best, bound)
                    statistics["windows"] += windows
                    report()
                    if best >= enough:
                        break
        statistics["cpu_s"] = time.process_time() - started_s
        if incumbent is None:
            return Outcome(Status.UNKNOWN, None, best, statistics)
        status = Status.OPTIMAL if best >= incumbent.latency else Status.FEASIBLE
        return Outcome(status, incumbent, best, statistics)
