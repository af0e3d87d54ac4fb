"""Repeated layers in a trace of allocations, found from lifetimes and sizes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.offsets.repeats import repeated_stretches
from solvers.offsets.segments import Segments, atoms_of, members_of, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from planner.problem import OffsetProblem
    from solvers.offsets.segments import Trace

# Repeats of one scale that are judged on all buffers, those with the largest gain.
REPEATS_OF_A_SCALE = 12
# Positions of the borders within a period that are tried.
PHASES = 8


class LayerKind(NamedTuple):
    """Layers with equal transient buffers.

    Attributes
    ----------
    buffers : int64 array of shape [layers, transients]
        The transient buffers of each layer. Those in one column have equal sizes and alignments.
    lower, upper : int64 array of shape [transients]
        Their lifetimes in every layer, on a clock that ticks only when an allocation follows a
        release: who is alive together is kept, and nothing else.
    """

    buffers: NDArray[np.int64]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]


class _Candidate(NamedTuple):
    """Segments, some of which are equal; arrays of shape [segments].

    Attributes
    ----------
    segments : Segments
    transients : int64 array
        Buffers inside each.
    signature : uint64 array
        See `solvers.offsets.segments.Members`.
    """

    segments: Segments
    transients: NDArray[np.int64]
    signature: NDArray[np.uint64]


def find_layers(
    problem: OffsetProblem, stop: Callable[[], bool] = lambda: False
) -> tuple[LayerKind, ...]:
    """Find segments of time that repeat: equal buffers are born and die in each of them.

    Which buffers of a training step belong to one pass through a layer ("transient", MEMO,
    arXiv 2407.12117) and which outlive it ("skeletal") is not in the trace. Seen at a **scale** of
    w events, the buffers that live at most w events form **atoms**: stretches of time in which one
    of them is always alive. Atoms with equal buffers are equal letters, and layers are repeats in
    the word. Every power of two is tried as w. Where repeats follow one another at equal
    distances, other positions of the borders are tried too, first where the fewest buffers
    cross them, and one layer more at either end.

    What is found is then judged on all buffers: a segment's transients are all that live
    inside it, whatever w was, and two segments are equal if their transients agree in sizes,
    alignments and conflicts. What crosses a border does not disturb, nor do names, addresses and
    what happens between two layers.

    Of all kinds of layers those are taken that leave the smallest sum of squares of the numbers of
    buffers to pack together: all that are not transient and one for each layer; and the transients
    of each kind. Small layers are looked for first. Larger ones that consist for the most part of
    equal smaller ones are stacks of layers, such as the passes of gradient accumulation, and not
    taken.

    Parameters
    ----------
    problem : OffsetProblem
        Lifetimes, sizes and alignments count, nothing else.
    stop : callable
        Polled; when true, the best of the layers found so far are returned.

    Returns
    -------
    tuple of LayerKind
        Of at least two layers with at least two transients each, in order of their first layers.
        No buffer is in two layers, and no two layers overlap in time.

    Raises
    ------
    ValueError
        As for `solvers.offsets.arrays.checked_arrays`.
    """
    trace = trace_of(problem)
    if len(trace.size) < 4:
        return ()
    candidates = _candidates(trace, stop)
    best_cost, best = len(trace.size) ** 2, list[_Candidate]()
    most = 2
    while most < 2 * len(trace.size) and not stop():
        cost, chosen = _choose(len(trace.size), candidates, most, stop)
        if cost < best_cost and not _are_stacks(chosen, best):
            best_cost, best = cost, chosen
        most *= 2
    return _kinds(trace, [layers.segments for layers in best])


def _candidates(trace: Trace, stop: Callable[[], bool]) -> list[_Candidate]:
    found: dict[bytes, _Candidate] = {}
    span = trace.upper - trace.lower
    short_before = 0
    scale = 1
    while scale < 2 * int(span.max()) and not stop():
        short = np.flatnonzero(span <= scale)
        scale *= 2
        if len(short) == short_before:
            continue
        short_before = len(short)
        atoms = atoms_of(trace, short)
        members = members_of(trace, atoms, short)
        letters = np.unique(members.signature, return_inverse=True)[1].astype(np.int64)
        repeats = sorted(
            repeated_stretches(letters, members.members, stop), key=lambda repeat: -repeat.gain
        )
        for repeat in repeats[:REPEATS_OF_A_SCALE]:
            for segments in _bordered(trace, atoms, repeat.start, repeat.length):
                key = segments.start.tobytes() + segments.end.tobytes()
                if key not in found and not stop():
                    inside = members_of(trace, segments)
                    found[key] = _Candidate(segments, inside.members, inside.signature)
    return list(found.values())


def _bordered(
    trace: Trace, atoms: Segments, first: NDArray[np.int64], length: int
) -> Iterator[Segments]:
    """Segments of ``length`` atoms; and others, if those follow one another at one distance.

    They are as long as the distance then, one more at either end, in several positions.
    """
    start = atoms.start[first]
    yield Segments(start, atoms.end[first + length - 1])

    distance = np.diff(start)
    period = int(np.median(distance))
    if 2 * np.count_nonzero(distance == period) <= len(distance):
        return
    more = np.concatenate([[start[0] - period], start, [start[-1] + period]])
    events = int(trace.upper.max()) + 1
    for phase in _phases(trace, start, period, events):
        moved = more + phase
        moved = moved[(moved > -period) & (moved < events)]
        apart = np.concatenate([[True], np.diff(moved) >= period])
        yield Segments(moved[apart], moved[apart] + period)


def _phases(trace: Trace, start: NDArray[np.int64], period: int, events: int) -> list[int]:
    """Shifts of the borders that cut the fewest of the buffers that fit into a period."""
    short = trace.upper - trace.lower <= period
    change = np.bincount(trace.lower[short], minlength=events + 1)
    change -= np.bincount(trace.upper[short], minlength=events + 1)
    alive = np.cumsum(change)
    shifts = np.arange(-period + 1, period)
    # A border at t lies before the event t.
    borders = np.clip(start[1:, None] + shifts[None, :] - 1, -1, events)
    cut = alive[borders].sum(axis=0)
    # Nothing is gained by moving a border along a time without events of these buffers.
    new = np.concatenate([[True], cut[1:] != cut[:-1]])
    cut, shifts = cut[new], shifts[new]
    return shifts[np.lexsort((np.abs(shifts), cut))[:PHASES]].tolist()


def _choose(
    buffers: int, candidates: list[_Candidate], most: int, stop: Callable[[], bool]
) -> tuple[int, list[_Candidate]]:
    """Take layers of at most ``most`` transients while it lowers the cost; the cost, and which."""
    together, apart = buffers, 0
    chosen: list[_Candidate] = []
    while True:
        best_cost = together**2 + apart
        best: tuple[int, int, _Candidate] | None = None
        for candidate in candidates:
            if stop():
                break
            _, kind, layers = np.unique(
                candidate.signature, return_inverse=True, return_counts=True
            )
            transients = np.zeros(len(layers), dtype=np.int64)
            transients[kind] = candidate.transients
            good = (transients <= most) & (layers * (transients - 1) > transients)
            if not good.any():
                continue
            left = together - int((layers * (transients - 1))[good].sum())
            more = apart + int((transients[good] ** 2).sum())
            if left**2 + more < best_cost:
                best_cost = left**2 + more
                best = left, more, _only(candidate, good[kind])
        if best is None:
            return best_cost, chosen
        together, apart, layers = best
        chosen.append(layers)
        candidates = _clear_of(layers.segments, candidates)


def _only(candidate: _Candidate, kept: NDArray[np.bool_]) -> _Candidate:
    (start, end), transients, signature = candidate
    return _Candidate(Segments(start[kept], end[kept]), transients[kept], signature[kept])


def _clear_of(used: Segments, candidates: list[_Candidate]) -> list[_Candidate]:
    """What is left of the candidates on the time that is not used."""
    possible = []
    for candidate in candidates:
        start, end = candidate.segments
        before = np.searchsorted(used.start, end, side="left")
        clear = np.concatenate([[-(2**62)], used.end])[before] <= start
        if clear.sum() > 1:
            possible.append(_only(candidate, clear))
    return possible


def _are_stacks(chosen: list[_Candidate], smaller: list[_Candidate]) -> bool:
    """Whether the chosen layers consist for the most part of equal smaller ones."""
    if not smaller:
        return False
    start, end, transients, signature = (
        np.concatenate(columns)
        for columns in zip(*((*layers.segments, *layers[1:]) for layers in smaller), strict=True)
    )
    order = np.argsort(start)
    start, end, transients, signature = (
        column[order] for column in (start, end, transients, signature)
    )
    everything = stacked = 0
    for layers in chosen:
        first = np.searchsorted(start, layers.segments.start, side="left").tolist()
        last = np.searchsorted(end, layers.segments.end, side="right").tolist()
        for begin, stop, total in zip(first, last, layers.transients.tolist(), strict=True):
            _, kind, times = np.unique(
                signature[begin:stop], return_inverse=True, return_counts=True
            )
            inside = int(transients[begin:stop][times[kind] > 1].sum())
            everything += total
            stacked += total if 2 * inside >= total else 0
    return 2 * stacked >= everything


def _kinds(trace: Trace, chosen: list[Segments]) -> tuple[LayerKind, ...]:
    layers: dict[int, list[tuple[NDArray[np.int64], ...]]] = {}
    for segments in chosen:
        members = members_of(trace, segments)
        first = np.concatenate([[0], np.cumsum(members.members)])
        for segment, signature in enumerate(members.signature.tolist()):
            inside = slice(first[segment], first[segment + 1])
            layer = (members.buffer[inside], members.lower[inside], members.upper[inside])
            layers.setdefault(signature, []).append(layer)
    kinds = []
    for equal in layers.values():
        buffers, lower, upper = equal[0]
        shape = (lower, upper, trace.size[buffers], trace.alignment[buffers])
        # Signatures may collide, and the offsets will be shared.
        rows = [
            row
            for row, *times in equal
            if all(map(np.array_equal, (*times, trace.size[row], trace.alignment[row]), shape))
        ]
        rows.sort(key=lambda row: int(trace.lower[row[0]]))
        kinds.append(LayerKind(np.array(rows), lower, upper))
    return tuple(sorted(kinds, key=lambda kind: int(trace.lower[kind.buffers[0, 0]])))
