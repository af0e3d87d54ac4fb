"""Placements and transfers written down as a plan, measured and simulated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.metrics import measure_bytes
from planner.plans import Metrics, Plan, PlannedOperator, Provenance, planned_storages
from planner.problem import Status
from planner.simulator import simulate
from planner.version import VERSION
from solvers.contenders.stretch import in_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from planner.plans import InPlace, Placement, Transfer
    from planner.problem import PlanningProblem


def written_plan(
    problem: PlanningProblem,
    order: Sequence[int],
    placements: Iterable[Placement],
    transfers: Iterable[Transfer],
    in_place: Iterable[InPlace],
    *,
    contender: str,
    seed: int,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """Write a plan down, with its metrics. Bounds are for the board to add.

    Parameters
    ----------
    order : sequence of int
        Operator indices.
    settings : mapping, optional
        Added to those of the problem.
    """
    graph = problem.graph
    plan = Plan(
        model=graph.model,
        target=problem.target,
        order=tuple(order),
        storages=planned_storages(graph),
        placements=tuple(sorted(placements)),
        transfers=in_time(transfers),
        in_place=tuple(sorted(in_place)),
        metrics=Metrics({}, {}, 0, 0),
        provenance=Provenance(
            contender=contender,
            status=Status.FEASIBLE.value,
            objective=problem.objective.value,
            seed=seed,
            planner_version=VERSION,
            settings={
                "in_place": problem.in_place,
                **({"partial_spills": True} if problem.partial_spills else {}),
                **(settings or {}),
            },
        ),
        operators=tuple(PlannedOperator(o.name, o.type) for o in graph.operators),
    )
    return with_metrics(problem, plan)


def with_metrics(problem: PlanningProblem, plan: Plan) -> Plan:
    """Measure a plan and, where the target gives rates, simulate it."""
    metrics = measure_bytes(problem.graph, problem.target, plan)
    plan = replace(plan, metrics=metrics)
    if problem.target.compute is None:
        return plan
    timeline = simulate(problem.graph, problem.target, plan)
    timed = replace(
        metrics,
        latency_s=timeline.latency_s,
        compute_s=timeline.compute_s,
        stall_s=timeline.stall_s,
        cost_source=timeline.cost_source,
    )
    return replace(plan, metrics=timed)
