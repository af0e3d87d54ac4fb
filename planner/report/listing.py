"""Lines that explanations share: headings, the table of what is live, transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.report.names import operator_label, printable
from planner.report.occupancy import copied_bytes, held_addresses, live_at, part_name
from planner.report.quantities import format_both, format_bytes, format_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.graph import Graph
    from planner.plans import Plan, PlannedStorage, Transfer
    from planner.report.occupancy import LivePlacement, Occupancy

LISTED_STEPS = 8
_NAME_WIDTH = 48


class Operands(NamedTuple):
    """Storages that an operator reads and writes, by index."""

    read: frozenset[int]
    written: frozenset[int]


def operands_of(plan: Plan, graph: Graph | None, step: int) -> Operands:
    """From the graph; without it those that start or end at this step."""
    if graph is not None:
        operator = graph.operators[plan.order[step]]
        return Operands(
            frozenset(graph.tensors[t].storage for t in operator.inputs),
            frozenset(graph.tensors[t].storage for t in operator.outputs),
        )
    filled = {(t.storage, t.destination, t.start) for t in plan.transfers}
    emptied = {(t.storage, t.source, t.end) for t in plan.transfers}
    near = plan.target.nearest.name
    written = {
        p.storage
        for p in plan.placements
        if p.start == step
        and plan.storages[p.storage].kind.is_written
        and (p.storage, p.memory, p.start) not in filled
    }
    read = {
        p.storage
        for p in plan.placements
        if p.end == step + 1 and p.memory == near and (p.storage, p.memory, p.end) not in emptied
    }
    return Operands(frozenset(read - written), frozenset(written))


def heading(plan: Plan) -> list[str]:
    """Which plan is explained."""
    return [
        f"model     {printable(plan.model.name)}   target {printable(plan.target.name)}   "
        f"{printable(plan.provenance.contender)} ({printable(plan.provenance.status)})"
    ]


def live_table(plan: Plan, graph: Graph | None, occupancy: Occupancy, step: int) -> list[str]:
    """Everything live in one memory at a step, largest first: lifetimes, addresses, roles."""
    live = live_at(plan, occupancy, step)
    total = int(occupancy.live_bytes[step])
    operands = operands_of(plan, graph, step)
    rows = [("name", "bytes", "share", "steps", "address", "kind", "at this step")]
    idle = "waits" if graph is not None else "held"
    rows += [_live_row(plan, entry, total, operands, idle) for entry in live]
    title = (
        f"live in {printable(occupancy.memory.name)} at step {step:,}: {format_both(total)} in "
        f"{len(live):,} placements"
    )
    return [title, *(f"  {line}" for line in _aligned(rows, right={1, 2}))]


def _live_row(
    plan: Plan, entry: LivePlacement, total: int, operands: Operands, idle: str
) -> tuple[str, ...]:
    placement = plan.placements[entry.placement]
    storage = plan.storages[placement.storage]
    held = held_addresses(plan, placement)
    size = held.size_bytes
    overwritten = entry.counted_bytes == 0 and size > 0
    roles = [
        role
        for role, storages in (("written", operands.written), ("read", operands.read))
        if placement.storage in storages
    ]
    if overwritten:
        roles.append("overwritten in place")
    if placement.part is not None:
        roles.append(f"{part_name(placement)} of it")
    return (
        storage_name(plan, placement.storage),
        f"{size:,}",
        "in place" if overwritten else format_share(size, total),
        f"[{placement.start:,}, {placement.end:,})",
        f"[{held.begin:,}, {held.end:,})",
        _kind(storage),
        ", ".join(roles) or idle,
    )


def transfer_lines(plan: Plan, transfers: Iterable[Transfer]) -> list[str]:
    """One line per copy, in the order of time."""
    lines = []
    for t in sorted(transfers, key=lambda t: (t.start, t.end)):
        when = f"before step {t.start:,}" if t.start == t.end else f"steps [{t.start:,}, {t.end:,})"
        part = f"{part_name(t)} of " if t.part is not None else ""
        where = f"{printable(t.source)} to {printable(t.destination)}"
        if t.source == t.destination:
            where = f"within {printable(t.source)}{_moved(plan, t)}"
        lines.append(
            f"{'moves' if not lines else '':<10}{t.kind.value} {part}"
            f"{storage_name(plan, t.storage)}  {format_bytes(copied_bytes(plan, t))}  "
            f"{where}, {when}"
        )
    return lines


def _moved(plan: Plan, transfer: Transfer) -> str:
    """From which offset to which one."""
    own = [p for p in plan.placements if p[:2] == (transfer.storage, transfer.source)]
    old = next((p.offset for p in own if p.end == transfer.start), None)
    new = next((p.offset for p in own if p.start == transfer.end), None)
    if old is None or new is None:
        return ""
    return f" from offset {old:,} to {new:,}"


def _aligned(rows: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _kind(storage: PlannedStorage) -> str:
    return "output" if storage.is_output else storage.kind.value


def step_operator(plan: Plan, graph: Graph | None, step: int) -> str:
    """Label of the operator that runs at a step."""
    return operator_label(plan, plan.order[step], graph)


def storage_name(plan: Plan, storage: int) -> str:
    """Name of a storage, by index, safe to print."""
    return shown(plan.storages[storage].name)


def shown(name: str) -> str:
    """Make a name safe to print and short enough for a table."""
    return printable(name, _NAME_WIDTH)
