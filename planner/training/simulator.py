"""When every operator and every copy of a training step runs, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import InvalidPlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule


class Span(NamedTuple):
    """From ``start`` to ``end``, in picoseconds since the step began."""

    start: int
    end: int


class RoundTrip(NamedTuple):
    """One storage's way to the host and back, as far as it takes time.

    Attributes
    ----------
    copied_after, freed_after, fetched_before : int
        As in `planner.training.schedule.Offload`.
    read_before : int
        Step of the backward half that reads it first; the half's length if only the step's end
        needs it.
    to_host_ps, to_device_ps : int
        Of the copies.
    """

    copied_after: int
    freed_after: int
    fetched_before: int
    read_before: int
    to_host_ps: int
    to_device_ps: int


class CopyTimes(NamedTuple):
    """When copies run, and how long the computation waits for them.

    Attributes
    ----------
    to_host, to_device : list of Span
        In the order of the round trips.
    forward_waits, backward_waits : list of (int, int)
        Step before which the computation waits, and for how many picoseconds; ascending. What the
        half's length stands for is waited for when its last step is over.
    """

    to_host: list[Span]
    to_device: list[Span]
    forward_waits: list[tuple[int, int]]
    backward_waits: list[tuple[int, int]]

    @property
    def stall_ps(self) -> int:
        """Picoseconds waited."""
        return sum(wait for _, wait in (*self.forward_waits, *self.backward_waits))


@dataclass(frozen=True, slots=True)
class TrainingTimeline:
    """A training step with times.

    Attributes
    ----------
    forward, backward : tuple of Span
        Of each step of the halves.
    to_host, to_device : tuple of Span
        Of each of the schedule's offloads, in their order.
    host_bytes : tuple of (int, int)
        Picoseconds since the step began, and bytes on the host from then on. A storage is there
        from the start of its copy to the host to the end of the copy back.
    makespan_ps : int
        End of everything.
    stall_ps : int
        In which the computation waits for copies.
    """

    forward: tuple[Span, ...]
    backward: tuple[Span, ...]
    to_host: tuple[Span, ...]
    to_device: tuple[Span, ...]
    host_bytes: tuple[tuple[int, int], ...]
    makespan_ps: int
    stall_ps: int

    @property
    def host_peak_bytes(self) -> int:
        """The most bytes on the host at once."""
        return max((held for _, held in self.host_bytes), default=0)


def simulate_training(problem: TrainingProblem, schedule: TrainingSchedule) -> TrainingTimeline:
    """Run a legal schedule on three streams: computation, copies to the host, copies back.

    Each stream does one thing after the other; copies run in the order in which they are issued,
    those issued together in the order of ``schedule.offloads``. The computation waits after
    ``freed_after`` until the copy to the host is done, so a copy back, which is issued in the
    backward half, always finds its bytes there. It waits for the copy back at the first read.

    Raises
    ------
    InvalidPlanError
        If there are offloads without a host, or of what the backward half does not need.
    """
    durations = problem.duration_ps.tolist()
    forward = [durations[operator] for operator in schedule.forward]
    backward = [durations[operator] for operator in schedule.backward]
    trips = round_trips(problem, schedule)
    times = copy_times(forward, backward, trips)
    first, begin = _spans(forward, times.forward_waits, 0)
    second, end = _spans(backward, times.backward_waits, begin)
    changes: list[tuple[int, int]] = []
    for offload, out, back in zip(schedule.offloads, times.to_host, times.to_device, strict=True):
        size = int(problem.size_bytes[offload.storage])
        changes += [(out.start, size), (back.end, -size)]
    changes.sort(key=lambda change: (change[0], -change[1]))
    held = accumulate(change for _, change in changes)
    return TrainingTimeline(
        first,
        second,
        tuple(times.to_host),
        tuple(times.to_device),
        tuple((time, total) for (time, _), total in zip(changes, held, strict=True)),
        end,
        times.stall_ps,
    )


def round_trips(problem: TrainingProblem, schedule: TrainingSchedule) -> list[RoundTrip]:
    """Return what of a schedule's offloads takes time, in their order.

    Raises
    ------
    InvalidPlanError
        If there are offloads without a host, or of what the backward half does not need.
    """
    if not schedule.offloads:
        return []
    host = problem.host
    if host is None:
        raise InvalidPlanError("the schedule copies to a host that the problem does not have.")
    reads = dict.fromkeys(problem.gradients.tolist(), len(schedule.backward))
    for step in range(len(schedule.backward) - 1, -1, -1):
        for storage in problem.reads.row(schedule.backward[step]).tolist():
            reads[storage] = step
    trips = []
    for storage, copied, freed, fetched in schedule.offloads:
        if storage not in reads:
            raise InvalidPlanError(
                f'"{problem.storage_names[storage]}" goes to the host, and the backward half does '
                "not read it."
            )
        size = int(problem.size_bytes[storage])
        read = reads[storage]
        trips.append(
            RoundTrip(copied, freed, fetched, read, host.to_host_ps(size), host.to_device_ps(size))
        )
    return trips


def copy_times(
    forward_ps: Sequence[int], backward_ps: Sequence[int], trips: Sequence[RoundTrip]
) -> CopyTimes:
    """Return when copies run beside steps that take so long.

    Parameters
    ----------
    forward_ps, backward_ps : duration of each step of the halves
    """
    elapsed = list(accumulate(forward_ps, initial=0))
    steps = len(forward_ps)
    numbers = range(len(trips))
    to_host, to_device = [Span(0, 0)] * len(trips), [Span(0, 0)] * len(trips)
    events = sorted(
        [(trips[i].copied_after, 0, i) for i in numbers]
        + [(trips[i].freed_after, 1, i) for i in numbers]
    )
    late = stream = 0
    forward_waits: dict[int, int] = {}
    for after, waits, i in events:
        boundary = min(after + 1, steps)
        now = elapsed[boundary] + late
        if not waits:
            start = max(now, stream)
            stream = start + trips[i].to_host_ps
            to_host[i] = Span(start, stream)
        elif to_host[i].end > now:
            late += to_host[i].end - now
            forward_waits[boundary] = forward_waits.get(boundary, 0) + to_host[i].end - now
    begin = elapsed[-1] + late
    elapsed = list(accumulate(backward_ps, initial=begin))
    events = sorted(
        [(trips[i].fetched_before, 0, i) for i in numbers]
        + [(trips[i].read_before, 1, i) for i in numbers]
    )
    late = stream = 0
    backward_waits: dict[int, int] = {}
    for before, waits, i in events:
        now = elapsed[before] + late
        if not waits:
            start = max(now, stream)
            stream = start + trips[i].to_device_ps
            to_device[i] = Span(start, stream)
        elif to_device[i].end > now:
            late += to_device[i].end - now
            backward_waits[before] = backward_waits.get(before, 0) + to_device[i].end - now
    return CopyTimes(to_host, to_device, list(forward_waits.items()), list(backward_waits.items()))


def _spans(
    durations: Sequence[int], waits: Sequence[tuple[int, int]], begin: int
) -> tuple[tuple[Span, ...], int]:
    """Return the spans of one half's steps, and when the half is over."""
    late = dict(waits)
    spans = []
    for step, duration in enumerate(durations):
        begin += late.get(step, 0)
        spans.append(Span(begin, begin + duration))
        begin += duration
    return tuple(spans), begin + late.get(len(durations), 0)
