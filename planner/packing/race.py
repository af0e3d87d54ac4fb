"""From buffers to a checked packing: groups, memories, then the solvers' race for each memory."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from planner.errors import UsageError
from planner.interruption import listening_for_ctrl_c
from planner.packing.memory_race import MemoryRace, keep_hints, race_memory
from planner.packing.offset_race import BASELINE
from planner.packing.problem import Packing, PackingProblem
from planner.packing.result import MemoryUse, PackResult, SolverReport
from planner.problem import Status
from planner.race_thread import RaceThread, run_interruptibly
from planner.registry import SOLVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from planner.problem import OffsetProblem
    from solvers.packing.groups import Group
    from solvers.protocol import Deadline

# Parts of the time for the choice of memories, and for heights before hints are seen to.
_MEMBERSHIP_SHARE = 0.7
_HINTED_SHARE = 0.7


def race(
    problem: PackingProblem,
    *,
    time_limit: float = 30.0,
    seed: int = 0,
    solvers: Sequence[str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> PackResult:
    """Let the offset solvers compete and return the best packing, checked.

    Parameters
    ----------
    problem : PackingProblem
    time_limit : float
        Seconds for the whole race. Greedy is let finish.
    seed : int
    solvers : sequence of str or None
        Names from ``planner.registry.SOLVERS["offsets"]``; None for greedy, exact, and cp or
        local. Greedy always takes part. Solvers that are named run even where nothing is left to
        improve.
    on_progress : callable or None
        Receives one line per improvement.

    Returns
    -------
    PackResult
        Without packing if none within the capacities was found.

    Raises
    ------
    UsageError
        If a solver is unknown, or what is asked of the buffers contradicts itself.
    KeyboardInterrupt
        If interrupted before the first packing was found.
    """
    from solvers.packing.groups import group_buffers
    from solvers.protocol import Deadline

    started = time.monotonic()
    names = _chosen(solvers)
    deadline = Deadline(time_limit)
    with listening_for_ctrl_c() as interruption:
        groups = group_buffers(problem)
        contest = _Contest(problem, names, solvers is not None, deadline, seed, on_progress)
        result = contest.one(groups) if len(problem.memories) == 1 else contest.several(groups)
        return replace(
            result,
            wall_s=time.monotonic() - started,
            interrupted=result.interrupted or interruption.heard,
        )


def offset_problem_of(problem: PackingProblem) -> OffsetProblem:
    """Return what the offset solvers are given for a problem with one memory.

    Raises
    ------
    UsageError
        If it has several memories, or contradicts itself.
    """
    from solvers.packing.groups import group_buffers
    from solvers.packing.lowering import offset_problem

    if len(problem.memories) > 1:
        names = ", ".join(memory.name for memory in problem.memories)
        raise UsageError(
            f"the problem has {len(problem.memories):,} memories ({names}); an offset problem is "
            "about one."
        )
    groups = group_buffers(problem)
    return offset_problem(problem, groups, range(len(groups)), 0).problem


def _chosen(solvers: Sequence[str] | None) -> list[str] | None:
    if solvers is None:
        return None
    known = SOLVERS["offsets"]
    for name in solvers:
        if name not in known:
            raise UsageError(f"no offset solver {name!r}. There are: {', '.join(known)}.")
    return list(dict.fromkeys([BASELINE, *solvers]))


class _Contest:
    """One call of `race`."""

    def __init__(
        self,
        problem: PackingProblem,
        solvers: Sequence[str] | None,
        run_all: bool,
        deadline: Deadline,
        seed: int,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self._problem = problem
        self._solvers = solvers
        self._run_all = run_all
        self._deadline = deadline
        self._seed = seed
        self._on_progress = on_progress
        self._hinted = any(buffer.hint is not None for buffer in problem.buffers)
        self._interrupted = False

    def one(self, groups: Sequence[Group]) -> PackResult:
        """Pack the only memory; what counts is its height."""
        races = self._memories(groups, [0] * len(groups), self._hinted_offsets())
        return self._result(races, _height_status(races[0]))

    def several(self, groups: Sequence[Group]) -> PackResult:
        """Choose memories first; what counts is the displaced bytes."""
        from solvers.packing.membership import possible_groups

        groups, fault = possible_groups(self._problem, groups)
        if fault:
            return self._impossible(fault)
        if all(len(group.memories) == 1 for group in groups):
            return self._forced(groups)
        return self._chosen_memories(groups)

    def _impossible(self, fault: str) -> PackResult:
        uses = tuple(MemoryUse(m.name, 0, 0, 0, 0, m.capacity) for m in self._problem.memories)
        return PackResult(
            self._problem, None, Status.INFEASIBLE, uses, solver="", notes=(f"{fault}.",)
        )

    def _forced(self, groups: Sequence[Group]) -> PackResult:
        """Pack independent memories: nothing is left to choose, so any packing is optimal."""
        races = self._memories(groups, [group.memories[0] for group in groups])
        if any(race.impossible() for race in races):
            status = Status.INFEASIBLE
        else:
            found = all(race.outcome.solution is not None for race in races)
            status = Status.OPTIMAL if found else Status.UNKNOWN
        displaced = sum(group.displaced[0] for group in groups)
        return self._result(races, status, displaced, displaced)

    def _chosen_memories(self, groups: Sequence[Group]) -> PackResult:
        from solvers.packing.membership import MembershipSearch
        from solvers.packing.spreading import displaced_bytes

        search = MembershipSearch(
            self._problem, groups, seed=self._seed, on_progress=self._on_progress
        )
        limit = self._deadline.within(_MEMBERSHIP_SHARE * self._deadline.remaining_s())
        thread = RaceThread("membership", lambda: search.run(limit))
        self._interrupted = run_interruptibly(thread, limit)
        best = search.best
        choice = search.first_choice if best is None else best.choice
        start = None if best is None else ("membership", best.offset)
        races = self._memories(groups, choice, start)
        status = Status.UNKNOWN
        displaced = displaced_bytes(groups, choice)
        if all(race.outcome.solution is not None for race in races):
            status = Status.OPTIMAL if displaced <= search.bound else Status.FEASIBLE
        elif search.impossible:
            status = Status.INFEASIBLE
        error = thread.error
        report = SolverReport(
            "membership",
            "",
            status.value if error is None else "failed",
            wall_s=thread.wall_s,
            cpu_s=thread.cpu_s + search.other_cpu_s,
            note=search.stopped if error is None else f"{type(error).__name__}: {error}",
        )
        result = self._result(races, status, displaced, search.bound)
        return replace(result, solvers=(report, *result.solvers))

    def _hinted_offsets(self) -> tuple[str, NDArray[np.int64]] | None:
        """Return the packing that hints and fixed offsets give, if every buffer has one."""
        offsets = [
            buffer.hint if buffer.offset is None else buffer.offset
            for buffer in self._problem.buffers
        ]
        if not self._hinted or None in offsets:
            return None
        return "hints", np.array(offsets, dtype=np.int64)

    def _memories(
        self,
        groups: Sequence[Group],
        choice: Sequence[int],
        incumbent: tuple[str, NDArray[np.int64]] | None = None,
    ) -> list[MemoryRace]:
        """Pack each memory by itself."""
        problem = self._problem
        races: list[MemoryRace] = []
        for memory in range(len(problem.memories)):
            members = [group for group, chosen in enumerate(choice) if chosen == memory]
            start = incumbent
            if start is not None and any(
                start[1][buffer] < 0 for group in members for buffer in groups[group].members
            ):
                start = None
            # Equal shares of what is left; what a memory does not need is left to the next ones.
            share = self._deadline.remaining_s() / (len(problem.memories) - memory)
            race = race_memory(
                problem,
                groups,
                members,
                memory,
                solvers=[BASELINE] if self._interrupted else self._solvers,
                deadline=self._deadline.within(share * (_HINTED_SHARE if self._hinted else 1)),
                seed=self._seed,
                run_all=self._run_all,
                incumbent=start,
                on_progress=self._on_progress,
            )
            self._interrupted = self._interrupted or race.outcome.interrupted
            if self._hinted and race.outcome.solution is not None and not self._interrupted:
                share = self._deadline.remaining_s() / (len(problem.memories) - memory)
                race = keep_hints(problem, memory, race, self._deadline.within(share), self._seed)
                self._interrupted = race.outcome.interrupted
            races.append(race)
        return races

    def _result(
        self,
        races: Sequence[MemoryRace],
        status: Status,
        displaced: int = 0,
        displaced_bound: int = 0,
    ) -> PackResult:
        problem = self._problem
        packing = _packing(problem, races)
        reports = tuple(report for race in races for report in race.outcome.reports)
        if packing is None:
            if self._interrupted and any(
                race.outcome.height is None and not race.fault for race in races
            ):
                raise KeyboardInterrupt
            _require_a_working_solver(reports)
        return PackResult(
            problem=problem,
            packing=packing,
            status=status,
            memories=tuple(
                race.use(memory.name) for memory, race in zip(problem.memories, races, strict=True)
            ),
            solver=", ".join(dict.fromkeys(r.outcome.solver for r in races if r.outcome.solver)),
            solvers=reports,
            displaced_bytes=displaced,
            displaced_lower_bound_bytes=min(displaced, displaced_bound),
            moved=0 if packing is None else _moved(problem, packing),
            interrupted=self._interrupted,
            notes=tuple(f"{race.fault}." for race in races if race.fault),
        )


def _packing(problem: PackingProblem, races: Sequence[MemoryRace]) -> Packing | None:
    """Put the memories' packings together; None if one of them has none."""
    count = len(problem.buffers)
    packing = Packing(np.zeros(count, dtype=np.int32), np.zeros(count, dtype=np.int64))
    for memory, race in enumerate(races):
        if race.outcome.solution is None:
            return None
        packing.memory[race.lowered.buffer] = memory
        packing.offset[race.lowered.buffer] = race.lowered.buffer_offsets(
            race.outcome.solution.offsets
        )
    return packing


def _height_status(race: MemoryRace) -> Status:
    if race.impossible():
        return Status.INFEASIBLE
    solution = race.outcome.solution
    if solution is None:
        return Status.UNKNOWN
    return Status.OPTIMAL if solution.height <= race.outcome.lower_bound else Status.FEASIBLE


def _moved(problem: PackingProblem, packing: Packing) -> int:
    """Count the buffers with a hint that lie elsewhere."""
    return sum(
        buffer.hint is not None and buffer.hint != offset
        for buffer, offset in zip(problem.buffers, packing.offset.tolist(), strict=True)
    )


def _require_a_working_solver(reports: Sequence[SolverReport]) -> None:
    """Do not pass a bug off as a problem without a packing."""
    ran = [report for report in reports if report.status != "skipped"]
    if ran and all(report.status == "failed" for report in ran):
        raise RuntimeError("; ".join(f"{report.name} failed: {report.note}" for report in ran))
