"""The HTML report of a sweep: the curves, the numbers at the top, and the table of all points."""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING

from planner.problem import Objective, Status
from planner.report.html_page import asset, bytes_figure, figure, notes_section, policy_hash
from planner.report.html_table import Cell, number_cell, optional_bytes_cell, table
from planner.report.names import markup, printable
from planner.report.quantities import format_bytes, format_seconds, format_size
from planner.report.sweep_chart import render_chart
from planner.report.sweep_text import (
    describe_contender,
    describe_status,
    format_gap_share,
    misfit_note,
    traffic_everywhere,
    zero_traffic_verdict,
)
from planner.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.sweeps.result import SweepResult

_SYMBOLS = (
    ("best plan", '<path class="value" d="M0 6H26"/>'),
    ("proven lower bound", '<path class="bound" d="M0 6H26"/>'),
    ("open between them", '<rect class="open" width="26" height="12"/>'),
    ("optimal", '<circle class="point optimal" cx="13" cy="6" r="4.5"/>'),
    ("feasible", '<circle class="point feasible" cx="13" cy="6" r="4.5"/>'),
)
_READING = (
    "A plan fits every larger capacity, and a bound holds for every smaller one. So the lines hold "
    "between the points too: no plan lies below the dashed line, and one is known on the solid one."
)


def render_sweep_html(result: SweepResult) -> str:
    """Return the report as one page that fetches nothing and runs no script.

    Names from the model are escaped.
    """
    model = printable(result.graph.model.name)
    style = asset("memory_map.css") + asset("sweep.css")
    return Template(asset("sweep.html")).substitute(
        policy=f"default-src 'none'; style-src {policy_hash(style)}; base-uri 'none'; "
        "form-action 'none'",
        title=escape(f"{model} on {printable(result.target.name)}: capacity sweep"),
        style=style,
        heading=escape(model),
        subtitle=_subtitle(result),
        figures="\n".join(_figures(result)),
        sections="\n".join(
            section
            for section in (*_charts(result), _points(result), notes_section(_notes(result)))
            if section
        ),
        footer=f"planner {escape(VERSION)} &middot; {result.wall_s:.2f} s",
    )


def _subtitle(result: SweepResult) -> str:
    points = result.points
    return " &middot; ".join(
        [
            f"{len(result.graph.operators):,} operators, {len(result.graph.tensors):,} tensors",
            f"target {markup(result.target.name)}",
            f"{markup(result.memory)} from {format_size(points[0].capacity_bytes)} to "
            f"{format_size(points[-1].capacity_bytes)}",
            f"objective {result.objective.value}",
            "every plan checked: legal",
        ]
    )


def _figures(result: SweepResult) -> list[str]:
    figures = []
    if result.footprint is not None and result.footprint_capacity_bytes is not None:
        node = result.graph.operators[result.footprint.operator]
        figures.append(
            bytes_figure(
                "Least capacity that can fit",
                result.footprint_capacity_bytes,
                f"for {printable(node.name or f'operator {result.footprint.operator}', 40)} "
                f"({printable(node.type, 40)})",
            )
        )
    if result.zero_traffic_bytes is None:
        figures.append(figure("Traffic", traffic_everywhere(result), "nothing less was found"))
    else:
        figures.append(
            bytes_figure("No traffic from", result.zero_traffic_bytes, zero_traffic_verdict(result))
        )
    placed = [point for point in result.points if point.plan is not None]
    if placed:
        first, last = placed[0], placed[-1]
        figures.append(
            bytes_figure(
                "Traffic at the smallest that fits",
                first.traffic_bytes or 0,
                f"in {format_bytes(first.capacity_bytes)}",
            )
        )
        if first.latency_s is not None and last.latency_s is not None:
            figures.append(
                figure(
                    "Latency, simulated",
                    f"{format_seconds(first.latency_s)} to {format_seconds(last.latency_s)}",
                    "at the smallest that fits, and at the largest",
                )
            )
    counts = {status: sum(p.status is status for p in result.points) for status in Status}
    figures.append(
        figure(
            "Points",
            f"{len(result.points):,}",
            ", ".join(f"{count:,} {status}" for status, count in counts.items() if count),
        )
    )
    return figures


def _charts(result: SweepResult) -> list[str]:
    shown = [Objective.TRAFFIC]
    if any(point.latency_s is not None for point in result.points):
        shown.append(Objective.LATENCY)
    if result.objective is Objective.LATENCY:
        shown.reverse()
    titles = {
        Objective.TRAFFIC: "Traffic beyond the compulsory",
        Objective.LATENCY: "Latency, simulated",
    }
    sections = []
    for objective in shown:
        aside = "" if objective is result.objective else _ASIDE[objective]
        sections.append(
            f"<section><h2>{titles[objective]}</h2>"
            f"<p>{_READING if objective is result.objective else aside}</p>"
            f"{_keys()}{render_chart(result, objective)}</section>"
        )
    return sections


_ASIDE = {
    Objective.LATENCY: "Of the plans above, which were chosen for little traffic. The bound is "
    "that of computation and compulsory copies.",
    Objective.TRAFFIC: "Of the plans above, which were chosen for low latency.",
}


def _keys() -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 26 12">{symbol}</svg>{name}</li>' for name, symbol in _SYMBOLS
    )
    return f'<ul class="keys" aria-hidden="true">{items}</ul>'


def _points(result: SweepResult) -> str:
    timed = any(point.latency_s is not None for point in result.points)
    heads = ["Capacity, bytes", "", "Arena, bytes", "Traffic, bytes", "Lower bound"]
    heads += ["Latency", "Lower bound"] if timed else []
    heads += ["Gap", "Seconds", "Status", "Solver"]
    right = set(range(heads.index("Status")))
    rows = []
    for point in result.points:
        row = [
            number_cell(f"{point.capacity_bytes:,}"),
            number_cell(format_size(point.capacity_bytes)),
            optional_bytes_cell(point.arena_bytes),
            optional_bytes_cell(point.traffic_bytes),
            optional_bytes_cell(point.traffic_lower_bound_bytes),
        ]
        if timed:
            row += [_seconds_cell(point.latency_s), _seconds_cell(point.latency_lower_bound_s)]
        row += [
            number_cell(format_gap_share(point.gap(result.objective))),
            number_cell("" if point.wall_s is None else f"{point.wall_s:.2f}"),
            Cell(describe_status(point), f"plain status {point.status.value}"),
            Cell(markup(describe_contender(point)), "plain"),
        ]
        rows.append(row)
    return (
        '<section><h2>Points</h2><div class="scroll wide" tabindex="0" role="region" '
        f'aria-label="Table of all points">{table(heads, rows, right)}</div></section>'
    )


def _seconds_cell(seconds: float | None) -> Cell:
    return number_cell("" if seconds is None else format_seconds(seconds))


def _notes(result: SweepResult) -> Sequence[str]:
    notes = list(result.notes)
    if misfit := misfit_note(result):
        notes.append(misfit)
    return notes
