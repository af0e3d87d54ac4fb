"""The tables of a plan's report."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from planner.report.html_table import (
    NAME_WIDTH,
    Cell,
    interval_cell,
    number_cell,
    placement_cell,
    status_cell,
    table,
)
from planner.report.names import markup, operator_label
from planner.report.occupancy import (
    copied_bytes,
    held_addresses,
    live_at,
    longest_held,
    occupancies,
)
from planner.report.quantities import format_bytes, format_seconds, format_share, format_size
from planner.report.served import served_operands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.graph import Graph
    from planner.plans import Plan, PlannedStorage
    from planner.result import ContenderReport

_LIVE_ROWS = 25
_LONGEST_ROWS = 12
_TRANSFER_ROWS = 500


def peak_section(plan: Plan, graph: Graph | None) -> str:
    """Who is live at the peak, largest first, and for how long."""
    near = occupancies(plan)[0]
    step = near.peak_step
    if step is None:
        return ""
    live = live_at(plan, near, step)
    rows = []
    for entry in live[:_LIVE_ROWS]:
        placement = plan.placements[entry.placement]
        storage = plan.storages[placement.storage]
        size_bytes = held_addresses(plan, placement).size_bytes
        shared = entry.counted_bytes < size_bytes
        rows.append(
            (
                placement_cell(entry.placement, storage.name),
                number_cell(f"{size_bytes:,}"),
                number_cell("in place" if shared else format_share(size_bytes, near.peak_bytes)),
                interval_cell(placement.start, placement.end),
                number_cell(f"{placement.end - placement.start:,}"),
                Cell(_kind(storage), "plain"),
            )
        )
    rest = live[_LIVE_ROWS:]
    if rest:
        total = sum(entry.counted_bytes for entry in rest)
        rows.append(
            (
                Cell(f"{len(rest):,} more"),
                number_cell(f"{total:,}"),
                number_cell(format_share(total, near.peak_bytes)),
                *[Cell("")] * 3,
            )
        )
    times = int((near.live_bytes == near.peak_bytes).sum())
    again = f", and at {times - 1:,} other step{'s' if times > 2 else ''}" if times > 1 else ""
    label = escape(operator_label(plan, plan.order[step], graph))
    return (
        "<section><h2>What makes the peak</h2>"
        f"<p>{format_bytes(near.peak_bytes)} ({format_size(near.peak_bytes)}) are live at "
        f'<a href="#step={step}">step {step:,}</a>, <code>{label}</code>{again}.</p>'
        + table(("Storage", "Bytes", "Share", "Steps", "Held", "Kind"), rows, right={1, 2, 4})
        + "</section>"
    )


def longest_table(plan: Plan, graph: Graph | None) -> str:
    """Who holds most bytes for longest, by bytes x steps."""
    near = occupancies(plan)[0]
    total = int(near.live_bytes.sum())
    rows = []
    for index in longest_held(plan, near, _LONGEST_ROWS):
        placement = plan.placements[index]
        storage = plan.storages[placement.storage]
        size_bytes = held_addresses(plan, placement).size_bytes
        steps = placement.end - placement.start
        creator = min(placement.start, len(plan.order) - 1)
        rows.append(
            (
                placement_cell(index, storage.name),
                number_cell(f"{size_bytes:,}"),
                interval_cell(placement.start, placement.end),
                number_cell(f"{steps:,}"),
                number_cell(format_share(size_bytes * steps, total)),
                Cell(markup(operator_label(plan, plan.order[creator], graph), 40)),
            )
        )
    if not rows:
        return ""
    return (
        "<section><h2>Large storages that live long</h2>"
        f"<p>By bytes times steps in {markup(near.memory.name)}; the share is of all "
        "bytes times steps of the run.</p>"
        + table(("Storage", "Bytes", "Steps", "Held", "Share", "Begins at"), rows, right={1, 3, 4})
        + "</section>"
    )


def contender_table(plan: Plan, contenders: Sequence[ContenderReport]) -> str:
    """How every solver did."""
    if not contenders:
        return ""
    in_seconds = plan.provenance.objective == "latency"
    rows = [
        (
            Cell(markup(contender.name), "name"),
            status_cell(contender.status),
            number_cell(_objective_value(contender.value, in_seconds)),
            number_cell(_objective_value(contender.bound, in_seconds)),
            number_cell("" if contender.status == "skipped" else f"{contender.wall_s:.2f}"),
            Cell(markup(contender.note)),
        )
        for contender in contenders
    ]
    unit = "s" if in_seconds else "bytes"
    heads = ("Contender", "Status", f"Value, {unit}", f"Bound, {unit}", "Wall, s", "Note")
    return (
        f"<section><h2>Contenders</h2><p>Objective: {markup(plan.provenance.objective)}. The plan "
        f"shown is from <code>{markup(plan.provenance.contender)}</code>.</p>"
        + table(heads, rows, right={2, 3, 4})
        + "</section>"
    )


def served_table(plan: Plan, graph: Graph | None) -> str:
    """Which memory serves how many operands, and what costs most of those a farther one serves."""
    served = served_operands(plan, graph)
    if not served:
        return ""
    total = sum(use.size_bytes for use in served)
    near = plan.target.nearest.name
    sums = []
    for memory in plan.target.memories:
        own = [use.size_bytes for use in served if use.memory == memory.name]
        if own:
            share = format_share(sum(own), total)
            sums.append(f"{memory.name} serves {len(own):,}, {share} of their bytes")
    far = sorted((use for use in served if use.memory != near), key=lambda use: -use.size_bytes)
    placement_of = {(p.storage, p.memory): i for i, p in enumerate(plan.placements)}
    rows = [
        (
            placement_cell(placement_of[use.storage, use.memory], plan.storages[use.storage].name),
            number_cell(f"{use.size_bytes:,}"),
            Cell(markup(use.memory), "plain"),
            Cell(f'<a href="#step={use.step}">step {use.step:,}</a>', "plain"),
            Cell(markup(operator_label(plan, plan.order[use.step], graph), 40)),
        )
        for use in far[:_LONGEST_ROWS]
    ]
    largest = f" The largest that {markup(near)} does not serve:" if rows else ""
    heads = ("Storage", "Bytes", "In", "At", "Operator")
    return (
        f"<section><h2>Where operands are used</h2><p>{escape('; '.join(sums))}.{largest}</p>"
        + (table(heads, rows, right={1}) if rows else "")
        + "</section>"
    )


def transfer_table(plan: Plan) -> str:
    """Every copy between memories, the first hundreds of them."""
    if not plan.transfers:
        return ""
    number: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for transfer in plan.transfers:
        number[transfer.kind.value] += 1
        moved[transfer.kind.value] += copied_bytes(plan, transfer)
    totals = ", ".join(
        f"{number[kind]:,} {kind} of {format_size(moved[kind])}" for kind in sorted(number)
    )
    rows = []
    for transfer in sorted(plan.transfers, key=lambda t: (t.start, t.end))[:_TRANSFER_ROWS]:
        gap = transfer.start == transfer.end
        storage = plan.storages[transfer.storage]
        rows.append(
            (
                Cell(f"before {transfer.start:,}", "plain")
                if gap
                else interval_cell(transfer.start, transfer.end),
                Cell(transfer.kind.value, f"plain {transfer.kind.value}"),
                Cell(markup(storage.name, NAME_WIDTH), "name"),
                number_cell(f"{copied_bytes(plan, transfer):,}"),
                Cell(f"{markup(transfer.source)} to {markup(transfer.destination)}", "plain"),
            )
        )
    left_out = len(plan.transfers) - len(rows)
    more = f" The first {len(rows):,} are listed; all are in the plan file." if left_out else ""
    return (
        f"<section><h2>Transfers</h2><p>{escape(totals)}.{more}</p>"
        '<div class="scroll" tabindex="0">'
        + table(("Steps", "Kind", "Storage", "Bytes", "From and to"), rows, right={3})
        + "</div></section>"
    )


def _kind(storage: PlannedStorage) -> str:
    return "output" if storage.is_output else storage.kind.value


def _objective_value(value: float | None, in_seconds: bool) -> str:
    if value is None:
        return ""
    return format_seconds(value) if in_seconds else f"{value:,.0f}"
