"""Every offset solver on every instance, one at a time, each packing checked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from planner.bench.cpu_time import cpu_seconds
from planner.bench.offset_instances import tiling
from planner.errors import UsageError
from planner.packing.memory_race import packing_fault
from planner.packing.result import SolverReport
from planner.problem import Status
from planner.race_thread import RaceThread, run_interruptibly
from planner.registry import SOLVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from planner.bench.offset_instances import Instance
    from planner.packing.problem import PackingProblem
    from planner.problem import OffsetSolution, Outcome
    from solvers.packing.lowering import LoweredMemory


# Who stops after this part of the limit has used it: some keep a rest for handing over.
_ALL_THE_TIME = 0.85
_WARM_UP_S = 1.0


class OffsetSolve(NamedTuple):
    """How one solver did on one instance.

    Attributes
    ----------
    instance : str
    buffers : int
    live_bytes : int
        Most bytes in use at once: no packing is lower.
    capacity : int or None
        Named with the instance.
    minimised : SolverReport
        Asked for the lowest height.
    fitted : SolverReport or None
        Asked for any height within the capacity; None without one.
    """

    instance: str
    buffers: int
    live_bytes: int
    capacity: int | None
    minimised: SolverReport
    fitted: SolverReport | None


def chosen_solvers(names: Sequence[str] | None) -> list[str]:
    """Return the names of the solvers to compare; all if None.

    Raises
    ------
    UsageError
        If a name is unknown, or there is none.
    """
    known = SOLVERS["offsets"]
    for name in names or ():
        if name not in known:
            raise UsageError(f"no offset solver {name!r}. There are: {', '.join(known)}.")
    if names is not None and not names:
        raise UsageError(f"no solver is named. There are: {', '.join(known)}.")
    return list(dict.fromkeys(names)) if names else list(known)


def solve_all(
    instances: Iterable[Instance],
    solvers: Sequence[str],
    *,
    time_limit_s: float,
    on_progress: Callable[[str], None],
) -> Iterator[OffsetSolve]:
    """Run the solvers one after the other, so that each has the machine to itself.

    Parameters
    ----------
    time_limit_s : float
        For each run: once for the lowest height, once for the capacity where there is one.
    on_progress : callable
        Receives a line before each run.

    Raises
    ------
    KeyboardInterrupt
        When interrupted, after the solver at work has been asked to stop.
    """
    from solvers.packing.groups import group_buffers
    from solvers.packing.live_bytes import live_bytes
    from solvers.packing.lowering import offset_problem

    def lowered_of(problem: PackingProblem) -> LoweredMemory:
        groups = group_buffers(problem)
        return offset_problem(problem, groups, range(len(groups)), 0)

    warm_up = tiling("warm-up", 160)
    for solver in solvers:
        # Loads what the solver needs: that is no part of its time on the first instance.
        on_progress(f"loading {solver}")
        _Run(solver, warm_up, lowered_of(warm_up), _WARM_UP_S).report(None)
    for instance in instances:
        lowered = lowered_of(instance.problem)
        live = live_bytes(lowered.problem)
        for solver in solvers:
            on_progress(f"{instance.name}: {solver}")
            run = _Run(solver, instance.problem, lowered, time_limit_s)
            minimised = run.report(None)
            fitted = None
            if instance.capacity is not None:
                on_progress(f"{instance.name}: {solver} at {instance.capacity:,}")
                fitted = run.report(instance.capacity)
            buffers = len(instance.problem.buffers)
            yield OffsetSolve(instance.name, buffers, live, instance.capacity, minimised, fitted)


class _Run(NamedTuple):
    """A solver and what it is to solve."""

    solver: str
    problem: PackingProblem
    lowered: LoweredMemory
    time_limit_s: float

    def report(self, capacity: int | None) -> SolverReport:
        """Solve once, in a thread: the main one listens for Ctrl-C."""
        from solvers.protocol import Deadline

        solver = SOLVERS["offsets"][self.solver].load()
        problem = replace(self.lowered.problem, capacity=capacity)
        reason = solver.available().reason or solver.unsupported(problem)
        if reason:
            return self._report("skipped", note=reason)
        outcomes: list[Outcome[OffsetSolution]] = []
        deadline = Deadline(self.time_limit_s)
        thread = RaceThread(
            f"solver {self.solver}",
            lambda: outcomes.append(solver.solve(problem, deadline=deadline)),
        )
        cpu_started = cpu_seconds()
        if run_interruptibly(thread, deadline):
            raise KeyboardInterrupt
        times = (thread.wall_s, cpu_seconds() - cpu_started)
        if thread.error is not None:
            text = f"{type(thread.error).__name__}: {thread.error}"
            return self._report("failed", *times, note=text)
        if not outcomes:
            return self._report("failed", *times, note="it did not stop at the time limit")
        return self._judged(outcomes[0], capacity, *times)

    def _judged(
        self, outcome: Outcome[OffsetSolution], capacity: int | None, wall_s: float, cpu_s: float
    ) -> SolverReport:
        """Check a packing before it counts."""
        height = None
        if outcome.solution is not None:
            offsets = outcome.solution.offsets
            size = self.lowered.problem.size
            if offsets.shape != size.shape:
                fault = f"{offsets.size:,} offsets for {size.size:,} buffers"
            else:
                height = int((offsets + size).max(initial=0))
                fault = packing_fault(self.problem, self._buffer_offsets(outcome.solution))
                if not fault and height != outcome.solution.height:
                    fault = f"height {outcome.solution.height:,} is claimed, it is {height:,}"
                if not fault and capacity is not None and height > capacity:
                    fault = f"height {height:,} exceeds the capacity {capacity:,}"
            if fault:
                return self._report("failed", wall_s, cpu_s, note=f"illegal packing: {fault}")
        note = outcome.statistics.get("note", outcome.statistics.get("stopped", ""))
        if outcome.status is Status.UNKNOWN:
            gave_up = wall_s < _ALL_THE_TIME * self.time_limit_s
            missing = "no solution found" if gave_up else "no solution in time"
            note = f"{missing}; {note}" if note else missing
        return self._report(outcome.status.value, wall_s, cpu_s, height, outcome.lower_bound, note)

    def _buffer_offsets(self, solution: OffsetSolution) -> NDArray[np.int64]:
        import numpy as np

        offsets = np.empty(len(self.problem.buffers), dtype=np.int64)
        offsets[self.lowered.buffer] = self.lowered.buffer_offsets(solution.offsets)
        return offsets

    def _report(
        self,
        status: str,
        wall_s: float = 0.0,
        cpu_s: float = 0.0,
        height: int | None = None,
        bound: int | None = None,
        note: str = "",
    ) -> SolverReport:
        memory = self.problem.memories[0].name
        return SolverReport(self.solver, memory, status, height, bound, wall_s, cpu_s, note)
