"""The default report of a plan: what an engineer reads in ten seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.measured import CostLayer, cost_layers
from planner.report.lines import TEXT_WIDTH, labelled, solver_part, wrapped
from planner.report.names import operator_name, printable
from planner.report.occupancy import (
    arena_verdict,
    constant_bytes,
    live_at,
    no_reuse_bytes,
    occupancies,
)
from planner.report.quantities import (
    format_bytes,
    format_in,
    format_share,
    format_size,
    time_unit,
)
from planner.report.served import served_operands, traffic_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.plans import Plan
    from planner.result import ContenderReport, PlanResult

_NAME_WIDTH = 40
_CULPRITS = 4


def render_text(result: PlanResult) -> str:
    """Return the default report, without the files written and without a final line break.

    The plan must be legal: the report says that it is.
    """
    return labelled(
        (
            _model(result.plan),
            _target(result.plan),
            *_arenas(result),
            *_zero_copy(result),
            *_traffic_and_latency(result.plan),
            *_served(result),
            *_costs(result),
            *_peak(result),
            *_solvers(result.contenders),
            ("checked", "legal"),
        )
    )


def _model(plan: Plan) -> tuple[str, str]:
    tensors = sum(len(storage.tensors) for storage in plan.storages)
    constants = f"constants {format_size(constant_bytes(plan))}"
    if plan.model.parameters:
        constants = "constants are parameters"
    return "model", (
        f"{printable(plan.model.name)}   {len(plan.order):,} operators  {tensors:,} tensors  "
        f"{constants}"
    )


def _target(plan: Plan) -> tuple[str, str]:
    memories = []
    for memory in plan.target.memories:
        size = memory.capacity_bytes
        text = printable(memory.name) + (f" {format_size(size)}" if size is not None else "")
        memories.append(text)
    if len(memories) > 1:
        memories[0] += " (nearest)"
    return "target", f"{printable(plan.target.name)}   {', '.join(memories)}"


def _arenas(result: PlanResult) -> Iterator[tuple[str, str]]:
    plan = result.plan
    metrics, near = plan.metrics, plan.target.nearest
    arena = metrics.arena_bytes.get(near.name, 0)
    peak, bound = metrics.peak_bytes.get(near.name, 0), metrics.peak_lower_bound_bytes
    parts = [f"{printable(near.name)} {format_bytes(arena)}"]
    if peak != arena:
        parts.append(f"live peak {peak:,}")
    # Where operands may lie elsewhere, no byte of the nearest memory is needed at all.
    if bound or (bound is not None and not arena):
        parts.append(f"lower bound {bound:,} ({arena_verdict(plan)})")
    greedy = next((c.arena_bytes for c in result.contenders if c.name == "greedy"), None)
    if greedy is not None:
        parts.append(f"greedy {greedy:,}")
    parts.append(f"no reuse {no_reuse_bytes(plan):,}")
    yield from wrapped("arena", parts, "   ")
    for memory in plan.target.memories[1:]:
        if metrics.arena_bytes.get(memory.name, 0):
            yield "", f"{printable(memory.name)} {format_bytes(metrics.arena_bytes[memory.name])}"


def _zero_copy(result: PlanResult) -> Iterator[tuple[str, str]]:
    sharing = result.zero_copy
    if sharing is None:
        return
    parts = [sharing.summary()]
    bound = sharing.peak_bound_bytes
    peak = result.plan.metrics.peak_bytes.get(result.plan.target.nearest.name, 0)
    if bound is not None and result.plan.metrics.traffic_bytes == 0:
        if peak <= bound:
            parts.append("no other choice has a smaller peak")
        else:
            parts.append(f"peak of any choice at least {bound:,}")
    yield from wrapped("zero copy", parts, "   ")


def _traffic_and_latency(plan: Plan) -> Iterator[tuple[str, str]]:
    latency = _latency(plan)
    if len(plan.target.memories) == 1:
        if latency:
            yield "latency", latency.removeprefix("latency ")
        return
    traffic, bound = plan.metrics.traffic_bytes, plan.metrics.traffic_lower_bound_bytes
    text = f"beyond compulsory {format_bytes(traffic)}"
    direct, copied = traffic_parts(plan)
    details = []
    if direct:
        details.append(f"direct {direct:,}, copied {copied:,}")
    if traffic == 0 or traffic == bound:
        details.append("optimal")
    elif bound or (bound is not None and not details):
        details.append(f"lower bound {bound:,}")
    if details:
        text += f" ({'; '.join(details)})"
    if plan.metrics.relocated_bytes:
        text += f", moved inside {printable(plan.target.nearest.name)} "
        text += format_bytes(plan.metrics.relocated_bytes)
    if latency and len(text) + len(latency) + 5 > TEXT_WIDTH:
        yield "traffic", text
        yield "latency", latency.removeprefix("latency ")
    else:
        yield "traffic", f"{text}     {latency}"


def _latency(plan: Plan) -> str:
    metrics = plan.metrics
    if metrics.latency_s is None:
        return ""
    unit_s, unit = time_unit(metrics.latency_s)
    details = ["simulated"]
    if metrics.compute_s is not None and metrics.stall_s is not None:
        details.append(
            f"compute {format_in(metrics.compute_s, unit_s)}, "
            f"stalled {format_in(metrics.stall_s, unit_s)}"
        )
    if metrics.latency_lower_bound_s is not None and plan.provenance.objective == "latency":
        details.append(f"lower bound {format_in(metrics.latency_lower_bound_s, unit_s)}")
    return f"latency {format_in(metrics.latency_s, unit_s)} {unit} ({'; '.join(details)})"


def _served(result: PlanResult) -> Iterator[tuple[str, str]]:
    """Say how much each memory serves, where operands may lie in several."""
    served = served_operands(result.plan, result.graph)
    total = sum(use.size_bytes for use in served)
    parts = []
    for memory in result.plan.target.memories:
        own = [use.size_bytes for use in served if use.memory == memory.name]
        if own:
            share = format_share(sum(own), total)
            parts.append(f"{printable(memory.name)} {len(own):,} operands, {share} of their bytes")
    if parts:
        yield from wrapped("served by", parts, "   ")


def _costs(result: PlanResult) -> Iterator[tuple[str, str]]:
    """Say where the operators' times come from, if any was measured."""
    target = result.plan.target
    if target.compute is None or target.compute.measured is None:
        return
    layers = cost_layers(result.graph, target)
    counts = ", ".join(f"{layer.value} {layers[layer]:,}" for layer in CostLayer)
    yield "costs", f"{counts} operators"


def _peak(result: PlanResult) -> Iterator[tuple[str, str]]:
    plan = result.plan
    near = occupancies(plan)[0]
    step = near.peak_step
    if step is None:
        return
    live = [entry for entry in live_at(plan, near, step) if entry.counted_bytes]
    shown = [
        f"{printable(plan.storages[plan.placements[entry.placement].storage].name, _NAME_WIDTH)} "
        f"{entry.counted_bytes:,}"
        for entry in live[:_CULPRITS]
    ]
    if rest := live[_CULPRITS:]:
        shown.append(f"{len(rest):,} more {sum(entry.counted_bytes for entry in rest):,}")
    operator = printable(operator_name(plan, plan.order[step], result.graph), _NAME_WIDTH)
    first, *others = shown or [""]
    yield from wrapped("peak at", [f"step {step:,}  {operator}: {first}", *others], "  ")


def _solvers(contenders: Sequence[ContenderReport]) -> Iterator[tuple[str, str]]:
    parts = [solver_part(c.name, c.status, c.wall_s) for c in contenders]
    yield from wrapped("solvers", parts, " · ")
