"""The race for one memory: solvers share the lowest packing and the highest bound.

Greedy runs first and always, so no result is worse than greedy's. The race stops when the height
meets the bound or, with a capacity, when a packing fits or none can. A solver that crashes or makes
an illegal packing loses; the others go on.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from planner.interruption import listening_for_ctrl_c
from planner.packing.result import NOT_NEEDED, SolverReport
from planner.problem import Status
from planner.race_thread import RaceThread, wait_for
from planner.registry import SOLVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from planner.interruption import Interruption
    from planner.problem import OffsetProblem, OffsetSolution, Outcome
    from solvers import SharedBest
    from solvers.protocol import Deadline

BASELINE = "greedy"
# Of so many buffers CP-SAT rarely proves anything; local search lowers what the search has found.
_FEW_BUFFERS = 200
_MANY_BUFFERS = 5_000
# The search settles most problems at once, and loading CP-SAT alone takes some tenths of a second.
_ALONE_S = 1.0


class OffsetRace(NamedTuple):
    """How the race for one memory ended.

    Attributes
    ----------
    solution : OffsetSolution or None
        Lowest packing, checked; None if none within the capacity was found.
    height : int or None
        Of the lowest packing, also when that exceeds the capacity; None if there is none at all.
    lower_bound : int
    solver : str
        What found the solution.
    reports : tuple of SolverReport
    interrupted : bool
    """

    solution: OffsetSolution | None
    height: int | None
    lower_bound: int
    solver: str
    reports: tuple[SolverReport, ...]
    interrupted: bool


def default_solvers(problem: OffsetProblem) -> tuple[str, ...]:
    """Return greedy, exact, and what helps it from the second core."""
    beside = "cp"
    if _FEW_BUFFERS < len(problem.size) <= _MANY_BUFFERS:
        local = SOLVERS["offsets"]["local"].load()
        beside = "cp" if local.unsupported(problem) else "local"
    return (BASELINE, "exact", beside)


def race_offsets(
    problem: OffsetProblem,
    offence: Callable[[OffsetSolution], str],
    *,
    memory: str,
    solvers: Sequence[str],
    deadline: Deadline,
    seed: int = 0,
    run_all: bool = False,
    incumbent: tuple[str, OffsetSolution] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> OffsetRace:
    """Let solvers compete for the lowest packing of one memory, or for one within its capacity.

    Parameters
    ----------
    problem : OffsetProblem
    offence : callable
        Says what is wrong with a packing, an empty string if it is legal.
    memory : str
        Name for reports.
    solvers : sequence of str
        Names from ``planner.registry.SOLVERS["offsets"]``. ``exact``, ``cp`` and ``local`` run
        side by side, others one after the other.
    deadline : Deadline
        Greedy is let finish.
    run_all : bool
        Solvers that a settled race has no need of run all the same, each from scratch and by
        itself, to show what they can do.
    incumbent : (str, OffsetSolution) or None
        A packing to start from, and where it is from.
    """
    from solvers import SharedBest
    from solvers.offsets import lower_bound

    board = _Board(problem, offence, SharedBest(), lower_bound(problem), memory, on_progress)
    if incumbent is not None:
        with suppress(RuntimeError):  # an illegal one is as good as none
            board.enter(*incumbent)
    runs = {name: _Run(name) for name in solvers}
    with listening_for_ctrl_c() as interruption:
        interruption.hold_or_raise()
        _run_stages(runs, board, deadline, seed, interruption)
        if run_all:
            idle = [run for run in runs.values() if not run.started()]
            _run_alone(idle, board, deadline, seed, interruption)
        started = [run for run in runs.values() if run.started()]
        # Who has not handed back what it published is still running, or has crashed.
        board.take_shared(
            max(started, key=_Run.running).name if started else "",
            trusted=not any(run.failed() for run in started),
        )
        return OffsetRace(
            board.best,
            board.height,
            board.lower_bound,
            board.winner,
            tuple(run.report(board) for run in runs.values()),
            interruption.heard,
        )


def _run_stages(
    runs: Mapping[str, _Run],
    board: _Board,
    deadline: Deadline,
    seed: int,
    interruption: Interruption,
) -> None:
    """Run the solvers until the race is settled or over; greedy in any case."""
    from solvers.protocol import Deadline

    stages = _stages(list(runs))
    for number, names in enumerate(stages):
        if number and (interruption.heard or board.settled()):
            return
        # Greedy takes little, the others equal shares of what is left. A flag of their own: what
        # settles this memory must not stop the next one.
        share = Deadline(deadline.remaining_s() / (len(stages) - number if number else 1))
        # Greedy is not stopped, so that a height that will do is known even above the capacity.
        settled = board.settled if number else lambda: False
        running: list[RaceThread] = []
        for name in names:
            if running:
                wait_for(running, share, interruption, settled=settled, at_most_s=_ALONE_S)
            if number and (interruption.heard or board.settled()):
                break
            thread = runs[name].prepare(board, share, seed)
            if thread is not None:
                running.append(thread)
                thread.start()
        wait_for(running, share, interruption, owes=board.empty, settled=settled)


def _run_alone(
    runs: Sequence[_Run],
    board: _Board,
    deadline: Deadline,
    seed: int,
    interruption: Interruption,
) -> None:
    """Run those that the settled race had no need of, each from scratch."""
    from solvers.protocol import Deadline

    for number, run in enumerate(runs):
        if interruption.heard:
            return
        share = Deadline(deadline.remaining_s() / (len(runs) - number))
        thread = run.prepare(board, share, seed, alone=True)
        if thread is not None:
            thread.start()
            wait_for([thread], share, interruption)


def _stages(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return what runs one after the other; greedy is first, the searches are side by side."""
    together = tuple(name for name in ("exact", "cp", "local") if name in names)
    stages: list[tuple[str, ...]] = []
    for name in names:
        stage = together if name in together else (name,)
        if stage not in stages:
            stages.append(stage)
    return stages


class _Board:
    """What the solvers of one race have shown, checked. Safe to use from any thread."""

    def __init__(
        self,
        problem: OffsetProblem,
        offence: Callable[[OffsetSolution], str],
        shared: SharedBest,
        lower_bound: int,
        memory: str,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self.problem = problem
        self.shared = shared
        self.memory = memory
        self._offence = offence
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._shown = shared.height
        self.best: OffsetSolution | None = None
        self.winner = ""
        self.height: int | None = None
        self.lower_bound = self._simple_bound = lower_bound
        shared.offer_bound(lower_bound)

    def empty(self) -> bool:
        """Whether nothing has been found, not even above the capacity."""
        return self.height is None and self.shared.offsets() is None

    def settled(self) -> bool:
        """Whether nothing better can come; tells the listener what is new on the way."""
        height = self.shared.height
        if self.best is not None:
            height = min(height, self.best.height)
        bound = max(self.lower_bound, self.shared.lower_bound)
        if height < self._shown:
            self._shown = height
            if self._on_progress is not None:
                self._on_progress(f"{self.memory}: {height:,} bytes, lower bound {bound:,}")
        capacity = self.problem.capacity
        if capacity is not None and (height <= capacity or bound > capacity):
            return True
        return height <= bound

    def enter(self, solver: str, solution: OffsetSolution) -> None:
        """Check a packing and keep it if it is the lowest.

        Raises
        ------
        RuntimeError
            If it is illegal: the solver has a bug and loses.
        """
        import numpy as np

        known = self.best
        height = int((solution.offsets + self.problem.size).max())
        if known is None or not np.array_equal(known.offsets, solution.offsets):
            if fault := self._offence(solution):
                raise RuntimeError(f"made an illegal packing: {fault}")
            if height != solution.height:
                raise RuntimeError(f"claims height {solution.height:,} for {height:,} bytes")
            self.shared.offer(solution.offsets, height)
        with self._lock:
            if self.best is None or height < self.best.height:
                self.best, self.winner = solution._replace(height=height), solver
            self._lower_height(height)
            if height < self.lower_bound:  # a solver has proven what is not so
                self.lower_bound = self._simple_bound

    def enter_outcome(self, solver: str, outcome: Outcome[OffsetSolution]) -> None:
        """Enter what a solver hands back: its packing, and its bound."""
        if outcome.solution is not None:
            self.enter(solver, outcome.solution)
            # Others hand back what they took over from the search, which says where its is from.
            if "incumbent" not in outcome.statistics.get("order", "incumbent"):
                self._credit(solver, outcome.solution)
        bound = outcome.lower_bound or 0
        if outcome.status is Status.INFEASIBLE:
            if self.problem.capacity is None:
                raise RuntimeError("claims that there is no packing, where no capacity is given")
            bound = max(bound, self.problem.capacity + 1)
        with self._lock:
            if self.best is not None and bound > self.best.height:
                raise RuntimeError(
                    f"claims that no packing is below {bound:,}; there is one of "
                    f"{self.best.height:,}"
                )
            self.lower_bound = max(self.lower_bound, bound)
            above_capacity = outcome.statistics.get("lowest_height")
            if above_capacity is not None:
                self._lower_height(int(above_capacity))

    def _credit(self, solver: str, solution: OffsetSolution) -> None:
        import numpy as np

        with self._lock:
            same = self.best is not None and np.array_equal(self.best.offsets, solution.offsets)
            if same and self.winner != BASELINE:
                self.winner = solver

    def _lower_height(self, height: int) -> None:
        self.height = height if self.height is None else min(self.height, height)

    def take_shared(self, solver: str, *, trusted: bool) -> None:
        """Enter what a solver published that has not handed back anything yet.

        Packings are checked. Bounds cannot be, so they count only if all solvers are ``trusted``.
        """
        from planner.problem import OffsetSolution

        offsets, bound = self.shared.offsets(), self.shared.lower_bound
        capacity = self.problem.capacity
        if offsets is not None:
            height = int((offsets + self.problem.size).max())
            if capacity is not None and height > capacity:
                with self._lock:
                    self._lower_height(height)
            elif self.best is None or height < self.best.height:
                with suppress(RuntimeError):
                    self.enter(solver, OffsetSolution(offsets, height))
        if trusted and (self.best is None or bound <= self.best.height):
            self.lower_bound = max(self.lower_bound, bound)


class _Run:
    """One solver in its thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._thread: RaceThread | None = None
        self._skipped = NOT_NEEDED
        self._outcome: Outcome[OffsetSolution] | None = None

    def started(self) -> bool:
        return self._thread is not None

    def running(self) -> bool:
        return self._thread is not None and self._thread.running()

    def failed(self) -> bool:
        return self._thread is not None and self._thread.error is not None

    def prepare(
        self, board: _Board, deadline: Deadline, seed: int, *, alone: bool = False
    ) -> RaceThread | None:
        """Return the thread to start, or None if there is nothing for the solver to do.

        Alone, it is told nothing of what the others have found.
        """
        solver = SOLVERS["offsets"][self.name].load()
        self._skipped = solver.available().reason or solver.unsupported(board.problem)
        if not self._skipped and deadline.expired() and self.name != BASELINE:
            self._skipped = "no time left"
        if self._skipped:
            return None

        def run() -> None:
            outcome = self._outcome = solver.solve(
                board.problem,
                deadline=deadline,
                seed=seed,
                incumbent=None if alone else board.best,
                shared=None if alone else board.shared,
            )
            board.enter_outcome(self.name, outcome)

        self._thread = RaceThread(f"solver {self.name}", run)
        return self._thread

    def report(self, board: _Board) -> SolverReport:
        if self._thread is None:
            return SolverReport(self.name, board.memory, "skipped", note=self._skipped)
        error, wall_s, cpu_s = self._thread.error, self._thread.wall_s, self._thread.cpu_s
        if error is not None:
            kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
            return SolverReport(
                self.name, board.memory, "failed", None, None, wall_s, cpu_s, f"{kind}{error}"
            )
        if self._outcome is None or self._thread.running():
            return SolverReport(
                self.name,
                board.memory,
                Status.UNKNOWN.value,
                note="still running at the deadline",
            )
        outcome = self._outcome
        height = None if outcome.solution is None else int(outcome.solution.height)
        return SolverReport(
            self.name,
            board.memory,
            outcome.status.value,
            outcome.statistics.get("lowest_height", height),
            outcome.lower_bound,
            wall_s,
            max(cpu_s, outcome.statistics.get("cpu_s", 0.0)),
            outcome.statistics.get("note", outcome.statistics.get("stopped", "")),
        )
