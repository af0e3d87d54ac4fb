"""From an order and episodes of residency to a plan: placements, transfers, farther copies."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from planner.graph import StorageKind
from planner.liveness import storage_lifetimes
from planner.plans import Placement, Transfer, TransferKind
from planner.problem import Objective
from solvers.contenders.far_stays import FarStay, place_far
from solvers.contenders.stretch import stretch_transfers
from solvers.contenders.written_plan import with_metrics, written_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from planner.plans import ByteRange, InPlace, Plan
    from planner.problem import Episode, PlanningProblem
    from solvers.protocol import Deadline


def assemble(
    problem: PlanningProblem,
    order: Sequence[int],
    in_place: Iterable[InPlace],
    episodes: Iterable[Episode],
    *,
    contender: str,
    deadline: Deadline,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """Write a plan down.

    Inputs that lie in a farther memory are fetched at their first episode, outputs that have to end
    there are stored as soon as they are complete, and a storage that leaves between two episodes
    is spilled unless a farther copy is current: once if it is complete by then, after each episode
    that wrote a part of it otherwise. Copies out may run from the moment the storage is
    complete until it has to leave. Each part of a storage in parts is treated like a storage of its
    own. An episode that begins where the one before it ends is a move, inside the nearest memory if
    the target can do that. Unless only bytes count, copies are then stretched over neighbouring
    steps where that saves time.

    Parameters
    ----------
    order : sequence of int
        Operator indices.
    in_place : iterable of InPlace
        Pairs whose episodes share their offset.
    episodes : iterable of Episode
        Residency in the nearest memory.

    Raises
    ------
    DoesNotFitError
        If the copies do not fit the farther memory.
    """
    near = problem.target.nearest.name
    order = tuple(int(operator) for operator in order)
    by_part: dict[tuple[int, ByteRange | None], list[Episode]] = {}
    for episode in sorted(episodes, key=lambda e: (e.storage, e.start)):
        by_part.setdefault((episode.storage, episode.part), []).append(episode)
    writes = _write_steps(problem, order)

    transfers: list[Transfer] = []
    copies: list[FarStay] = []
    for (storage, part), stays in by_part.items():
        moved, copy = _transfers(problem, storage, stays, writes[storage], len(order))
        transfers += moved
        if copy is not None:
            copies.append(FarStay(storage, *copy, part))
    transfers = _moves_in_order(transfers, by_part, near)
    placements = [
        Placement(e.storage, near, e.offset, e.start, e.end, e.part)
        for stays in by_part.values()
        for e in stays
    ]
    copies += _far_lives(problem, order)
    placements += place_far(problem, copies, deadline)
    plan = written_plan(
        problem,
        order,
        placements,
        transfers,
        in_place,
        contender=contender,
        seed=seed,
        settings=settings,
    )
    if problem.objective is Objective.PEAK or problem.target.compute is None or not transfers:
        return plan
    stretched = with_metrics(problem, stretch_transfers(problem, plan))
    return stretched if _faster(stretched, plan) else plan


def _faster(plan: Plan, other: Plan) -> bool:
    mine, yours = plan.metrics.latency_s, other.metrics.latency_s
    return mine is not None and yours is not None and mine < yours


def _write_steps(problem: PlanningProblem, order: Sequence[int]) -> list[list[int]]:
    """Per storage, the steps that put bytes into it, ascending."""
    step_of = {operator: step for step, operator in enumerate(order)}
    writers = problem.graph.storage_writers
    return [
        sorted(step_of[operator] for operator in writers.row(storage).tolist())
        for storage in range(len(writers))
    ]


def _transfers(
    problem: PlanningProblem,
    storage: int,
    stays: Sequence[Episode],
    writes: Sequence[int],
    steps: int,
) -> tuple[list[Transfer], tuple[int, int] | None]:
    """Transfers of one storage or part, and the steps in which its farther copy is held."""
    described, part = problem.graph.storages[storage], stays[0].part
    relocates = problem.target.relocates
    near, io, far = problem.target.nearest.name, problem.target.io_memory, problem.far_memory
    moves: list[Transfer] = []
    copy_start: int | None = None
    copy_end = copied = 0
    for index, stay in enumerate(stays):
        at = stay.start
        if index > 0 and relocates and stays[index - 1].end == at:
            moves.append(Transfer(storage, near, near, at, at, TransferKind.MOVE, part))
        elif index > 0:
            moves.append(Transfer(storage, far, near, at, at, TransferKind.RELOAD, part))
            copy_end = max(copy_end, at + 1)
        elif described.kind is StorageKind.INPUT and io != near:
            moves.append(Transfer(storage, io, near, at, at, TransferKind.FETCH, part))
            copy_start, copy_end = 0, at + 1
        written = bisect_left(writes, stay.end)
        is_store = described.is_output and io != near and written == len(writes)
        is_current = copy_start is not None and copied == written
        comes_back = index < len(stays) - 1
        leaves = comes_back and not (relocates and stays[index + 1].start == stay.end)
        if not is_current and (is_store or leaves):
            # What arrives at a boundary can be copied out from the next one on.
            begin = max(writes[written - 1] if written else 0, stay.start) + 1
            kind = TransferKind.STORE if is_store else TransferKind.SPILL
            moves.append(Transfer(storage, near, far, begin, stay.end, kind, part))
            copied = written
            if copy_start is None:
                copy_start = min(begin, steps - 1)
        if is_store:
            copy_end = steps
    return moves, None if copy_start is None else (copy_start, copy_end)


def _moves_in_order(
    transfers: Sequence[Transfer],
    by_part: Mapping[tuple[int, ByteRange | None], Sequence[Episode]],
    near: str,
) -> list[Transfer]:
    """Put moves last: those down from the lowest address on, then those up from the highest on.

    That is in order wherever storages keep their order of addresses, see `planner.plans`.
    """
    moves: list[tuple[bool, int, Transfer]] = []
    for transfer in transfers:
        if transfer.kind is TransferKind.MOVE:
            stays = by_part[transfer.storage, transfer.part]
            old = next(stay.offset for stay in stays if stay.end == transfer.start)
            new = next(stay.offset for stay in stays if stay.start == transfer.start)
            begin = new + (transfer.part.begin if transfer.part else 0)
            moves.append((new > old, -begin if new > old else begin, transfer))
    moves.sort(key=lambda move: move[:2])
    others = [transfer for transfer in transfers if transfer.kind is not TransferKind.MOVE]
    return [*others, *(transfer for _, _, transfer in moves)]


def _far_lives(problem: PlanningProblem, order: Sequence[int]) -> list[FarStay]:
    """Storages used in place in the farther memory, and the steps in which they are held."""
    if not problem.far_storages:
        return []
    lifetimes = storage_lifetimes(problem.graph, order)
    return [
        FarStay(storage, int(lifetimes.start[storage]), int(lifetimes.end[storage]))
        for storage in sorted(problem.far_storages)
    ]
