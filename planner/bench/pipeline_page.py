"""The pipeline suite's results as one HTML page that fetches nothing: the chart, the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.bench.pipeline_table import explanations, tables
from planner.bench.suite_page import paragraphs, suite_page, table_section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.pipeline_reproduction import Reproduced
    from planner.bench.pipeline_runs import CaseResult


def render_page(
    results: Sequence[CaseResult],
    reproduced: Sequence[Reproduced],
    chart_svg: bytes | None,
    *,
    time_limit_s: float,
    notes: Sequence[str],
) -> str:
    """Return the page; without a chart where none could be drawn."""
    cases, *rest = tables(results, reproduced)
    settings = len({result.case.setting.name for result in results})
    return suite_page(
        "Bubbles of pipelines against published schedules",
        f"{len(results)} cases of {settings} settings, time limit {time_limit_s:g} s for each race",
        chart_svg,
        chart_text="Bubble against memory limit: the best published schedule, ours and the bound, "
        "a panel for each setting; the tables below have the figures.",
        sections=(
            paragraphs(explanations(results, reproduced)),
            *(table_section(shown) for shown in (*rest, cases)),
        ),
        notes=notes,
    )
