"""One step of a plan: its operands, what is live beside them, the copies around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.graph import StorageKind
from planner.report.listing import heading, live_table, shown, storage_name, transfer_lines
from planner.report.names import operator_label, printable
from planner.report.occupancy import held_addresses, occupancies, part_name
from planner.report.quantities import format_bytes
from planner.report.served import served_operands

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Plan


def explain_step(plan: Plan, graph: Graph | None, step: int) -> list[str]:
    """Return lines: operator, operands and their places, copies, all that is live."""
    if not 0 <= step < len(plan.order):
        raise UsageError(
            f"--step {step:,}: the plan has {len(plan.order):,} steps, numbered from 0."
        )
    operator = plan.order[step]
    lines = [
        *heading(plan),
        f"step      {step:,} of {len(plan.order):,}: {operator_label(plan, operator, graph)}, "
        f"operator {operator:,} of the model",
    ]
    if graph is not None:
        node = graph.operators[operator]
        serving = {s.storage: s.memory for s in served_operands(plan, graph) if s.step == step}
        for label, tensors in (("reads", node.inputs), ("writes", node.outputs)):
            for t in tensors:
                tensor = graph.tensors[t]
                shape = "x".join(str(dim) for dim in tensor.shape) or "scalar"
                where = _where(plan, tensor.storage, step, serving.get(tensor.storage))
                lines.append(
                    f"{label:<10}{shown(tensor.name)}  {shape} {tensor.dtype}  "
                    f"{format_bytes(tensor.size_bytes)}  {where}"
                )
                label = ""
    lines += [
        f"in place  {storage_name(plan, pair.output)} over {storage_name(plan, pair.input)}"
        for pair in plan.in_place
        if pair.operator == operator
    ]
    around = [t for t in plan.transfers if t.start <= step + 1 and t.end >= step]
    lines += transfer_lines(plan, around)
    for number, occupancy in enumerate(occupancies(plan)):
        if number == 0 or occupancy.live_bytes[step]:
            lines += ["", *live_table(plan, graph, occupancy, step)]
    return lines


def _where(plan: Plan, storage: int, step: int, serving: str | None) -> str:
    """Where an operand lies; of several memories, the one in which the step uses it."""
    if plan.storages[storage].kind is StorageKind.CONSTANT:
        return f"constant in {printable(plan.target.constant_memory)}"
    places = []
    for p in plan.placements:
        serves = serving is None or p.memory == serving
        if serves and p.storage == storage and p.start <= step < p.end:
            held = held_addresses(plan, p)
            part = f" {part_name(p)}" if p.part is not None else ""
            last = ", last step" if p.end == step + 1 else ""
            places.append(f"{printable(p.memory)} [{held.begin:,}, {held.end:,}){part}{last}")
    return " and ".join(places) or "not placed"
