"""The frame of a suite's HTML page, which fetches nothing: the chart, sections, notes."""

from __future__ import annotations

import base64
from html import escape
from string import Template
from typing import TYPE_CHECKING

from planner.report.html_page import asset, notes_section
from planner.report.html_table import Cell, number_cell, status_cell, table
from planner.report.names import markup
from planner.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from planner.bench.text_table import Table

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
.narrow table { width: auto; }
img { max-width: 100%; background: #ffffff; border-radius: 6px; }
</style>
</head>
<body>
<header><div class="heading"><h1>$title</h1><p class="subtitle">$subtitle</p></div></header>
<main>
$chart
$sections
$notes
</main>
<footer>planner $version</footer>
</body>
</html>
""")


def suite_page(
    title: str,
    subtitle: str,
    chart_svg: bytes | None,
    *,
    chart_text: str,
    sections: Sequence[str],
    notes: Sequence[str],
) -> str:
    """Return the page; without a chart where none could be drawn.

    Parameters
    ----------
    title, subtitle : str
    chart_svg : bytes or None
    chart_text : str
        What stands for the chart where it is not shown.
    sections : sequence of str
        Markup.
    notes : sequence of str
    """
    return _PAGE.substitute(
        title=escape(title),
        style=asset("memory_map.css"),
        subtitle=escape(subtitle),
        chart="" if chart_svg is None else _chart(chart_svg, chart_text),
        sections="\n".join(sections),
        notes=notes_section(notes),
        version=escape(VERSION),
    )


def _chart(svg: bytes, text: str) -> str:
    source = base64.b64encode(svg).decode()
    return f'<section><img alt="{escape(text)}" src="data:image/svg+xml;base64,{source}"></section>'


def paragraphs(texts: Sequence[str]) -> str:
    """Return one for each text."""
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def table_section(shown: Table) -> str:
    """Return a section with a table below its title."""
    body = filled_columns(shown.columns, shown.rows, left=shown.left)
    return f'<section><h2>{escape(shown.title)}</h2><div class="scroll">{body}</div></section>'


def filled_columns(
    names: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    *,
    left: Collection[str],
    heads: Mapping[str, str] | None = None,
) -> str:
    """Return what `planner.bench.text_table.render_columns` returns, as markup."""
    shown = [name for name in names if any(row[name] for row in rows)]
    return table(
        [name if heads is None else heads[name] for name in shown],
        [[_cell(name, row[name], left) for name in shown] for row in rows],
        {place for place, name in enumerate(shown) if name not in left},
    )


def _cell(column: str, text: str, left: Collection[str]) -> Cell:
    if column.endswith("status"):
        return status_cell(text)
    return Cell(markup(text), "plain") if column in left else number_cell(text)
