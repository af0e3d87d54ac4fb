"""Segments of a trace of allocations, and when two of them are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.offsets.arrays import checked_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.problem import OffsetProblem


class Trace(NamedTuple):
    """Buffers; times are ranks among the events. Int64 arrays of shape [buffers]."""

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    size: NDArray[np.int64]
    alignment: NDArray[np.int64]


class Segments(NamedTuple):
    """Disjoint ``[start, end)``, ascending; int64 arrays of shape [segments]."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]


class Members(NamedTuple):
    """The buffers that live inside segments.

    Attributes
    ----------
    buffer : int64 array of shape [members]
        Sorted by segment, inside it by lifetime, size and alignment.
    lower, upper : int64 array of shape [members]
        Lifetimes on a clock of the segment, from 0 on, that ticks only when an allocation follows a
        release: who is alive together is kept, and nothing else.
    members : int64 array of shape [segments]
        Their number in each segment.
    signature : uint64 array of shape [segments]
        Equal for segments whose members agree in lifetimes, sizes and alignments; almost surely
        different for others.
    """

    buffer: NDArray[np.int64]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    members: NDArray[np.int64]
    signature: NDArray[np.uint64]


def trace_of(problem: OffsetProblem) -> Trace:
    """Return times as ranks; what ends at a time ends before anything begins at it.

    Raises
    ------
    ValueError
        As for `solvers.offsets.arrays.checked_arrays`.
    """
    arrays = checked_arrays(problem)
    keys = np.concatenate([2 * arrays.lower + 1, 2 * arrays.upper])
    lower, upper = np.split(np.unique(keys, return_inverse=True)[1].astype(np.int64), 2)
    return Trace(lower, upper, arrays.size, arrays.alignment)


def atoms_of(trace: Trace, among: NDArray[np.int64]) -> Segments:
    """Return the maximal segments in which one of some buffers is always alive."""
    by_start = among[np.argsort(trace.lower[among], kind="stable")]
    lower = trace.lower[by_start]
    alive_until = np.maximum.accumulate(trace.upper[by_start])
    first = np.concatenate([[True], lower[1:] > alive_until[:-1]])
    last = np.concatenate([first[1:], [True]])
    return Segments(lower[first], alive_until[last])


def members_of(trace: Trace, segments: Segments, among: NDArray[np.int64] | None = None) -> Members:
    """Return the buffers that live inside segments, of all buffers or among some."""
    buffer = np.arange(len(trace.size)) if among is None else among
    segment = np.searchsorted(segments.start, trace.lower[buffer], side="right") - 1
    inside = (segment >= 0) & (trace.upper[buffer] <= segments.end[segment])
    buffer, segment = buffer[inside], segment[inside]

    lower, upper = _ticks(trace, buffer, segment)
    size, alignment = trace.size[buffer], trace.alignment[buffer]
    order = np.lexsort((alignment, size, upper, lower, segment))
    signature = np.zeros(len(segments.start), dtype=np.uint64)
    np.add.at(signature, segment, _scrambled(lower, upper, size, alignment))
    return Members(
        buffer[order],
        lower[order],
        upper[order],
        np.bincount(segment, minlength=len(segments.start)),
        signature,
    )


def _ticks(
    trace: Trace, buffer: NDArray[np.int64], segment: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lifetimes on the clock of each segment, see `Members`."""
    members = len(buffer)
    order = np.argsort(np.concatenate([trace.lower[buffer], trace.upper[buffer]]), kind="stable")
    is_start = order < members
    # A segment begins with a start, which ticks because the one before it ended with an end.
    tick = is_start.copy()
    tick[1:] &= ~is_start[:-1]
    clock = np.empty(2 * members, dtype=np.int64)
    clock[order] = np.cumsum(tick)
    origin = np.full(int(segment.max(initial=-1)) + 1, 2 * members)
    np.minimum.at(origin, segment, clock[:members])
    return clock[:members] - origin[segment], clock[members:] - origin[segment] + 1


def _scrambled(*columns: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One pseudo-random number for each row (the finaliser of SplitMix64, by Steele et al.)."""
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed
