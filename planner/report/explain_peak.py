"""Why the peak of a plan is what it is, and what would have to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.footprint import largest_footprint
from planner.report.listing import (
    LISTED_STEPS,
    heading,
    live_table,
    operands_of,
    step_operator,
    storage_name,
)
from planner.report.names import operator_label, printable
from planner.report.occupancy import live_at, occupancies
from planner.report.quantities import format_both, format_bytes, format_gap, format_share

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Plan
    from planner.report.occupancy import Occupancy

_LISTED_BYSTANDERS = 5


def explain_peak(plan: Plan, graph: Graph | None) -> list[str]:
    """Return lines: the peak, what is live there, what stands between it and a lower one."""
    near = occupancies(plan)[0]
    step = near.peak_step
    lines = heading(plan)
    if step is None:
        return [*lines, "The plan has no steps, so nothing is ever live."]
    at_peak = [t for t, size in enumerate(near.live_bytes.tolist()) if size == near.peak_bytes]
    lines += [
        f"peak      {format_both(near.peak_bytes)} of {printable(near.memory.name)} at step "
        f"{step:,} of {len(plan.order):,}: {step_operator(plan, graph, step)}",
        f"arena     {format_both(near.arena_bytes)}, "
        f"{format_bytes(near.arena_bytes - near.peak_bytes)} of it lost to packing",
    ]
    if near.memory.capacity_bytes is not None:
        lines.append(f"capacity  {format_both(near.memory.capacity_bytes)}")
    bound = plan.metrics.peak_lower_bound_bytes
    if bound or (bound is not None and not near.peak_bytes):
        gap = "reached" if near.peak_bytes == bound else format_gap(near.peak_bytes, bound)
        lines.append(f"bound     {format_both(bound)}, {gap}")
    if len(at_peak) > 1:
        listed = ", ".join(f"{t:,}" for t in at_peak[:LISTED_STEPS])
        more = f" and {len(at_peak) - LISTED_STEPS:,} more" if at_peak[LISTED_STEPS:] else ""
        lines.append(f"reached   {len(at_peak):,} times: steps {listed}{more}")
    lines += ["", *live_table(plan, graph, near, step), "", "what would have to change"]
    return [*lines, *(f"  {line}" for line in _what_would_have_to_change(plan, graph, near, step))]


def _what_would_have_to_change(
    plan: Plan, graph: Graph | None, near: Occupancy, step: int
) -> list[str]:
    bound = plan.metrics.peak_lower_bound_bytes
    operands = operands_of(plan, graph, step)
    live = live_at(plan, near, step)
    bystanders = [
        entry
        for entry in live
        if plan.placements[entry.placement].storage not in operands.read | operands.written
    ]
    lines = []
    if bound is not None and near.peak_bytes == bound:
        lines += _why_the_bound(plan, graph, bound)
    elif bound == 0 and not plan.target.operands_resident:
        name = printable(near.memory.name)
        lines += [
            f"Operators of {printable(plan.target.name)} take operands elsewhere too: what lies in",
            f"{name} is there to save traffic or time, none of it has to be.",
        ]
    elif bound is not None and plan.metrics.traffic_bytes:
        lines += [
            "The plan spills to fit. No plan gets below the lower bound, what the largest operator",
            "needs; between the two, bytes are traded for traffic.",
        ]
    elif bound is not None:
        lines.append(
            f"The peak is {format_bytes(near.peak_bytes - bound)} above the proven lower bound: a "
            "better order is not ruled out."
        )
    if bystanders:
        total = sum(entry.counted_bytes for entry in bystanders)
        # Lifetimes alone do not tell a reader in the middle from a step that only waits.
        why = (
            "are not operands of this step, they only wait for later ones:"
            if graph is not None
            else "neither begin nor end at this step; what it does not read only waits:"
        )
        lines.append(
            f"{format_bytes(total)} of the peak ({format_share(total, near.peak_bytes)}) {why}"
        )
        for entry in bystanders[:_LISTED_BYSTANDERS]:
            placement = plan.placements[entry.placement]
            lines.append(
                f"  {storage_name(plan, placement.storage)}  {format_bytes(entry.counted_bytes)}, "
                f"held for steps [{placement.start:,}, {placement.end:,})"
            )
        if len(bystanders) > _LISTED_BYSTANDERS:
            lines.append(f"  and {len(bystanders) - _LISTED_BYSTANDERS:,} more")
    else:
        lines += [
            "Every live byte is an operand of this step: only smaller operands (another shape or",
            "element type), a split operator or an in-place output lower it.",
        ]
    others = near.live_bytes[near.live_bytes < near.peak_bytes]
    if len(others):
        lines.append(
            f"The next lower level of the other steps is {format_bytes(int(others.max()))}."
        )
    return lines


def _why_the_bound(plan: Plan, graph: Graph | None, bound: int) -> list[str]:
    if graph is None:
        return ["The peak equals the proven lower bound: no order of these operators has less."]
    largest = largest_footprint(graph, in_place=bool(plan.in_place))
    needs = (
        f"{operator_label(plan, largest.operator, graph)}: inputs {largest.input_bytes:,} + "
        f"outputs {largest.output_bytes:,}"
        + (f" - in place {largest.overwritten_bytes:,}" if largest.overwritten_bytes else "")
        + f" = {format_bytes(largest.size_bytes)}"
    )
    if largest.size_bytes == bound:
        return [
            "The peak equals the proven lower bound, and one operator alone sets it:",
            f"  {needs}",
        ]
    return [
        "The peak equals the proven lower bound: no order of these operators has less. No single",
        "operator needs that much, it follows from how they depend on each other. The largest is",
        f"  {needs}",
    ]
