"""One memory of a packing problem: what may lie in it, the race about that, and its judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.packing.checker import check_packing
from planner.packing.offset_race import OffsetRace, default_solvers, race_offsets
from planner.packing.problem import Packing, PackingProblem
from planner.packing.result import MemoryUse, SolverReport
from planner.problem import OffsetSolution
from planner.race_thread import RaceThread, run_interruptibly

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from solvers.packing.groups import Group
    from solvers.packing.lowering import LoweredMemory
    from solvers.protocol import Deadline


class MemoryRace(NamedTuple):
    """How the race for one memory ended.

    Attributes
    ----------
    lowered : LoweredMemory
    outcome : OffsetRace
    live_bytes : int
        Most bytes in use at once.
    fault : str
        What the fixed buffers in it do to each other, an empty string if they get along.
    """

    lowered: LoweredMemory
    outcome: OffsetRace
    live_bytes: int
    fault: str = ""

    def impossible(self) -> bool:
        """Whether it is proven that there is no packing."""
        capacity = self.lowered.problem.capacity
        return bool(self.fault) or (capacity is not None and self.outcome.lower_bound > capacity)

    def use(self, name: str) -> MemoryUse:
        """Return the memory's line of the report."""
        return MemoryUse(
            name,
            len(self.lowered.buffer),
            self.outcome.height or 0,
            self.outcome.lower_bound,
            self.live_bytes,
            self.lowered.problem.capacity,
        )


def race_memory(
    problem: PackingProblem,
    groups: Sequence[Group],
    members: Sequence[int],
    memory: int,
    *,
    solvers: Sequence[str] | None,
    deadline: Deadline,
    seed: int,
    run_all: bool = False,
    incumbent: tuple[str, NDArray[np.int64]] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> MemoryRace:
    """Pack the groups that lie in one memory.

    Parameters
    ----------
    members : sequence of int
        Those of ``groups`` that lie in it.
    memory : int
    solvers : sequence of str or None
        None for those that suit the problem.
    run_all : bool
        As for `planner.packing.offset_race.race_offsets`.
    incumbent : (str, int64 array of shape [buffers]) or None
        Offsets of the problem's buffers to start from, and where they are from.
    """
    from solvers.packing.live_bytes import live_bytes
    from solvers.packing.lowering import offset_problem

    lowered = offset_problem(problem, groups, members, memory)
    if solvers is None:
        solvers = default_solvers(lowered.problem)
    live = live_bytes(lowered.problem)
    name = problem.memories[memory].name
    if not members:
        nothing = OffsetSolution(np.empty(0, dtype=np.int64), 0)
        return MemoryRace(lowered, OffsetRace(nothing, 0, 0, "", (), False), live)
    fault = _fixed_fault(problem, lowered, memory)
    if fault:
        reports = tuple(SolverReport(solver, name, "skipped", note=fault) for solver in solvers)
        return MemoryRace(lowered, OffsetRace(None, None, live, "", reports, False), live, fault)
    judged = restricted(problem, lowered.buffer, memory)

    def offence(solution: OffsetSolution) -> str:
        return packing_fault(judged, lowered.buffer_offsets(solution.offsets))

    start = None
    if incumbent is not None:
        source, offsets = incumbent
        rows = lowered.row_offsets(offsets)
        start = source, OffsetSolution(rows, int((rows + lowered.problem.size).max()))
    outcome = race_offsets(
        lowered.problem,
        offence,
        memory=name,
        solvers=solvers,
        deadline=deadline,
        seed=seed,
        run_all=run_all,
        incumbent=start,
        on_progress=on_progress,
    )
    if outcome.height is not None:
        # Of large groups, bytes that members share may have been counted for each of them.
        live = min(live, outcome.height)
    return MemoryRace(lowered, outcome, live)


def keep_hints(
    problem: PackingProblem, memory: int, race: MemoryRace, deadline: Deadline, seed: int
) -> MemoryRace:
    """Move fewer buffers away from their hints, at the same height or within the capacity.

    Parameters
    ----------
    race : MemoryRace
        With a solution, which is the result if nothing better is found by the deadline.
    """
    from solvers.packing.hints import HintSearch, kept_buffers, wishes

    lowered, solution = race.lowered, race.outcome.solution
    assert solution is not None, "a race without a packing has nothing to move"
    capacity = lowered.problem.capacity
    ceiling = solution.height if capacity is None else capacity
    wished = wishes(problem, lowered, ceiling)
    before = kept_buffers(wished, solution.offsets)
    if before == sum(wish.buffers for wish in wished):
        return race

    def clashes(rows: NDArray[np.int64], offsets: NDArray[np.int64]) -> list[tuple[int, ...]]:
        pinned = np.full(len(lowered.problem.size), -1, dtype=np.int64)
        pinned[rows] = offsets
        chosen = pinned[lowered.row] >= 0
        packing = Packing(
            np.zeros(int(chosen.sum()), dtype=np.int32),
            (pinned[lowered.row] + lowered.above)[chosen],
        )
        row = lowered.row[chosen]
        violations = check_packing(restricted(problem, lowered.buffer[chosen], memory), packing)
        return [tuple({int(row[buffer]) for buffer in v.buffers}) for v in violations]

    search = HintSearch(lowered.problem, wished, ceiling, solution, clashes)
    thread = RaceThread("hints", lambda: search.run(deadline, seed))
    interrupted = run_interruptibly(thread, deadline)
    found = search.best
    offsets = lowered.buffer_offsets(found.offsets)
    if kept_buffers(wished, found.offsets) <= before or packing_fault(
        restricted(problem, lowered.buffer, memory), offsets
    ):
        found = solution
    return race._replace(
        outcome=race.outcome._replace(
            solution=found,
            height=found.height,
            interrupted=race.outcome.interrupted or interrupted,
        )
    )


def restricted(problem: PackingProblem, buffers: NDArray[np.int64], memory: int) -> PackingProblem:
    """Return the problem of some buffers in one memory, in the order given."""
    if len(problem.memories) == 1 and np.array_equal(buffers, np.arange(len(problem.buffers))):
        return problem
    kept = tuple(problem.buffers[buffer]._replace(memories=()) for buffer in buffers.tolist())
    names = {buffer.name for buffer in kept}
    return PackingProblem(
        kept,
        (problem.memories[memory],),
        tuple(c for c in problem.colocations if c.first in names and c.second in names),
        tuple(s for s in problem.separations if s.first in names and s.second in names),
        tuple(o for o in problem.overlaps if o.output in names and o.input in names),
    )


def packing_fault(problem: PackingProblem, offsets: NDArray[np.int64]) -> str:
    """Return the first offence of offsets in a problem with one memory, or an empty string."""
    packing = Packing(np.zeros(len(offsets), dtype=np.int32), offsets)
    return next((violation.message for violation in check_packing(problem, packing)), "")


def _fixed_fault(problem: PackingProblem, lowered: LoweredMemory, memory: int) -> str:
    """Say what is wrong with where the fixed groups lie, whatever becomes of the others."""
    fixed = lowered.problem.fixed
    if fixed is None:
        return ""
    settled = fixed[lowered.row] >= 0
    return packing_fault(
        restricted(problem, lowered.buffer[settled], memory),
        (fixed[lowered.row] + lowered.above)[settled],
    )
