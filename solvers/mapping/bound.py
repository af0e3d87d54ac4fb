"""Lower bounds on the latency of any mapping."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from planner.problem import Outcome, Status
from solvers.mapping.integer_program import IntegerProgram, quantum
from solvers.mapping.relaxation import Grid, Relaxation, values_of, worst_windows
from solvers.milp.highs import ortools_available
from solvers.milp.linear import GrowingProgram, balanced

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.mapping_problem import MappingProblem, MappingSolution
    from solvers.protocol import Availability, Deadline

# Windows added after one solve, and what part of all ticks they have to exceed their room by.
_WINDOWS = 60
_TOLERANCE = 1e-6
# GLOP is not interrupted, so it runs in slices; each that does not suffice doubles the next.
_SLICE_S = 2.0
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
    exponent = max(0, relaxation.base.bit_length() - 13)
    linear = GrowingProgram(balanced(relaxation.rows.program(), exponent))
    best, windows = -math.inf, []
    closed, slice_s = False, _SLICE_S
    while not closed and not deadline.expired():
        answer = linear.solve(min(slice_s, deadline.remaining_s()))
        best = max(best, answer.bound)
        if answer.values is None:
            if not answer.stopped:
                break
            slice_s *= 2
            continue
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
        ticks = relaxation.base + math.ceil(math.ldexp(best, exponent))
    return LinearBound(ticks, windows, closed)


def simple_bound(problem: MappingProblem) -> int:
    """Ticks if everything is served by whichever memory is faster, without latencies."""
    memory = problem.other_fast + problem.other_slow
    np.add.at(memory, problem.access_row, np.minimum(problem.fast, problem.slow))
    memory += problem.fast_latency * problem.touches_fast
    memory += problem.slow_latency * problem.touches_slow
    return int((problem.overhead + np.maximum(problem.arithmetic, memory)).sum())


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
        best = simple_bound(problem)
        statistics: dict[str, Any] = {"simple": best}
        enough = math.inf if incumbent is None else incumbent.latency

        def report() -> None:
            if on_progress is not None:
                on_progress(f"bound {best * problem.tick_s:.6g} s")

        if best < enough and problem.accesses:
            relaxation = Relaxation(problem, Grid.COARSE)
            linear = linear_bound(relaxation, deadline)
            best = max(best, linear.ticks)
            statistics |= {"linear": best}
            report()
            windows = linear.windows
            program = IntegerProgram(relaxation, quantum(problem.all_slow))
            residencies = () if incumbent is None else incumbent.residencies
            program.hint(values_of(relaxation, residencies).items())
            for window in windows:
                terms, limit = relaxation.window_row(*window)
                program.add(terms, upper=limit)
            limit_s = _FIRST_SEARCH_S
            while best < enough and not deadline.expired():
                answer = program.solve(deadline.within(limit_s), seed)
                limit_s *= 2
                if answer.values is None or answer.bound is None:
                    continue
                best = max(best, answer.bound)
                report()
                worst = worst_windows(relaxation.excess(answer.values), 0.5, _WINDOWS)
                for window in worst:
                    terms, limit = relaxation.window_row(*window)
                    program.add(terms, upper=limit)
                windows = windows + worst
                if answer.proven and not worst:
                    break
            statistics["windows"] = len(windows)
        statistics["cpu_s"] = time.process_time() - started_s
        if incumbent is None:
            return Outcome(Status.UNKNOWN, None, best, statistics)
        status = Status.OPTIMAL if best >= incumbent.latency else Status.FEASIBLE
        return Outcome(status, incumbent, best, statistics)
