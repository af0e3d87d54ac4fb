"""PipeOffload: half or all of the activations go to the host and back (arXiv 2503.01328)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import InvalidPlanError
from planner.pipelining.schedule import Copy, CopyKind, PassKind, PipelineSchedule
from planner.pipelining.simulator import simulate_pipeline
from solvers.pipeline.constructors.catalogue import InapplicableError
from solvers.pipeline.constructors.grouped_order import grouped_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.pipelining.problem import Offloading, PipelineProblem
    from planner.pipelining.schedule import Pass
    from planner.pipelining.simulator import PipelineTimeline, Span


class _Life(NamedTuple):
    """From the end of F to the start of B, in ticks and in places of the device's order."""

    stage: int
    microbatch: int
    made: int
    needed: int
    made_tick: int
    needed_tick: int

    @property
    def ticks(self) -> int:
        return self.needed_tick - self.made_tick


def po_half(problem: PipelineProblem) -> PipelineSchedule:
    """Return a grouped interleaved schedule that offloads the longer-lived half.

    Groups are of half the devices, as in GIS-H; all of them in ``po_full``, as in GIS.

    Raises
    ------
    InapplicableError
        Without a link to the host, or if it is too slow for any offload.
    """
    return _with_copies(problem, "po-h", every=2)


def po_full(problem: PipelineProblem) -> PipelineSchedule:
    """Return a grouped interleaved schedule that offloads all that can be back in time.

    Raises
    ------
    InapplicableError
        As ``po_half``.
    """
    return _with_copies(problem, "po-f", every=1)


def _with_copies(problem: PipelineProblem, name: str, every: int) -> PipelineSchedule:
    offloading = problem.offloading
    if offloading is None:
        raise InapplicableError("the costs have no link to the host")
    plain, timeline = _grouped(problem, name, -(-problem.devices // every))
    copies = tuple(
        _device_copies(offloading, _selected(_lives(own, spans), every), spans)
        for own, spans in zip(plain.passes, timeline.passes, strict=True)
    )
    if not any(copies):
        raise InapplicableError("no activations live as long as their way out and back")
    return replace(plain, copies=copies)


def _grouped(
    problem: PipelineProblem, name: str, group: int
) -> tuple[PipelineSchedule, PipelineTimeline]:
    devices = problem.devices
    warm_up = [
        group * (len(own) - 1) + devices - 1 - device
        for device, own in enumerate(problem.stages_of)
    ]
    plain = PipelineSchedule(name, problem.device_of, grouped_order(problem, group, warm_up))
    try:
        return plain, simulate_pipeline(problem, plain)
    except InvalidPlanError:
        # A last group that is too small makes the devices wait for each other.
        if group == devices:
            raise
        return _grouped(problem, name, devices)


def _lives(passes: Sequence[Pass], spans: Sequence[Span]) -> list[_Life]:
    made = {
        (item.stage, item.microbatch): place
        for place, item in enumerate(passes)
        if item.kind is PassKind.FORWARD
    }
    lives = []
    for needed, (kind, stage, microbatch) in enumerate(passes):
        if kind is PassKind.BACKWARD:
            place = made[stage, microbatch]
            lives.append(
                _Life(stage, microbatch, place, needed, spans[place].end, spans[needed].start)
            )
    return lives


def _selected(lives: list[_Life], every: int) -> list[_Life]:
    """Return a part of the lives: whole stages of long lives, then every second microbatch of one.

    The same stages in every microbatch, so that the link's work is spread evenly.
    """
    mean: dict[int, float] = {}
    for stage in {life.stage for life in lives}:
        own = [life.ticks for life in lives if life.stage == stage]
        mean[stage] = sum(own) / len(own)
    longest = sorted(mean, key=lambda stage: (-mean[stage], stage))
    whole = set(longest[: len(longest) // every])
    partly = set(longest[: -(-len(longest) // every)]) - whole
    return [
        life
        for life in lives
        if life.stage in whole or (life.stage in partly and life.microbatch % every == 0)
    ]


class _Stream:
    """What is taken of one copy stream."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []

    def earliest(self, ticks: int, begin: int, end: int) -> int | None:
        """Return the earliest start of a free slot between two ticks."""
        start = begin
        for taken_start, taken_end in self.spans[self._first_after(begin) :]:
            if start + ticks <= taken_start:
                break
            start = max(start, taken_end)
        return start if start + ticks <= end else None

    def latest(self, ticks: int, begin: int, end: int) -> int | None:
        """Return the latest start of a free slot between two ticks."""
        stop = end
        for taken_start, taken_end in reversed(self.spans[: bisect_left(self.spans, (end, end))]):
            if taken_end + ticks <= stop:
                break
            stop = min(stop, taken_start)
        return stop - ticks if stop - ticks >= begin else None

    def take(self, start: int, ticks: int) -> None:
        span = (start, start + ticks)
        self.spans.insert(bisect_left(self.spans, span), span)

    def _first_after(self, tick: int) -> int:
        index = bisect_right(self.spans, (tick, tick))
        return index - 1 if index and self.spans[index - 1][1] > tick else index


def _device_copies(
    offloading: Offloading, lives: list[_Life], spans: Sequence[Span]
) -> tuple[Copy, ...]:
    out_stream = _Stream()
    back_stream = out_stream if offloading.streams == 1 else _Stream()
    starts = [span.start for span in spans]
    sent: list[tuple[_Life, int]] = []
    for life in sorted(lives, key=lambda life: life.made):
        ticks, back = offloading.offload[life.stage], offloading.reload[life.stage]
        start = out_stream.earliest(ticks, life.made_tick, life.needed_tick - back)
        if start is not None:
            out_stream.take(start, ticks)
            sent.append((life, start))
    placed: list[tuple[int, int, int, Copy]] = []
    for life, out in sorted(sent, key=lambda pair: -pair[0].needed):
        stage, microbatch = life.stage, life.microbatch
        there = out + offloading.offload[stage]
        free_from = bisect_left(starts, there, life.made + 1)
        start = back_stream.latest(offloading.reload[stage], there, life.needed_tick)
        if start is None:
            continue
        # The last pass that starts by then, but not the one that waits for the reload.
        back_from = min(bisect_right(starts, start), life.needed) - 1
        if back_from < free_from:
            continue
        back_stream.take(start, offloading.reload[stage])
        offload = Copy(CopyKind.OFFLOAD, stage, microbatch, life.made, free_from)
        reload = Copy(CopyKind.RELOAD, stage, microbatch, back_from, life.needed)
        # Ticks alone would leave copies and passes that take no time in any order.
        placed.append((out, life.made + 1, 0, offload))
        placed.append((start, back_from, 1, reload))
    placed.sort(key=lambda entry: entry[:3])
    return tuple(copy for *_, copy in placed)
