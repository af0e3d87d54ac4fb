"""What the pipeline suite shows: won or lost, per limit, contradictions, the JSON object."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.bench.pipeline_runs import FAILED
from planner.problem import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.pipeline_reproduction import Reproduced
    from planner.bench.pipeline_runs import CaseResult, PipelineRun

# Known bubbles have four decimals.
_ROUNDING = 5e-5


class Verdict(StrEnum):
    """Ours against the best published schedule that fits."""

    WON = "won"
    TIED = "tied"
    LOST = "lost"
    ALONE = "only ours fits"
    NEITHER = "nothing fits"


class LimitSummary(NamedTuple):
    """All cases with as many chunks under the same limit.

    Attributes
    ----------
    chunks : int
    limit : str
    cases : int
    verdicts : dict of Verdict to int
    optimal : int
        Ours, proven.
    impossible : int
        Proven to have no schedule.
    known, reached : int
        Cases of which it is known what a search reaches, and those in which ours does.
    published, ours, bound : float or None
        Mean bubbles over the cases in which a published schedule fits; None without any.
    """

    chunks: int
    limit: str
    cases: int
    verdicts: dict[Verdict, int]
    optimal: int
    impossible: int
    known: int
    reached: int
    published: float | None
    ours: float | None
    bound: float | None


def verdict(result: CaseResult) -> Verdict:
    """Compare ours with the best published schedule that fits."""
    published, ours = result.best_published, result.ours
    if published is None or published.cost_ticks is None:
        return Verdict.NEITHER if ours.cost_ticks is None else Verdict.ALONE
    if ours.cost_ticks is None or ours.cost_ticks > published.cost_ticks:
        return Verdict.LOST
    return Verdict.WON if ours.cost_ticks < published.cost_ticks else Verdict.TIED


def is_tied_at_best(result: CaseResult) -> bool:
    """Whether the best published schedule cannot be beaten: it is as long as the bound."""
    return verdict(result) is Verdict.TIED and result.ours.status == Status.OPTIMAL


def reaches_known(result: CaseResult) -> bool:
    """Whether ours is as good as what is known, or nothing is."""
    known, ours = result.case.known_bubble, result.bubble(result.ours.cost_ticks)
    return known is None or (ours is not None and ours <= known + _ROUNDING)


def gap(result: CaseResult) -> float | None:
    """By how much of the bound ours may be above the optimum; None without a schedule."""
    ours = result.ours.cost_ticks
    return None if ours is None else (ours - result.bound_ticks) / max(result.bound_ticks, 1)


def limit_summaries(results: Sequence[CaseResult]) -> list[LimitSummary]:
    """Summarise by chunks and limit, in the order of memory."""
    groups: dict[tuple[int, str], list[CaseResult]] = {}
    for result in sorted(results, key=lambda r: (r.case.chunks, r.case.multiple)):
        groups.setdefault((result.case.chunks, result.case.limit_text), []).append(result)
    return [_summary(chunks, limit, group) for (chunks, limit), group in groups.items()]


def _summary(chunks: int, limit: str, group: Sequence[CaseResult]) -> LimitSummary:
    verdicts = [verdict(result) for result in group]
    compared = [
        result
        for result, how in zip(group, verdicts, strict=True)
        if how in (Verdict.WON, Verdict.TIED, Verdict.LOST) and result.ours.cost_ticks is not None
    ]
    known = [result for result in group if result.case.known_bubble is not None]
    published = [r.bubble(r.best_published.cost_ticks) for r in compared if r.best_published]
    return LimitSummary(
        chunks=chunks,
        limit=limit,
        cases=len(group),
        verdicts={how: verdicts.count(how) for how in Verdict},
        optimal=sum(result.ours.status == Status.OPTIMAL for result in group),
        impossible=sum(result.ours.status == Status.INFEASIBLE for result in group),
        known=len(known),
        reached=sum(map(reaches_known, known)),
        published=_mean(published),
        ours=_mean([r.bubble(r.ours.cost_ticks) for r in compared]),
        bound=_mean([r.bubble(r.bound_ticks) for r in compared]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def defects(results: Sequence[CaseResult], reproduced: Sequence[Reproduced]) -> list[str]:
    """Say where ours loses, a bound is refuted, a schedule is illegal, or a constructor fails."""
    found = []
    for result in results:
        found += [f"{result.case.name}: {text}" for text in _case_defects(result)]
    for cell in reproduced:
        where = f"table {cell.table}, {cell.setting.name}: {cell.column}"
        if not cell.is_checked:
            found.append(f"{where} is illegal. Please report it.")
        if _differs(cell):
            found.append(
                f"{where} is {cell.simulated:.4f}, published is {cell.published:.4f}. "
                "Please report it."
            )
    return found


def _differs(cell: Reproduced) -> bool:
    from planner.bench.pipeline_reproduction import SEARCHED

    return cell.difference > 0 or (cell.difference < 0 and cell.column not in SEARCHED)


def _case_defects(result: CaseResult) -> list[str]:
    best, ours = result.best_published, result.ours
    found = [note for note in result.notes if "is refuted" in note]
    if verdict(result) is Verdict.LOST and best is not None:
        found.append(
            f"ours takes {_ticks(ours.cost_ticks)}, the published {best.name} "
            f"{_ticks(best.cost_ticks)}. {'' if result.late else 'Please report it.'}".rstrip()
        )
    if ours.cost_ticks is None and ours.status != Status.INFEASIBLE:
        found.append("neither a schedule nor a proof that there is none. Please report it.")
    if not reaches_known(result):
        found.append(
            f"a search is known to reach a bubble of {result.case.known_bubble:.4f}. "
            "Give it more time."
        )
    for run in (*result.published, ours, *result.alone):
        ticks = run.cost_ticks
        if run.is_checked and ticks is not None and ticks < result.bound_ticks:
            found.append(
                f"{run.name} takes {ticks:,} ticks, the bound is "
                f"{result.bound_ticks:,}. Please report it."
            )
        if run.status == FAILED or (ticks is not None and not _is_judged(run)):
            found.append(f"{run.name} failed: {run.note}. Please report it.")
    if result.late:
        found.append(
            f"no time was left for {', '.join(result.late)}. Give it a longer --time-limit."
        )
    return found + [
        f"{run.name} failed in the race: {run.note}. Please report it."
        for run in result.parts
        if run.status == FAILED
    ]


def _is_judged(run: PipelineRun) -> bool:
    """Whether a schedule is legal but for the memory that a published one may ignore."""
    return run.is_checked or run.status not in (Status.OPTIMAL, Status.FEASIBLE)


def _ticks(ticks: int | None) -> str:
    return "no schedule" if ticks is None else f"{ticks:,} ticks"


def results_object(
    results: Sequence[CaseResult], reproduced: Sequence[Reproduced]
) -> dict[str, Any]:
    """Return what ``plan bench pipeline --json`` prints below the envelope."""
    return {
        "reproduction": [_reproduced_object(cell) for cell in reproduced],
        "limits": [_summary_object(summary) for summary in limit_summaries(results)],
        "results": [_result_object(result) for result in results],
    }


def _reproduced_object(cell: Reproduced) -> dict[str, Any]:
    return {
        "table": cell.table,
        "model": cell.setting.model,
        "devices": cell.setting.devices,
        "microbatches": cell.setting.microbatches,
        "schedule": cell.column,
        "published": cell.published,
        "simulated": cell.simulated,
        "difference": cell.difference,
        "checked": cell.is_checked,
        "cpu_s": round(cell.cpu_s, 6),
    }


def _summary_object(summary: LimitSummary) -> dict[str, Any]:
    described = summary._asdict()
    described["verdicts"] = {how.value: count for how, count in summary.verdicts.items()}
    return described


def _result_object(result: CaseResult) -> dict[str, Any]:
    case, setting = result.case, result.case.setting
    best = result.best_published
    return {
        "name": case.name,
        "model": setting.model,
        "devices": setting.devices,
        "microbatches": setting.microbatches,
        "objective": setting.objective.value,
        "chunks": case.chunks,
        "limit": case.limit_text,
        "limit_multiple": case.multiple,
        "ideal_s": result.ideal_ticks * result.tick_s,
        "lower_bound_s": result.bound_ticks * result.tick_s,
        "lower_bound_bubble": result.bubble(result.bound_ticks),
        "bound": result.bound_name,
        "verdict": verdict(result).value,
        "gap": gap(result),
        "known_bubble": case.known_bubble,
        "reaches_known": reaches_known(result),
        "best_published": None if best is None else _run_object(result, best),
        "ours": _run_object(result, result.ours),
        "parts": [_run_object(result, run) for run in result.parts],
        "alone": [_run_object(result, run) for run in result.alone],
        "published": [_run_object(result, run) for run in result.published],
    }


def _run_object(result: CaseResult, run: PipelineRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "placement": run.placement,
        "status": run.status,
        "cost_s": None if run.cost_ticks is None else run.cost_ticks * result.tick_s,
        "bubble": result.bubble(run.cost_ticks),
        "longest_stage_bubble": result.bubble(run.longest_stage_ticks),
        "makespan_bubble": result.bubble(run.makespan_ticks),
        "peak_bytes": run.peak_bytes,
        "checked": run.is_checked,
        "cpu_s": round(run.cpu_s, 6),
        "note": run.note,
    }
