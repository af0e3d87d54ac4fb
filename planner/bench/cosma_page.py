"""The comparison as one HTML page that fetches nothing: the chart, the means, the table."""

from __future__ import annotations

import base64
from html import escape
from importlib import resources
from string import Template
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
from planner.report.html_page import notes_section
from planner.report.html_table import Cell, number_cell, status_cell, table
from planner.report.names import markup
from planner.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from planner.bench.cosma_cases import Case

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style
header, main, footer { max-width: none; }
.scroll { max-width: none; max-height: none; }
th { white-space: nowrap; }
.means table { width: auto; }
img { max-width: 100%; background: #ffffff; border-radius: 6px; }
</style>
</head>
<body>
<header><div class="heading"><h1>$title</h1><p class="subtitle">$subtitle</p></div></header>
<main>
$chart
<section class="means"><h2>Mean reduction</h2>$means</section>
<section><h2>Every network at every budget</h2>$explanations
<div class="scroll">$table</div></section>
$notes
</main>
<footer>planner $version</footer>
</body>
</html>
""")


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
    head = heads(names)
    return _PAGE.substitute(
        title="Off-chip bytes against COSMA's baselines",
        style=resources.files("planner.report").joinpath("memory_map.css").read_text("utf-8"),
        subtitle=escape(
            f"{len({case.network for case in cases})} networks, "
            f"{'activations and parameters' if parameters else 'activations'}, "
            f"time limit {time_limit_s:g} s for each plan"
        ),
        chart="" if chart_svg is None else _chart(chart_svg),
        means=_table(MEAN_COLUMNS, MEAN_COLUMNS, mean_rows(cases), MEANS_LEFT),
        explanations="".join(
            f"<p>{escape(t)}</p>" for t in explanations(cases, parameters=parameters)
        ),
        table=_table(names, [head[name] for name in names], rows(cases), left),
        notes=notes_section(notes),
        version=escape(VERSION),
    )


def _table(
    names: Sequence[str],
    texts: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    left: Collection[str],
) -> str:
    """Return the table without the columns that would be empty."""
    shown = [at for at, name in enumerate(names) if any(row[name] for row in rows)]
    return table(
        [texts[at] for at in shown],
        [[_cell(names[at], row[names[at]], left) for at in shown] for row in rows],
        {place for place, at in enumerate(shown) if names[at] not in left},
    )


def _cell(column: str, text: str, left: Collection[str]) -> Cell:
    if column.endswith("status"):
        return status_cell(text)
    return Cell(markup(text), "plain") if column in left else number_cell(text)


def _chart(svg: bytes) -> str:
    source = base64.b64encode(svg).decode()
    return (
        '<section><img alt="Bars of every method for each network, a row for each budget; the '
        f'table below has the bytes." src="data:image/svg+xml;base64,{source}"></section>'
    )
