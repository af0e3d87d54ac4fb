"""The default report of a planned training step: what an engineer reads in ten seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.problem import Status
from planner.report.lines import labelled, wrapped
from planner.report.names import printable
from planner.report.quantities import format_bytes, format_seconds, format_share, format_size
from planner.training.problem import PICOSECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.training.result import TrainingContender, TrainingResult

_NAME_WIDTH = 40
_CULPRITS = 4


def render_training(result: TrainingResult, name: str) -> str:
    """Return the default report of a plan that was checked, without a final line break.

    Parameters
    ----------
    name : str
        Of the model.
    """
    return labelled(
        (
            *_step(result, name),
            *_budget(result),
            *_time(result),
            *_choices(result),
            *_peak(result),
            *_contenders(result),
            ("checked", "legal" if result.fits else "legal, but over the budget"),
        )
    )


def _step(result: TrainingResult, name: str) -> Iterator[tuple[str, str]]:
    problem = result.problem
    yield (
        "step",
        f"{printable(name, _NAME_WIDTH)}   {len(problem.operator_names):,} operators  "
        f"{len(problem.storage_names):,} storages   parameters, buffers and inputs "
        f"{format_size(problem.static_bytes)}",
    )


def _budget(result: TrainingResult) -> Iterator[tuple[str, str]]:
    parts = [
        format_bytes(result.budget_bytes),
        f"predicted peak {format_bytes(result.predicted_peak_bytes)}",
        f"no plan below {format_bytes(result.peak_bound_bytes)}",
    ]
    if not result.fits:
        excess = format_bytes(result.predicted_peak_bytes - result.budget_bytes)
        parts.append(f"over by {excess}")
    yield from wrapped("budget", parts, "   ")


def _time(result: TrainingResult) -> Iterator[tuple[str, str]]:
    parts = [
        f"recomputed {format_seconds(result.recompute_s)} of a step of "
        f"{format_seconds(result.step_s)} ({format_share(result.recompute_s, result.step_s)})"
    ]
    if result.schedule.offloads:
        parts.append(f"waiting for copies {format_seconds(result.stall_s)}")
    if result.status is Status.OPTIMAL:
        parts.append("optimal")
    elif result.fits:
        parts.append(f"at least {format_seconds(result.extra_bound_s)} ({result.bound_name})")
    yield from wrapped("time", parts, "   ")


def _choices(result: TrainingResult) -> Iterator[tuple[str, str]]:
    problem, schedule = result.problem, result.schedule
    offloaded = {offload.storage for offload in schedule.offloads}
    kept = [s for s in schedule.saved if s not in offloaded]
    parts = [_amount("kept", len(kept), sum(problem.size_bytes[kept].tolist()))]
    runs = [*schedule.forward, *schedule.backward]
    again = len(runs) - len(set(runs))
    parts.append(f"recomputed {again:,} operators")
    if offloaded:
        size = sum(problem.size_bytes[list(offloaded)].tolist())
        parts.append(_amount("offloaded", len(offloaded), size))
    yield "saved", "   ".join(parts)


def _amount(word: str, count: int, size_bytes: int) -> str:
    return f"{word} {count:,} storages of {format_size(size_bytes)}"


def _peak(result: TrainingResult) -> Iterator[tuple[str, str]]:
    listed = [
        f"{printable(culprit.name, _NAME_WIDTH)} {culprit.size_bytes:,} ({culprit.role})"
        for culprit in result.culprits[:_CULPRITS]
    ]
    if (more := len(result.culprits) - _CULPRITS) > 0:
        listed.append(f"{more:,} smaller")
    yield from wrapped("peak at", [f"{printable(result.peak_step, _NAME_WIDTH)}:", *listed], "  ")


def _contenders(result: TrainingResult) -> Iterator[tuple[str, str]]:
    yield from wrapped("solvers", [_contender(one) for one in result.contenders], " · ")


def _contender(contender: TrainingContender) -> str:
    text = f"{contender.name} {contender.status}"
    if contender.peak_bytes is not None and contender.extra_ps is not None:
        text += f" {format_seconds(contender.extra_ps / PICOSECONDS)}"
        if contender.status == "over budget":
            text += f" at {format_size(contender.peak_bytes)}"
    return text
