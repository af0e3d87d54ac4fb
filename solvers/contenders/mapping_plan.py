"""From a mapping of accesses to a small fast memory to a plan: placements and transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.graph import StorageKind
from planner.liveness import storage_lifetimes
from planner.plans import Placement, Transfer, TransferKind
from solvers.contenders.far_stays import FarStay, place_far
from solvers.contenders.written_plan import written_plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from planner.mapping_problem import MappingProblem, MappingSolution, Residency
    from planner.plans import Plan
    from planner.problem import PlanningProblem
    from solvers.mapping.program import MappedProgram
    from solvers.protocol import Deadline


class _Copies(NamedTuple):
    """Boundaries of the copy that fills a residency and of the one that writes it back."""

    inward: tuple[int, int] | None
    outward: tuple[int, int] | None


def mapping_plan(
    problem: PlanningProblem,
    program: MappedProgram,
    solution: MappingSolution,
    *,
    contender: str,
    deadline: Deadline,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """Write a mapping down as a plan; no operator overwrites an operand in it.

    A residency becomes a placement in the nearest memory. The copy that fills it may begin with it
    and is finished before its first access; the one that writes it back may begin when the last
    write in it is done and is finished when it ends. In the farther memory a storage lies from the
    first step that needs it there to the last: graph inputs from the beginning, graph outputs to
    the end.

    Parameters
    ----------
    program : MappedProgram
        Of the problem.
    solution : MappingSolution
        Legal by the rules of `planner.mapping_problem`.
    settings : mapping, optional
        Noted in the plan, beside those of the problem.

    Raises
    ------
    DoesNotFitError
        If the farther memory is too small.
    """
    near, far = problem.target.nearest.name, problem.far_memory
    residencies: dict[int, list[Residency]] = {}
    for residency in solution.residencies:
        residencies.setdefault(residency.buffer, []).append(residency)
    placements: list[Placement] = []
    transfers: list[Transfer] = []
    far_steps: dict[int, tuple[int, int] | None] = {}
    for buffer, stays in residencies.items():
        storage = program.storages[buffer]
        copies = [_copies(program.problem, stay) for stay in stays]
        fill, steps = TransferKind.RELOAD, len(program.order)
        if problem.graph.storages[storage].kind is StorageKind.INPUT:
            fill = TransferKind.FETCH
        for stay, (inward, outward) in zip(stays, copies, strict=True):
            placements.append(Placement(storage, near, stay.offset, stay.start, stay.end))
            if inward is not None:
                transfers.append(Transfer(storage, far, near, *inward, fill))
                fill = TransferKind.RELOAD
            if outward is not None:
                transfers.append(Transfer(storage, near, far, *outward, TransferKind.SPILL))
        far_steps[storage] = _far_steps(program.problem, buffer, stays, copies, steps)
    far_stays = _far_stays(problem, program.order, far_steps)
    placements += place_far(problem, far_stays, deadline)
    return written_plan(
        problem,
        program.order,
        placements,
        transfers,
        (),
        contender=contender,
        seed=seed,
        settings=settings,
    )


def _copies(problem: MappingProblem, stay: Residency) -> _Copies:
    """When a residency is filled, unless it begins with a write, and when it is written back."""
    of_buffer = problem.accesses_of.row(stay.buffer)
    rows, writes = problem.access_row[of_buffer], problem.writes[of_buffer]
    inward = outward = None
    if stay.first > 0 or not writes[0]:
        inward = (stay.start, int(rows[stay.first]))
    written = stay.first + np.flatnonzero(writes[stay.first : stay.last + 1])
    if len(written) and stay.last + 1 < len(rows):
        outward = (int(rows[written[-1]]) + 1, stay.end)
    return _Copies(inward, outward)


def _far_steps(
    problem: MappingProblem,
    buffer: int,
    stays: Sequence[Residency],
    copies: Sequence[_Copies],
    steps: int,
) -> tuple[int, int] | None:
    """Steps from the first to the last at which a buffer has to lie in the farther memory."""
    of_buffer = problem.accesses_of.row(buffer)
    served_slow = np.ones(len(of_buffer), dtype=bool)
    for stay in stays:
        served_slow[stay.first : stay.last + 1] = False
    needs = [(row, row + 1) for row in problem.access_row[of_buffer][served_slow].tolist()]
    # Both ends of a copy are held for the step after its last boundary as well.
    needs += [(start, end + 1) for both in copies for start, end in filter(None, both)]
    if not needs:
        return None
    start = 0 if problem.has_copy[buffer] else min(start for start, _ in needs)
    return start, min(max(end for _, end in needs), steps)


def _far_stays(
    problem: PlanningProblem,
    order: Sequence[int],
    far_steps: Mapping[int, tuple[int, int] | None],
) -> list[FarStay]:
    """Stays of the storages with these steps, and of all others for their whole lives."""
    lives = storage_lifetimes(problem.graph, order)
    stays = []
    for storage in range(len(problem.graph.storages)):
        whole = int(lives.start[storage]), int(lives.end[storage])
        steps = far_steps.get(storage, whole)
        if steps is not None and steps[0] < steps[1]:
            stays.append(FarStay(storage, *steps))
    return stays
