"""Neighbourhoods of a mapping: some buffers are decided anew by CP-SAT, the rest stays."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from planner.mapping_problem import MappingSolution
from planner.problem import Outcome, Status
from solvers.mapping.integer_program import IntegerProgram, quantum
from solvers.mapping.placing import Proposal, completed, decoded
from solvers.mapping.relaxation import Grid, Relaxation, values_of, worst_windows
from solvers.milp.highs import ortools_available

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.mapping_problem import MappingProblem
    from solvers.protocol import Availability, Deadline

# Free accesses of the first neighbourhood, and the limits between which their number adapts.
_FREE, _FEWEST, _MOST = 60, 12, 400
# CP-SAT may take so long in one neighbourhood.
_SEARCH_S = 2.0
# Windows of copies are told to CP-SAT where it overfills them, so many times in a neighbourhood.
_ATTEMPTS = 6
_WINDOWS = 30
# Windows that mattered lately are told from the start.
_REMEMBERED = 120


class MappingNeighbourhood:
    """Large neighbourhood search from an incumbent.

    A neighbourhood is what is accessed in some consecutive rows. Its size adapts: larger after a
    proof, smaller after a search that ran out of time.
    """

    name = "lns"

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
        """Improve the incumbent, or else the mapping without residencies, until the deadline.

        It ends earlier where a neighbourhood was everything. Statistics: ``cpu_s``,
        ``neighbourhoods``, ``improved``.

        Raises
        ------
        ImportError
            If ortools cannot be loaded.
        """
        started_s = time.process_time()
        best = incumbent or MappingSolution((), problem.all_slow)
        rng = random.Random(seed)
        windows: list[tuple[int, int]] = []
        size = float(_FREE)
        statistics: dict[str, Any] = {"neighbourhoods": 0, "improved": 0}
        while problem.accesses and not deadline.expired():
            free = _neighbourhood(problem, rng, round(size))
            found, proven = _searched(problem, best, free, windows, deadline, seed)
            statistics["neighbourhoods"] += 1
            if found.latency < best.latency:
                best = found
                statistics["improved"] += 1
                if on_progress is not None:
                    on_progress(f"latency {best.latency * problem.tick_s:.6g} s")
            elif proven and len(free) == problem.buffers:
                break
            size = min(_MOST, size * 1.15) if proven else max(_FEWEST, size * 0.7)
            del windows[:-_REMEMBERED]
        statistics["cpu_s"] = time.process_time() - started_s
        return Outcome(Status.FEASIBLE, best, None, statistics)


def _neighbourhood(problem: MappingProblem, rng: random.Random, size: int) -> set[int]:
    """Return the buffers that are accessed in rows around a random one, ``size`` accesses of them.

    Half of the time only every other buffer of twice as many rows.
    """
    thin = rng.random() < 0.5
    centre = rng.randrange(problem.accesses)
    free: set[int] = set()
    taken = 0
    by_distance = sorted(
        range(problem.accesses),
        key=lambda access: abs(int(problem.access_row[access]) - int(problem.access_row[centre])),
    )
    for access in by_distance:
        buffer = int(problem.access_buffer[access])
        if taken >= size:
            break
        if buffer not in free and not (thin and rng.random() < 0.5):
            free.add(buffer)
            taken += len(problem.accesses_of.row(buffer))
    return free


def _searched(
    problem: MappingProblem,
    best: MappingSolution,
    free: set[int],
    windows: list[tuple[int, int]],
    deadline: Deadline,
    seed: int,
) -> tuple[MappingSolution, bool]:
    """Return the best mapping found, and whether CP-SAT decided the neighbourhood."""
    relaxation = Relaxation(problem, Grid.SPARSE, incumbent=best.residencies, free=free)
    program = IntegerProgram(relaxation, quantum(problem.all_slow))
    for window in windows:
        program.add_most(*relaxation.window_row(*window))
    program.hint(values_of(relaxation, best.residencies).items())
    fixed = [Proposal(r, r) for r in best.residencies if r.buffer not in free]
    found = best
    for _ in range(_ATTEMPTS):
        answer = program.solve(deadline.within(_SEARCH_S), seed)
        if answer.values is None:
            return found, False
        proposals = sorted([*fixed, *decoded(relaxation, answer.values)])
        if [p.shortest[:5] for p in proposals] == [r[:5] for r in best.residencies]:
            return found, answer.proven
        candidate = completed(problem, proposals, deadline)
        if candidate.latency < found.latency:
            found = candidate
        worst = worst_windows(relaxation.excess(answer.values), 0.5, _WINDOWS)
        if not worst:
            return found, answer.proven
        for window in worst:
            program.add_most(*relaxation.window_row(*window))
            if window in windows:
                windows.remove(window)
            windows.append(window)
    return found, False
