"""The first and the last step: graph inputs, or outputs, lie in the caller's memory all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.errors import DoesNotFitError
from planner.graph import StorageKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.graph import Graph
    from planner.problem import PlanningProblem


class End(NamedTuple):
    """What the caller's memory holds at one end of every plan.

    Attributes
    ----------
    place : str
        ``first`` or ``last``.
    caller_bytes : int
        Graph inputs, or outputs, side by side.
    operators : tuple of (int, int)
        Bytes needed with the operands of an operator that can run there, and the operator,
        ascending. Empty where operands may lie elsewhere.
    """

    place: str
    caller_bytes: int
    operators: tuple[tuple[int, int], ...]

    @property
    def needed_bytes(self) -> int:
        """What no plan can avoid."""
        return self.operators[0][0] if self.operators else self.caller_bytes


def ends(problem: PlanningProblem) -> tuple[End, End]:
    """Return the needs of the first step, at which all graph inputs are there, and of the last."""
    graph, target = problem.graph, problem.target
    unit = target.memory(target.io_memory).alignment_bytes
    used = [i for i in range(len(graph.storages)) if len(graph.storage_users.row(i))]
    inputs = {i for i in used if graph.storages[i].kind is StorageKind.INPUT}
    outputs = {i for i in used if graph.storages[i].is_output}
    first: Iterable[int] = ()
    last: Iterable[int] = ()
    if problem.inputs_resident and target.operands_resident:
        operators = range(len(graph.operators))
        first = [o for o in operators if not len(graph.predecessors.row(o))]
        last = set(operators) - set(graph.predecessors.values.tolist())

    def end(place: str, given: set[int], candidates: Iterable[int]) -> End:
        operators = sorted(
            (_height_beside(graph, given, o, unit, in_place=problem.in_place), o)
            for o in candidates
        )
        return End(place, _height(graph, given, unit), tuple(operators))

    return end("first", inputs, first), end("last", outputs, last)


def require_room_for_caller(problem: PlanningProblem) -> None:
    """Refuse a memory that cannot hold the graph inputs, or outputs, all at once.

    Raises
    ------
    DoesNotFitError
        With a proof.
    """
    target = problem.target
    memory = target.memory(target.io_memory)
    held = problem.graph.constant_bytes if target.constant_memory == memory.name else 0
    if memory.capacity_bytes is None:
        return
    for end, what in zip(ends(problem), ("inputs", "outputs"), strict=True):
        needed = end.needed_bytes
        if needed + held <= memory.capacity_bytes:
            continue
        beside = ""
        if needed > end.caller_bytes:
            beside = f", {needed:,} with the operands of any operator that can run {end.place}"
        raise DoesNotFitError(
            f"does not fit: the graph {what} need {end.caller_bytes:,} bytes of {memory.name} at "
            f"once{beside}; it has {memory.capacity_bytes - held:,}. No order can do better. "
            f"Use a larger memory, --memory {memory.name}={-(-(needed + held) // 1024)}KiB, or a "
            "target that keeps them elsewhere (io_memory).",
            proven=True,
        )


def _height(graph: Graph, storages: Iterable[int], unit: int) -> int:
    """Bytes of storages side by side at multiples of the unit, the one with most padding last."""
    sizes = [graph.storages[storage].size_bytes for storage in storages]
    padding = max((-size % unit for size in sizes), default=0)
    return sum(-(-size // unit) * unit for size in sizes) - padding


def _height_beside(
    graph: Graph, given: set[int], operator: int, unit: int, *, in_place: bool
) -> int:
    """Height of given storages and of an operator's operands, less the largest overwrite."""
    needed = given.union(graph.operand_storages.row(operator).tolist())
    options = graph.operators[operator].in_place if in_place else ()
    sources = {graph.tensors[option.input].storage for option in options}
    return min(
        (_height(graph, needed - {source}, unit) for source in sources),
        default=_height(graph, needed, unit),
    )
