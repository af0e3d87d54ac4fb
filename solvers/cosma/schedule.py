"""From a solution of the integer program to an order, stays and addresses, freed of slack."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.graph import RaggedArray
from planner.problem import ReplacementProblem
from solvers.replacement.demand import Demand
from solvers.replacement.episodes import Stay, stays_between, traffic_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from planner.joint_problem import JointProblem
    from solvers.cosma.model import CosmaModel


class Run(NamedTuple):
    """Steps [start, end), counted from 0, at one address in bytes; -1 if it has none."""

    start: int
    end: int
    offset: int


class Residency(NamedTuple):
    """What a solution says: operators by step, and the runs of each storage, ascending."""

    order: tuple[int, ...]
    runs: dict[int, list[Run]]


class Schedule(NamedTuple):
    """An order, and what is resident when: stays begin and end at uses, or where they move.

    Attributes
    ----------
    order : tuple of int
    demand : Demand
        Of the order.
    stays : tuple of Stay
    offsets : tuple of int or None
        Of the stays, in bytes; None if the program had no addresses.
    traffic_bytes : int
    """

    order: tuple[int, ...]
    demand: Demand
    stays: tuple[Stay, ...]
    offsets: tuple[int, ...] | None
    traffic_bytes: int


def read_residency(model: CosmaModel, values: NDArray[np.float64]) -> Residency:
    """Read the binaries that are 1. A retrieve begins a run of its own."""
    on = values > 0.5
    order = [v for (v, _), column in sorted(model.runs.items(), key=_step) if on[column]]
    resident: dict[int, dict[int, bool]] = {}
    for columns in (model.created, model.preserved, model.retrieved):
        for (s, t), column in columns.items():
            if t and on[column]:
                resident.setdefault(s, {})[t] = columns is not model.preserved
    runs: dict[int, list[Run]] = {}
    for s, steps in resident.items():
        found: list[Run] = []
        for t in sorted(steps):
            if found and found[-1].end == t - 1 and not steps[t]:
                found[-1] = found[-1]._replace(end=t)
                continue
            column = model.address.get((s, t))
            offset = -1 if column is None else round(float(values[column])) * model.unit
            found.append(Run(t - 1, t, offset))
        runs[s] = found
    return Residency(tuple(order), runs)


def _step(item: tuple[tuple[int, int], int]) -> int:
    return item[0][1]


def schedule_of(problem: JointProblem, residency: Residency, *, addresses: bool) -> Schedule | None:
    """Cut what is resident down to what the uses need, and count its traffic.

    A gap between two uses is kept if the storage is resident all the time; if it comes back to
    another address within it, it moves there. All other absences are dropped gaps. Without
    addresses a retrieve that follows residency is nothing.

    Returns
    -------
    Schedule or None
        None if rounding has made of the solution what is none: an order that breaks a precedence,
        too many bytes, or addresses that overlap.
    """
    order = residency.order
    if not _is_order(problem, order):
        return None
    demand = Demand.of(replacement_on(problem, order))
    dropped: set[tuple[int, int]] = set()
    splits: dict[int, list[int]] = {}
    for s, uses in enumerate(demand.uses):
        runs = residency.runs.get(s, [])
        for before, after in pairwise(uses):
            if not _covered(runs, before, after + 1):
                dropped.add((s, before))
            elif addresses:
                splits.setdefault(s, []).extend(_moves(runs, before, after))
    stays: list[Stay] = []
    for stay in stays_between(demand, dropped):
        inside = [t for t in splits.get(stay.storage, ()) if stay.start < t < stay.end]
        stays += [Stay(stay.storage, a, b) for a, b in pairwise([stay.start, *inside, stay.end])]
    if bytes_by_step(demand, stays).max(initial=0) > demand.capacity:
        return None
    offsets: tuple[int, ...] | None = None
    if addresses:
        offsets = tuple(_offset_at(residency.runs.get(s.storage, []), s.start) for s in stays)
        if not _disjoint(demand, stays, offsets):
            return None
    return Schedule(order, demand, tuple(stays), offsets, traffic_bytes(demand, stays))


def replacement_on(problem: JointProblem, order: Sequence[int]) -> ReplacementProblem:
    """State what is left of a problem under an order, without in-place writes.

    What is there from the start is used at the first step, what is kept at the last one, and what
    several operators write from the first to the last of them.
    """
    position = np.empty(problem.operators, dtype=np.int64)
    position[np.asarray(order, dtype=np.int64)] = np.arange(problem.operators)
    rows: list[list[int]] = []
    for s, size in enumerate(problem.size.tolist()):
        users = problem.users.row(s)
        steps = set(position[users].tolist())
        if not size or not steps:
            rows.append([])
            continue
        writes = position[problem.writers.row(s)].tolist()
        if len(writes) > 1:
            steps.update(range(min(writes), max(writes)))
        if not len(problem.starters.row(s)):
            steps.add(0)
        if problem.kept[s]:
            steps.add(problem.operators - 1)
        rows.append(sorted(steps))
    return ReplacementProblem(
        steps=problem.operators,
        capacity=problem.capacity,
        size=problem.size,
        alignment=problem.alignment,
        uses=RaggedArray.from_rows(rows),
        has_copy=problem.has_copy,
    )


def bytes_by_step(demand: Demand, stays: Sequence[Stay]) -> NDArray[np.int64]:
    """Return the rounded bytes resident at each step."""
    change = np.zeros(demand.steps + 1, dtype=np.int64)
    for stay in stays:
        change[stay.start] += demand.rounded[stay.storage]
        change[stay.end] -= demand.rounded[stay.storage]
    return np.cumsum(change[:-1])


def _is_order(problem: JointProblem, order: Sequence[int]) -> bool:
    if sorted(order) != list(range(problem.operators)):
        return False
    step_of = {v: t for t, v in enumerate(order)}
    return all(
        step_of[u] < step_of[v]
        for v in range(problem.operators)
        for u in problem.predecessors.row(v).tolist()
    )


def _covered(runs: Sequence[Run], start: int, end: int) -> bool:
    reached = start
    for run in runs:
        if run.start <= reached < run.end:
            reached = run.end
    return reached >= end


def _moves(runs: Sequence[Run], before: int, after: int) -> list[int]:
    """Steps in (before, after] at which the address changes."""
    return [
        late.start
        for early, late in pairwise(runs)
        if before < late.start <= after and early.end == late.start and early.offset != late.offset
    ]


def _offset_at(runs: Sequence[Run], step: int) -> int:
    return next((run.offset for run in runs if run.start <= step < run.end), -1)


def _disjoint(demand: Demand, stays: Sequence[Stay], offsets: Sequence[int]) -> bool:
    """Whether stays that share a step share no byte, and all lie in the memory."""
    alive: list[tuple[int, int, int]] = []
    for stay, offset in sorted(zip(stays, offsets, strict=True), key=lambda pair: pair[0].start):
        top = offset + demand.rounded[stay.storage]
        if offset < 0 or offset % demand.alignment or top > demand.capacity:
            return False
        alive = [other for other in alive if other[0] > stay.start]
        if any(offset < high and low < top for _, low, high in alive):
            return False
        alive.append((stay.end, offset, top))
    return True
