"""Programs made from programs: with less fast memory, a stretch of the rows, several in a row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem


def with_capacity(problem: MappingProblem, capacity: int) -> MappingProblem:
    """Return the program with less fast memory; buffers that no longer fit are served slow.

    Parameters
    ----------
    capacity : int
        Bytes, at most those there are; rounded down to the alignment, but not to nothing.

    Raises
    ------
    ValueError
        If it exceeds the program's: buffers left out for their size are not known any more.
    """
    if capacity > problem.capacity:
        raise ValueError(f"{capacity:,} bytes are more than the program's {problem.capacity:,}")
    unit = problem.alignment
    capacity = max(capacity // unit, 1) * unit
    return replace(_without(problem, problem.size > capacity), capacity=capacity)


def cropped(problem: MappingProblem, start: int, end: int) -> MappingProblem:
    """Return rows ``start`` to ``end - 1`` as a program of their own.

    What was written before lies in the slow memory at the beginning. What is written here and
    accessed later has to lie there in the end: it is left out, as graph outputs are. Set-ups of
    copies apart, which are told from shorter rows in the whole, what is legal here is legal there.

    Raises
    ------
    ValueError
        If these are no rows of the program.
    """
    if not 0 <= start < end <= problem.rows:
        raise ValueError(f"rows {start} to {end} of {problem.rows}")
    row = problem.access_row
    before, after = row < start, row >= end
    inside = ~before & ~after
    left_behind = _among(problem, inside & problem.writes) & _among(problem, after)
    kept = _among(problem, inside) & ~left_behind
    rest = _without(problem, ~kept)
    within = (rest.access_row >= start) & (rest.access_row < end)
    rows = slice(start, end)
    return replace(
        rest,
        has_copy=(problem.has_copy | _among(problem, before))[kept],
        access_row=(rest.access_row[within] - start).astype(np.int32),
        access_buffer=rest.access_buffer[within],
        writes=rest.writes[within],
        fast=rest.fast[within],
        slow=rest.slow[within],
        arithmetic=rest.arithmetic[rows],
        overhead=rest.overhead[rows],
        other_fast=rest.other_fast[rows],
        other_slow=rest.other_slow[rows],
        touches_fast=rest.touches_fast[rows],
        touches_slow=rest.touches_slow[rows],
    )


def repeated(problem: MappingProblem, times: int) -> MappingProblem:
    """Return the program run ``times`` times in a row, as the steps of a decoder are.

    What the slow memory holds from the beginning, weights above all, is the same in all of them;
    what is made is made anew each time.

    Raises
    ------
    ValueError
        If ``times`` is not positive.
    """
    if times < 1:
        raise ValueError(f"{times} times")
    made = np.flatnonzero(~problem.has_copy)
    number = np.cumsum(~problem.has_copy) - 1
    again = np.concatenate([np.arange(problem.buffers), *[made] * (times - 1)])
    rows, buffers = [], []
    for turn in range(times):
        copy = problem.buffers + (turn - 1) * len(made) + number
        renamed = np.where(problem.has_copy | (turn == 0), np.arange(problem.buffers), copy)
        rows.append(problem.access_row + turn * problem.rows)
        buffers.append(renamed[problem.access_buffer])
    access_row, access_buffer = np.concatenate(rows), np.concatenate(buffers)
    order = np.lexsort((access_buffer, access_row))

    def tiled(array: NDArray) -> NDArray:
        return np.tile(array, times)

    return replace(
        problem,
        size=problem.size[again],
        has_copy=problem.has_copy[again],
        copy_in=problem.copy_in[again],
        copy_out=problem.copy_out[again],
        access_row=access_row[order].astype(np.int32),
        access_buffer=access_buffer[order].astype(np.int32),
        writes=tiled(problem.writes)[order],
        fast=tiled(problem.fast)[order],
        slow=tiled(problem.slow)[order],
        arithmetic=tiled(problem.arithmetic),
        overhead=tiled(problem.overhead),
        other_fast=tiled(problem.other_fast),
        other_slow=tiled(problem.other_slow),
        touches_fast=tiled(problem.touches_fast),
        touches_slow=tiled(problem.touches_slow),
    )


def _among(problem: MappingProblem, accesses: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say of each buffer whether one of these accesses is its own."""
    found = np.zeros(problem.buffers, dtype=bool)
    found[problem.access_buffer[accesses]] = True
    return found


def _without(problem: MappingProblem, left_out: NDArray[np.bool_]) -> MappingProblem:
    """Leave buffers out: all their accesses are served slow, and not decided any more."""
    gone = left_out[problem.access_buffer]
    other_slow, touches_slow = problem.other_slow.copy(), problem.touches_slow.copy()
    np.add.at(other_slow, problem.access_row[gone], problem.slow[gone])
    touches_slow[problem.access_row[gone & problem.moves]] = True
    number = np.cumsum(~left_out) - 1
    return replace(
        problem,
        size=problem.size[~left_out],
        has_copy=problem.has_copy[~left_out],
        copy_in=problem.copy_in[~left_out],
        copy_out=problem.copy_out[~left_out],
        access_row=problem.access_row[~gone],
        access_buffer=number[problem.access_buffer[~gone]].astype(np.int32),
        writes=problem.writes[~gone],
        fast=problem.fast[~gone],
        slow=problem.slow[~gone],
        other_slow=other_slow,
        touches_slow=touches_slow,
    )
