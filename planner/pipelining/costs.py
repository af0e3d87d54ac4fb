"""From rows of costs to a problem: chunks, offloading, limits."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import UsageError
from planner.pipelining.clock import clock
from planner.pipelining.memory_limits import memory_limits
from planner.pipelining.placements import placement, placements_for
from planner.pipelining.problem import (
    MOST_PASSES,
    Offloading,
    PipelineObjective,
    PipelineProblem,
    ShardedParameters,
    StageCosts,
    VocabularyLayer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.pipelining.clock import Clock
    from planner.pipelining.files.costs_file import CostRow

_MOST_DEVICES = 1 << 12
_MOST_STAGES = 1 << 14


class VocabularyTimes(NamedTuple):
    """A vocabulary layer in seconds; see `planner.pipelining.problem.VocabularyLayer`."""

    forward: Fraction
    backward: Fraction
    barriers: int = 1
    barrier: Fraction = Fraction(0)
    broadcast: Fraction = Fraction(0)
    activation_bytes: int = 0


class ProblemFamily(NamedTuple):
    """One pipeline in every placement worth trying.

    Attributes
    ----------
    problems : dict of str to PipelineProblem
        By the name of the placement; they differ in ``device_of`` alone.
    chunks : int
        Stages per device.
    notes : tuple of str
        What the problems leave out of what was given.
    """

    problems: dict[str, PipelineProblem]
    chunks: int
    notes: tuple[str, ...] = ()


def cut_rows(
    rows: Sequence[CostRow], devices: int, chunks: int | None
) -> tuple[list[CostRow], int]:
    """Return one row per stage, and how many stages a device has.

    With ``chunks`` and one row per device, or one row for all devices, each row is cut into that
    many equal stages: times exactly, bytes rounded up.

    Raises
    ------
    UsageError
        If the rows are no whole number of stages per device.
    """
    count = len(rows)
    if chunks is None:
        if count == 1:
            return [*rows] * devices, 1
        if count % devices:
            raise UsageError(
                f"{count:,} rows of costs for {devices:,} devices: give one row for each stage, "
                f"that is a multiple of {devices:,}, or a single row for all."
            )
        return [*rows], count // devices
    if chunks < 1:
        raise UsageError(f"{chunks:,} chunks per device: there must be at least one.")
    if devices * chunks > _MOST_STAGES:
        raise UsageError(
            f"{devices:,} devices x {chunks:,} chunks are too many stages: {_MOST_STAGES:,} can be "
            "planned."
        )
    if count == devices * chunks:
        return [*rows], chunks
    if count == 1:
        rows = [*rows] * devices
    elif count != devices:
        raise UsageError(
            f"{count:,} rows of costs for {devices:,} devices with {chunks:,} chunks each: give "
            f"{devices * chunks:,} rows, one for each stage, or {devices:,}, one for each device, "
            "or one."
        )
    return [_cut(row, chunks) for row in rows for _ in range(chunks)], chunks


def _cut(row: CostRow, chunks: int) -> CostRow:
    def time(whole: Fraction | None) -> Fraction | None:
        return None if whole is None else whole / chunks

    def size(whole: int | None) -> int | None:
        return None if whole is None else -(-whole // chunks)

    return row._replace(
        forward=row.forward / chunks,
        backward=row.backward / chunks,
        weight=row.weight / chunks,
        activation_bytes=-(-row.activation_bytes // chunks),
        kept_bytes=-(-row.kept_bytes // chunks),
        gather=time(row.gather),
        reduce=time(row.reduce),
        parameter_bytes=size(row.parameter_bytes),
        gradient_bytes=size(row.gradient_bytes),
    )


def problem_family(
    rows: Sequence[CostRow],
    *,
    devices: int,
    microbatches: int,
    memory_limit: int | str | Sequence[int | str | None] | None = None,
    chunks: int | None = None,
    placements: Sequence[str] | None = None,
    objective: PipelineObjective = PipelineObjective.LONGEST_STAGE,
    offload_bandwidth: int | None = None,
    reload_bandwidth: int | None = None,
    copy_streams: int = 2,
    host_bytes: int | None = None,
    vocabulary: VocabularyTimes | None = None,
) -> ProblemFamily:
    """Return the problem, once for each placement.

    Parameters
    ----------
    rows : sequence of CostRow
        As for `cut_rows`.
    placements : sequence of str or None
        None for those worth trying with so many chunks.
    offload_bandwidth, reload_bandwidth : int or None
        Bytes per second of a device to the host, and back (None: the same); without the first
        nothing is offloaded.

    Raises
    ------
    UsageError
        If a number makes no sense.
    """
    require_plannable(devices, microbatches)
    cut, chunks = cut_rows(rows, devices, chunks)
    copies = _copy_times(cut, offload_bandwidth, reload_bandwidth)
    times = [
        time
        for row in cut
        for time in (
            row.forward,
            row.backward,
            row.weight,
            row.communication,
            row.gather,
            row.reduce,
        )
        if time is not None
    ]
    if vocabulary is not None:
        times += [
            vocabulary.forward,
            vocabulary.backward,
            vocabulary.barrier,
            vocabulary.broadcast,
        ]
    total = sum(row.forward + row.backward + row.weight + 2 * row.communication for row in cut)
    total += sum((row.gather or 0) + (row.reduce or 0) for row in cut)
    total += sum(out + back for out, back in copies)
    if vocabulary is not None:
        total += devices * (vocabulary.forward + vocabulary.backward)
        total += 2 * vocabulary.barrier + vocabulary.broadcast
    count = clock(
        times,
        [time for pair in copies for time in pair],
        Fraction(total * microbatches),
        devices,
    )
    ticks = count.ticks
    stages = tuple(
        StageCosts(
            ticks(row.forward),
            ticks(row.backward),
            ticks(row.weight),
            row.activation_bytes,
            row.kept_bytes,
            ticks(row.communication),
        )
        for row in cut
    )
    limits = memory_limits(memory_limit, stages, devices, microbatches)
    offloading = None
    if copies:
        offloading = Offloading(
            tuple(count.ticks_to_copy(out) for out, _ in copies),
            tuple(count.ticks_to_copy(back) for _, back in copies),
            copy_streams,
            host_bytes,
        )
    layer = None
    if vocabulary is not None:
        layer = VocabularyLayer(
            ticks(vocabulary.forward),
            ticks(vocabulary.backward),
            ticks(vocabulary.broadcast),
            ticks(vocabulary.barrier),
            vocabulary.barriers,
            vocabulary.activation_bytes,
        )
    return ProblemFamily(
        {
            name: PipelineProblem(
                stages,
                device_of,
                microbatches,
                limits,
                count.tick,
                objective,
                offloading,
                layer,
                _sharding(cut, count),
            )
            for name, device_of in placement_names(placements, devices, chunks).items()
        },
        chunks,
        () if count.exact else (_rounded(count.tick),),
    )


def _rounded(tick: Fraction) -> str:
    return (
        f"times are rounded to multiples of {float(tick):.0e} s: the shortest unit that divides "
        "them all is too short to count in"
    )


def require_plannable(devices: int, microbatches: int) -> None:
    """Refuse numbers of devices and microbatches that nobody has.

    Raises
    ------
    UsageError
        The message names the number.
    """
    if not 1 <= devices <= _MOST_DEVICES:
        raise UsageError(f"{devices:,} devices: give 1 to {_MOST_DEVICES:,}.")
    if microbatches < 1:
        raise UsageError(f"{microbatches:,} microbatches: there must be at least one.")
    if devices * microbatches > MOST_PASSES:
        raise UsageError(
            f"{devices:,} devices x {microbatches:,} microbatches are more than the "
            f"{MOST_PASSES:,} forward passes that can be planned."
        )


def placement_names(
    placements: Sequence[str] | None, devices: int, chunks: int
) -> dict[str, tuple[int, ...]]:
    """Return the devices of the stages by placement: those named, or those worth trying.

    Of placements that are the same, as all are on one device, the first is kept.

    Raises
    ------
    UsageError
        If there is no such placement with so many chunks.
    """
    names = placements_for(chunks) if placements is None else placements
    if not names:
        raise UsageError("no placement is named.")
    distinct: dict[tuple[int, ...], str] = {}
    for name in names:
        distinct.setdefault(placement(name, devices, chunks), name)
    return {name: device_of for device_of, name in distinct.items()}


def _copy_times(
    rows: Sequence[CostRow], out: int | None, back: int | None
) -> list[tuple[Fraction, Fraction]]:
    if out is None:
        return []
    back = _both_ways(out, back)
    return [
        (Fraction(row.activation_bytes, out), Fraction(row.activation_bytes, back)) for row in rows
    ]


def _both_ways(out: int, back: int | None) -> int:
    back = out if back is None else back
    if min(out, back) < 1:
        raise UsageError(f"a bandwidth of {min(out, back):,} bytes per second moves nothing.")
    return back


def linked_to_host(
    problem: PipelineProblem, out: int, back: int | None, streams: int, host_bytes: int | None
) -> PipelineProblem:
    """Return the problem with offloading; copies take whole ticks, rounded up.

    Parameters
    ----------
    out, back : int
        Bytes per second to the host, and from there (None: the same).
    streams, host_bytes
        As for `planner.pipelining.problem.Offloading`.

    Raises
    ------
    UsageError
        If a bandwidth moves nothing.
    """

    def ticks(bandwidth: int) -> tuple[int, ...]:
        return tuple(
            math.ceil(Fraction(stage.activation_bytes, bandwidth) / problem.tick_s)
            for stage in problem.stages
        )

    link = Offloading(ticks(out), ticks(_both_ways(out, back)), streams, host_bytes)
    try:
        return replace(problem, offloading=link)
    except UsageError:
        raise UsageError(
            f"a link to the host of {min(out, back or out):,} bytes per second is too slow: copies "
            "take too long to count beside the passes. Give a faster one, or none."
        ) from None


def _sharding(rows: Sequence[CostRow], count: Clock) -> ShardedParameters | None:
    gathers = [row.gather for row in rows if row.gather is not None]
    reduces = [row.reduce for row in rows if row.reduce is not None]
    weights = [row.parameter_bytes for row in rows if row.parameter_bytes is not None]
    gradients = [row.gradient_bytes for row in rows if row.gradient_bytes is not None]
    if len(gathers) < len(rows):
        return None
    return ShardedParameters(
        tuple(map(count.ticks, gathers)),
        tuple(map(count.ticks, reduces)),
        tuple(weights),
        tuple(gradients),
    )
