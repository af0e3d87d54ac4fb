"""What to say when buffers do not fit: which memory, how many bytes too few, what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.errors import DoesNotFitError
from planner.packing.problem import uses
from planner.problem import Status

if TYPE_CHECKING:
    from planner.packing.problem import PackingProblem
    from planner.packing.result import MemoryUse, PackResult

_CULPRITS = 3


def misfit(result: PackResult, time_limit_s: float) -> DoesNotFitError:
    """Return the error for a result without a packing.

    It suggests a capacity that is that of a packing found, or else says which is the least.
    """
    proven = result.status is Status.INFEASIBLE
    tight = [memory for memory in result.memories if _excess(memory) > 0]
    if len(result.memories) == 1 and tight:
        told = _proof(result) if proven else _failure(tight[0], time_limit_s)
        return DoesNotFitError(f"{told} {_suggestion(result, tight)}".rstrip(), proven=proven)
    if proven and len(result.memories) == 1:
        told = f"does not fit with the fixed offsets: {' '.join(result.notes)}"
        return DoesNotFitError(told, proven=True)
    if proven:
        told = "does not fit: no choice of memories holds all buffers."
    else:
        told = f"no packing found within {round(time_limit_s, 2):g} s"
        told += f": {', '.join(map(_shortage, tight))}." if tight else "."
    parts = [told, *result.notes, _suggestion(result, tight)]
    return DoesNotFitError(" ".join(part for part in parts if part), proven=proven)


def _excess(memory: MemoryUse) -> int:
    """By how much the lowest packing found exceeds the capacity, or else the bound does."""
    if memory.capacity_bytes is None:
        return 0
    return (memory.height_bytes or memory.lower_bound_bytes) - memory.capacity_bytes


def _proof(result: PackResult) -> str:
    (memory,) = result.memories
    capacity = memory.capacity_bytes or 0
    # With overlaps, fewer bytes may do than those of all who are alive.
    if capacity < memory.live_bytes <= memory.lower_bound_bytes:
        when = _fullest(result.problem, memory.live_bytes)
        return (
            f"does not fit: {memory.live_bytes:,} bytes of {memory.name} are needed {when}, it has "
            f"{capacity:,}, {memory.live_bytes - capacity:,} too few. No packing can do better."
        )
    live = f", though no more than {memory.live_bytes:,} are in use at once"
    return (
        f"does not fit: no packing of the {memory.buffers:,} buffers fits the {capacity:,} bytes "
        f"of {memory.name}{live if memory.live_bytes <= capacity else ''}; proven lower bound "
        f"{memory.lower_bound_bytes:,}."
    )


def _failure(memory: MemoryUse, time_limit_s: float) -> str:
    return (
        f"no packing found within {round(time_limit_s, 2):g} s: {_shortage(memory)}; proven lower "
        f"bound {memory.lower_bound_bytes:,}."
    )


def _shortage(memory: MemoryUse) -> str:
    needs = memory.height_bytes or memory.lower_bound_bytes
    return (
        f"the best needs {needs:,} bytes of {memory.name}, {_excess(memory):,} more than its "
        f"{memory.capacity_bytes or 0:,}"
    )


def _fullest(problem: PackingProblem, live_bytes: int) -> str:
    """When that many bytes are in use, and by whom; not told where buffers share bytes."""
    changes: dict[int, int] = {}
    for buffer in problem.buffers:
        for lower, upper, begin, end in uses(buffer):
            changes[lower] = changes.get(lower, 0) + end - begin
            changes[upper] = changes.get(upper, 0) - (end - begin)
    live = 0
    for time in sorted(changes):
        live += changes[time]
        if live == live_bytes:
            return f"at time {time:,} ({_culprits(problem, time)})"
    return "at once"


def _culprits(problem: PackingProblem, time: int) -> str:
    live = sorted(
        (
            (begin - end, buffer.name)
            for buffer in problem.buffers
            for lower, upper, begin, end in uses(buffer)
            if lower <= time < upper
        ),
    )
    shown = [f"{name} {-size:,}" for size, name in live[:_CULPRITS]]
    if rest := live[_CULPRITS:]:
        shown.append(f"{len(rest):,} more {-sum(size for size, _ in rest):,}")
    return " + ".join(shown)


def _suggestion(result: PackResult, tight: list[MemoryUse]) -> str:
    """Name a capacity at which a packing is known, or the least that no bound speaks against."""
    single = len(result.memories) == 1
    known = [memory for memory in tight if memory.height_bytes]
    if len(tight) == len(known) == 1:
        (memory,) = known
        given = "--capacity " if single else f"--memory {memory.name}="
        return f"Try {given}{_size(memory.height_bytes)}, at which a packing is known."
    if result.status is not Status.INFEASIBLE:
        return "Try a longer --time-limit."
    if single and tight:
        return f"It takes --capacity {_size(tight[0].lower_bound_bytes)} at least."
    return ""


def _size(size_bytes: int) -> str:
    return f"{size_bytes // 1024}KiB" if size_bytes % 1024 == 0 else str(size_bytes)
