"""The tables of a packing's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.report.html_table import (
    Cell,
    interval_cell,
    number_cell,
    optional_bytes_cell,
    placement_cell,
    status_cell,
    table,
)
from planner.report.names import markup
from planner.report.packing_occupancy import live_at
from planner.report.packing_text import greedy_bytes, height_verdict
from planner.report.quantities import format_bytes, format_share, format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.packing.problem import Packing, PackingProblem
    from planner.packing.result import PackResult
    from planner.report.packing_occupancy import MemoryOccupancy

_LIVE_ROWS = 25
_LONGEST_ROWS = 12


def memory_table(result: PackResult) -> str:
    """The memories, where there are several."""
    if len(result.memories) == 1:
        return ""
    rows = [
        (
            Cell(markup(memory.name), "name"),
            optional_bytes_cell(memory.capacity_bytes),
            number_cell(f"{memory.height_bytes:,}"),
            number_cell(f"{memory.lower_bound_bytes:,}"),
            Cell(height_verdict(memory), "plain"),
            number_cell(f"{memory.live_bytes:,}"),
            optional_bytes_cell(greedy_bytes(result, memory)),
            number_cell(f"{memory.buffers:,}"),
        )
        for memory in result.memories
    ]
    heads = (
        "Memory",
        "Capacity",
        "Height",
        "Lower bound",
        "Verdict",
        "In use at once",
        "Greedy",
        "Buffers",
    )
    return (
        "<section><h2>Memories</h2><p>In bytes.</p>"
        + table(heads, rows, right={1, 2, 3, 5, 6, 7})
        + "</section>"
    )


def peak_section(
    problem: PackingProblem,
    packing: Packing,
    occupancy: MemoryOccupancy,
    memory: str,
    column_of: Mapping[int, int],
) -> str:
    """What is in use at the fullest time of a memory, most bytes first."""
    time = occupancy.peak_time
    if time is None:
        return ""
    live = live_at(problem, occupancy, time)
    rows = []
    for index, used_bytes in live[:_LIVE_ROWS]:
        buffer, offset = problem.buffers[index], int(packing.offset[index])
        rows.append(
            (
                placement_cell(column_of[index], buffer.name),
                number_cell(f"{used_bytes:,}"),
                number_cell(format_share(used_bytes, occupancy.peak_bytes)),
                interval_cell(offset, offset + buffer.size),
                interval_cell(buffer.lower, buffer.upper),
            )
        )
    if rest := live[_LIVE_ROWS:]:
        total = sum(used_bytes for _, used_bytes in rest)
        rows.append(
            (
                Cell(f"{len(rest):,} more"),
                number_cell(f"{total:,}"),
                number_cell(format_share(total, occupancy.peak_bytes)),
                *[Cell("")] * 2,
            )
        )
    return (
        "<section><h2>What makes the peak</h2>"
        f"<p>{format_bytes(occupancy.peak_bytes)} ({format_size(occupancy.peak_bytes)}) of "
        f'{markup(memory)} are in use at <a href="#time={time}">time {time:,}</a>.</p>'
        + table(("Buffer", "Bytes", "Share", "Addresses", "Times"), rows, right={1, 2})
        + "</section>"
    )


def longest_table(
    problem: PackingProblem,
    occupancy: MemoryOccupancy,
    memory: str,
    column_of: Mapping[int, int],
) -> str:
    """What holds most bytes of a memory for longest, by bytes x time."""

    def area(index: int) -> int:
        buffer = problem.buffers[index]
        return buffer.size * (buffer.upper - buffer.lower)

    total = sum(area(index) for index in occupancy.buffers)
    rows = []
    for index in sorted(occupancy.buffers, key=lambda i: (-area(i), i))[:_LONGEST_ROWS]:
        buffer = problem.buffers[index]
        rows.append(
            (
                placement_cell(column_of[index], buffer.name),
                number_cell(f"{buffer.size:,}"),
                interval_cell(buffer.lower, buffer.upper),
                number_cell(f"{buffer.upper - buffer.lower:,}"),
                number_cell(format_share(area(index), total)),
            )
        )
    return (
        "<section><h2>Large buffers that live long</h2>"
        f"<p>By bytes times time in {markup(memory)}; the share is of those of all buffers.</p>"
        + table(("Buffer", "Bytes", "Times", "Long", "Share"), rows, right={1, 3, 4})
        + "</section>"
    )


def solver_table(result: PackResult) -> str:
    """How every solver did."""
    if not result.solvers:
        return ""
    rows = [
        (
            Cell(markup(report.memory), "name"),
            Cell(markup(report.name), "name"),
            status_cell(report.status),
            optional_bytes_cell(report.height_bytes),
            optional_bytes_cell(report.lower_bound_bytes),
            number_cell("" if report.status == "skipped" else f"{report.wall_s:.2f}"),
            number_cell("" if report.status == "skipped" else f"{report.cpu_s:.2f}"),
            Cell(markup(report.note)),
        )
        for report in result.solvers
    ]
    heads = ("Memory", "Solver", "Status", "Height", "Lower bound", "Wall, s", "CPU, s", "Note")
    return (
        "<section><h2>Solvers</h2><p>Heights and bounds in bytes. The packing shown is from "
        f"<code>{markup(result.solver)}</code>.</p>"
        + table(heads, rows, right={3, 4, 5, 6})
        + "</section>"
    )
