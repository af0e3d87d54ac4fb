"""The latency suite's results as one HTML page that fetches nothing: the profiles, the tables."""

from __future__ import annotations

import base64
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from planner.bench.latency_results import open_programs
from planner.bench.latency_table import explanations, tables
from planner.report.html_page import notes_section
from planner.report.html_table import Cell, number_cell, table
from planner.report.names import markup
from planner.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.latency_runs import ProgramResult
    from planner.bench.latency_table import Table

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
img { max-width: 100%; background: #ffffff; border-radius: 6px; }
</style>
</head>
<body>
<header><div class="heading"><h1>$title</h1><p class="subtitle">$subtitle</p></div></header>
<main>
$chart
$explanations
$tables
$notes
</main>
<footer>planner $version</footer>
</body>
</html>
""")


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
    return _PAGE.substitute(
        title="Latency with a small fast memory",
        style=resources.files("planner.report").joinpath("memory_map.css").read_text("utf-8"),
        subtitle=escape(
            f"{len(results)} programs of {graphs} graphs, {len(open_programs(results))} of them "
            f"open, {decodes:,} decodes, "
            f"{seeds} seed{'s' if seeds > 1 else ''}"
        ),
        chart="" if chart_svg is None else _chart(chart_svg),
        explanations="".join(f"<p>{escape(text)}</p>" for text in explanations(missing)),
        tables="".join(_section(shown) for shown in (*rest, programs)),
        notes=notes_section(notes),
        version=escape(VERSION),
    )


def _section(shown: Table) -> str:
    """Return a table without the columns that would be empty."""
    names = [name for name in shown.columns if any(row[name] for row in shown.rows)]
    body = table(
        names,
        [
            [
                Cell(markup(row[name]), "plain") if name in shown.left else number_cell(row[name])
                for name in names
            ]
            for row in shown.rows
        ],
        {place for place, name in enumerate(names) if name not in shown.left},
    )
    return f'<section><h2>{escape(shown.title)}</h2><div class="scroll">{body}</div></section>'


def _chart(svg: bytes) -> str:
    source = base64.b64encode(svg).decode()
    return (
        '<section><img alt="Performance profiles of the methods at equal decodes and at equal '
        'time; the tables below have the figures." '
        f'src="data:image/svg+xml;base64,{source}"></section>'
    )
