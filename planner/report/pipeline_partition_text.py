"""A partition as a table: a line for every stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.report.lines import labelled, wrapped
from planner.report.names import printable
from planner.report.quantities import (
    format_in,
    format_seconds,
    format_share,
    format_size,
    time_unit,
)

if TYPE_CHECKING:
    from planner.pipelining.partitioning.partition import Partition, PartitionStage

_NAME_WIDTH = 34
_OPERATOR_WIDTH = 24
_NOTE_WIDTH = 300


def render_partition(partition: Partition) -> str:
    """Return what the model is cut into, without a final line break.

    Times and bytes are those of one microbatch: what is saved from its forward to its backward
    pass, and what of that, or of gradients, waits for the gradient of the weights.
    """
    tick = float(partition.tick_s)
    length, unit = time_unit(max(stage.costs.work for stage in partition.stages) * tick)
    heads = (
        *("stage", "dev", "first operator", "last operator"),
        *(f"F {unit}", f"B {unit}", f"W {unit}", f"send {unit}"),
        *("saved", "for W", "parameters", "states", "cut"),
    )
    rows: list[tuple[str, ...]] = [heads]
    for index, stage in enumerate(partition.stages):
        following = partition.device_of[index + 1 : index + 2]
        rows.append(_row(index, stage, tick / length, sends=following not in ((), (stage.device,))))
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    table = [
        "  ".join(
            cell.ljust(width) if column in (2, 3) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join((labelled(_head(partition)), *table, *_notes(partition)))


def _head(partition: Partition) -> list[tuple[str, str]]:
    tick = float(partition.tick_s)
    lines = [
        (
            "partition",
            f"{printable(partition.model, _NAME_WIDTH)}   {partition.operators:,} operators   "
            f"{len(partition.stages)} stages on {partition.devices} devices "
            f"({partition.placement})",
        )
    ]
    load, ideal = partition.largest_load, partition.ideal_load
    excess = format_share(load - ideal, ideal)
    lines.append(
        (
            "busiest",
            f"{format_seconds(load * tick)} per microbatch, sending included   "
            f"{excess} above an even split",
        )
    )
    layer, split = partition.vocabulary, partition.output_layer
    if layer is not None and split is not None:
        parts = [
            f"{split.layer.vocabulary:,} logits, split over all devices",
            f"S {format_seconds(layer.forward * tick)}",
            f"T {format_seconds(layer.backward * tick)}",
            f"barrier {format_seconds(layer.barrier * tick)}"
            + (" twice" if layer.barriers == 2 else ""),
            f"{format_size(layer.activation_bytes)} per microbatch",
            f"states {format_size(split.state_bytes)}",
        ]
        lines += wrapped("output", parts, "   ")
    if partition.memory_limit is not None:
        fullest = max(range(partition.devices), key=lambda device: partition.state_bytes[device])
        lines.append(
            (
                "memory",
                f"{format_size(partition.memory_limit)} per device; states take up to "
                f"{format_size(partition.state_bytes[fullest])} (device {fullest})",
            )
        )
    return lines


def _row(index: int, stage: PartitionStage, scale: float, *, sends: bool) -> tuple[str, ...]:
    costs = stage.costs
    times = (costs.forward, costs.backward, costs.weight)
    sent = format_in(costs.communication * scale, 1.0) if sends else ""
    return (
        str(index),
        str(stage.device),
        printable(stage.first_name, _OPERATOR_WIDTH),
        printable(stage.last_name, _OPERATOR_WIDTH),
        *(format_in(ticks * scale, 1.0) for ticks in times),
        sent,
        format_size(stage.saved_bytes),
        format_size(stage.kept_bytes),
        f"{stage.parameters:,}",
        format_size(stage.state_bytes),
        format_size(stage.cut_bytes) if stage.cut_bytes else "",
    )


def _notes(partition: Partition) -> list[str]:
    return [printable(note, _NOTE_WIDTH) for note in partition.notes]
