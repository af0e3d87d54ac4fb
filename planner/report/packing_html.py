"""The HTML report of a packing: the memory map, its numbers and tables."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from planner.report.html_page import (
    MapWords,
    bytes_figure,
    columns,
    figure,
    notes_section,
    render_page,
)
from planner.report.names import markup, printable
from planner.report.packing_html_data import drawn_order, map_times, packing_page_data
from planner.report.packing_html_tables import (
    longest_table,
    memory_table,
    peak_section,
    solver_table,
)
from planner.report.packing_occupancy import packing_occupancies
from planner.report.packing_text import (
    displaced_buffers,
    greedy_bytes,
    height_verdict,
    no_reuse_bytes,
)
from planner.report.quantities import format_bytes, format_share
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.packing.problem import Packing
    from planner.packing.result import PackResult

_WORDS = MapWords(
    find="buffer or time",
    walked="times and buffers",
    links="#time=N, #buffer=NAME",
    file="the files that were written beside it",
)
_UNEVEN = "The axis has one width for every stretch of time in which nothing begins or ends."


def render_packing_html(result: PackResult, packing: Packing, source: str) -> str:
    """Return the report of a legal packing as one page that fetches nothing.

    Names of buffers and memories are escaped in markup and reach the script as JSON only.

    Parameters
    ----------
    packing : Packing
        The result's.
    source : str
        What the buffers were read from.
    """
    problem = result.problem
    occupancies = packing_occupancies(problem, packing)
    order = drawn_order(problem)
    column_of = {buffer: column for column, buffer in enumerate(order)}
    name = printable(source)
    times = map_times(problem).tolist()
    span = times[-1] - times[0] if times else 0
    return render_page(
        title=f"{name}: packing",
        heading=name,
        subtitle=_subtitle(result),
        figures=_figures(result, packing),
        map_label=f"Memory map: {len(problem.buffers):,} buffers over time, height "
        f"{format_bytes(result.height_bytes)}. The tables below list what matters.",
        words=_WORDS._replace(scale="" if len(times) > span else _UNEVEN),
        sections=[
            memory_table(result),
            *(
                columns(
                    peak_section(problem, packing, occupancy, memory.name, column_of),
                    longest_table(problem, occupancy, memory.name, column_of),
                )
                for memory, occupancy in zip(problem.memories, occupancies, strict=True)
                if occupancy.buffers
            ),
            solver_table(result),
            notes_section(result.notes),
        ],
        footer=f"planner {escape(VERSION)} &middot; {result.wall_s:.2f} s",
        data=packing_page_data(result, packing, occupancies, order),
        details="packing_details.js",
    )


def _subtitle(result: PackResult) -> str:
    problem = result.problem
    status = markup(result.status.value)
    relations = [
        f"{count:,} {noun}{'s' if count > 1 else ''}"
        for count, noun in (
            (len(problem.colocations), "colocation"),
            (len(problem.separations), "separation"),
            (len(problem.overlaps), "overlap"),
        )
        if count
    ]
    memories = ", ".join(markup(memory.name) for memory in problem.memories)
    return " &middot; ".join(
        [
            ", ".join([f"{len(problem.buffers):,} buffers", *relations]),
            f"in {memories}",
            f'<span class="status {status}">{status}</span>, by {markup(result.solver)}',
            "checked: legal",
        ]
    )


def _figures(result: PackResult, packing: Packing) -> list[str]:
    several = len(result.memories) > 1
    no_reuse = no_reuse_bytes(result.problem)
    figures = []
    for memory in result.memories:
        if several and not memory.buffers:
            continue
        where = f" of {printable(memory.name)}" if several else ""
        details = [
            f"lower bound {format_bytes(memory.lower_bound_bytes)}: {height_verdict(memory)}"
        ]
        if memory.capacity_bytes is not None:
            free = memory.capacity_bytes - memory.height_bytes
            details.append(f"{format_bytes(free)} free")
        figures.append(bytes_figure(f"Height{where}", memory.height_bytes, *details))
        if several:  # the rest is in the table of memories
            continue
        figures.append(bytes_figure("Most bytes in use", memory.live_bytes))
        if (greedy := greedy_bytes(result, memory)) is not None:
            figures.append(bytes_figure("Greedy", greedy))
    saved = (
        ""
        if several or not no_reuse
        else (f"the height is {format_share(result.height_bytes, no_reuse)} of it")
    )
    figures.append(bytes_figure("Without reuse", no_reuse, saved))
    if several:
        figures.append(
            bytes_figure(
                "Displaced",
                result.displaced_bytes,
                f"lower bound {format_bytes(result.displaced_lower_bound_bytes)}",
                f"{displaced_buffers(result.problem, packing):,} buffers",
            )
        )
    if hints := sum(buffer.hint is not None for buffer in result.problem.buffers):
        figures.append(figure("Hints kept", f"{hints - result.moved:,} of {hints:,}"))
    return figures
