"""A packing problem, and what was found for it, as a JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from planner.errors import UsageError
from planner.plan_fields import LARGEST_INTEGER

if TYPE_CHECKING:
    from planner.packing.problem import Buffer, MemorySpace, Packing, PackingProblem
    from planner.packing.result import PackResult
    from planner.problem import Status

FORMAT = "planner.packing"
VERSION = 1


class PackingSolution(NamedTuple):
    """What was found for a problem.

    Attributes
    ----------
    status : Status
    packing : Packing or None
    heights, lower_bounds : tuple of int
        Of each memory in bytes, in the problem's order.
    """

    status: Status
    packing: Packing | None
    heights: tuple[int, ...]
    lower_bounds: tuple[int, ...]

    @classmethod
    def of(cls, result: PackResult) -> PackingSolution:
        """Return what files keep of a result."""
        return cls(
            result.status,
            result.packing,
            tuple(memory.height_bytes for memory in result.memories),
            tuple(memory.lower_bound_bytes for memory in result.memories),
        )


def packing_object(
    problem: PackingProblem, solution: PackingSolution | None = None
) -> dict[str, Any]:
    """Return the JSON object described in schema/packing.schema.json; fields at default are absent.

    Raises
    ------
    UsageError
        If a number is too large for the format, which counts in 53 bits.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "memories": [_memory_object(memory) for memory in problem.memories],
        "buffers": [_buffer_object(buffer) for buffer in problem.buffers],
        "colocations": [pair._asdict() for pair in problem.colocations],
        "separations": [pair._asdict() for pair in problem.separations],
        "overlaps": [pair._asdict() for pair in problem.overlaps],
    }
    for pair in document["colocations"]:
        _counted(pair["distance"], "the distance of a colocation")
    if solution is not None:
        document["solution"] = _solution_object(problem, solution)
    return document


def _memory_object(memory: MemorySpace) -> dict[str, Any]:
    described: dict[str, Any] = {"name": memory.name}
    if memory.capacity is not None:
        described["capacity"] = _counted(memory.capacity, f"the capacity of {memory.name!r}")
    if memory.alignment != 1:
        described["alignment"] = _counted(memory.alignment, f"the alignment of {memory.name!r}")
    return described


def _buffer_object(buffer: Buffer) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": buffer.name,
        "lower": buffer.lower,
        "upper": buffer.upper,
        "size": buffer.size,
    }
    if buffer.alignment != 1:
        described["alignment"] = buffer.alignment
    if buffer.offset is not None:
        described["offset"] = buffer.offset
    if buffer.hint is not None:
        described["hint"] = buffer.hint
    for key, value in described.items():
        if key != "name":
            _counted(value, f"{key} of buffer {buffer.name!r}")
    # Inside the lifetime and the size, so no larger than those.
    if buffer.gaps:
        described["gaps"] = [
            {"lower": gap.lower, "upper": gap.upper}
            | ({} if gap.window is None else {"window": list(gap.window)})
            for gap in buffer.gaps
        ]
    if buffer.memories:
        described["memories"] = list(buffer.memories)
    return described


def _solution_object(problem: PackingProblem, solution: PackingSolution) -> dict[str, Any]:
    heights = zip(problem.memories, solution.heights, solution.lower_bounds, strict=True)
    described: dict[str, Any] = {
        "status": solution.status.value,
        "memories": [
            {
                "name": memory.name,
                "height": _counted(height, f"the height of {memory.name!r}"),
                "lower_bound": _counted(bound, f"the bound of {memory.name!r}"),
            }
            for memory, height, bound in heights
        ],
    }
    if solution.packing is not None:
        described["placements"] = [
            {
                "buffer": buffer.name,
                "memory": problem.memories[memory].name,
                "offset": _counted(offset, f"the offset found for buffer {buffer.name!r}"),
            }
            for buffer, memory, offset in zip(
                problem.buffers,
                solution.packing.memory.tolist(),
                solution.packing.offset.tolist(),
                strict=True,
            )
        ]
    return described


def _counted(value: int, what: str) -> int:
    if abs(value) > LARGEST_INTEGER:
        raise UsageError(
            f"{what} is {value:,}; numbers in JSON end at 2^53. Write a CSV file instead."
        )
    return value
