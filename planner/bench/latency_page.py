"""The latency suite's results as one HTML page that fetches nothing: the profiles, the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.bench.latency_results import open_programs
from planner.bench.latency_table import explanations, tables
from planner.bench.suite_page import paragraphs, suite_page, table_section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.latency_runs import ProgramResult


def render_page(
    results: Sequence[ProgramResult],
    chart_svg: bytes | None,
    *,
    decodes: int,
    seeds: int,
    missing: Sequence[str],
    notes: Sequence[str],
) -> str:
    """Return the page; without a chart where none could be drawn."""
    graphs = len({result.graph for result in results})
    programs, *rest = tables(results)
    return suite_page(
        "Latency with a small fast memory",
        f"{len(results)} programs of {graphs} graphs, {len(open_programs(results))} of them "
        f"open, {decodes:,} decodes, {seeds} seed{'s' if seeds > 1 else ''}",
        chart_svg,
        chart_text="Performance profiles of the methods at equal decodes and at equal time; the "
        "tables below have the figures.",
        sections=(
            paragraphs(explanations(missing)),
            *(table_section(shown) for shown in (*rest, programs)),
        ),
        notes=notes,
    )
