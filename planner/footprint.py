"""The bytes that single operators need: what no order, and no spilling, can avoid."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.errors import DoesNotFitError

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.problem import PlanningProblem


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
        Whether an operator may overwrite an operand that can be dead by then.
    alignment_bytes : int
        Sizes are rounded up to multiples of it.
    """
    separate = [
        _separate_footprint(graph, operator, alignment_bytes)
        for operator in range(len(graph.operators))
    ]
    if not in_place:
        return max(separate, key=lambda footprint: footprint.size_bytes)
    best: Footprint | None = None
    for footprint in sorted(separate, key=lambda footprint: -footprint.size_bytes):
        if best is not None and footprint.size_bytes <= best.size_bytes:
            break
        gain = _most_overwritten(graph, footprint.operator, alignment_bytes)
        reduced = footprint._replace(overwritten_bytes=gain)
        if best is None or reduced.size_bytes > best.size_bytes:
            best = reduced
    if best is None:
        raise ValueError("a graph without operators has no footprint")
    return best


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


def _most_overwritten(graph: Graph, operator: int, alignment_bytes: int) -> int:
    """Return the largest overwrite that some order allows.

    It needs every other user of the operand to run before, so none may depend on the operator.
    """
    best = 0
    for option in graph.operators[operator].in_place:
        storage = graph.tensors[option.input].storage
        size = _rounded(graph, storage, alignment_bytes)
        if size > best and not _reaches(graph, operator, graph.storage_users.row(storage).tolist()):
            best = size
    return best


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
        If the constants exceed their memory, or, where operands have to be in the nearest memory,
        an operator's operands exceed what is left of it.
    """
    graph, target = problem.graph, problem.target
    memory = target.memory(target.constant_memory)
    if memory.capacity_bytes is not None and graph.constant_bytes > memory.capacity_bytes:
        raise DoesNotFitError(
            f"does not fit: the constants need {graph.constant_bytes:,} bytes of {memory.name}, "
            f"{target.name} has {memory.capacity_bytes:,}. Use a larger memory, "
            f"{_suggestion(memory.name, graph.constant_bytes)}, or a smaller element type.",
            proven=True,
        )
    capacity = problem.capacity_bytes
    if capacity is None or not target.operands_resident:
        return
    near = target.nearest
    worst = largest_footprint(
        graph, in_place=problem.in_place, alignment_bytes=near.alignment_bytes
    )
    if worst.size_bytes <= capacity:
        return
    node = graph.operators[worst.operator]
    parts = f"input {worst.input_bytes:,} + output {worst.output_bytes:,}"
    if worst.overwritten_bytes:
        parts += f" - written in place {worst.overwritten_bytes:,}"
    held = graph.constant_bytes if target.constant_memory == near.name else 0
    has = f"{near.name} has {capacity:,}"
    if held:
        has += f" left beside {held:,} of constants"
    raise DoesNotFitError(
        f"does not fit: operator {worst.operator} {node.name or '(no name)'} ({node.type}) needs "
        f"{worst.size_bytes:,} bytes of {near.name} ({parts}), {has}. No order can do better. "
        f"Use a larger memory, {_suggestion(near.name, worst.size_bytes + held)}" + ".",
        proven=True,
    )


def _suggestion(memory: str, size_bytes: int) -> str:
    return f"--memory {memory}={-(-size_bytes // 1024)}KiB"
