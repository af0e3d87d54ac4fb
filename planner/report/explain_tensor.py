"""One tensor of a plan: who writes and reads it, where its bytes lie when, who lies beside."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.graph import StorageKind
from planner.report.listing import (
    LISTED_STEPS,
    heading,
    shown,
    step_operator,
    storage_name,
    transfer_lines,
)
from planner.report.names import printable
from planner.report.occupancy import held_addresses, in_place_inputs, part_name
from planner.report.quantities import format_both, format_bytes

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Plan


def explain_tensor(plan: Plan, graph: Graph | None, name: str) -> list[str]:
    """Return lines: storage, writers and readers, places with their neighbours, copies."""
    index = _find_storage(plan, name)
    storage = plan.storages[index]
    kinds = [storage.kind.value] + (["graph output"] if storage.is_output else [])
    lines = [
        *heading(plan),
        f"tensor    {shown(name)}",
        f"storage   {index:,} {shown(storage.name)}: {format_both(storage.size_bytes)}, "
        f"{', '.join(kinds)}",
    ]
    if len(storage.tensors) > 1:
        lines.append(f"tensors   {len(storage.tensors):,} share it:")
        for t in storage.tensors:
            end = t.offset_bytes + t.size_bytes
            lines.append(f"          {shown(t.name)}  bytes [{t.offset_bytes:,}, {end:,})")
    lines += _users(plan, graph, index)
    if storage.kind is StorageKind.CONSTANT:
        lines.append(
            f"place     {printable(plan.target.constant_memory)}, a constant: no part of the arena"
        )
    own = [i for i, p in enumerate(plan.placements) if p.storage == index]
    own.sort(key=lambda i: (plan.placements[i].start, plan.placements[i].part or ()))
    pairs = in_place_inputs(plan)
    for number, i in enumerate(own):
        p = plan.placements[i]
        steps, held = p.end - p.start, held_addresses(plan, p)
        part = f", only its {part_name(p)}" if p.part is not None else ""
        lines.append(
            f"{'place' if number == 0 else '':<10}{printable(p.memory)} "
            f"[{held.begin:,}, {held.end:,})  steps [{p.start:,}, {p.end:,}), "
            f"{steps:,} step{'s' if steps != 1 else ''}{part}"
        )
        if i in pairs:
            over = plan.placements[pairs[i]].storage
            lines.append(f"          written in place over {storage_name(plan, over)}")
        for output, source in pairs.items():
            if source == i:
                under = plan.placements[output].storage
                lines.append(f"          overwritten in place by {storage_name(plan, under)}")
        lines += _neighbours(plan, i)
    return lines + transfer_lines(plan, [t for t in plan.transfers if t.storage == index])


def _find_storage(plan: Plan, name: str) -> int:
    for index, storage in enumerate(plan.storages):
        if storage.name == name or any(t.name == name for t in storage.tensors):
            return index
    known = [t.name for storage in plan.storages for t in storage.tensors]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {printable(close[0])}?" if close else ""
    raise UsageError(
        f"--tensor {printable(name)}: the plan has {len(known):,} tensors, none of that name.{hint}"
    )


def _users(plan: Plan, graph: Graph | None, storage: int) -> list[str]:
    if graph is None:
        return []
    lines = []
    writers, readers = [], []
    for step, operator in enumerate(plan.order):
        node = graph.operators[operator]
        if any(graph.tensors[t].storage == storage for t in node.outputs):
            writers.append(step)
        if any(graph.tensors[t].storage == storage for t in node.inputs):
            readers.append(step)
    for label, steps in (("written", writers), ("read", readers)):
        for number, step in enumerate(steps[:LISTED_STEPS]):
            lines.append(
                f"{label if number == 0 else '':<10}step {step:,}: "
                f"{step_operator(plan, graph, step)}"
            )
        if len(steps) > LISTED_STEPS:
            lines.append(
                f"          and {len(steps) - LISTED_STEPS:,} more, the last is {steps[-1]:,}"
            )
    return lines


def _neighbours(plan: Plan, index: int) -> list[str]:
    """The nearest placements below and above that share a step with this one."""
    own = plan.placements[index]
    low, top = held_addresses(plan, own)
    beside = [
        (*held_addresses(plan, p), p.storage)
        for i, p in enumerate(plan.placements)
        if i != index and p.memory == own.memory and p.start < own.end and own.start < p.end
    ]
    lines = []
    above = min((entry for entry in beside if entry[0] >= top), default=None)
    below = max(
        (entry for entry in beside if entry[1] <= low),
        key=lambda entry: entry[1],
        default=None,
    )
    for side, entry, gap in (
        ("above", above, above[0] - top if above else 0),
        ("below", below, low - below[1] if below else 0),
    ):
        if entry is not None:
            distance = f", {format_bytes(gap)} away" if gap else ""
            lines.append(
                f"          {side} it {storage_name(plan, entry[2])} "
                f"[{entry[0]:,}, {entry[1]:,}){distance}"
            )
    return lines
