"""From a JSON object to a packing problem and its packing, believing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from planner.errors import BadFileError, UsageError
from planner.packing.encoding import FORMAT, VERSION, PackingSolution
from planner.packing.problem import (
    Buffer,
    Colocation,
    Gap,
    MemorySpace,
    Overlap,
    Packing,
    PackingProblem,
    Separation,
)
from planner.plan_fields import LARGEST_INTEGER, Fields, excerpt, require_format
from planner.problem import Status

if TYPE_CHECKING:
    from collections.abc import Callable

Item = TypeVar("Item")


class StoredPacking(NamedTuple):
    """A problem, and what was found for it; None if the file says nothing of that."""

    problem: PackingProblem
    solution: PackingSolution | None


def decode_packing(root: Fields) -> StoredPacking:
    """Read the fields of a JSON object, see `planner.packing.file.read_packing`."""
    require_format(root, FORMAT, VERSION)
    root.only(
        *("format", "version", "memories", "buffers"),
        optional=("colocations", "separations", "overlaps", "solution"),
    )
    try:
        problem = PackingProblem(
            buffers=tuple(map(_buffer, root.entries("buffers"))),
            memories=tuple(map(_memory, root.entries("memories"))),
            colocations=_optional(root, "colocations", _colocation),
            separations=_optional(root, "separations", _separation),
            overlaps=_optional(root, "overlaps", _overlap),
        )
    except UsageError as error:
        raise BadFileError(f"{root.file}: {error}") from None
    if "solution" not in root.values:
        return StoredPacking(problem, None)
    return StoredPacking(problem, _solution(root.object("solution"), problem))


def _optional(fields: Fields, key: str, read: Callable[[Fields], Item]) -> tuple[Item, ...]:
    return tuple(map(read, fields.entries(key))) if key in fields.values else ()


def _optional_integer(fields: Fields, key: str) -> int | None:
    return fields.integer(key) if key in fields.values else None


def _memory(fields: Fields) -> MemorySpace:
    fields.only("name", optional=("capacity", "alignment"))
    return MemorySpace(
        name=fields.text("name"),
        capacity=_optional_integer(fields, "capacity"),
        alignment=fields.integer("alignment", least=1) if "alignment" in fields.values else 1,
    )


def _buffer(fields: Fields) -> Buffer:
    fields.only(
        *("name", "lower", "upper", "size"),
        optional=("alignment", "gaps", "offset", "hint", "memories"),
    )
    return Buffer(
        name=fields.text("name"),
        lower=_time(fields, "lower"),
        upper=_time(fields, "upper"),
        size=fields.integer("size", least=1),
        alignment=fields.integer("alignment", least=1) if "alignment" in fields.values else 1,
        gaps=_optional(fields, "gaps", _gap),
        offset=_optional_integer(fields, "offset"),
        hint=_optional_integer(fields, "hint"),
        memories=tuple(fields.texts("memories")) if "memories" in fields.values else (),
    )


def _time(fields: Fields, key: str) -> int:
    return fields.integer(key, least=-LARGEST_INTEGER)


def _gap(fields: Fields) -> Gap:
    fields.only("lower", "upper", optional=("window",))
    lower, upper = _time(fields, "lower"), _time(fields, "upper")
    if "window" not in fields.values:
        return Gap(lower, upper)
    window = fields.values["window"]
    if not isinstance(window, list) or len(window) != 2 or {*map(type, window)} != {int}:
        raise fields.error("window", f"{excerpt(window)} is not a list of two integers.")
    return Gap(lower, upper, (window[0], window[1]))


def _colocation(fields: Fields) -> Colocation:
    fields.only("first", "second", "distance")
    distance = fields.integer("distance", least=-LARGEST_INTEGER)
    return Colocation(fields.text("first"), fields.text("second"), distance)


def _separation(fields: Fields) -> Separation:
    fields.only("first", "second")
    return Separation(fields.text("first"), fields.text("second"))


def _overlap(fields: Fields) -> Overlap:
    fields.only("output", "input", "extent")
    return Overlap(fields.text("output"), fields.text("input"), fields.integer("extent"))


def _solution(fields: Fields, problem: PackingProblem) -> PackingSolution:
    fields.only("status", "memories", optional=("placements",))
    heights: list[int] = []
    bounds: list[int] = []
    names = [memory.name for memory in problem.memories]
    for entry in fields.entries("memories"):
        entry.only("name", "height", "lower_bound")
        heights.append(entry.integer("height"))
        bounds.append(entry.integer("lower_bound"))
        if names[len(heights) - 1 : len(heights)] != [entry.text("name")]:
            raise entry.error("name", f"{excerpt(entry.text('name'))} is not the memory in turn.")
    if len(heights) != len(names):
        raise fields.error("memories", f"{len(heights):,} for {len(names):,} memories.")
    return PackingSolution(
        status=fields.choice("status", Status),
        packing=_placements(fields, problem) if "placements" in fields.values else None,
        heights=tuple(heights),
        lower_bounds=tuple(bounds),
    )


def _placements(fields: Fields, problem: PackingProblem) -> Packing:
    import numpy as np

    memory = np.full(len(problem.buffers), -1, dtype=np.int32)
    offset = np.zeros(len(problem.buffers), dtype=np.int64)
    for entry in fields.entries("placements"):
        entry.only("buffer", "memory", "offset")
        index = problem.index.get(entry.text("buffer"))
        if index is None:
            raise entry.error("buffer", f"{excerpt(entry.text('buffer'))} is no buffer.")
        if memory[index] >= 0:
            raise entry.error("buffer", f"{excerpt(entry.text('buffer'))} is placed twice.")
        if entry.text("memory") not in problem.memory_index:
            raise entry.error("memory", f"{excerpt(entry.text('memory'))} is no memory.")
        memory[index] = problem.memory_index[entry.text("memory")]
        offset[index] = entry.integer("offset")
    for index in np.flatnonzero(memory < 0)[:1]:
        raise fields.error(
            "placements", f"buffer {excerpt(problem.buffers[index].name)} has no place."
        )
    return Packing(memory, offset)
