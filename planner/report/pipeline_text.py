"""The default report of a pipeline schedule: what an engineer reads in ten seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.pipelining.result import NOT_NEEDED, OVER_LIMIT
from planner.pipelining.simulator import bubble_rate
from planner.problem import Status
from planner.report.lines import labelled, wrapped
from planner.report.names import printable
from planner.report.quantities import format_bytes, format_seconds, format_share, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.pipelining.result import ContenderReport, PipelineResult
    from planner.pipelining.simulator import PipelineTimeline

_NAME_WIDTH = 40
_NOTE_WIDTH = 160
_MOST_DEVICES = 8
_MOST_STAGES = 8
_REMARKS = 6


def render_pipeline(result: PipelineResult, timeline: PipelineTimeline, source: str) -> str:
    """Return the default report, without the files written and without a final line break.

    Parameters
    ----------
    timeline : PipelineTimeline
        The result's, legal: the report says that it is.
    source : str
        What the costs were read from.
    """
    return labelled(
        (
            *_pipeline(result, source),
            *_stages(result),
            *_schedule(result, timeline),
            *_times(result, timeline),
            *_memory(result),
            *_published(result),
            *_contenders(result),
            *_remarks(result),
            ("checked", "legal"),
        )
    )


def format_bubble(bubble: float) -> str:
    """Four digits, as the papers print it: ``0.1323``."""
    return f"{bubble:.4f}"


def counted(count: int, noun: str, ending: str = "s") -> str:
    """Return ``1 device``, ``8 devices``."""
    return f"{count:,} {noun}{'' if count == 1 else ending}"


def verdict(result: PipelineResult) -> str:
    """How far from the bound: ``optimal``, or by how much it may be longer."""
    if result.status is Status.OPTIMAL:
        return "optimal"
    value = result.value_ticks or 0
    return f"at most {format_share(value - result.bound_ticks, result.bound_ticks)} above it"


def limits_text(result: PipelineResult) -> str:
    """Name the limits shortly."""
    limits = set(result.problem.limits)
    if limits == {None}:
        return "no memory limit"
    if len(limits) == 1:
        return f"memory limit {format_size(next(iter(limits)) or 0)} per device"
    stated = [limit for limit in limits if limit is not None]
    return f"memory limits {format_size(min(stated))} to {format_size(max(stated))}"


def _pipeline(result: PipelineResult, source: str) -> Iterator[tuple[str, str]]:
    problem = result.problem
    parts = [
        printable(source, _NAME_WIDTH),
        counted(problem.devices, "device"),
        counted(problem.microbatches, "microbatch", "es"),
        f"{counted(len(problem.stages), 'stage')} ({result.placement})",
        limits_text(result),
    ]
    if problem.offloading is not None:
        parts.append("offloading")
    if problem.vocabulary is not None:
        parts.append("vocabulary layer on all devices")
    if problem.sharding is not None:
        parts.append("sharded weights")
    yield from wrapped("pipeline", parts, "  ")


def _stages(result: PipelineResult) -> Iterator[tuple[str, str]]:
    """Where the model was cut."""
    if result.partition is None:
        return
    stages = result.partition.stages
    parts = [
        f"{index}: {printable(stage.first_name, _NAME_WIDTH)} to "
        f"{printable(stage.last_name, _NAME_WIDTH)}"
        for index, stage in enumerate(stages[:_MOST_STAGES])
    ]
    if len(stages) > _MOST_STAGES:
        parts.append(f"{len(stages) - _MOST_STAGES:,} more")
    yield from wrapped("stages", parts, " · ")


def _schedule(result: PipelineResult, timeline: PipelineTimeline) -> Iterator[tuple[str, str]]:
    name = printable(result.contender or timeline.schedule.name, _NAME_WIDTH)
    bubble = format_bubble(result.bubble or 0.0)
    yield from wrapped(
        "schedule",
        [
            name,
            f"bubble {bubble}",
            f"lower bound {format_bubble(result.bubble_lower_bound)} ({verdict(result)})",
        ],
        "   ",
    )


def _times(result: PipelineResult, timeline: PipelineTimeline) -> Iterator[tuple[str, str]]:
    longest = format_seconds(result.seconds(timeline.longest_stage))
    makespan = format_seconds(result.seconds(result.makespan_ticks or 0))
    ideal = format_seconds(result.seconds(result.problem.ideal_ticks))
    counts = result.problem.objective.value.replace("-", " ")
    yield (
        "time",
        (
            f"longest stage {longest}   makespan {makespan}   without bubbles {ideal}   "
            f"(counted: {counts})"
        ),
    )


def _memory(result: PipelineResult) -> Iterator[tuple[str, str]]:
    """Peaks per device, of what is given back after B, and of what is held until W."""
    peaks, until_weight = result.peak_bytes, result.peak_bytes_until_weight
    if len(set(peaks)) == 1:
        parts = [f"{format_bytes(peaks[0])} on every device{_of_limit(result, 0)}"]
    else:
        shown: Sequence[int] = range(len(peaks))
        if len(peaks) > _MOST_DEVICES:
            shown = (peaks.index(max(peaks)), peaks.index(min(peaks)))
        parts = [f"{format_size(peaks[device])}{_of_limit(result, device)}" for device in shown]
        if len(peaks) > _MOST_DEVICES:
            parts = [
                f"{word} {part} on device {device}"
                for word, part, device in zip(("most", "least"), parts, shown, strict=True)
            ]
    yield from wrapped("memory", parts, " · ")
    if until_weight != peaks:
        # With offloading, a convention of papers on schedules without it.
        yield "", f"if all is held until W: at most {format_bytes(max(until_weight))}"
    if result.host_peak_bytes:
        yield "", f"on the host: at most {format_bytes(max(result.host_peak_bytes))} of one device"


def _of_limit(result: PipelineResult, device: int) -> str:
    limit = result.problem.limits[device]
    return "" if limit is None else f" ({format_share(result.peak_bytes[device], limit)})"


def _published(result: PipelineResult) -> Iterator[tuple[str, str]]:
    published = [report for report in result.contenders if report.published]
    if not published:
        return
    best = result.best_published()
    if best is None or best.value_ticks is None:
        yield "published", "none fits"
        return
    bubble = format_bubble(bubble_rate(result.problem, best.value_ticks))
    value = result.value_ticks or 0
    saved = best.value_ticks - value
    better = "no better is known"
    if saved:
        better = f"ours takes {format_share(saved, best.value_ticks)} less"
    elif result.status is Status.OPTIMAL:
        better = "none is better"
    yield (
        "published",
        f"best that fits: {best.name} ({best.placement})   bubble {bubble}   {better}",
    )


def _contenders(result: PipelineResult) -> Iterator[tuple[str, str]]:
    """Every contender that ran, once: in the placement where it did best."""
    best: dict[str, ContenderReport] = {}
    for report in result.contenders:
        if report.status == "skipped":
            continue
        known = best.get(report.name)
        if known is None or _rank(report) < _rank(known):
            best[report.name] = report
    parts = []
    for report in sorted(best.values(), key=_rank):
        words = [report.name]
        if report.value_ticks is not None and report.status != "failed":
            words.append(format_bubble(bubble_rate(result.problem, report.value_ticks)))
        if report.status != Status.FEASIBLE:
            words.append(report.status)
        if not report.published:
            words.append(f"{report.wall_s:.2f} s")
        parts.append(" ".join(words))
    yield from wrapped("solvers", parts, " · ")


def _rank(report: ContenderReport) -> tuple[bool, bool, int]:
    value = None if report.status == "failed" else report.value_ticks
    return value is None, report.status == OVER_LIMIT, value or 0


def _remarks(result: PipelineResult) -> Iterator[tuple[str, str]]:
    remarks = [
        f"{report.name}: {printable(report.note, _NOTE_WIDTH)}"
        for report in result.contenders
        if report.note and report.note != NOT_NEEDED and report.status == "failed"
    ]
    for remark in remarks[:_REMARKS]:
        yield "", remark
    if len(remarks) > _REMARKS:
        yield "", f"and {len(remarks) - _REMARKS:,} more, see --json"
