"""The pipeline suite as tables: cases, limits, the paper's tables; and as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from planner.bench.pipeline_results import Verdict, is_tied_at_best, limit_summaries, verdict
from planner.bench.text_table import Table, render_titled
from planner.pipelining.problem import PipelineObjective
from planner.report.names import printable
from planner.report.quantities import format_gap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.pipeline_reproduction import Reproduced
    from planner.bench.pipeline_runs import CaseResult, PipelineRun

_NOTE_WIDTH = 60


def tables(results: Sequence[CaseResult], reproduced: Sequence[Reproduced]) -> list[Table]:
    """Return the tables that there is something for."""
    found = []
    if results:
        found += [_cases(results), _limits(results)]
    if reproduced:
        found.append(_reproduction(reproduced))
    return found


def render_tables(results: Sequence[CaseResult], reproduced: Sequence[Reproduced]) -> str:
    """Return all tables as text, with how to read them."""
    return render_titled(tables(results, reproduced), explanations(results, reproduced))


def explanations(results: Sequence[CaseResult], reproduced: Sequence[Reproduced]) -> list[str]:
    """Return a paragraph for each thing that the tables do not say by themselves."""
    found = []
    if results:
        ours = [result.ours for result in results]
        verdicts = [verdict(result) for result in results]
        counts = ", ".join(
            f"{how.value} {verdicts.count(how)}" for how in Verdict if how in verdicts
        )
        found += [
            f"Ours, of {len(results)} cases: {counts}; "
            f"{sum(run.status == 'optimal' for run in ours)} proven optimal, of those tied "
            f"{sum(is_tied_at_best(result) for result in results)}; "
            f"{sum(run.cpu_s for run in ours):.1f} CPU seconds in all, at most "
            f"{max(run.cpu_s for run in ours):.1f}.",
            "Bubbles are idle shares of the busiest device: by the longest stage, or by the "
            "makespan where the setting says so; the column makespan has the other reading of the "
            "same schedule. Limits are multiples of what 1F1B holds, or what V-Min and V-Half "
            "hold at equal costs. Published is the best published schedule that fits, built apart "
            "from our race; the bound is proven for all placements. Every schedule was checked. "
            "Known: what an earlier search of ours reached in 10 to 20 seconds on one core.",
        ]
    if reproduced:
        equal = sum(cell.difference == 0 for cell in reproduced)
        better = sum(cell.difference < 0 for cell in reproduced)
        found.append(
            f'Tables 5 and 8 of "Zero Bubble Pipeline Parallelism" (arXiv 2401.10241): of '
            f"{len(reproduced)} values {equal} are equal to the fourth decimal, {better} lower, "
            f"{len(reproduced) - equal - better} higher. ZB-1p, ZB-2p and ZB-V are results of a "
            "search, which ours may undercut in the same memory."
        )
    return found


def _cases(results: Sequence[CaseResult]) -> Table:
    searches = list(dict.fromkeys(run.name for result in results for run in result.parts))
    alone = list(dict.fromkeys(run.name for result in results for run in result.alone))
    columns = (
        *("setting", "v", "limit", "published", "best published", "ours", "makespan", "bound"),
        *("gap", "status", "against", "by", "known"),
        *searches,
        *(f"{name} alone" for name in alone),
        *("CPU s", "published CPU s", "schedule", "note"),
    )
    left = {"setting", "limit", "best published", "status", "against", "by", "schedule", "note"}
    rows = [{**dict.fromkeys(columns, ""), **_case_row(result)} for result in results]
    return Table("Bubbles", columns, rows, left)


def _case_row(result: CaseResult) -> dict[str, str]:
    case, ours, best = result.case, result.ours, result.best_published
    row = {
        "setting": case.setting.name,
        "v": str(case.chunks),
        "limit": case.limit_text,
        "bound": _bubble(result, result.bound_ticks),
        "status": ours.status,
        "against": verdict(result).value,
        "known": "" if case.known_bubble is None else f"{case.known_bubble:.4f}",
        "CPU s": f"{ours.cpu_s:.1f}",
        "published CPU s": f"{sum(run.cpu_s for run in result.published):.1f}",
    }
    if best is not None:
        row["published"] = _bubble(result, best.cost_ticks)
        row["best published"] = f"{best.name} ({best.placement})"
    if ours.cost_ticks is None:
        row["note"] = printable(ours.note, _NOTE_WIDTH)
    else:
        row["ours"] = _bubble(result, ours.cost_ticks)
        row["makespan"] = _bubble(result, _other_reading(case.setting.objective, ours))
        row["gap"] = format_gap(ours.cost_ticks, result.bound_ticks)
        row["by"] = f"{ours.note.removeprefix('by ')} ({ours.placement})"
        row["schedule"] = "legal" if ours.is_checked else "ILLEGAL"
    for run in result.parts:
        row[run.name] = _bubble(result, run.cost_ticks) or run.status
    for run in result.alone:
        row[f"{run.name} alone"] = _bubble(result, run.cost_ticks) or run.status
    return row


def _other_reading(objective: PipelineObjective, run: PipelineRun) -> int | None:
    whole = objective is PipelineObjective.MAKESPAN
    return run.longest_stage_ticks if whole else run.makespan_ticks


def _bubble(result: CaseResult, ticks: int | None) -> str:
    bubble = result.bubble(ticks)
    return "" if bubble is None else f"{bubble:.4f}"


def _limits(results: Sequence[CaseResult]) -> Table:
    columns = (
        *("v", "limit", "cases", *(how.value for how in Verdict)),
        *("optimal", "impossible", "known", "reached", "published", "ours", "bound"),
    )
    rows = [
        {
            "v": str(summary.chunks),
            "limit": summary.limit,
            "cases": str(summary.cases),
            **{how.value: str(count) for how, count in summary.verdicts.items()},
            "optimal": str(summary.optimal),
            "impossible": str(summary.impossible),
            "known": str(summary.known),
            "reached": str(summary.reached) if summary.known else "",
            "published": _mean(summary.published),
            "ours": _mean(summary.ours),
            "bound": _mean(summary.bound),
        }
        for summary in limit_summaries(results)
    ]
    title = "By limit: mean bubbles of the cases in which a published schedule fits"
    return Table(title, columns, rows, {"limit"})


def _mean(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _reproduction(reproduced: Sequence[Reproduced]) -> Table:
    """Return a row for each setting of the paper's tables; differences where there are any."""
    names = list(dict.fromkeys(cell.column for cell in reproduced))
    columns = ("table", "setting", *(part for name in names for part in (name, f"ours {name}")))
    rows: dict[tuple[int, str], dict[str, str]] = {}
    for cell in reproduced:
        setting = cell.setting.name
        row = rows.setdefault(
            (cell.table, setting),
            {**dict.fromkeys(columns, ""), "table": str(cell.table), "setting": setting},
        )
        difference = f" ({cell.difference:+.4f})" if cell.difference else ""
        row[cell.column] = f"{cell.published:.4f}"
        row[f"ours {cell.column}"] = f"{cell.simulated:.4f}{difference}"
    return Table("Published and simulated bubbles", columns, list(rows.values()), {"setting"})


_CSV = (
    *("setting", "devices", "microbatches", "objective", "chunks", "limit", "limit_multiple"),
    *("kind", "name", "placement", "status", "bubble", "longest_stage_bubble", "makespan_bubble"),
    *("lower_bound_bubble", "peak_bytes", "cpu_s", "checked"),
)


def render_csv(results: Sequence[CaseResult]) -> str:
    """Return a line for each run of each case; numbers that there are not are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for result in results:
        case, setting = result.case, result.case.setting
        runs = [
            ("ours", result.ours),
            *(("part", run) for run in result.parts),
            *(("alone", run) for run in result.alone),
            *(("published", run) for run in result.published),
        ]
        for kind, run in runs:
            writer.writerow(
                (
                    *(setting.name, setting.devices, setting.microbatches, setting.objective.value),
                    *(case.chunks, case.limit_text, case.multiple, kind, run.name, run.placement),
                    run.status,
                    result.bubble(run.cost_ticks),
                    result.bubble(run.longest_stage_ticks),
                    result.bubble(run.makespan_ticks),
                    result.bubble(result.bound_ticks),
                    *(run.peak_bytes, round(run.cpu_s, 6), run.is_checked),
                )
            )
    return text.getvalue()
