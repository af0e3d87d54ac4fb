"""What the comparison shows: reductions, means beside the published ones, contradictions, JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.bench.cosma_baselines import READING
from planner.bench.cosma_cases import BUDGETS
from planner.bench.cosma_networks import Group
from planner.bench.results_envelope import envelope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.bench.cosma_baselines import BaselineRun
    from planner.bench.cosma_cases import Case, PlanRun

# Mean over networks and baselines at M_R; the paper does not say at which budget the second is.
PUBLISHED = {Group.HUMAN.value: 0.84, Group.SEARCH.value: 0.85}


class Mean(NamedTuple):
    """Mean reduction over one group's networks and all baselines at one budget.

    Attributes
    ----------
    group, budget : str
    moving : bool
        Whether an arena that would fail moves operands instead.
    reduction : float or None
        None if no cell counts.
    cells : int
        Networks x baselines that count: neither zero nor failed.
    zero, failed : int
        Baselines that move nothing, and those without a plan.
    without_plan : int
        Cells in which we have none.
    """

    group: str
    budget: str
    moving: bool
    reduction: float | None
    cells: int
    zero: int
    failed: int
    without_plan: int


def reduction(case: Case, baseline_bytes: int | None) -> float | None:
    """By how much of a baseline's bytes ours are less; None where that says nothing."""
    ours = case.ours.traffic_bytes
    if ours is None or not baseline_bytes:
        return None
    return 1.0 - ours / baseline_bytes


def means(cases: Sequence[Case]) -> list[Mean]:
    """Return the means of every group and budget that occurs, strict before moving."""
    groups = dict.fromkeys(case.group for case in cases)
    return [
        _mean(chosen, group, budget, moving=moving)
        for group in groups
        for budget in BUDGETS
        for chosen in [[c for c in cases if c.group == group and budget in c.budgets]]
        if chosen
        for moving in (False, True)
    ]


def _mean(cases: Sequence[Case], group: str, budget: str, *, moving: bool) -> Mean:
    reductions: list[float] = []
    zero = failed = without_plan = 0
    for case in cases:
        for run in case.baselines:
            value = run.moving_bytes if moving else run.traffic_bytes
            less = reduction(case, value)
            if value is None:
                failed += 1
            elif value == 0:
                zero += 1
            elif less is None:
                without_plan += 1
            else:
                reductions.append(less)
    mean = math.fsum(reductions) / len(reductions) if reductions else None
    return Mean(group, budget, moving, mean, len(reductions), zero, failed, without_plan)


def defects(cases: Iterable[Case]) -> list[str]:
    """Say where a baseline does better, a plan refutes a claimed bound, or a solver crashed."""
    found = []
    for case in cases:
        where = f"{case.title} at {'='.join(case.budgets)}"
        ours = case.ours.traffic_bytes
        found += [f"{where}: {crash}. Please report it." for crash in case.ours.crashes]
        checked = [
            (run.name, run.moving_bytes) for run in case.baselines if run.moving_bytes is not None
        ]
        if ours is not None:
            found += [
                f"{where}: {name} moves {traffic:,} bytes, ours {ours:,}. Please report it."
                for name, traffic in checked
                if traffic < ours
            ]
        checked += [
            (run.name, run.traffic_bytes)
            for run in case.plans
            if run.is_checked and run.traffic_bytes is not None
        ]
        for run in case.plans:
            for name, traffic in checked:
                if run.bound_bytes is not None and traffic < run.bound_bytes:
                    found.append(
                        f"{where}: {run.name} claims that no plan moves less than "
                        f"{run.bound_bytes:,} bytes, {name} moves {traffic:,}. Please report it."
                    )
    return found


def results_object(
    cases: Sequence[Case],
    *,
    parameters: bool,
    time_limit_s: float,
    seed: int,
    notes: Sequence[str],
    interrupted: bool,
) -> dict[str, Any]:
    """Return the object that ``plan bench cosma --json`` prints."""
    return {
        **envelope(
            "cosma",
            notes=notes,
            interrupted=interrupted,
            parameters=parameters,
            time_limit_s=time_limit_s,
            seed=seed,
        ),
        "baselines": READING,
        "published": PUBLISHED,
        "means": [mean._asdict() for mean in means(cases)],
        "cases": [_case_object(case) for case in cases],
    }


def _case_object(case: Case) -> dict[str, Any]:
    least, halfway, peak = case.capacities
    return {
        "network": case.network,
        "title": case.title,
        "group": case.group,
        "input": case.input,
        "operators": case.operators,
        "budgets": list(case.budgets),
        "capacity_bytes": case.capacity_bytes,
        "m_r_bytes": least,
        "m_h_bytes": halfway,
        "m_p_bytes": peak,
        "least_peak_is_proven": case.is_peak_proven,
        "least_peak_cpu_s": round(case.order_cpu_s, 6),
        "baselines": [_baseline_object(case, run) for run in case.baselines],
        "plans": [_plan_object(case, run) for run in case.plans],
    }


def _baseline_object(case: Case, run: BaselineRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "traffic_bytes": run.traffic_bytes,
        "failed": run.traffic_bytes is None,
        "moving_bytes": run.moving_bytes,
        "reduction": reduction(case, run.traffic_bytes),
        "moving_reduction": reduction(case, run.moving_bytes),
        "cpu_s": round(run.cpu_s, 6),
        "note": run.note,
    }


def _plan_object(case: Case, run: PlanRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "status": run.status,
        "traffic_bytes": run.traffic_bytes,
        "bound_bytes": run.bound_bytes,
        "gap": None if run.gap is None or math.isinf(run.gap) else run.gap,
        "arena_bytes": run.arena_bytes,
        "within_budget": is_within(case, run),
        "checked": run.is_checked,
        "cpu_s": round(run.cpu_s, 6),
        "note": run.note,
    }


def is_within(case: Case, run: PlanRun) -> bool:
    """Whether there is a plan and it lies within the budget, to the byte."""
    return run.arena_bytes is not None and run.arena_bytes <= case.capacity_bytes
