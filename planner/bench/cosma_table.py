"""The comparison as text: a line for each network and budget, and the means."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from planner.bench.cosma_baselines import BASELINES, READING
from planner.bench.cosma_cases import OURS
from planner.bench.cosma_networks import Group
from planner.bench.cosma_results import PUBLISHED, is_within, means, reduction
from planner.bench.text_table import render_columns
from planner.report.names import printable
from planner.report.quantities import format_gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.bench.cosma_baselines import BaselineRun
    from planner.bench.cosma_cases import Case, PlanRun
    from planner.bench.cosma_results import Mean

_NAME_WIDTH = 28
_LINE_WIDTH = 120
_LEFT = frozenset({"network", "budget", "status", "plan", "input", "note"})
_PLAN_COLUMNS = ("bytes", "bound", "gap", "status", "CPU s")


def columns(cases: Sequence[Case]) -> list[str]:
    """Names of the table's columns, a group of them for each race."""
    names = [run.name for run in max(cases, key=lambda case: len(case.plans)).plans]
    return [
        *("network", "ops", "budget", "KiB"),
        *(name for baseline in BASELINES for name in (baseline, f"less than {baseline}")),
        *(_plan_column(name, kind) for name in names for kind in _PLAN_COLUMNS),
        *("plan", "input", "note"),
    ]


def left_columns(names: Iterable[str]) -> set[str]:
    """Those whose texts stand to the left."""
    return {name for name in names if name in _LEFT or name.endswith("status")}


def heads(names: Iterable[str]) -> dict[str, str]:
    """What to print above each column: the reduction stands beside its baseline."""
    return {name: "less" if name.startswith("less than ") else name for name in names}


def rows(cases: Sequence[Case]) -> list[dict[str, str]]:
    """Return the texts of all columns, a row for each case."""
    names = columns(cases)
    return [{**dict.fromkeys(names, ""), **_row(case)} for case in cases]


def _row(case: Case) -> dict[str, str]:
    ours = case.ours
    row = {
        "network": printable(case.title, _NAME_WIDTH),
        "ops": f"{case.operators:,}",
        "budget": "=".join(case.budgets),
        "KiB": f"{case.capacity_bytes / 1024:,.2f}",
        "plan": _plan_text(case),
        "input": case.input,
        "note": "" if case.is_peak_proven else "M_P is not proven to be the smallest peak",
    }
    for run in case.baselines:
        row[run.name], row[f"less than {run.name}"] = _baseline_texts(case, run)
    for run in case.plans:
        row |= {_plan_column(run.name, kind): text for kind, text in _plan_texts(run).items()}
    if ours.traffic_bytes is None:
        row["note"] = printable(ours.note)
    return row


def _plan_column(name: str, kind: str) -> str:
    if name == OURS:
        return OURS if kind == "bytes" else kind
    return name if kind == "bytes" else f"{name} {kind}"


def _plan_texts(run: PlanRun) -> dict[str, str]:
    texts = {"status": run.status, "CPU s": f"{run.cpu_s:.3f}"}
    if run.traffic_bytes is not None:
        texts["bytes"] = f"{run.traffic_bytes:,}"
    if run.bound_bytes is not None:
        texts["bound"] = f"{run.bound_bytes:,}"
        if run.traffic_bytes is not None:
            above = run.traffic_bytes > run.bound_bytes
            texts["gap"] = format_gap(run.traffic_bytes, run.bound_bytes) if above else "0"
    return texts


def _baseline_texts(case: Case, run: BaselineRun) -> tuple[str, str]:
    if run.moving_bytes is None:
        return "fails", ""
    mark = "" if run.traffic_bytes is not None else "*"
    less = reduction(case, run.moving_bytes)
    return f"{run.moving_bytes:,}{mark}", "" if less is None else percent(less)


def percent(share: float) -> str:
    """Without decimals, and 100 only where that is all: ``99 %``."""
    rounded = round(100 * share)
    return f"{99 if rounded == 100 and share < 1 else rounded} %"


def _plan_text(case: Case) -> str:
    run = case.ours
    if run.traffic_bytes is None:
        return "none"
    legal = "legal" if run.is_checked else "ILLEGAL"
    return f"{legal}, {'within' if is_within(case, run) else 'BEYOND'} B"


def render_table(cases: Sequence[Case]) -> str:
    """Return the table."""
    names = columns(cases)
    return render_columns(names, rows(cases), left=left_columns(names), heads=heads(names))


MEAN_COLUMNS = (
    *("group", "budget", "baselines", "reduction", "published", "cells", "zero", "failed"),
    "without plan",
)
MEANS_LEFT = frozenset({"group", "budget", "baselines"})


def mean_rows(cases: Sequence[Case]) -> list[dict[str, str]]:
    """Return the texts of the means' table."""
    return [_mean_row(mean) for mean in means(cases)]


def _mean_row(mean: Mean) -> dict[str, str]:
    is_published = mean.budget == "M_R" and mean.group in PUBLISHED
    return {
        "group": mean.group,
        "budget": mean.budget,
        "baselines": "moving operands" if mean.moving else "strict",
        "reduction": "-" if mean.reduction is None else percent(mean.reduction),
        "published": percent(PUBLISHED[mean.group]) if is_published else "",
        "cells": str(mean.cells),
        "zero": str(mean.zero),
        "failed": str(mean.failed),
        "without plan": str(mean.without_plan) if mean.without_plan else "",
    }


def render_summary(cases: Sequence[Case], *, parameters: bool) -> str:
    """Return the means, how ours did, and how to read the table."""
    ours = [case.ours for case in cases]
    optimal = sum(run.status == "optimal" for run in ours)
    cpu_s = sum(run.cpu_s for run in ours)
    lines = [
        render_columns(MEAN_COLUMNS, mean_rows(cases), left=MEANS_LEFT),
        "",
        f"ours: {optimal} of {len(ours)} proven optimal, {cpu_s:.2f} CPU s in all, "
        f"at most {max(run.cpu_s for run in ours):.2f}",
        "",
    ]
    for text in explanations(cases, parameters=parameters):
        lines += textwrap.wrap(text, _LINE_WIDTH)
    return "\n".join(lines)


def explanations(cases: Sequence[Case], *, parameters: bool) -> list[str]:
    """Return what a reader has to know."""
    is_given = any(case.group == Group.GIVEN for case in cases)
    networks = (
        ", batch normalisation folded into convolutions, nothing else fused, Transformer without "
        "embeddings and classifier"
    )
    return [
        "Bytes are those that are not compulsory: spills and reloads of "
        f"{'activations and parameters' if parameters else 'activations'}. Budgets: M_R is the "
        "largest inputs and outputs of one operator, M_P the smallest peak, M_H halfway. "
        f"Nothing in place, no alignment{'' if is_given else networks}.",
        READING,
        "Mean reductions are over the cells, network x baseline, that are neither zero nor failed: "
        "strict without the bytes marked *, moving operands with them. The paper gives 84 % at "
        "M_R, and 85 % for architecture search without naming the budget.",
    ]
