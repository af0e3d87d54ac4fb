"""The default report of a packing: what an engineer reads in ten seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.packing.result import NOT_NEEDED
from planner.report.lines import labelled, solver_part, wrapped
from planner.report.names import printable
from planner.report.packing_occupancy import live_at, packing_occupancies
from planner.report.quantities import format_bytes, format_gap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.packing.problem import Packing, PackingProblem
    from planner.packing.result import MemoryUse, PackResult

_NAME_WIDTH = 40
_NOTE_WIDTH = 200
_CULPRITS = 4


def render_packing(result: PackResult, packing: Packing, source: str) -> str:
    """Return the default report, without the files written and without a final line break.

    Parameters
    ----------
    packing : Packing
        The result's, legal: the report says that it is.
    source : str
        What the buffers were read from.
    """
    return labelled(
        (
            _buffers(result.problem, source),
            *_heights(result),
            *_displaced(result, packing),
            *_peak(result.problem, packing),
            *_hints(result),
            *_solvers(result),
            *_remarks(result),
            ("checked", "legal"),
        )
    )


def height_verdict(memory: MemoryUse) -> str:
    """How far the height is from the bound: ``optimal``, or ``+0.6 %``."""
    if memory.height_bytes == memory.lower_bound_bytes:
        return "optimal"
    return format_gap(memory.height_bytes, memory.lower_bound_bytes)


def no_reuse_bytes(problem: PackingProblem) -> int:
    """Bytes with every buffer beside every other one."""
    return sum(buffer.size for buffer in problem.buffers)


def greedy_bytes(result: PackResult, memory: MemoryUse) -> int | None:
    """Height of the greedy packing of a memory, None where there was none."""
    found = (
        report.height_bytes
        for report in result.solvers
        if (report.name, report.memory) == ("greedy", memory.name)
    )
    return next(found, None)


def displaced_buffers(problem: PackingProblem, packing: Packing) -> int:
    """How many buffers lie in another memory than their first."""
    return sum(
        memory != problem.allowed_memories(index)[0]
        for index, memory in enumerate(packing.memory.tolist())
    )


def _buffers(problem: PackingProblem, source: str) -> tuple[str, str]:
    parts = [f"{printable(source, _NAME_WIDTH)}   {_count(len(problem.buffers), 'buffer')}"]
    if problem.buffers:
        begin = min(buffer.lower for buffer in problem.buffers)
        end = max(buffer.upper for buffer in problem.buffers)
        parts.append(f"times [{begin:,}, {end:,})")
    for count, noun in (
        (len(problem.colocations), "colocation"),
        (len(problem.separations), "separation"),
        (len(problem.overlaps), "overlap"),
    ):
        if count:
            parts.append(_count(count, noun))
    return "buffers", "  ".join(parts)


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _heights(result: PackResult) -> Iterator[tuple[str, str]]:
    several = len(result.memories) > 1
    label = "height"
    for memory in result.memories:
        if several and not memory.buffers and memory.capacity_bytes is None:
            continue
        name = f"{printable(memory.name, _NAME_WIDTH)} " if several else ""
        parts = [f"{name}{format_bytes(memory.height_bytes)}"]
        if memory.lower_bound_bytes or not several:
            parts.append(f"lower bound {memory.lower_bound_bytes:,} ({height_verdict(memory)})")
        if memory.live_bytes != memory.lower_bound_bytes:
            parts.append(f"live {memory.live_bytes:,}")
        if memory.capacity_bytes is not None:
            free = memory.capacity_bytes - memory.height_bytes
            parts.append(f"capacity {memory.capacity_bytes:,} (fits, {free:,} free)")
        if (greedy := greedy_bytes(result, memory)) is not None:
            parts.append(f"greedy {greedy:,}")
        if several:
            parts.append(_count(memory.buffers, "buffer"))
        else:
            parts.append(f"no reuse {no_reuse_bytes(result.problem):,}")
        yield from wrapped(label, parts, "   ")
        label = ""


def _displaced(result: PackResult, packing: Packing) -> Iterator[tuple[str, str]]:
    if len(result.memories) == 1:
        return
    displaced, bound = result.displaced_bytes, result.displaced_lower_bound_bytes
    text = f"{format_bytes(displaced)}"
    if count := displaced_buffers(result.problem, packing):
        text += f" of {_count(count, 'buffer')} not in their first memory"
    text += " (optimal)" if displaced == bound else f"   lower bound {bound:,}"
    yield "displaced", f"{text}   no reuse {no_reuse_bytes(result.problem):,}"


def _peak(problem: PackingProblem, packing: Packing) -> Iterator[tuple[str, str]]:
    """The fullest time of the first memory that holds buffers."""
    for memory, occupancy in zip(
        problem.memories, packing_occupancies(problem, packing), strict=True
    ):
        if (time := occupancy.peak_time) is None:
            continue
        live = live_at(problem, occupancy, time)
        shown = [
            f"{printable(problem.buffers[index].name, _NAME_WIDTH)} {size:,}"
            for index, size in live[:_CULPRITS]
        ]
        if rest := live[_CULPRITS:]:
            shown.append(f"{len(rest):,} more {sum(size for _, size in rest):,}")
        where = f"{printable(memory.name, _NAME_WIDTH)}, " if len(problem.memories) > 1 else ""
        first, *others = shown
        yield from wrapped("peak at", [f"{where}time {time:,}: {first}", *others], "  ")
        return


def _hints(result: PackResult) -> Iterator[tuple[str, str]]:
    hints = sum(buffer.hint is not None for buffer in result.problem.buffers)
    if hints:
        yield "hints", f"{hints - result.moved:,} of {hints:,} kept"


def _solvers(result: PackResult) -> Iterator[tuple[str, str]]:
    several = len(result.memories) > 1
    parts = []
    for report in result.solvers:
        # What chooses the memories is about none of them.
        of = f"{printable(report.memory, _NAME_WIDTH)}: " if several and report.memory else ""
        parts.append(solver_part(of + report.name, report.status, report.wall_s))
    yield from wrapped("solvers", parts, " · ")


def _remarks(result: PackResult) -> Iterator[tuple[str, str]]:
    for report in result.solvers:
        if report.note and report.note != NOT_NEEDED:
            yield "", f"{report.name}: {printable(report.note, _NOTE_WIDTH)}"
