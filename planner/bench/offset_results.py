"""What a comparison of offset solvers shows: bounds, contradictions, the table and its JSON."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.bench.results_envelope import envelope
from planner.bench.text_table import render_columns
from planner.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.bench.offset_solves import OffsetSolve
    from planner.packing.result import SolverReport

_NAME_WIDTH = 28
_NOTE_WIDTH = 160
_COLUMNS = (
    *("instance", "buffers", "bound", "capacity", "solver", "height", "÷ bound", "status"),
    *("CPU s", "at capacity", "note"),
)
_LEFT = {"instance", "solver", "status", "at capacity", "note"}


class InstanceResult(NamedTuple):
    """All solvers' runs on one instance.

    Attributes
    ----------
    name : str
    solves : tuple of OffsetSolve
    lower_bound : int
        Highest proven bound on the height.
    best : int or None
        Lowest height asked for as such; None if no solver found a packing.
    """

    name: str
    solves: tuple[OffsetSolve, ...]
    lower_bound: int
    best: int | None


def by_instance(solves: Iterable[OffsetSolve]) -> list[InstanceResult]:
    """Gather the runs of each instance, in the order given."""
    results = []
    for name, group in groupby(solves, key=lambda solve: solve.instance):
        runs = tuple(group)
        bounds = [run.minimised.lower_bound_bytes or 0 for run in runs]
        heights = [run.minimised.height_bytes for run in runs]
        best = min((height for height in heights if height is not None), default=None)
        results.append(InstanceResult(name, runs, max(runs[0].live_bytes, *bounds), best))
    return results


def contradictions(results: Iterable[InstanceResult]) -> list[str]:
    """Say where a claimed proof meets a checked packing that refutes it."""
    found = []
    for result in results:
        reports = [
            report
            for run in result.solves
            for report in (run.minimised, run.fitted)
            if report is not None
        ]
        heights = [report.height_bytes for report in reports if report.height_bytes is not None]
        for run in result.solves:
            claim = _claimed_bound(run)
            if heights and claim > min(heights):
                found.append(
                    f"{result.name}: {run.minimised.name} claims that no packing is below "
                    f"{claim:,}; there is one of {min(heights):,}. Please report it."
                )
    return found


def _claimed_bound(run: OffsetSolve) -> int:
    bound = run.minimised.lower_bound_bytes or 0
    if run.fitted is None or run.capacity is None:
        return bound
    infeasible = run.capacity + 1 if run.fitted.status == "infeasible" else 0
    return max(bound, run.fitted.lower_bound_bytes or 0, infeasible)


def render_table(results: Sequence[InstanceResult]) -> str:
    """Return one line for each instance and solver; columns that would be empty are left out."""
    rows = [cells for result in results for cells in _rows(result)]
    return render_columns(_COLUMNS, rows, left=_LEFT)


def _rows(result: InstanceResult) -> Iterable[dict[str, str]]:
    for index, run in enumerate(result.solves):
        report = run.minimised
        height = report.height_bytes
        row = dict.fromkeys(_COLUMNS, "")
        if index == 0:
            row["instance"] = printable(result.name, _NAME_WIDTH)
            row["buffers"] = f"{run.buffers:,}"
            row["bound"] = f"{result.lower_bound:,}"
            row["capacity"] = "" if run.capacity is None else f"{run.capacity:,}"
        row["solver"] = report.name
        row["status"] = report.status
        if height is not None:
            row["height"] = f"{height:,}"
            row["÷ bound"] = f"{height / result.lower_bound:.4f}" if result.lower_bound else ""
        if report.status != "skipped":
            row["CPU s"] = f"{report.cpu_s:.3f}"
        row["at capacity"] = _fit_text(run.fitted)
        row["note"] = printable(report.note, _NOTE_WIDTH)
        yield row


def _fit_text(report: SolverReport | None) -> str:
    if report is None or report.status == "skipped":
        return ""
    if report.status == "infeasible":
        text = "proven impossible"
    elif report.height_bytes is not None:
        text = "fits"
    else:
        text = printable(report.note.partition(";")[0], _NAME_WIDTH)
    return f"{text}, {report.cpu_s:.3f} s"


def render_summary(results: Sequence[InstanceResult]) -> str:
    """Return a line for each solver: how often it proved, and how often none was lower."""
    lines = []
    names = dict.fromkeys(run.minimised.name for result in results for run in result.solves)
    width = max(map(len, names), default=0)
    for name in names:
        reports = [
            (result, run.minimised)
            for result in results
            for run in result.solves
            if run.minimised.name == name
        ]
        optimal = sum(report.status == "optimal" for _, report in reports)
        lowest = sum(
            report.height_bytes is not None and report.height_bytes == result.best
            for result, report in reports
        )
        none = sum(report.height_bytes is None for _, report in reports)
        cpu_s = sum(report.cpu_s for _, report in reports)
        lines.append(
            f"{name:<{width}}  of {len(reports)}: {optimal} optimal, {lowest} lowest, "
            f"{none} without a packing, {cpu_s:.2f} CPU s"
        )
    return "\n".join(lines)


def results_object(
    results: Sequence[InstanceResult],
    *,
    time_limit_s: float,
    notes: Sequence[str],
    interrupted: bool,
) -> dict[str, Any]:
    """Return the object that ``plan bench offsets --json`` prints."""
    return {
        **envelope("offsets", notes=notes, interrupted=interrupted, time_limit_s=time_limit_s),
        "instances": [
            {
                "name": result.name,
                "buffers": result.solves[0].buffers,
                "live_bytes": result.solves[0].live_bytes,
                "lower_bound_bytes": result.lower_bound,
                "capacity_bytes": result.solves[0].capacity,
                "solvers": [_solve_object(result, run) for run in result.solves],
            }
            for result in results
        ],
    }


def _solve_object(result: InstanceResult, run: OffsetSolve) -> dict[str, Any]:
    height = run.minimised.height_bytes
    ratio = height / result.lower_bound if height is not None and result.lower_bound else None
    return {
        **_report_object(run.minimised),
        "height_to_bound": ratio,
        "at_capacity": None if run.fitted is None else _report_object(run.fitted),
    }


def _report_object(report: SolverReport) -> dict[str, Any]:
    described = report._asdict()
    del described["memory"]
    for key in ("wall_s", "cpu_s"):
        described[key] = round(described[key], 6)
    return described
