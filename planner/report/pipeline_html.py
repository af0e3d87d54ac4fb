"""The HTML report of a pipeline schedule: the chart, its numbers, devices and contenders."""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

from planner.pipelining.memory import device_memory
from planner.pipelining.result import OVER_LIMIT
from planner.pipelining.simulator import bubble_rate
from planner.report.html_data import embedded_json
from planner.report.html_page import asset, bytes_figure, figure, notes_section, policy_hash
from planner.report.html_table import (
    Cell,
    number_cell,
    optional_bytes_cell,
    status_cell,
    table,
)
from planner.report.names import markup, printable
from planner.report.pipeline_lanes import (
    KIND_NAMES,
    chunk_of,
    first_tick,
    lanes_of,
    used_kinds,
)
from planner.report.pipeline_text import counted, format_bubble, limits_text, verdict
from planner.report.quantities import format_seconds, format_share
from planner.version import VERSION

if TYPE_CHECKING:
    from planner.pipelining.memory import MemoryProfile
    from planner.pipelining.result import ContenderReport, PipelineResult
    from planner.pipelining.simulator import PipelineTimeline
    from planner.report.pipeline_lanes import Lane

_NOTE_WIDTH = 200


def render_pipeline_html(result: PipelineResult, timeline: PipelineTimeline, source: str) -> str:
    """Return the report of a legal schedule as one page that fetches nothing.

    A Content-Security-Policy allows the page's own script and style, by their hashes, and nothing
    else. Blocks reach the script as columns in JSON, so that tens of thousands stay usable.

    Parameters
    ----------
    timeline : PipelineTimeline
        The result's.
    source : str
        What the costs were read from.
    """
    style = asset("memory_map.css") + asset("pipeline.css")
    script = asset("pipeline.js")
    name = printable(source)
    problem = result.problem
    label = (
        f"Chart of {problem.devices:,} devices over time: the passes of {problem.microbatches:,} "
        "microbatches and the bytes held. The tables below list what matters."
    )
    return Template(asset("pipeline.html")).substitute(
        policy=f"default-src 'none'; script-src {policy_hash(script)}; "
        f"style-src {policy_hash(style)}; base-uri 'none'; form-action 'none'",
        title=escape(f"{name}: pipeline schedule"),
        style=style,
        heading=escape(name),
        subtitle=_subtitle(result),
        figures="\n".join(_figures(result, timeline)),
        label=escape(label),
        sections="\n".join(
            section
            for section in (
                _devices(result, timeline),
                _contenders(result),
                notes_section(result.notes),
            )
            if section
        ),
        footer=f"planner {escape(VERSION)} &middot; {result.wall_s:.2f} s",
        data=embedded_json(_data(result, timeline)),
        scripts=f'<script type="module">{script}</script>',
    )


def _subtitle(result: PipelineResult) -> str:
    problem = result.problem
    status = markup(result.status.value)
    return " &middot; ".join(
        [
            f"{counted(problem.devices, 'device')}, "
            f"{counted(problem.microbatches, 'microbatch', 'es')}, "
            f"{counted(len(problem.stages), 'stage')} ({markup(result.placement)})",
            escape(limits_text(result)),
            f'<span class="status {status}">{status}</span>, by {markup(result.contender)}',
            "checked: legal",
        ]
    )


def _figures(result: PipelineResult, timeline: PipelineTimeline) -> list[str]:
    figures = [
        figure(
            "Bubble",
            format_bubble(result.bubble or 0.0),
            f"lower bound {format_bubble(result.bubble_lower_bound)}: {verdict(result)}",
        ),
        figure(
            "Longest stage",
            format_seconds(result.seconds(timeline.longest_stage)),
            f"without bubbles {format_seconds(result.seconds(result.problem.ideal_ticks))}",
        ),
        figure("Makespan", format_seconds(result.seconds(result.makespan_ticks or 0))),
        bytes_figure("Most memory of a device", max(result.peak_bytes)),
        bytes_figure("If all is held until W", max(result.peak_bytes_until_weight)),
    ]
    if result.host_peak_bytes:
        figures.append(bytes_figure("Most on the host", max(result.host_peak_bytes)))
    best = result.best_published()
    if best is not None and best.value_ticks is not None:
        bubble = bubble_rate(result.problem, best.value_ticks)
        figures.append(figure("Best published that fits", format_bubble(bubble), best.name))
    return figures


def _devices(result: PipelineResult, timeline: PipelineTimeline) -> str:
    problem = result.problem
    heads = ["Device", "Stages", "Busy", "First to last pass", "Idle", "Peak, bytes"]
    heads += ["Held until W", "Limit", "Of it"]
    rows = []
    for device, ticks in enumerate(timeline.stage_ticks):
        busy, peak = problem.busy_ticks(device), result.peak_bytes[device]
        limit = problem.limits[device]
        rows.append(
            [
                number_cell(f"{device}"),
                Cell(", ".join(map(str, problem.stages_of[device])), "plain"),
                number_cell(format_seconds(result.seconds(busy))),
                number_cell(format_seconds(result.seconds(ticks))),
                number_cell(format_share(ticks - busy, ticks)),
                optional_bytes_cell(peak),
                optional_bytes_cell(result.peak_bytes_until_weight[device]),
                optional_bytes_cell(limit),
                number_cell("" if limit is None else format_share(peak, limit)),
            ]
        )
    return (
        '<section><h2>Devices</h2><div class="scroll wide" tabindex="0" role="region" '
        f'aria-label="Table of devices">{table(heads, rows, {0, *range(2, len(heads))})}'
        "</div></section>"
    )


def _contenders(result: PipelineResult) -> str:
    heads = ["Contender", "Placement", "Status", "Bubble", "Time", "Most bytes", "Seconds", ""]
    rows = [
        [
            Cell(markup(report.name), "name"),
            Cell(markup(report.placement), "plain"),
            Cell(report.status, "plain over")
            if report.status == OVER_LIMIT
            else status_cell(report.status),
            *_value_cells(result, report),
            optional_bytes_cell(report.peak_bytes),
            number_cell(f"{report.wall_s:.2f}"),
            Cell(markup(report.note, _NOTE_WIDTH)),
        ]
        for report in result.contenders
    ]
    return (
        '<section><h2>Contenders</h2><div class="scroll wide" tabindex="0" role="region" '
        f'aria-label="Table of contenders">{table(heads, rows, {3, 4, 5, 6})}</div></section>'
    )


def _value_cells(result: PipelineResult, report: ContenderReport) -> list[Cell]:
    value = report.value_ticks
    if value is None:
        return [number_cell(""), number_cell("")]
    return [
        number_cell(format_bubble(bubble_rate(result.problem, value))),
        number_cell(format_seconds(result.seconds(value))),
    ]


def _data(result: PipelineResult, timeline: PipelineTimeline) -> dict[str, Any]:
    """Columns for the script; ticks count from the first start."""
    problem = result.problem
    lanes = lanes_of(problem, timeline)
    zero = first_tick(timeline)
    held = device_memory(problem, timeline)
    whole = device_memory(problem, timeline, keep_until_weight=True)
    ends = [block.end for own in lanes for lane in own for block in lane.blocks]
    limits = [limit for limit in problem.limits if limit is not None]
    chunk = chunk_of(problem)
    return {
        "kinds": {kind: KIND_NAMES[kind] for kind in used_kinds(lanes)},
        "ticks": max(max(ends, default=zero) - zero, 1),
        "tickS": float(problem.tick_s),
        "chunk": chunk,
        "chunks": max(chunk) + 1,
        "highest": max((*(p.peak for p in held), *(p.peak for p in whole), *limits, 1)),
        "devices": [
            {
                "lanes": [_lane(lane, zero) for lane in lanes[device]],
                "held": _profile(held[device], zero),
                "whole": _profile(whole[device], zero),
                "peak": held[device].peak,
                "limit": problem.limits[device],
            }
            for device in range(problem.devices)
        ],
    }


def _lane(lane: Lane, zero: int) -> dict[str, Any]:
    return {
        "name": lane.name,
        "kind": "".join(block.kind for block in lane.blocks),
        "stage": [block.stage for block in lane.blocks],
        "microbatch": [block.microbatch for block in lane.blocks],
        "start": [block.start - zero for block in lane.blocks],
        "end": [block.end - zero for block in lane.blocks],
    }


def _profile(profile: MemoryProfile, zero: int) -> dict[str, Any]:
    return {"tick": [tick - zero for tick in profile.ticks], "held": list(profile.held)}
