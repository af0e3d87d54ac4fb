"""The bytes that single operators need: what no order, and no spilling, can avoid."""

from __future__ import annotations

from collections import deque
from itertools import islice, product
from typing import TYPE_CHECKING, NamedTuple

from planner.ends import require_room_for_caller
from planner.errors import DoesNotFitError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.graph import Graph
    from planner.problem import PlanningProblem


# Ways to share out overwrites that are looked at, those that give a storage away twice included.
_COMBINATIONS = 4096


class Footprint(NamedTuple):
    """What one operator needs in the nearest memory while it runs, in bytes."""

    operator: int
    input_bytes: int
    output_bytes: int
    overwritten_bytes: int

    @property
    def size_bytes(self) -> int:
        """Inputs and outputs, less the input that an output may overwrite."""
        return self.input_bytes + self.output_bytes - self.overwritten_bytes


def largest_footprint(graph: Graph, *, in_place: bool, alignment_bytes: int = 1) -> Footprint:
    """Return the footprint of the operator that needs most; the first of several.

    Parameters
    ----------
    in_place : bool
        Whether operators may overwrite operands. An operand can be overwritten once, and not where
        a successor of the operator still reads it; the overwrites are shared out so that the
        largest footprint is smallest.
    alignment_bytes : int
        Sizes are rounded up to multiples of it.
    """
    separate = [
        _separate_footprint(graph, operator, alignment_bytes)
        for operator in range(len(graph.operators))
    ]
    largest = max(separate, key=lambda footprint: footprint.size_bytes)
    if not in_place or not graph.operators[largest.operator].in_place:
        return largest
    overwrites = _Overwrites(graph, separate, alignment_bytes)
    levels = overwrites.levels()
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        if overwrites.shared_out(levels[middle]) is None:
            low = middle + 1
        else:
            high = middle
    chosen = overwrites.shared_out(levels[low]) or {}
    return max(
        (
            footprint._replace(
                overwritten_bytes=_rounded(graph, chosen[operator], alignment_bytes)
                if operator in chosen
                else 0
            )
            for operator, footprint in enumerate(separate)
        ),
        key=lambda footprint: footprint.size_bytes,
    )


def forced_overwrites(
    graph: Graph, capacity_bytes: int, *, alignment_bytes: int = 1
) -> Iterator[dict[int, int]]:
    """Share out overwrites among the operators that fit a memory only with one.

    Yields
    ------
    dict of operator to storage
        One way after another; an empty one where no operator needs an overwrite, none at all where
        some operator cannot fit. Everybody else who uses the storage runs before the operator.
    """
    separate = [
        _separate_footprint(graph, operator, alignment_bytes)
        for operator in range(len(graph.operators))
    ]
    overwrites = _Overwrites(graph, separate, alignment_bytes)
    first = overwrites.shared_out(capacity_bytes)
    if first is None:
        return
    yield first
    choices = product(*(overwrites.enough(operator, capacity_bytes) for operator in first))
    for other in islice(choices, _COMBINATIONS):
        if len(set(other)) == len(other):
            chosen = dict(zip(first, other, strict=True))
            if chosen != first:
                yield chosen


class _Overwrites:
    """Who could overwrite what: the options that some order allows, found on demand."""

    def __init__(self, graph: Graph, separate: list[Footprint], alignment_bytes: int) -> None:
        self._graph = graph
        self._separate = separate
        self._alignment = alignment_bytes
        self._options: dict[int, list[tuple[int, int]]] = {}

    def levels(self) -> list[int]:
        """Return the values that the largest footprint can have, ascending."""
        largest = max(footprint.size_bytes for footprint in self._separate)
        values = {largest}
        floor = max(
            (
                f.size_bytes
                for f in self._separate
                if not self._graph.operators[f.operator].in_place
            ),
            default=0,
        )
        values.add(floor)
        for footprint in self._separate:
            if footprint.size_bytes > floor:
                values.add(footprint.size_bytes)
                for option in self._graph.operators[footprint.operator].in_place:
                    source = self._graph.tensors[option.input].storage
                    gain = _rounded(self._graph, source, self._alignment)
                    values.add(footprint.size_bytes - gain)
        return sorted(value for value in values if value >= floor)

    def shared_out(self, capacity: int) -> dict[int, int] | None:
        """Give each operator that does not fit an operand of its own to overwrite, or None."""
        taken: dict[int, int] = {}
        taker: dict[int, int] = {}

        def take(operator: int) -> bool:
            """Find an operand for one more operator; others may have to switch to another one."""
            wanted_by: dict[int, int] = {}
            waiting = deque([operator])
            while waiting:
                wanting = waiting.popleft()
                excess = self._separate[wanting].size_bytes - capacity
                for storage, gain in self._possible(wanting):
                    if gain < excess or storage in wanted_by:
                        continue
                    wanted_by[storage] = wanting
                    if storage in taker:
                        waiting.append(taker[storage])
                        continue
                    free: int | None = storage
                    while free is not None:
                        mover = wanted_by[free]
                        before = taken.get(mover)
                        taker[free], taken[mover] = mover, free
                        free = before
                    return True
            return False

        for footprint in self._separate:
            if footprint.size_bytes > capacity and not take(footprint.operator):
                return None
        return taken

    def enough(self, operator: int, capacity: int) -> list[int]:
        """Operands whose overwriting lets the operator fit."""
        excess = self._separate[operator].size_bytes - capacity
        return [storage for storage, gain in self._possible(operator) if gain >= excess]

    def _possible(self, operator: int) -> list[tuple[int, int]]:
        """Operands that no successor of the operator uses, with the bytes they save."""
        if operator not in self._options:
            graph = self._graph
            sources = {
                graph.tensors[option.input].storage for option in graph.operators[operator].in_place
            }
            self._options[operator] = [
                (storage, _rounded(graph, storage, self._alignment))
                for storage in sorted(sources)
                if not _reaches(graph, operator, graph.storage_users.row(storage).tolist())
            ]
        return self._options[operator]


def _rounded(graph: Graph, storage: int, alignment_bytes: int) -> int:
    return -(-graph.storages[storage].size_bytes // alignment_bytes) * alignment_bytes


def _separate_footprint(graph: Graph, operator: int, alignment_bytes: int) -> Footprint:
    node = graph.operators[operator]
    written = {graph.tensors[t].storage for t in node.outputs}
    read = set(graph.operand_storages.row(operator).tolist()) - written
    return Footprint(
        operator,
        sum(_rounded(graph, s, alignment_bytes) for s in read),
        sum(_rounded(graph, s, alignment_bytes) for s in written),
        0,
    )


def _reaches(graph: Graph, operator: int, others: list[int]) -> bool:
    """Whether one of the others depends on the operator. Operators stand in topological order."""
    wanted = {other for other in others if other > operator}
    if not wanted:
        return False
    last = max(wanted)
    reached = {operator}
    for candidate in range(operator + 1, last + 1):
        if not reached.isdisjoint(graph.predecessors.row(candidate).tolist()):
            if candidate in wanted:
                return True
            reached.add(candidate)
    return False


def require_fit(problem: PlanningProblem) -> None:
    """Refuse a problem that no plan can solve.

    Raises
    ------
    DoesNotFitError
        If the constants exceed their memory, the graph inputs or outputs the memory in which the
        caller leaves or expects them, or, where operands have to be in the nearest memory, an
        operator's operands exceed what is left of it.
    """
    graph, target = problem.graph, problem.target
    memory = target.memory(target.constant_memory)
    if memory.capacity_bytes is not None and graph.constant_bytes > memory.capacity_bytes:
        needed = graph.constant_bytes
        if memory.name == target.nearest.name:
            needed += largest_footprint(
                graph, in_place=problem.in_place, alignment_bytes=memory.alignment_bytes
            ).size_bytes
        raise DoesNotFitError(
            f"does not fit: the constants need {graph.constant_bytes:,} bytes of {memory.name}, "
            f"{target.name} has {memory.capacity_bytes:,}. Use a larger memory, "
            f"{_suggestion(memory.name, needed)} at least, or a smaller element type.",
            proven=True,
        )
    capacity = problem.capacity_bytes
    if capacity is None or not target.operands_resident:
        require_room_for_caller(problem)
        return
    near = target.nearest
    worst = largest_footprint(
        graph, in_place=problem.in_place, alignment_bytes=near.alignment_bytes
    )
    if worst.size_bytes <= capacity:
        require_room_for_caller(problem)
        return
    node = graph.operators[worst.operator]
    exact_capacity = target.activation_capacity(graph.constant_bytes) or 0
    # In a capacity that is no multiple of the alignment the last operand might do without padding.
    proven = worst.size_bytes >= exact_capacity + near.alignment_bytes or capacity == exact_capacity
    parts = f"input {worst.input_bytes:,} + output {worst.output_bytes:,}"
    if worst.overwritten_bytes:
        parts += f" - written in place {worst.overwritten_bytes:,}"
    held = graph.constant_bytes if target.constant_memory == near.name else 0
    has = f"{near.name} has {exact_capacity:,}"
    if held:
        has += f" left beside {held:,} of constants"
    raise DoesNotFitError(
        f"does not fit: operator {worst.operator} {node.name or '(no name)'} ({node.type}) needs "
        f"{worst.size_bytes:,} bytes of {near.name} ({parts}), {has}."
        f"{' No order can do better.' if proven else ''} "
        f"Use a larger memory, {_suggestion(near.name, worst.size_bytes + held)}.",
        proven=proven,
    )


def _suggestion(memory: str, size_bytes: int) -> str:
    return f"--memory {memory}={-(-size_bytes // 1024)}KiB"
