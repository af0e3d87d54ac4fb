"""A pipeline schedule as Trace Event JSON, which Perfetto and chrome://tracing draw.

One process per device, with a thread for passes, one for each copy stream and one for collectives,
and a counter of the bytes held.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from planner.pipelining.memory import device_memory
from planner.report.names import printable
from planner.report.pipeline_lanes import KIND_NAMES, first_tick, lanes_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction

    from planner.pipelining.result import PipelineResult
    from planner.pipelining.simulator import PipelineTimeline

_Event = dict[str, Any]


def render_pipeline_trace(result: PipelineResult, timeline: PipelineTimeline, source: str) -> str:
    """Return the trace, one event per line; time 0 is the start of the first pass.

    Parameters
    ----------
    timeline : PipelineTimeline
        The result's.
    source : str
        What the costs were read from.
    """
    metadata: list[_Event] = []
    timed: list[_Event] = []
    for device, lanes in enumerate(lanes_of(result.problem, timeline)):
        pid = device + 1
        metadata.append(_named("process_name", pid, 0, f"device {device}"))
        for thread, lane in enumerate(lanes):
            metadata.append(_named("thread_name", pid, thread + 1, lane.name))
    clock = _Clock(first_tick(timeline), result.problem.tick_s)
    timed += _blocks(result, timeline, clock)
    timed += _memory(result, timeline, clock)
    # Stable: what is given back at an instant stands before what is taken at it.
    timed.sort(key=lambda event: event["ts"])
    lines = ",\n ".join(json.dumps(event, allow_nan=False) for event in (*metadata, *timed))
    other = {
        "costs": printable(source),
        "contender": printable(result.contender),
        "placement": result.placement,
        "time": "simulated",
    }
    return (
        f'{{"displayTimeUnit": "ns", "otherData": {json.dumps(other)}, "traceEvents": [\n'
        f" {lines}]}}\n"
    )


class _Clock:
    """Ticks to microseconds since the first pass."""

    def __init__(self, zero: int, tick_s: Fraction) -> None:
        self._zero = zero
        self._tick_us = tick_s * 1_000_000

    def at(self, tick: int) -> float:
        return round(float((tick - self._zero) * self._tick_us), 6)


def _named(name: str, pid: int, tid: int, value: str) -> _Event:
    return {"ph": "M", "name": name, "pid": pid, "tid": tid, "args": {"name": value}}


def _blocks(result: PipelineResult, timeline: PipelineTimeline, clock: _Clock) -> Iterator[_Event]:
    for device, lanes in enumerate(lanes_of(result.problem, timeline)):
        for thread, lane in enumerate(lanes):
            for block in lane.blocks:
                start = clock.at(block.start)
                which = f".{block.microbatch}" if block.microbatch >= 0 else ""
                yield {
                    "ph": "X",
                    "name": f"{block.kind} {block.stage}{which}",
                    "cat": KIND_NAMES[block.kind],
                    "pid": device + 1,
                    "tid": thread + 1,
                    "ts": start,
                    "dur": round(clock.at(block.end) - start, 6),
                    "args": {"stage": block.stage, "microbatch": block.microbatch},
                }


def _memory(result: PipelineResult, timeline: PipelineTimeline, clock: _Clock) -> Iterator[_Event]:
    for device, profile in enumerate(device_memory(result.problem, timeline)):
        for tick, held in zip(profile.ticks, profile.held, strict=True):
            yield {
                "ph": "C",
                "name": "held bytes",
                "pid": device + 1,
                "ts": clock.at(tick),
                "args": {"bytes": held},
            }
