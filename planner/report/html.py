"""The HTML report of a plan: the memory map, its numbers and tables."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from planner.report.html_data import page_data
from planner.report.html_page import (
    MapWords,
    bytes_figure,
    columns,
    figure,
    notes_section,
    render_page,
)
from planner.report.html_tables import (
    contender_table,
    longest_table,
    peak_section,
    served_table,
    transfer_table,
)
from planner.report.names import markup, printable
from planner.report.occupancy import (
    arena_verdict,
    constant_bytes,
    no_reuse_bytes,
    occupancies,
)
from planner.report.quantities import (
    format_bytes,
    format_in,
    format_seconds,
    format_share,
    format_size,
    time_unit,
)
from planner.report.served import traffic_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.graph import Graph
    from planner.plans import Plan
    from planner.result import ContenderReport
    from planner.simulator import Timeline

_WORDS = MapWords(
    find="tensor or step",
    walked="steps and placements",
    links="#step=N, #tensor=NAME",
    file="the plan file",
    colour_tool='<label>Colour <select id="colour"><option value="kind">kind</option>'
    '<option value="type">operator type</option></select></label>',
)


def render_html(
    plan: Plan,
    contenders: Sequence[ContenderReport],
    timeline: Timeline | None = None,
    *,
    graph: Graph | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return the report of a legal plan as one page that fetches nothing.

    Names from the model are escaped in markup and reach the script as JSON only.

    Parameters
    ----------
    timeline : Timeline, optional
        The simulated run; adds the times of steps to the map.
    graph : Graph, optional
        Names operators where the plan has only their indices.
    notes : sequence of str
        What lowering assumed or left out, one sentence each.
    """
    model = printable(plan.model.name)
    near = plan.target.nearest
    return render_page(
        title=f"{model} on {printable(plan.target.name)}: memory plan",
        heading=model,
        subtitle=_subtitle(plan),
        figures=_figures(plan),
        map_label=f"Memory map: {len(plan.placements):,} placements over {len(plan.order):,} "
        f"steps, arena of {format_bytes(plan.metrics.arena_bytes.get(near.name, 0))} in "
        f"{printable(near.name)}. The tables below list what matters.",
        words=_WORDS,
        sections=[
            columns(peak_section(plan, graph), longest_table(plan, graph)),
            contender_table(plan, contenders),
            served_table(plan, graph),
            transfer_table(plan),
            notes_section(notes),
        ],
        footer=_footer(plan),
        data=page_data(plan, timeline, graph),
        details="plan_details.js",
    )


def _subtitle(plan: Plan) -> str:
    made = plan.provenance
    status = markup(made.status)
    tensors = sum(len(storage.tensors) for storage in plan.storages)
    memories = ", ".join(
        printable(memory.name)
        + (f" {format_size(memory.capacity_bytes)}" if memory.capacity_bytes is not None else "")
        for memory in plan.target.memories
    )
    return (
        f"{len(plan.order):,} operators, {tensors:,} tensors &middot; target "
        f"{markup(plan.target.name)} ({escape(memories)}) &middot; objective "
        f"{markup(made.objective)} &middot; "
        f'<span class="status {status}">{status}</span>, by {markup(made.contender)} &middot; '
        "checked: legal"
    )


def _figures(plan: Plan) -> list[str]:
    metrics, near = plan.metrics, plan.target.nearest
    arena, peak = metrics.arena_bytes.get(near.name, 0), metrics.peak_bytes.get(near.name, 0)
    bound, no_reuse = metrics.peak_lower_bound_bytes, no_reuse_bytes(plan)
    figures = [
        bytes_figure(f"Arena in {printable(near.name)}", arena),
        bytes_figure("Peak of live bytes", peak, f"packing adds {format_bytes(arena - peak)}"),
    ]
    if bound or (bound is not None and not arena):
        reached = "; the peak reaches it" if peak == bound != arena else ""
        figures.append(bytes_figure("Lower bound", bound, f"arena: {arena_verdict(plan)}{reached}"))
    saved = f"the arena is {format_share(arena, no_reuse)} of it" if no_reuse else ""
    figures.append(bytes_figure("Without reuse", no_reuse, saved))
    kept = f"in {printable(plan.target.constant_memory)}, no part of the arena"
    if plan.model.parameters:
        kept = "the others are parameters, which lie and move like graph inputs"
    figures.append(bytes_figure("Constants", constant_bytes(plan), kept))
    if len(plan.target.memories) > 1:
        low, (direct, copied) = metrics.traffic_lower_bound_bytes, traffic_parts(plan)
        bounded = low is not None and (low > 0 or not direct)
        figures.append(
            bytes_figure(
                "Traffic beyond compulsory",
                metrics.traffic_bytes,
                f"direct {format_bytes(direct)}, copied {format_bytes(copied)}" if direct else "",
                f"lower bound {format_bytes(low or 0)}" if bounded else "",
                f"compulsory {format_bytes(metrics.compulsory_bytes)}",
            )
        )
    if metrics.latency_s is not None:
        figures.append(_latency(plan, metrics.latency_s))
    return figures


def _latency(plan: Plan, latency_s: float) -> str:
    metrics = plan.metrics
    unit_s, _ = time_unit(latency_s)
    details = []
    if metrics.compute_s is not None and metrics.stall_s is not None:
        details.append(
            f"compute {format_in(metrics.compute_s, unit_s)}, "
            f"stalled {format_in(metrics.stall_s, unit_s)}"
        )
    if metrics.latency_lower_bound_s is not None:
        details.append(f"lower bound {format_in(metrics.latency_lower_bound_s, unit_s)}")
    return figure("Latency, simulated", format_seconds(latency_s), *details)


def _footer(plan: Plan) -> str:
    parts = [f"planner {markup(plan.provenance.planner_version)}".strip()]
    if plan.model.sha256:
        parts.append(f"model sha256 <code>{markup(plan.model.sha256)}</code>")
    if plan.metrics.cost_source != "none":
        parts.append(f"costs: {markup(plan.metrics.cost_source)}")
    used = ", ".join(printable(o.memory.name) for o in occupancies(plan))
    parts.append(f"memories used: {escape(used)}")
    return " &middot; ".join(parts)
