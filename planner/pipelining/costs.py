"""From rows of costs to a problem: chunks, ticks, offloading, limits."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import UsageError
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
    from collections.abc import Iterable, Sequence

    from planner.pipelining.costs_file import CostRow

_SHORTEST_TICK_S = Fraction(1, 10**15)
_MOST_TICKS = 1 << 50
_MOST_TICKS_OF_ALL = 1 << 60
_MOST_DEVICES = 1 << 12
_MOST_STAGES = 1 << 14
# A copy is rounded up to whole ticks: by a thousandth of the shortest at most.
_COPY_RESOLUTION = 1000


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
    """

    problems: dict[str, PipelineProblem]
    chunks: int


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


def common_tick(times: Iterable[Fraction], copy_times: Iterable[Fraction] = ()) -> Fraction:
    """Return the longest tick in which all times are whole numbers; 1 s if all are 0.

    Copies need not be whole, but the tick is short enough to round them by little.

    Raises
    ------
    UsageError
        If that is below a femtosecond, or a time has more than 2^50 of them.
    """
    present = {time for time in times if time}
    tick = Fraction(1)
    if present:
        denominator = math.lcm(*(time.denominator for time in present))
        tick = Fraction(
            math.gcd(*(time.numerator * (denominator // time.denominator) for time in present)),
            denominator,
        )
    copies = [time for time in copy_times if time]
    if copies:
        wanted = min(copies) / _COPY_RESOLUTION
        while tick > wanted and tick / 10 >= _SHORTEST_TICK_S:
            tick /= 10
    if tick < _SHORTEST_TICK_S:
        raise UsageError(
            f"the times have no common unit of at least 1e-15 s (it would be {float(tick):.1e} s). "
            "Round them, to nanoseconds say."
        )
    longest = max((*present, *copies), default=Fraction(0))
    if longest / tick > _MOST_TICKS:
        raise UsageError(
            f"the times reach from {float(tick):.1e} s to {float(longest):.1e} s: too far apart to "
            "count in one unit. Round the short ones."
        )
    return tick


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
    tick = common_tick(times, [time for pair in copies for time in pair])

    def ticks(time: Fraction) -> int:
        return math.ceil(time / tick)

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
    total = sum(stage.work + 2 * stage.communication for stage in stages) * microbatches
    if total > _MOST_TICKS_OF_ALL:
        raise UsageError(
            f"all passes one after the other take {float(total * tick):.1e} s, in steps of "
            f"{float(tick):.1e} s: too many to count. Round the times."
        )
    limits = memory_limits(memory_limit, stages, devices, microbatches)
    offloading = None
    if copies:
        offloading = Offloading(
            tuple(ticks(out) for out, _ in copies),
            tuple(ticks(back) for _, back in copies),
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
                tick,
                objective,
                offloading,
                layer,
                _sharding(cut, tick),
            )
            for name, device_of in placement_names(placements, devices, chunks).items()
        },
        chunks,
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

    return replace(
        problem,
        offloading=Offloading(ticks(out), ticks(_both_ways(out, back)), streams, host_bytes),
    )


def _sharding(rows: Sequence[CostRow], tick: Fraction) -> ShardedParameters | None:
    gathers = [row.gather for row in rows if row.gather is not None]
    reduces = [row.reduce for row in rows if row.reduce is not None]
    weights = [row.parameter_bytes for row in rows if row.parameter_bytes is not None]
    gradients = [row.gradient_bytes for row in rows if row.gradient_bytes is not None]
    if len(gathers) < len(rows):
        return None
    return ShardedParameters(
        tuple(int(time / tick) for time in gathers),
        tuple(int(time / tick) for time in reduces),
        tuple(weights),
        tuple(gradients),
    )
