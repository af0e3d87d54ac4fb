"""The comparison as one HTML page that fetches nothing: the chart, the means, the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.bench.cosma_table import (
    MEAN_COLUMNS,
    MEANS_LEFT,
    columns,
    explanations,
    heads,
    left_columns,
    mean_rows,
    rows,
)
from planner.bench.suite_page import filled_columns, paragraphs, suite_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.cosma_cases import Case


def render_page(
    cases: Sequence[Case],
    chart_svg: bytes | None,
    *,
    parameters: bool,
    time_limit_s: float,
    notes: Sequence[str],
) -> str:
    """Return the page; without a chart where none could be drawn."""
    names = columns(cases)
    left = left_columns(names)
    means = filled_columns(MEAN_COLUMNS, mean_rows(cases), left=MEANS_LEFT)
    table = filled_columns(names, rows(cases), left=left, heads=heads(names))
    explained = paragraphs(explanations(cases, parameters=parameters))
    return suite_page(
        "Off-chip bytes against COSMA's baselines",
        f"{len({case.network for case in cases})} networks, "
        f"{'activations and parameters' if parameters else 'activations'}, "
        f"time limit {time_limit_s:g} s for each plan",
        chart_svg,
        chart_text="Bars of every method for each network, a row for each budget; the table below "
        "has the bytes.",
        sections=(
            f'<section class="narrow"><h2>Mean reduction</h2>{means}</section>',
            f"<section><h2>Every network at every budget</h2>{explained}"
            f'\n<div class="scroll">{table}</div></section>',
        ),
        notes=notes,
    )
