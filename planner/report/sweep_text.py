"""A sweep as a table to read, and as comma-separated values."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from planner.problem import Objective, Status
from planner.report.lines import labelled
from planner.report.names import printable
from planner.report.quantities import (
    format_both,
    format_bytes,
    format_in,
    format_size,
    time_unit,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.sweeps.result import SweepPoint, SweepResult

_NAME_WIDTH = 40
_NOTE_WIDTH = 400
_LEFT_COLUMNS = ("status", "solver")


def render_sweep_text(result: SweepResult) -> str:
    """Return the report of a sweep: what matters in a few lines, then one row for each point."""
    parts = [labelled(_head(result)), "", *_table(result)]
    if note := misfit_note(result):
        parts += ["", note]
    return "\n".join(parts)


def render_sweep_csv(result: SweepResult) -> str:
    """Return one line for each point, with the fields of the JSON object."""
    stream = io.StringIO()
    points = result.to_json()["points"]
    writer = csv.DictWriter(stream, fieldnames=list(points[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(points)
    return stream.getvalue()


def zero_traffic_verdict(result: SweepResult) -> str:
    """Say whether less than the least capacity without traffic could do: ``proven`` or not."""
    least, bound = result.zero_traffic_bytes, result.zero_traffic_lower_bound_bytes
    if least is None or bound is None:
        return ""
    return "no less will do" if bound >= least else f"lower bound {bound:,}"


def traffic_everywhere(result: SweepResult) -> str:
    """Say of a sweep that found no plan without traffic whether there can be one."""
    proven = (result.points[-1].traffic_lower_bound_bytes or 0) > 0
    return "at every capacity" if proven else "in every plan found"


def describe_status(point: SweepPoint) -> str:
    """Return the status, with other words where there is no plan."""
    if point.status is Status.INFEASIBLE:
        return "does not fit"
    if point.plan is None:
        return "not reached" if point.wall_s is None else "no plan found"
    return point.status.value


def format_gap_share(gap: float | None) -> str:
    """Return ``12.4 %``; a dash where there is no gap to speak of."""
    return "-" if gap is None else f"{100 * gap:.1f} %"


def describe_contender(point: SweepPoint) -> str:
    """Who made the plan, and at which capacity if not at this one."""
    if point.found_at_bytes in (None, point.capacity_bytes):
        return point.contender
    return f"{point.contender} at {format_size(point.found_at_bytes or 0)}"


def misfit_note(result: SweepResult) -> str:
    """Say why the largest capacity without a plan has none; nothing if all have one."""
    without = [point for point in result.points if point.plan is None and point.note]
    if not without:
        return ""
    worst = without[-1]
    return f"at {worst.capacity_bytes:,} B: {printable(worst.note, _NOTE_WIDTH)}"


def _head(result: SweepResult) -> Iterator[tuple[str, str]]:
    graph, points = result.graph, result.points
    yield (
        "model",
        f"{printable(graph.model.name)}   {len(graph.operators):,} operators  "
        f"{len(graph.tensors):,} tensors  constants {format_size(graph.constant_bytes)}",
    )
    yield (
        "target",
        f"{printable(result.target.name)}   {printable(result.memory)} from "
        f"{format_size(points[0].capacity_bytes)} to {format_size(points[-1].capacity_bytes)}, "
        f"objective {result.objective.value}",
    )
    if result.footprint is not None and result.footprint_capacity_bytes is not None:
        node = graph.operators[result.footprint.operator]
        yield (
            "needs",
            f"{format_both(result.footprint_capacity_bytes)} at least, for operator "
            f"{result.footprint.operator} {printable(node.name, _NAME_WIDTH)} "
            f"({printable(node.type, _NAME_WIDTH)})",
        )
    if result.zero_traffic_bytes is not None:
        yield (
            "traffic",
            f"none from {format_both(result.zero_traffic_bytes)} on "
            f"({zero_traffic_verdict(result)})",
        )
    else:
        yield (
            "traffic",
            f"{traffic_everywhere(result)} up to {format_bytes(points[-1].capacity_bytes)}",
        )
    optimal = sum(point.status is Status.OPTIMAL for point in points)
    infeasible = sum(point.status is Status.INFEASIBLE for point in points)
    text = f"{len(points):,}: {optimal:,} optimal"
    if infeasible:
        text += f", {infeasible:,} proven not to fit"
    yield "points", f"{text}   {result.wall_s:.2f} s"
    yield "checked", "every plan is legal at its capacity"


def _table(result: SweepResult) -> Iterator[str]:
    timed = any(point.latency_s is not None for point in result.points)
    unit_s, unit = time_unit(max((p.latency_s or 0.0 for p in result.points), default=0.0))

    def seconds(value: float | None) -> str:
        return "-" if value is None else format_in(value, unit_s)

    heads = ["capacity", "", "arena", "traffic", "bound"]
    if timed:
        heads += [f"latency {unit}", "bound"]
    heads += ["gap", "s", "status", "solver"]
    rows = [heads]
    for point in result.points:
        row = [
            f"{point.capacity_bytes:,}",
            format_size(point.capacity_bytes),
            _count(point.arena_bytes),
            _count(point.traffic_bytes),
            _count(point.traffic_lower_bound_bytes),
        ]
        if timed:
            row += [seconds(point.latency_s), seconds(point.latency_lower_bound_s)]
        row += [
            format_gap_share(point.gap(result.objective)),
            "-" if point.wall_s is None else f"{point.wall_s:.2f}",
            describe_status(point),
            describe_contender(point),
        ]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        cells = (
            text.ljust(width) if head in _LEFT_COLUMNS else text.rjust(width)
            for head, text, width in zip(heads, row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()
    if result.objective is Objective.LATENCY:
        yield "gap: of the latency above its bound"


def _count(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes:,}"
