"""Is a plan legal? Written the plain way, and without any code of a solver.

The rules are those of `planner.plans`. Model, order and claimed numbers are judged here, bytes in
`planner.placement_rules`, copies in `planner.transfer_rules`, moves inside the nearest memory in
`planner.move_rules`; `planner.dataflow` replays the plan and judges whether the data is where it is
used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.dataflow import data_violations
from planner.errors import UsageError
from planner.metrics import measure_bytes
from planner.move_rules import move_violations
from planner.placement_rules import (
    constant_violations,
    duplicate_violations,
    in_place_violations,
    overlap_violations,
    placement_violations,
)
from planner.plans import PlannedOperator, planned_storages
from planner.simulator import simulate
from planner.transfer_rules import transfer_violations
from planner.violation import Violation, ViolationKind, operator_name

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Plan
    from planner.target import Target

__all__ = ["Violation", "ViolationKind", "check"]

# Times are sums of floats, and sums in another order differ by their rounding.
_TIME_TOLERANCE = 1e-9


def check(graph: Graph, target: Target, plan: Plan) -> list[Violation]:
    """Find every offence of a plan against its graph and target.

    Parameters
    ----------
    graph : Graph
        The model, lowered as for the plan.
    target : Target
        The plan's own, or another that it is to be judged on.
    plan : Plan

    Returns
    -------
    list of Violation
        Empty for a legal plan. A plan of another graph, or with an impossible order, is not
        examined further; of byte overlaps the first 1,000 are listed.
    """
    violations = _model(graph, plan) or _order(graph, plan)
    if violations:
        return violations
    placements, violations = placement_violations(graph, target, plan)
    transfers, found = transfer_violations(graph, target, plan)
    violations += found
    pairs, exempt, found = in_place_violations(graph, plan, placements)
    violations += found
    violations += constant_violations(graph, target)
    violations += duplicate_violations(graph, placements)
    violations += overlap_violations(graph, plan, placements, exempt)
    violations += move_violations(graph, placements, transfers)
    violations += data_violations(graph, target, plan.order, placements, transfers, pairs)
    complete = (len(placements), len(transfers), len(pairs))
    if complete == (len(plan.placements), len(plan.transfers), len(plan.in_place)):
        violations += _byte_metrics(graph, target, plan)
    if not violations:
        violations += _times(graph, target, plan)
    return violations


def _model(graph: Graph, plan: Plan) -> list[Violation]:
    """Compare identities: by hash where both are known, else by name, and storage by storage."""
    of, here = plan.model, graph.model
    if of.sha256 and here.sha256:
        if of.sha256 != here.sha256:
            return [
                Violation(
                    ViolationKind.MODEL,
                    f"the plan is for {of.name} with SHA-256 {of.sha256[:12]}..., this model is "
                    f"{here.name} with {here.sha256[:12]}...",
                )
            ]
    elif of.name and here.name and of.name != here.name:
        text = f"the plan is for {of.name!r}, this model is {here.name!r}"
        return [Violation(ViolationKind.MODEL, text)]
    expected = planned_storages(graph)
    if len(plan.storages) != len(expected):
        return [
            Violation(
                ViolationKind.MODEL,
                f"the plan has {len(plan.storages):,} storages, the model {len(expected):,}",
            )
        ]
    violations = []
    for index, (planned, real) in enumerate(zip(plan.storages, expected, strict=True)):
        for field in ("name", "size_bytes", "kind", "is_output", "tensors"):
            claimed, true = getattr(planned, field), getattr(real, field)
            if claimed != true:
                shown = "" if field == "tensors" else f": {_shown(claimed)}, not {_shown(true)}"
                violations.append(
                    Violation(
                        ViolationKind.MODEL,
                        f"storage {index} ({real.name}) differs from the model in {field}{shown}",
                        storages=(index,),
                    )
                )
    operators = tuple(PlannedOperator(node.name, node.type) for node in graph.operators)
    if plan.operators and plan.operators != operators:
        violations.append(
            Violation(ViolationKind.MODEL, "the plan names other operators than the model has")
        )
    return violations


def _shown(value: object) -> str:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if is_count else str(value)


def _order(graph: Graph, plan: Plan) -> list[Violation]:
    count = len(graph.operators)
    step_of: dict[int, int] = {}
    violations = []
    for step, operator in enumerate(plan.order):
        if not 0 <= operator < count:
            text = f"step {step} runs operator {operator:,}; the model has {count:,}"
            violations.append(Violation(ViolationKind.ORDER, text, step))
        elif operator in step_of:
            text = (
                f"operator {operator} ({graph.operators[operator].name}) runs at step "
                f"{step_of[operator]} and again at step {step}"
            )
            violations.append(Violation(ViolationKind.ORDER, text, step))
        else:
            step_of[operator] = step
    for operator, node in enumerate(graph.operators):
        if operator not in step_of:
            text = f"operator {operator} ({node.name or node.type}) never runs"
            violations.append(Violation(ViolationKind.ORDER, text))
    if violations:
        return violations
    for step, operator in enumerate(plan.order):
        for index in graph.operators[operator].inputs:
            maker = graph.producer[index]
            if maker >= 0 and step_of[maker] > step:
                tensor = graph.tensors[index]
                violations.append(
                    Violation(
                        ViolationKind.ORDER,
                        f"step {step} ({operator_name(graph, operator)}) reads {tensor.name}, "
                        f"which {operator_name(graph, maker)} makes at step {step_of[maker]} only",
                        step,
                        (tensor.storage,),
                    )
                )
    return violations


def _byte_metrics(graph: Graph, target: Target, plan: Plan) -> list[Violation]:
    """Compare the claimed bytes with those counted."""
    claimed, true = plan.metrics, measure_bytes(graph, target, plan)
    violations = []
    for field in ("peak_bytes", "arena_bytes"):
        said, real = getattr(claimed, field), getattr(true, field)
        for memory in sorted({*said, *real}):
            if said.get(memory, 0) != real.get(memory, 0):
                text = (
                    f"{field} of {memory}: the plan claims {said.get(memory, 0):,}, it is "
                    f"{real.get(memory, 0):,}"
                )
                violations.append(Violation(ViolationKind.METRICS, text))
    for field in ("traffic_bytes", "compulsory_bytes", "relocated_bytes"):
        said, real = getattr(claimed, field), getattr(true, field)
        if said != real:
            text = f"{field}: the plan claims {said:,}, it is {real:,}"
            violations.append(Violation(ViolationKind.METRICS, text))
    peak = true.peak_bytes[target.nearest.name]
    for field, value in (("peak", peak), ("traffic", true.traffic_bytes)):
        bound = getattr(claimed, f"{field}_lower_bound_bytes")
        if bound is not None and bound > value:
            text = f"{field}_lower_bound_bytes {bound:,} is more than the {field} of {value:,}"
            violations.append(Violation(ViolationKind.BOUND, text))
    return violations


def _times(graph: Graph, target: Target, plan: Plan) -> list[Violation]:
    """Compare the claimed times of a legal plan with those simulated on its own target."""
    claimed = plan.metrics
    said = {field: getattr(claimed, field) for field in ("latency_s", "compute_s", "stall_s")}
    latency, bound = claimed.latency_s, claimed.latency_lower_bound_s
    violations = []
    if latency is not None and bound is not None and bound > latency * (1 + _TIME_TOLERANCE):
        text = f"latency_lower_bound_s {bound:.9g} is more than the latency of {latency:.9g} s"
        violations.append(Violation(ViolationKind.BOUND, text))
    # On another target they are others.
    if target != plan.target or all(value is None for value in said.values()):
        return violations
    try:
        timeline = simulate(graph, target, plan)
    except UsageError as error:
        return [*violations, Violation(ViolationKind.METRICS, f"the plan claims times: {error}")]
    for field, value in said.items():
        real = getattr(timeline, field)
        if value is None or not abs(value - real) <= _TIME_TOLERANCE * timeline.latency_s:
            text = f"{field}: the plan claims {value}, simulated it is {real:.9g}"
            violations.append(Violation(ViolationKind.METRICS, text))
    return violations
