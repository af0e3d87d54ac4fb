"""Where storages lie in the farther memory: copies, and what is used there in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.errors import DoesNotFitError
from planner.plans import Placement
from planner.problem import OffsetProblem, Uses
from solvers.contenders.fixed_order import greedy_pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.plans import ByteRange
    from planner.problem import PlanningProblem
    from solvers.protocol import Deadline


class FarStay(NamedTuple):
    """A storage, or a part of it, held in the farther memory during steps [start, end)."""

    storage: int
    start: int
    end: int
    part: ByteRange | None = None


def place_far(
    problem: PlanningProblem, copies: Sequence[FarStay], deadline: Deadline
) -> list[Placement]:
    """Give the stays their offsets, greedily: that memory is large.

    All parts of a storage get one offset, and use only their own bytes. Storages of no bytes are
    left out.

    Raises
    ------
    DoesNotFitError
        If they do not fit beside the constants that lie there.
    """
    graph, target = problem.graph, problem.target
    copies = [copy for copy in copies if graph.storages[copy.storage].size_bytes > 0]
    if not copies:
        return []
    name = problem.far_memory
    memory = target.memory(name)
    buffer_of: dict[int, int] = {}
    lower: list[int] = []
    upper: list[int] = []
    rows: list[tuple[int, ...]] = []
    for storage, start, end, part in copies:
        if part is None or storage not in buffer_of:
            buffer_of[storage] = len(lower)
            lower.append(start)
            upper.append(end)
        buffer = buffer_of[storage]
        lower[buffer], upper[buffer] = min(lower[buffer], start), max(upper[buffer], end)
        rows.append((buffer, start, end, *(part or (0, graph.storages[storage].size_bytes))))
    of_copy = [row[0] for row in rows]
    columns = np.array(sorted(rows), dtype=np.int64).T
    storages = dict(zip(of_copy, (copy.storage for copy in copies), strict=True))
    size = [graph.storages[storages[buffer]].size_bytes for buffer in range(len(lower))]
    in_parts = any(copy.part is not None for copy in copies)
    outcome = greedy_pack(
        OffsetProblem(
            lower=np.array(lower, dtype=np.int64),
            upper=np.array(upper, dtype=np.int64),
            size=np.array(size, dtype=np.int64),
            alignment=np.full(len(lower), memory.alignment_bytes, dtype=np.int64),
            uses=Uses(columns[0].astype(np.int32), *columns[1:]) if in_parts else None,
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
        Placement(storage, name, int(solution.offsets[buffer]), start, end, part)
        for (storage, start, end, part), buffer in zip(copies, of_copy, strict=True)
    ]
