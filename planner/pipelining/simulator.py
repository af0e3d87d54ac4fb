"""When every pass of a schedule runs, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.pipelining.precedence import Precedence, precedence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start`` to ``end``, in ticks."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PipelineTimeline:
    """A schedule with times.

    Attributes
    ----------
    schedule : PipelineSchedule
    passes, copies, gathers : tuple of tuple of Span
        Per device, in the order of the schedule.
    reductions : tuple of tuple of (Span or None)
        Per device and unit; None where a unit does not reduce.
    """

    schedule: PipelineSchedule
    passes: tuple[tuple[Span, ...], ...]
    copies: tuple[tuple[Span, ...], ...]
    gathers: tuple[tuple[Span, ...], ...]
    reductions: tuple[tuple[Span | None, ...], ...]

    @property
    def stage_ticks(self) -> tuple[int, ...]:
        """Per device, ticks from the start of its first pass to the end of its last."""
        return tuple(spans[-1].end - spans[0].start if spans else 0 for spans in self.passes)

    @property
    def longest_stage(self) -> int:
        """Ticks of the device that takes longest.

        The cost of an iteration where nothing holds up the devices between iterations ("Zero
        Bubble Pipeline Parallelism", arXiv 2401.10241, appendix G).
        """
        return max(self.stage_ticks)

    @property
    def makespan(self) -> int:
        """Ticks from the first start to the last end of anything on any device.

        The cost of an iteration with a barrier at its end.
        """
        spans = [
            span
            for streams in (self.passes, self.copies, self.gathers, self.reductions)
            for stream in streams
            for span in stream
            if span is not None
        ]
        return max(span.end for span in spans) - min(span.start for span in spans)


def bubble_rate(problem: PipelineProblem, cost_ticks: int) -> float:
    """Return the idle share of the busiest device in an iteration of ``cost_ticks``."""
    return (cost_ticks - problem.ideal_ticks) / cost_ticks if cost_ticks else 0.0


def simulate_pipeline(
    problem: PipelineProblem, schedule: PipelineSchedule, not_before: Sequence[int] = ()
) -> PipelineTimeline:
    """Start everything as early as order and dependencies allow.

    Memory is not enforced: ``planner.pipelining.memory`` tells what the timeline needs.

    Parameters
    ----------
    problem, schedule
    not_before : sequence of int
        Per device, a tick before which its first pass does not start; empty for 0.

    Raises
    ------
    planner.errors.InvalidPlanError
        On a pass that is missing or there twice, and on a deadlock; the message names the passes.
    """
    graph = precedence(problem, schedule)
    return timeline_of(schedule, graph, earliest_starts(graph, not_before))


def earliest_starts(graph: Precedence, not_before: Sequence[int] = ()) -> list[int]:
    """Return the earliest start of every event of a schedule's precedence graph."""
    starts = [0] * len(graph.events)
    for own, tick in zip(graph.passes, not_before, strict=False):
        if own:
            starts[own[0]] = tick
    for index in graph.order:
        start = starts[index]
        for other, least in graph.waits_for[index]:
            start = max(start, starts[other] + least)
        starts[index] = start
    return starts


def timeline_of(
    schedule: PipelineSchedule, graph: Precedence, starts: list[int]
) -> PipelineTimeline:
    """Return the timeline of these starts of a schedule's events."""

    def span(index: int) -> Span:
        return Span(starts[index], starts[index] + graph.events[index].ticks)

    return PipelineTimeline(
        schedule,
        tuple(tuple(map(span, own)) for own in graph.passes),
        tuple(tuple(map(span, own)) for own in graph.copies),
        tuple(tuple(map(span, own)) for own in graph.gathers),
        tuple(tuple(None if i < 0 else span(i) for i in own) for own in graph.reductions),
    )
