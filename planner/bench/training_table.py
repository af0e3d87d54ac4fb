"""The training suite as tables: targets, solvers, steps; and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.bench.text_table import Table, render_titled
from planner.bench.training_results import of_step, steps, summarised
from planner.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.training_results import Summary
    from planner.bench.training_runs import TargetResult
    from planner.training.result import TrainingContender

_NOTE_WIDTH = 60
_MILLISECOND_PS = 10**9


def tables(results: Sequence[TargetResult]) -> list[Table]:
    """Return the tables."""
    return [_targets(results), _solvers(results), _steps(results)]


def render_tables(results: Sequence[TargetResult]) -> str:
    """Return all tables as text, with what they come to and how to read them."""
    return render_titled(tables(results), explanations(results))


def explanations(results: Sequence[TargetResult]) -> list[str]:
    """Return a paragraph for each thing that the tables do not say by themselves."""
    found = [f"{_said(summarised(results))}"]
    names = [step.case.name for step in steps(results)]
    if len(names) > 1:
        by_step = (
            (step.case.name, summarised(of_step(results, step)).median_reduction)
            for step in steps(results)
        )
        medians = ", ".join(f"{name} {_percent(m)}" for name, m in by_step if m is not None)
        found.append(f"Median reduction by model: {medians or 'none'}.")
    found.append(
        "Bytes are above parameters, buffers and inputs; recomputation is in percent of the step's "
        "time with every operator run once, at the rates of the target cpu-core. Torch is the best "
        "point of PyTorch's min-cut partitioner, activation_memory_budget from 0 to 1 in steps of "
        "0.05, that keeps the target, its saved sets recomputed just in time by our emission; the "
        "reduction is of its recomputation. The bound holds for every schedule within the target. "
        "Measured peaks are those of the executed step, by live bytes; exact means the loss and "
        "all gradients equal eager PyTorch's bit for bit; time is that of the step on one thread "
        "over that of the eager step, in CPU seconds of the same run. Every plan was checked."
    )
    return found


def _said(summary: Summary) -> str:
    parts = [
        f"Ours: of {summary.targets} targets {summary.met} met, PyTorch's sweep meets "
        f"{summary.torch_met}; met where it meets none {summary.only_ours}; more recomputation "
        f"than its best point {summary.above_torch}, less {summary.less}; proven optimal "
        f"{summary.optimal}; median reduction {_percent(summary.median_reduction) or 'none'}; "
        f"monotone: {'yes' if summary.is_monotone else 'NO'}."
    ]
    if summary.executed:
        parts.append(
            f"Executed {summary.executed}, exact {summary.exact}; predicted and measured peaks "
            f"differ by at most {summary.worst_error_bytes:,} bytes, "
            f"{100 * (summary.worst_error or 0):.2f} %."
        )
    return " ".join(parts)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _targets(results: Sequence[TargetResult]) -> Table:
    columns = (
        *("model", "target", "of unplanned", "peak", "ms", "recompute", "bound", "gap", "status"),
        *("by", "torch", "budget", "reduction", "measured", "gradients", "time", "CPU s", "note"),
    )
    rows = [{**dict.fromkeys(columns, ""), **_target_row(result)} for result in results]
    left = {"model", "of unplanned", "status", "by", "gradients", "note"}
    return Table("Plans: recomputation in percent of the step", columns, rows, left)


def _target_row(result: TargetResult) -> dict[str, str]:
    step, best, trial = result.step, result.best_torch, result.trial
    row = {
        "model": step.case.name,
        "target": f"{result.target_bytes:,}",
        "of unplanned": f"{100 * result.target_bytes / max(step.unplanned_bytes, 1):.1f} %",
        "peak": f"{result.peak_bytes:,}",
        "status": result.status,
        "CPU s": f"{result.race_s:.1f}",
        "torch": "none" if best is None else _of_step(result, best.recompute_ps),
        "note": printable(result.failure, _NOTE_WIDTH),
    }
    if result.fits:
        extra, bound = result.recompute_ps, result.bound_ps
        row["ms"] = f"{extra / _MILLISECOND_PS:,.2f}"
        row["recompute"] = _of_step(result, extra)
        row["bound"] = _of_step(result, bound)
        row["gap"] = _percent(1 - bound / extra if extra else 0.0)
        row["by"] = " ".join(dict.fromkeys(result.contender.split()))
        row["reduction"] = _percent(result.reduction)
    if best is not None:
        row["budget"] = best.budget
    if trial is not None:
        row["measured"] = f"{trial.peak_bytes:,}"
        row["gradients"] = "exact" if trial.is_exact else "DIFFER"
        row["time"] = f"{trial.time_ratio:.2f}x"
    return row


def _of_step(result: TargetResult, recompute: int) -> str:
    return f"{100 * recompute / max(result.step.step_ps, 1):.2f}"


def _solvers(results: Sequence[TargetResult]) -> Table:
    searches = list(dict.fromkeys(run.name for result in results for run in result.parts))
    alone = list(dict.fromkeys(run.name for result in results for run in result.alone))
    columns = (
        *("model", "target", "bound", "ours", "torch", *searches),
        *(f"{name} alone" for name in alone),
    )
    rows = []
    for result in results:
        best = result.best_torch
        row = {
            **dict.fromkeys(columns, ""),
            "model": result.step.case.name,
            "target": f"{result.target_bytes:,}",
            "bound": _of_step(result, result.bound_ps) if result.fits else "",
            "ours": _of_step(result, result.recompute_ps) if result.fits else result.status,
            "torch": "none" if best is None else _of_step(result, best.recompute_ps),
        }
        for run in result.parts:
            row[run.name] = _solver_cell(result, run)
        for run in result.alone:
            row[f"{run.name} alone"] = _solver_cell(result, run)
        rows.append(row)
    title = "Solvers: recomputation in percent of the step (in the race: ladder starts from others)"
    return Table(title, columns, rows, {"model"})


def _solver_cell(result: TargetResult, run: TrainingContender) -> str:
    if run.status in ("optimal", "feasible") and run.extra_ps is not None:
        return _of_step(result, run.extra_ps)
    return run.status


def _steps(results: Sequence[TargetResult]) -> Table:
    columns = (
        *("model", "nodes", "operators", "storages", "static", "unplanned", "eager measured"),
        *("torch least", "ours least", "proven least", "trace s", "lowering s", "cuts s"),
        *("race s", "all s", "sweep s"),
    )
    rows = []
    for step in steps(results):
        own = of_step(results, step)
        race = max(result.race_s for result in own)
        least = [peak for result in own for peak, _ in result.frontier]
        rows.append(
            {
                "model": step.case.name,
                "nodes": f"{step.nodes:,}",
                "operators": f"{step.operators:,}",
                "storages": f"{step.storages:,}",
                "static": f"{step.static_bytes:,}",
                "unplanned": f"{step.unplanned_bytes:,}",
                "eager measured": "" if step.eager_bytes is None else f"{step.eager_bytes:,}",
                "torch least": f"{min(point.peak_bytes for point in step.sweep):,}",
                "ours least": f"{min([*least, *(r.peak_bytes for r in own)]):,}",
                "proven least": f"{step.least_bytes:,}",
                "trace s": f"{step.trace_s:.1f}",
                "lowering s": f"{step.lowering_s:.1f}",
                "cuts s": f"{step.cuts_s:.1f}",
                "race s": f"{race:.1f}",
                "all s": f"{step.before_race_s + race:.1f}",
                "sweep s": f"{step.sweep_s:.1f}",
            }
        )
    title = "Steps: peaks in bytes; CPU seconds of planning, the race's the most of all targets"
    return Table(title, columns, rows, {"model"})
