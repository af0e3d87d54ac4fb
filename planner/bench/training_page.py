"""The training suite's results as one HTML page that fetches nothing: the chart, the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.bench.suite_page import paragraphs, suite_page, table_section
from planner.bench.training_results import steps
from planner.bench.training_table import explanations, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.training_runs import TargetResult


def render_page(
    results: Sequence[TargetResult],
    chart_svg: bytes | None,
    *,
    time_limit_s: float,
    notes: Sequence[str],
) -> str:
    """Return the page; without a chart where none could be drawn."""
    return suite_page(
        "Training steps within a peak in bytes",
        f"{len(results)} targets of {len(steps(results))} models, time limit {time_limit_s:g} s "
        "for each race",
        chart_svg,
        chart_text="Recomputation against peak: ours, PyTorch's sweep and the bounds, a panel for "
        "each model; the tables below have the figures.",
        sections=(
            paragraphs(explanations(results)),
            *(table_section(shown) for shown in tables(results)),
        ),
        notes=notes,
    )
