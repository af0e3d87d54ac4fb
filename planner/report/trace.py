"""A plan's simulated run as Trace Event JSON, which Perfetto and chrome://tracing draw.

One process per memory, nearest first. The nearest has a thread for compute and one for every copy
engine; each memory has a counter of live bytes and its buffers as asynchronous events.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.plans import part_of
from planner.report.names import operator_label, printable
from planner.report.occupancy import (
    copied_bytes,
    held_addresses,
    in_place_inputs,
    occupancies,
    part_name,
)
from planner.report.served import served_operands

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.graph import Graph
    from planner.plans import Placement, Plan, Transfer
    from planner.simulator import Timeline

_COMPUTE_THREAD = 1
_FIRST_COPY_THREAD = 2

_Event = dict[str, Any]


def render_trace(plan: Plan, timeline: Timeline | None, graph: Graph | None = None) -> str:
    """Return the trace, one event per line.

    Parameters
    ----------
    timeline : Timeline or None
        The simulated run. None, where the target gives no rates: one step is drawn as 1 us.
    graph : Graph, optional
        Names operators where the plan has only their indices.
    """
    clock = _step_clock(plan) if timeline is None else _simulated_clock(timeline)
    scale = "one step = 1 us (the target gives no rates)" if timeline is None else "simulated time"
    lanes = _copy_lanes(plan, clock)
    processes = {occupancy.memory.name: i + 1 for i, occupancy in enumerate(occupancies(plan))}
    buffer_thread = _FIRST_COPY_THREAD + len(set(lanes))
    events = [
        *_metadata(processes, lanes, buffer_thread, scale),
        *sorted(
            (
                *_compute_events(plan, clock, graph),
                *_copy_events(plan, clock, lanes),
                *_buffer_events(plan, clock, processes, buffer_thread),
            ),
            # Stable, so the order at one instant is the order in which the parts made them.
            key=lambda event: event["ts"],
        ),
    ]
    lines = ",\n ".join(json.dumps(event, allow_nan=False) for event in events)
    other = {
        "model": printable(plan.model.name),
        "target": printable(plan.target.name),
        "contender": printable(plan.provenance.contender),
        "time": scale,
    }
    return (
        f'{{"displayTimeUnit": "ns", "otherData": {json.dumps(other)}, "traceEvents": [\n'
        f" {lines}]}}\n"
    )


class _Clock(NamedTuple):
    """Microseconds at which steps run and transfers are in flight, by index."""

    step_start: Sequence[float]
    step_end: Sequence[float]
    transfer_start: Sequence[float]
    transfer_end: Sequence[float]


def _step_clock(plan: Plan) -> _Clock:
    steps = range(len(plan.order))
    return _Clock(
        [float(step) for step in steps],
        [float(step + 1) for step in steps],
        [float(transfer.start) for transfer in plan.transfers],
        [float(transfer.end) for transfer in plan.transfers],
    )


def _simulated_clock(timeline: Timeline) -> _Clock:
    return _Clock(
        [_microseconds(step.start_s) for step in timeline.steps],
        [_microseconds(step.end_s) for step in timeline.steps],
        [_microseconds(copy.start_s) for copy in timeline.transfers],
        [_microseconds(copy.end_s) for copy in timeline.transfers],
    )


def _microseconds(seconds: float) -> float:
    """Round to picoseconds: what is simultaneous stays so whatever it was summed from."""
    return round(seconds * 1e6, 6)


class _Lane(NamedTuple):
    """One row of copies that do not overlap: a link, and which of its concurrent copies."""

    source: str
    destination: str
    number: int


def _copy_lanes(plan: Plan, clock: _Clock) -> list[_Lane]:
    """Put every transfer on a row of its link, the first that is free."""
    busy_until: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    lanes: dict[int, _Lane] = {}
    for i in sorted(range(len(plan.transfers)), key=lambda i: (clock.transfer_start[i], i)):
        link = (plan.transfers[i].source, plan.transfers[i].destination)
        rows = busy_until[link]
        free = (n for n, until in enumerate(rows) if until <= clock.transfer_start[i])
        number = next(free, len(rows))
        if number == len(rows):
            rows.append(0.0)
        rows[number] = clock.transfer_end[i]
        lanes[i] = _Lane(*link, number)
    return [lanes[i] for i in range(len(plan.transfers))]


def _lane_threads(lanes: Sequence[_Lane]) -> dict[_Lane, int]:
    return {lane: _FIRST_COPY_THREAD + i for i, lane in enumerate(sorted(set(lanes)))}


def _metadata(
    processes: dict[str, int], lanes: Sequence[_Lane], buffer_thread: int, scale: str
) -> Iterator[_Event]:
    nearest = next(iter(processes))
    for memory, pid in processes.items():
        threads = {buffer_thread: "buffers"}
        if pid == processes[nearest]:
            threads = {_COMPUTE_THREAD: "compute"}
            for lane, tid in _lane_threads(lanes).items():
                if lane.destination == nearest:
                    name = f"dma in from {lane.source}"
                elif lane.source == nearest:
                    name = f"dma out to {lane.destination}"
                else:
                    name = f"dma {lane.source} to {lane.destination}"
                threads[tid] = printable(name) + (f" #{lane.number + 1}" if lane.number else "")
            threads[buffer_thread] = "buffers"
        yield _meta("process_name", pid, name=printable(memory))
        yield _meta("process_labels", pid, labels=scale)
        yield _meta("process_sort_index", pid, sort_index=pid)
        for tid, name in threads.items():
            yield {**_meta("thread_name", pid, name=name), "tid": tid}


def _meta(name: str, pid: int, /, **args: Any) -> _Event:
    return {"ph": "M", "name": name, "pid": pid, "args": args}


def _compute_events(plan: Plan, clock: _Clock, graph: Graph | None) -> Iterator[_Event]:
    near = occupancies(plan)[0]
    used: list[dict[str, int]] = [{} for _ in plan.order]
    for step, _, memory, size in served_operands(plan, graph):
        name = f"operand bytes in {printable(memory)}"
        used[step][name] = used[step].get(name, 0) + size
    for step, operator in enumerate(plan.order):
        yield {
            "ph": "X",
            "name": operator_label(plan, operator, graph),
            "pid": 1,
            "tid": _COMPUTE_THREAD,
            "ts": clock.step_start[step],
            "dur": _between(clock.step_start[step], clock.step_end[step]),
            "args": {
                "step": step,
                "operator": operator,
                "bytes": int(near.live_bytes[step]),
                **used[step],
            },
        }


def _copy_events(plan: Plan, clock: _Clock, lanes: Sequence[_Lane]) -> Iterator[_Event]:
    threads = _lane_threads(lanes)
    for i, transfer in enumerate(plan.transfers):
        storage = plan.storages[transfer.storage]
        yield {
            "ph": "X",
            "name": f"{transfer.kind.value} {printable(storage.name)}{_part(transfer)}",
            "pid": 1,
            "tid": threads[lanes[i]],
            "ts": clock.transfer_start[i],
            "dur": _between(clock.transfer_start[i], clock.transfer_end[i]),
            "args": {
                "bytes": copied_bytes(plan, transfer),
                "from": printable(transfer.source),
                "to": printable(transfer.destination),
                "boundaries": [transfer.start, transfer.end],
            },
        }


def _buffer_events(
    plan: Plan, clock: _Clock, processes: dict[str, int], thread: int
) -> Iterator[_Event]:
    """Asynchronous begin and end of every placement, and the bytes open after each instant."""
    opened, closed = _buffer_times(plan, clock)
    edges: list[tuple[float, int, int]] = []
    for i in range(len(plan.placements)):
        # At one instant: what was open closes, then what begins opens, then what was open for no
        # time at all closes.
        edges.append((opened[i], 1, i))
        edges.append((closed[i], 2 if closed[i] == opened[i] else 0, i))
    edges.sort()
    open_bytes = dict.fromkeys(processes, 0)
    for at, (ts, phase, i) in enumerate(edges):
        placement = plan.placements[i]
        storage, held = plan.storages[placement.storage], held_addresses(plan, placement)
        pid = processes[placement.memory]
        event: _Event = {
            "ph": "b" if phase == 1 else "e",
            "cat": "buffer",
            "id": f"p{i}",
            "name": printable(storage.name) + _part(placement),
            "pid": pid,
            "tid": thread,
            "ts": ts,
        }
        if phase == 1:
            event["args"] = {
                "offset": held.begin,
                "size": held.size_bytes,
                "steps": [placement.start, placement.end],
            }
        open_bytes[placement.memory] += held.size_bytes if phase == 1 else -held.size_bytes
        yield event
        if at + 1 == len(edges) or edges[at + 1][0] > ts:
            for memory in _touched(plan, edges, at):
                yield {
                    "ph": "C",
                    "name": "live bytes",
                    "pid": processes[memory],
                    "ts": ts,
                    "args": {"bytes": open_bytes[memory]},
                }


def _part(held: Placement | Transfer) -> str:
    return "" if held.part is None else f" {part_name(held)}"


def _touched(plan: Plan, edges: Sequence[tuple[float, int, int]], last: int) -> list[str]:
    """Memories in which something opened or closed at the instant that ends with edge ``last``."""
    memories: dict[str, None] = {}
    at = last
    while at >= 0 and edges[at][0] == edges[last][0]:
        memories[plan.placements[edges[at][2]].memory] = None
        at -= 1
    return sorted(memories)


def _buffer_times(plan: Plan, clock: _Clock) -> tuple[list[float], list[float]]:
    """When each placement opens and closes.

    It opens with its first step, or with the transfer that fills it, if that begins earlier; it
    closes with its last step, or with the last transfer that reads or fills it. The input of an
    in-place pair closes when its output opens: from then on the bytes are the output's.
    """
    finish = clock.step_end[-1] if clock.step_end else 0.0
    starts, ends = [*clock.step_start, finish], [0.0, *clock.step_end]
    opened = [starts[p.start] for p in plan.placements]
    closed = [max(starts[p.start], ends[p.end]) for p in plan.placements]
    by_place: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for i, p in enumerate(plan.placements):
        by_place[p.storage, p.memory].append(i)
    for k, transfer in enumerate(plan.transfers):
        for i in by_place[transfer.storage, transfer.destination]:
            if plan.placements[i].start == transfer.start and _share(plan, i, transfer):
                opened[i] = min(opened[i], clock.transfer_start[k])
        for memory in (transfer.source, transfer.destination):
            for i in by_place[transfer.storage, memory]:
                place = plan.placements[i]
                ends = place.start <= transfer.start and place.end == transfer.end
                if ends and _share(plan, i, transfer):
                    closed[i] = max(closed[i], clock.transfer_end[k])
    for output, source in in_place_inputs(plan).items():
        closed[source] = opened[output]
    return opened, closed


def _share(plan: Plan, placement: int, transfer: Transfer) -> bool:
    """Whether a transfer is about bytes of its storage that the placement holds."""
    size = plan.storages[transfer.storage].size_bytes
    held, copied = part_of(plan.placements[placement], size), part_of(transfer, size)
    return size == 0 or held.intersects(copied)


def _between(start: float, end: float) -> float:
    return round(end - start, 6)
