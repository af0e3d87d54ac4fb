"""From an order and episodes of residency to a plan: placements, transfers, farther copies."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from planner.errors import DoesNotFitError
from planner.graph import StorageKind
from planner.liveness import storage_lifetimes
from planner.metrics import measure_bytes
from planner.plans import (
    InPlace,
    Metrics,
    Placement,
    Plan,
    PlannedOperator,
    Provenance,
    Transfer,
    TransferKind,
    planned_storages,
)
from planner.problem import Objective, OffsetProblem, Status
from planner.simulator import simulate
from planner.version import VERSION
from solvers.contenders.fixed_order import greedy_pack
from solvers.contenders.stretch import in_time, stretch_transfers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

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
    complete until it has to leave. Unless only bytes count, copies are then stretched over
    neighbouring steps where that saves time.

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
    graph, target = problem.graph, problem.target
    near = target.nearest.name
    order = tuple(int(operator) for operator in order)
    by_storage: dict[int, list[Episode]] = {}
    for episode in sorted(episodes):
        by_storage.setdefault(episode.storage, []).append(episode)
    writes = _write_steps(problem, order)

    transfers: list[Transfer] = []
    copies: list[tuple[int, int, int]] = []
    for storage, stays in by_storage.items():
        moved, copy = _transfers(problem, storage, stays, writes[storage], len(order))
        transfers += moved
        if copy is not None:
            copies.append((storage, *copy))
    placements = [
        Placement(e.storage, near, e.offset, e.start, e.end)
        for stays in by_storage.values()
        for e in stays
    ]
    copies += _far_lives(problem, order)
    placements += _place_copies(problem, copies, deadline)
    plan = Plan(
        model=graph.model,
        target=target,
        order=order,
        storages=planned_storages(graph),
        placements=tuple(sorted(placements)),
        transfers=in_time(transfers),
        in_place=tuple(sorted(in_place)),
        metrics=Metrics({}, {}, 0, 0),
        provenance=Provenance(
            contender=contender,
            status=Status.FEASIBLE.value,
            objective=problem.objective.value,
            seed=seed,
            planner_version=VERSION,
            settings={"in_place": problem.in_place, **(settings or {})},
        ),
        operators=tuple(PlannedOperator(o.name, o.type) for o in graph.operators),
    )
    plan = with_metrics(problem, plan)
    if problem.objective is Objective.PEAK or problem.target.compute is None or not transfers:
        return plan
    stretched = with_metrics(problem, stretch_transfers(problem, plan))
    return stretched if _faster(stretched, plan) else plan


def _faster(plan: Plan, other: Plan) -> bool:
    mine, yours = plan.metrics.latency_s, other.metrics.latency_s
    return mine is not None and yours is not None and mine < yours


def with_metrics(problem: PlanningProblem, plan: Plan) -> Plan:
    """Measure a plan and, where the target gives rates, simulate it."""
    metrics = measure_bytes(problem.graph, problem.target, plan)
    plan = replace(plan, metrics=metrics)
    if problem.target.compute is None:
        return plan
    timeline = simulate(problem.graph, problem.target, plan)
    timed = replace(
        metrics,
        latency_s=timeline.latency_s,
        compute_s=timeline.compute_s,
        stall_s=timeline.stall_s,
        cost_source=timeline.cost_source,
    )
    return replace(plan, metrics=timed)


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
    """Transfers of one storage, and the steps in which its farther copy is held."""
    described = problem.graph.storages[storage]
    near, io, far = problem.target.nearest.name, problem.target.io_memory, problem.far_memory
    moves: list[Transfer] = []
    copy_start: int | None = None
    copy_end = copied = 0
    for index, stay in enumerate(stays):
        if index > 0:
            moves.append(Transfer(storage, far, near, stay.start, stay.start, TransferKind.RELOAD))
            copy_end = max(copy_end, stay.start + 1)
        elif described.kind is StorageKind.INPUT and io != near:
            moves.append(Transfer(storage, io, near, stay.start, stay.start, TransferKind.FETCH))
            copy_start, copy_end = 0, stay.start + 1
        written = bisect_left(writes, stay.end)
        is_store = described.is_output and io != near and written == len(writes)
        is_current = copy_start is not None and copied == written
        if not is_current and (is_store or index < len(stays) - 1):
            begin = (writes[written - 1] if written else 0) + 1
            kind = TransferKind.STORE if is_store else TransferKind.SPILL
            moves.append(Transfer(storage, near, far, begin, stay.end, kind))
            copied = written
            if copy_start is None:
                copy_start = min(begin, steps - 1)
        if is_store:
            copy_end = steps
    return moves, None if copy_start is None else (copy_start, copy_end)


def _far_lives(problem: PlanningProblem, order: Sequence[int]) -> list[tuple[int, int, int]]:
    """Storages used in place in the farther memory, and the steps in which they are held."""
    if not problem.far_storages:
        return []
    lifetimes = storage_lifetimes(problem.graph, order)
    return [
        (storage, int(lifetimes.start[storage]), int(lifetimes.end[storage]))
        for storage in sorted(problem.far_storages)
    ]


def _place_copies(
    problem: PlanningProblem, copies: Sequence[tuple[int, int, int]], deadline: Deadline
) -> list[Placement]:
    """Offsets of the farther copies, greedily: that memory is large."""
    graph, target = problem.graph, problem.target
    copies = [copy for copy in copies if graph.storages[copy[0]].size_bytes > 0]
    if not copies:
        return []
    name = problem.far_memory
    memory = target.memory(name)
    outcome = greedy_pack(
        OffsetProblem(
            lower=np.array([copy[1] for copy in copies], dtype=np.int64),
            upper=np.array([copy[2] for copy in copies], dtype=np.int64),
            size=np.array([graph.storages[copy[0]].size_bytes for copy in copies], dtype=np.int64),
            alignment=np.full(len(copies), memory.alignment_bytes, dtype=np.int64),
        ),
        deadline,
    )
    solution = outcome.solution
    if solution is None:
        raise RuntimeError("greedy packing gave no offsets")
    held = graph.constant_bytes if target.constant_memory == name else 0
    if memory.capacity_bytes is not None and solution.height + held > memory.capacity_bytes:
        raise DoesNotFitError(
            f"does not fit: inputs, outputs and spills need {solution.height:,} bytes of {name} "
            f"beside {held:,} of constants, it has {memory.capacity_bytes:,}. Use a larger memory, "
            f"--memory {name}={-(-(solution.height + held) // 1024)}KiB.",
            proven=False,
        )
    return [
        Placement(storage, name, int(offset), start, end)
        for (storage, start, end), offset in zip(copies, solution.offsets, strict=True)
    ]
