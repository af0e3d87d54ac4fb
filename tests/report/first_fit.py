"""A packing without any solver, for what only shows or writes one."""

from __future__ import annotations

import math

import numpy as np

from planner.packing.checker import check_packing
from planner.packing.problem import Packing, PackingProblem, uses
from planner.packing.result import MemoryUse, PackResult, SolverReport
from planner.problem import Status
from planner.report.packing_occupancy import packing_occupancies


def first_fit(problem: PackingProblem) -> PackResult:
    """Place fixed and large buffers first, each as low as it can lie, in its first memory.

    Colocated buffers are placed with the first of them, overlaps are not made use of.
    """
    offsets, memories = _places(problem)
    packing = Packing(np.array(memories, dtype=np.int32), np.array(offsets, dtype=np.int64))
    assert check_packing(problem, packing) == []
    uses_of_memories = []
    for index, (memory, occupancy) in enumerate(
        zip(problem.memories, packing_occupancies(problem, packing), strict=True)
    ):
        ends = [
            offset + buffer.size
            for buffer, offset, lies in zip(problem.buffers, offsets, memories, strict=True)
            if lies == index
        ]
        peak = occupancy.peak_bytes
        uses_of_memories.append(
            MemoryUse(memory.name, len(ends), max(ends, default=0), peak, peak, memory.capacity)
        )
    optimal = all(use.height_bytes == use.lower_bound_bytes for use in uses_of_memories)
    return PackResult(
        problem,
        packing,
        Status.OPTIMAL if optimal else Status.FEASIBLE,
        tuple(uses_of_memories),
        "greedy",
        tuple(
            SolverReport("greedy", use.name, "feasible", use.height_bytes, None, 0.01, 0.01)
            for use in uses_of_memories
        ),
        moved=sum(
            buffer.hint not in (None, offset)
            for buffer, offset in zip(problem.buffers, offsets, strict=True)
        ),
    )


def _places(problem: PackingProblem) -> tuple[list[int], list[int]]:
    count = len(problem.buffers)
    follows = {
        problem.index[second]: (problem.index[first], distance)
        for first, second, distance in problem.colocations
    }
    offsets = [0] * count
    memories = [problem.allowed_memories(index)[0] for index in range(count)]
    placed: list[list[tuple[int, int, int, int]]] = [[] for _ in problem.memories]
    order = sorted(
        (index for index in range(count) if index not in follows),
        key=lambda i: (problem.buffers[i].offset is None, -problem.buffers[i].size),
    )
    for index in order:
        memory = memories[index]
        family = [(index, 0)]
        for member, above in family:
            family += [(i, above + d) for i, (first, d) in follows.items() if first == member]
        needs = [
            (lower, upper, above + begin, above + end)
            for member, above in family
            for lower, upper, begin, end in uses(problem.buffers[member])
        ]
        step = math.lcm(problem.buffers[index].alignment, problem.memories[memory].alignment)
        offset = problem.buffers[index].offset or 0
        while blocked := [
            end - needed[2]
            for lower, upper, begin, end in placed[memory]
            for needed in needs
            if lower < needed[1]
            and needed[0] < upper
            and begin < offset + needed[3]
            and offset + needed[2] < end
        ]:
            offset = -(-min(blocked) // step) * step
        placed[memory] += [(need[0], need[1], offset + need[2], offset + need[3]) for need in needs]
        for member, above in family:
            offsets[member], memories[member] = offset + above, memory
    return offsets, memories
