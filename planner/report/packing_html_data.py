"""What the memory map's script is given of a packing: the buffers as columns, in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from planner.packing.checker import colocation_groups
from planner.packing.problem import uses
from planner.report.html_data import embedded_json, listed
from planner.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from planner.packing.problem import Buffer, Packing, PackingProblem
    from planner.packing.result import PackResult
    from planner.report.packing_occupancy import MemoryOccupancy

_KINDS = ("buffer", "fixed", "colocated", "displaced")
# A true time axis may have so many steps, or so many for each end of a lifetime.
_MOST_STEPS = 2_000
_MOST_STEPS_PER_END = 4


def drawn_order(problem: PackingProblem) -> list[int]:
    """Return the buffers as they are drawn: the largest first, so that none hides a smaller one."""

    def area(index: int) -> int:
        buffer = problem.buffers[index]
        return buffer.size * (buffer.upper - buffer.lower)

    return sorted(range(len(problem.buffers)), key=lambda index: (-area(index), index))


def packing_page_data(
    result: PackResult,
    packing: Packing,
    occupancies: Sequence[MemoryOccupancy],
    order: Sequence[int],
) -> str:
    """Return the JSON for the page's data block; its columns are in the given order."""
    problem = result.problem
    times = map_times(problem)
    step_of = {time: step for step, time in enumerate(times.tolist())}
    buffers = [problem.buffers[index] for index in order]
    memory = [int(packing.memory[index]) for index in order]
    preferred = [problem.allowed_memories(index)[0] for index in order]
    colocated = _colocated(problem)
    data: dict[str, Any] = {
        "axis": "time",
        "noun": "buffer",
        "kinds": _KINDS,
        "steps": max(len(times) - 1, 0),
        "times": times.tolist(),
        "operators": {"label": [], "type": []},
        "memories": [
            {
                "name": printable(use.name),
                "capacity": use.capacity_bytes,
                "capacityLabel": "capacity",
                "bound": use.lower_bound_bytes,
                "arena": use.height_bytes,
                "live": _live(occupancy, times).tolist(),
            }
            for use, occupancy in zip(result.memories, occupancies, strict=True)
        ],
        "storages": {
            "name": [printable(buffer.name) for buffer in buffers],
            "size": [buffer.size for buffer in buffers],
            "kind": [
                _kind(buffer, index in colocated, lies != first)
                for buffer, index, lies, first in zip(
                    buffers, order, memory, preferred, strict=True
                )
            ],
            "others": [listed(colocated.get(index, ())) for index in order],
        },
        "placements": {
            "storage": list(range(len(order))),
            "memory": memory,
            "offset": [int(packing.offset[index]) for index in order],
            "start": [step_of[buffer.lower] for buffer in buffers],
            "end": [step_of[buffer.upper] for buffer in buffers],
            "over": [-1] * len(order),
        },
        "uses": _uses(buffers, step_of),
        "buffers": {
            "alignment": [buffer.alignment for buffer in buffers],
            "fixed": [int(buffer.offset is not None) for buffer in buffers],
            "hint": [buffer.hint for buffer in buffers],
            "preferred": preferred,
            "gaps": [_gaps(buffer) for buffer in buffers],
        },
        "transfers": {key: [] for key in ("storage", "from", "to", "start", "end", "kind")},
        "time": None,
    }
    return embedded_json(data)


def map_times(problem: PackingProblem) -> NDArray[np.int64]:
    """Return the ends of the map's steps: every time where they are few, else where one matters."""
    ends = np.unique(
        np.array(
            [(lower, upper) for b in problem.buffers for lower, upper, *_ in (b[1:3], *b.gaps)],
            dtype=np.int64,
        )
    )
    most = max(_MOST_STEPS, _MOST_STEPS_PER_END * len(ends))
    if not len(ends) or int(ends[-1]) - int(ends[0]) > most:
        return ends
    return np.arange(ends[0], ends[-1] + 1)


def _live(occupancy: MemoryOccupancy, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bytes in use in each of the map's steps."""
    at = np.searchsorted(occupancy.times, times[:-1], side="right")
    return np.concatenate([[0], occupancy.live_bytes, [0]])[at]


def _colocated(problem: PackingProblem) -> dict[int, list[str]]:
    """Return for each buffer in a group the names of the others that it is listed with."""
    groups: dict[int, list[int]] = {}
    for index, first in enumerate(colocation_groups(problem)):
        groups.setdefault(first, []).append(index)
    names: dict[int, list[str]] = {}
    for members in groups.values():
        if len(members) > 1:
            shared = [problem.buffers[member].name for member in members]
            names.update(dict.fromkeys(members, shared))
    return names


def _kind(buffer: Buffer, colocated: bool, displaced: bool) -> int:
    if displaced:
        return _KINDS.index("displaced")
    if buffer.offset is not None:
        return _KINDS.index("fixed")
    return _KINDS.index("colocated" if colocated else "buffer")


def _uses(buffers: Sequence[Buffer], step_of: dict[int, int]) -> dict[str, list[int]]:
    """Return what is in use of the buffers that have gaps."""
    found: dict[str, list[int]] = {
        key: [] for key in ("placement", "start", "end", "begin", "size")
    }
    for column, buffer in enumerate(buffers):
        for lower, upper, begin, end in uses(buffer) if buffer.gaps else ():
            row = (column, step_of[lower], step_of[upper], begin, end - begin)
            for values, value in zip(found.values(), row, strict=True):
                values.append(value)
    return found


def _gaps(buffer: Buffer) -> str:
    return ", ".join(
        f"[{gap.lower:,}, {gap.upper:,})"
        + ("" if gap.window is None else f" but bytes [{gap.window[0]:,}, {gap.window[1]:,})")
        for gap in buffer.gaps
    )
