"""A model under a fixed order: lifetimes, overwrites, and what replacement and packing need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.graph import RaggedArray, StorageKind
from planner.liveness import live_bytes, storage_lifetimes
from planner.problem import OffsetSolution, ReplacementProblem
from solvers.contenders.in_place import InPlaceChoice, in_place_pairs, possible_overwrites
from solvers.offsets import GreedyOffsets
from solvers.offsets.overwrites import overwrite
from solvers.replacement.demand import Demand
from solvers.replacement.episodes import episodes_to_buffers, placed, stays_between

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from planner.graph import Graph
    from planner.liveness import Lifetimes
    from planner.plans import InPlace
    from planner.problem import Episode, OffsetProblem, Outcome, PlanningProblem
    from solvers.protocol import Deadline

    Packer = Callable[[OffsetProblem, Deadline, OffsetSolution | None], Outcome[OffsetSolution]]

# Stands for no capacity; sums with it stay far below 2**63.
_UNLIMITED = 2**61


class FixedOrder(NamedTuple):
    """An order, the overwrites chosen for it, and the problem that is left.

    ``peak_bytes`` counts exact sizes, without spills. ``optional`` overwrites are left to the
    offset solver; they take part in the peak, not in the replacement problem.
    """

    order: tuple[int, ...]
    in_place: tuple[InPlace, ...]
    peak_bytes: int
    replacement: ReplacementProblem
    optional: tuple[InPlace, ...] = ()


class WholeLifePlacement(NamedTuple):
    """Offsets for a plan without spills, the arena they need, and the overwrites they make."""

    episodes: tuple[Episode, ...]
    height_bytes: int
    in_place: tuple[InPlace, ...]


def greedy_pack(
    problem: OffsetProblem, deadline: Deadline, incumbent: OffsetSolution | None = None
) -> Outcome[OffsetSolution]:
    """Pack by the greedy portfolio alone."""
    return GreedyOffsets().solve(problem, deadline=deadline, incumbent=incumbent)


def fix_order(
    problem: PlanningProblem,
    order: Sequence[int],
    choice: InPlaceChoice,
    *,
    whole_writes: bool = True,
) -> FixedOrder:
    """State what is left of a planning problem once the order and the overwrites are chosen.

    Parameters
    ----------
    whole_writes : bool
        Storages written piece by piece stay until they are complete, unless nothing fits then.
    """
    graph = problem.graph
    order = tuple(int(operator) for operator in order)
    resident = problem.inputs_resident
    lifetimes = storage_lifetimes(graph, order, inputs_resident=resident, outputs_resident=resident)
    if not problem.in_place:
        choice = InPlaceChoice.NONE
    pairs = tuple(
        pair
        for pair in in_place_pairs(graph, order, lifetimes, choice)
        if problem.far_storages.isdisjoint((pair.output, pair.input))
    )
    step_of = {operator: step for step, operator in enumerate(order)}
    has_copy = [
        not resident and (s.kind is StorageKind.INPUT or s.is_output) for s in graph.storages
    ]
    capacity = problem.target.activation_capacity(graph.constant_bytes)
    replacement = ReplacementProblem(
        steps=len(order),
        capacity=_UNLIMITED if capacity is None else max(capacity, 0),
        size=np.array([s.size_bytes for s in graph.storages], dtype=np.int64),
        alignment=problem.target.nearest.alignment_bytes,
        uses=_uses(problem, order, lifetimes, whole_writes=whole_writes),
        has_copy=np.array(has_copy, dtype=bool),
        merged=tuple((step_of[p.operator], p.output, p.input) for p in pairs),
        relocation=problem.target.relocates,
        partial_spills=problem.partial_spills,
    )
    if whole_writes and has_parts(graph) and Demand.of(replacement).infeasible() is not None:
        uses = _uses(problem, order, lifetimes, whole_writes=False)
        replacement = replace(replacement, uses=uses)
    return FixedOrder(order, pairs, _peak_bytes(problem, order, lifetimes, pairs), replacement)


def has_parts(graph: Graph) -> bool:
    """Whether some storage is written piece by piece, by several operators."""
    return bool(np.any(np.diff(graph.storage_writers.offsets) > 1))


def _peak_bytes(
    problem: PlanningProblem,
    order: Sequence[int],
    lifetimes: Lifetimes,
    pairs: Sequence[InPlace],
) -> int:
    live = live_bytes(problem.graph, order, lifetimes, pairs)
    for storage in problem.far_storages:
        life = slice(int(lifetimes.start[storage]), int(lifetimes.end[storage]))
        live[life] -= problem.graph.storages[storage].size_bytes
    return int(np.max(live))


def _uses(
    problem: PlanningProblem, order: Sequence[int], lifetimes: Lifetimes, *, whole_writes: bool
) -> RaggedArray:
    """Steps at which each storage must be resident; none for those without bytes or left far.

    With ``whole_writes``, a storage written piece by piece stays from its first write to its last,
    since a copy made in between would be out of date and have to be made again. What the caller
    leaves in the nearest memory, or expects there, is used at the first or last step.
    """
    graph = problem.graph
    position = np.empty(len(order), dtype=np.int64)
    position[np.asarray(order, dtype=np.int64)] = np.arange(len(order))
    far = problem.far_storages
    user_steps = position[graph.storage_users.values].tolist()
    bounds = graph.storage_users.offsets.tolist()
    written_in_parts = (np.diff(graph.storage_writers.offsets) > 1).tolist()
    starts, ends = lifetimes.start.tolist(), lifetimes.end.tolist()
    rows: list[list[int]] = []
    for index, storage in enumerate(graph.storages):
        steps = set(user_steps[bounds[index] : bounds[index + 1]])
        if storage.size_bytes == 0 or not steps or index in far:
            rows.append([])
            continue
        if whole_writes and written_in_parts[index]:
            writes = position[graph.storage_writers.row(index)]
            steps.update(range(int(writes.min()), int(writes.max())))
        steps.add(starts[index])
        steps.add(ends[index] - 1)
        rows.append(sorted(steps))
    return RaggedArray.from_rows(rows)


def leave_overwrites_open(problem: PlanningProblem, fixed: FixedOrder) -> FixedOrder:
    """Return the same order with all overwrites left to the offset solver.

    Parameters
    ----------
    fixed : FixedOrder
        With as many overwrites as its order allows, so that its peak is the lowest.
    """
    if not fixed.in_place:
        return fixed
    graph, resident = problem.graph, problem.inputs_resident
    lifetimes = storage_lifetimes(
        graph, fixed.order, inputs_resident=resident, outputs_resident=resident
    )
    output_of = {pair.operator: pair.output for pair in fixed.in_place}
    optional = tuple(
        pair
        for pair in possible_overwrites(graph, fixed.order, lifetimes)
        if output_of.get(pair.operator) == pair.output and pair.input not in problem.far_storages
    )
    apart = replace(fixed.replacement, merged=())
    return FixedOrder(fixed.order, (), fixed.peak_bytes, apart, optional)


def place_whole_lives(
    fixed: FixedOrder,
    pack: Packer,
    deadline: Deadline,
    known: WholeLifePlacement | None = None,
) -> WholeLifePlacement | None:
    """Pack all storages for their whole lives, as low as possible.

    Parameters
    ----------
    pack : callable
        The offset solver.
    known : WholeLifePlacement or None
        One of the same order to start from, if the overwrites are optional.

    Returns
    -------
    WholeLifePlacement or None
        None where the packer found nothing.
    """
    demand = Demand.of(fixed.replacement)
    stays = stays_between(demand, set())
    buffers = episodes_to_buffers(demand, stays)
    if not stays:
        return WholeLifePlacement((), 0, ())
    buffer_of = {stay.storage: b for stay, b in zip(stays, buffers.of_stay, strict=True)}
    size = buffers.problem.size
    rules = tuple(
        overwrite(buffer_of[pair.input], buffer_of[pair.output], int(size[buffer_of[pair.input]]))
        for pair in fixed.optional
    )
    start = None
    if known is not None and fixed.optional:
        lies_at = {episode.storage: episode.offset for episode in known.episodes}
        offsets = np.array([lies_at[storage] for storage in buffer_of], dtype=np.int64)
        start = OffsetSolution(offsets, known.height_bytes)
    outcome = pack(replace(buffers.problem, capacity=None, pair_rules=rules), deadline, start)
    if outcome.solution is None:
        return None
    offsets = [int(offset) for offset in outcome.solution.offsets]
    used = tuple(
        pair
        for pair in fixed.optional
        if offsets[buffer_of[pair.input]] == offsets[buffer_of[pair.output]]
    )
    episodes = placed(demand, stays, buffers.of_stay, offsets).episodes
    return WholeLifePlacement(episodes, int(outcome.solution.height), (*fixed.in_place, *used))
