"""What the training suite shows: how ours compares with PyTorch's, what must not be, the JSON."""

from __future__ import annotations

import statistics
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.report.quantities import format_bytes
from planner.training.problem import PICOSECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from planner.bench.training_runs import StepResult, SweepPoint, TargetResult
    from planner.training.result import TrainingContender

# Shares of the measured peak; workspaces of convolutions are estimates.
_TOLERANCES = {"resnet": 0.05}
_TOLERANCE = 0.01
_LONGER = "Give it a longer --time-limit."


class Summary(NamedTuple):
    """All targets of one step, or of all steps.

    Attributes
    ----------
    targets, met, optimal : int
    torch_met : int
        Targets that a point of PyTorch's sweep keeps.
    only_ours : int
        Targets that ours keeps and no point of PyTorch's sweep.
    above_torch : int
        Targets at which ours recomputes more than PyTorch's best point, or misses what it meets.
    less : int
        Targets at which ours recomputes less than PyTorch's best point.
    median_reduction : float or None
        Of PyTorch's recomputation, over the targets where it has any; None where it never has.
    executed, exact : int
        Executed plans, and those of the same loss and gradients as eager PyTorch, bit for bit.
    worst_error : float or None
        Largest difference between predicted and measured peak, as a share of the measured one.
    worst_error_bytes : int or None
    is_monotone : bool
        Whether peaks and recomputation are ordered as the targets are.
    """

    targets: int
    met: int
    optimal: int
    torch_met: int
    only_ours: int
    above_torch: int
    less: int
    median_reduction: float | None
    executed: int
    exact: int
    worst_error: float | None
    worst_error_bytes: int | None
    is_monotone: bool


def steps(results: Sequence[TargetResult]) -> list[StepResult]:
    """Return the steps that there are results of, in order."""
    return list({result.step.case.name: result.step for result in results}.values())


def of_step(results: Iterable[TargetResult], step: StepResult) -> list[TargetResult]:
    """Return the results of one step."""
    return [result for result in results if result.step.case.name == step.case.name]


def summarised(results: Sequence[TargetResult]) -> Summary:
    """Summarise the targets of one step or of several."""
    reductions = [r.reduction for r in results if r.reduction is not None]
    tried = [r for r in results if r.trial is not None]
    errors = [error for r in tried if (error := prediction_error(r)) is not None]
    return Summary(
        targets=len(results),
        met=sum(r.fits for r in results),
        optimal=sum(r.status == "optimal" for r in results),
        torch_met=sum(r.best_torch is not None for r in results),
        only_ours=sum(r.fits and r.best_torch is None for r in results),
        above_torch=sum(map(is_above_torch, results)),
        less=sum(_is_less(r) for r in results),
        median_reduction=statistics.median(reductions) if reductions else None,
        executed=len(tried),
        exact=sum(r.trial is not None and r.trial.is_exact for r in tried),
        worst_error=max((share for _, share in errors), default=None),
        worst_error_bytes=max((size for size, _ in errors), default=None),
        is_monotone=all(not list(_inversions(of_step(results, step))) for step in steps(results)),
    )


def prediction_error(result: TargetResult) -> tuple[int, float] | None:
    """Return the difference of predicted and measured peak in bytes, and as a share."""
    if result.trial is None:
        return None
    return _error(result.peak_bytes, result.trial.peak_bytes)


def _error(predicted: int, measured: int) -> tuple[int, float]:
    return abs(predicted - measured), abs(predicted - measured) / max(measured, 1)


def is_above_torch(result: TargetResult) -> bool:
    """Whether a point of PyTorch's sweep is better than ours."""
    best = result.best_torch
    return best is not None and (not result.fits or result.recompute_ps > best.recompute_ps)


def _is_less(result: TargetResult) -> bool:
    best = result.best_torch
    return best is not None and result.fits and result.recompute_ps < best.recompute_ps


def _inversions(results: Iterable[TargetResult]) -> Iterator[tuple[TargetResult, TargetResult]]:
    """Yield neighbours of which the smaller target has the higher peak or recomputes less."""
    met = sorted((r for r in results if r.fits), key=lambda r: -r.target_bytes)
    for larger, smaller in pairwise(met):
        if larger.peak_bytes < smaller.peak_bytes or larger.recompute_ps > smaller.recompute_ps:
            yield larger, smaller


def defects(results: Sequence[TargetResult]) -> list[str]:
    """Say where ours loses, a prediction or a gradient is wrong, a bound refuted, a solver dead."""
    found = []
    for step in steps(results):
        own = of_step(results, step)
        found += [f"{step.case.name}: {text}" for text in _step_defects(step)]
        cut = sum(not result.frontier for result in own)
        if cut:
            found.append(
                f"{step.case.name}: time cut {cut} of {len(own)} frontiers short. {_LONGER}"
            )
        for result in own:
            where = f"{step.case.name}, {result.target_bytes:,} bytes"
            found += [f"{where}: {text}" for text in _target_defects(result)]
        found += [
            f"{step.case.name}: {smaller.target_bytes:,} bytes give a peak of "
            f"{smaller.peak_bytes:,} and {smaller.recompute_ps:,} ps of recomputation, "
            f"{larger.target_bytes:,} give {larger.peak_bytes:,} and {larger.recompute_ps:,}. "
            f"{'Please report it.' if larger.frontier and smaller.frontier else _LONGER}"
            for larger, smaller in _inversions(own)
        ]
    return found


def _step_defects(step: StepResult) -> Iterator[str]:
    if step.eager_bytes is not None:
        yield from _mispredicted(step, step.unplanned_bytes, step.eager_bytes, "the eager step")


def _mispredicted(step: StepResult, predicted: int, measured: int, what: str) -> Iterator[str]:
    if _error(predicted, measured)[1] > _TOLERANCES.get(step.case.network, _TOLERANCE):
        yield (
            f"{what} is predicted to take {format_bytes(predicted)} and takes "
            f"{format_bytes(measured)}. Please report it."
        )


def _target_defects(result: TargetResult) -> Iterator[str]:
    best, trial = result.best_torch, result.trial
    if is_above_torch(result) and best is not None:
        ours = f"recomputes {result.recompute_ps:,} ps" if result.fits else "misses the target"
        yield (
            f"ours {ours}, PyTorch's budget {best.budget} keeps it with {best.recompute_ps:,} ps. "
            "Please report it, or give it a longer --time-limit."
        )
    if result.fits and result.recompute_ps < result.bound_ps:
        yield (
            f"ours recomputes {result.recompute_ps:,} ps, the bound is {result.bound_ps:,}. "
            "Please report it."
        )
    if trial is not None:
        yield from _mispredicted(result.step, result.peak_bytes, trial.peak_bytes, "the plan")
        if not trial.is_exact:
            yield "loss or gradients differ from those of eager PyTorch. Please report it."
    if result.failure:
        yield f"the execution failed: {result.failure}. Please report it."
    for run in (*result.parts, *result.alone):
        if run.status == "failed":
            yield f"{run.name} failed: {run.note}. Please report it."


def results_object(results: Sequence[TargetResult]) -> dict[str, Any]:
    """Return what ``plan bench training --json`` prints below the envelope."""
    return {
        "summary": summarised(results)._asdict(),
        "results": [_step_object(step, of_step(results, step)) for step in steps(results)],
    }


def _step_object(step: StepResult, own: Sequence[TargetResult]) -> dict[str, Any]:
    return {
        "name": step.case.name,
        "network": step.case.network,
        "sizes": dict(step.case.sizes),
        "nodes": step.nodes,
        "operators": step.operators,
        "storages": step.storages,
        "static_bytes": step.static_bytes,
        "step_s": step.step_ps / PICOSECONDS,
        "unplanned_bytes": step.unplanned_bytes,
        "eager_bytes": step.eager_bytes,
        "least_bytes": step.least_bytes,
        "trace_cpu_s": round(step.trace_s, 6),
        "lowering_cpu_s": round(step.lowering_s, 6),
        "cuts_cpu_s": round(step.cuts_s, 6),
        "sweep_cpu_s": round(step.sweep_s, 6),
        "summary": summarised(own)._asdict(),
        "torch": [_point_object(point) for point in step.sweep],
        "targets": [_target_object(result) for result in own],
    }


def _point_object(point: SweepPoint) -> dict[str, Any]:
    return {
        "budget": float(point.budget),
        "peak_bytes": point.peak_bytes,
        "recompute_s": point.recompute_ps / PICOSECONDS,
    }


def _target_object(result: TargetResult) -> dict[str, Any]:
    trial, best = result.trial, result.best_torch
    return {
        "label": result.label,
        "target_bytes": result.target_bytes,
        "status": result.status,
        "met": result.fits,
        "peak_bytes": result.peak_bytes,
        "recompute_s": result.recompute_ps / PICOSECONDS,
        "bound_s": result.bound_ps / PICOSECONDS,
        "bound": result.bound_name,
        "contender": result.contender,
        "race_cpu_s": round(result.race_s, 6),
        "best_torch": None if best is None else _point_object(best),
        "reduction": result.reduction,
        "frontier": [
            {"peak_bytes": peak, "recompute_s": recompute / PICOSECONDS}
            for peak, recompute in result.frontier
        ],
        "parts": [_solver_object(run) for run in result.parts],
        "alone": [_solver_object(run) for run in result.alone],
        "execution": None
        if trial is None
        else {
            "peak_bytes": trial.peak_bytes,
            "exact": trial.is_exact,
            "time_ratio": trial.time_ratio,
        },
        "failure": result.failure,
    }


def _solver_object(run: TrainingContender) -> dict[str, Any]:
    return {
        "name": run.name,
        "status": run.status,
        "peak_bytes": run.peak_bytes,
        "recompute_s": None if run.extra_ps is None else run.extra_ps / PICOSECONDS,
        "cpu_s": round(run.cpu_s, 6),
        "note": run.note,
    }
