"""Offset assignment as a mixed-integer program with big M, in plain arrays.

The model that MEMO solves level by level (arXiv 2407.12117, equations of its bi-level planning): a
binary for each two buffers alive together says which one lies above. Added to it: the height is at
least the proven bound, each M is the smallest valid one, sides that the bounds rule out are left
away, differences with several forbidden intervals have one binary for each part between them, and
where turning a packing upside down gives another one, one binary is fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.milp.program import Rows
from solvers.offsets.pairs import coarsest_grid, nearest_sides

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.problem import OffsetProblem
    from solvers.milp.program import Program
    from solvers.offsets.pairs import Pairs

# Up to so many units of height a proof in floating point is trusted. Solvers let a constraint be
# off by 1e-6 and a reduced cost by 1e-7; times an M of 2**20 units that is a tenth of a unit.
TRUSTED_UNITS = 2**20
# Above so many units M times the smallest tolerance is hundreds of units: not worth starting.
MOST_UNITS = 2**31


class MixedIntegerModel(NamedTuple):
    """The program, and what its columns mean.

    Columns ``0 .. buffers - 1`` stand for the buffers' offsets, ``buffers`` for the height, both in
    units; all others are binary. Without a capacity the cost is the height, else nothing.

    Attributes
    ----------
    program : Program
    unit : int
        Bytes.
    step : int64 array of shape [buffers]
        An offset is its column times its step; above 1 where alignment makes the column integer.
    part : int64 array of shape [parts, 3]
        What the binaries say: (pair, intervals below the difference, column). A negative column
        ``-1 - c`` stands for ``1 - x[c]``.
    flipped : int
        The pair whose first buffer has to lie below, -1 if there is none.
    """

    program: Program
    unit: int
    step: NDArray[np.int64]
    part: NDArray[np.int64]
    flipped: int

    @property
    def binaries(self) -> int:
        """How many there are."""
        return len(self.program.names) - len(self.step) - 1


def height_unit(problem: OffsetProblem, pairs: Pairs) -> int:
    """Return the unit of the model in bytes: it divides all sizes and the grid of the offsets."""
    grid = coarsest_grid(problem, (pairs.low, pairs.high))
    return int(np.gcd.reduce(np.append(problem.size, grid.unit)))


def can_be_flipped(problem: OffsetProblem) -> bool:
    """Whether every packing turned upside down is one: whole buffers, anywhere."""
    return (
        problem.uses is None
        and not problem.pair_rules
        and (problem.fixed is None or bool((problem.fixed < 0).all()))
        and bool((problem.size % problem.alignment == 0).all())
        and len(np.unique(problem.alignment)) == 1
    )


def big_m_model(
    problem: OffsetProblem, pairs: Pairs, *, bound: int, ceiling: int
) -> MixedIntegerModel | None:
    """Build the model of all packings with heights from ``bound`` to ``ceiling``.

    Parameters
    ----------
    bound : int
        Proven lower bound on the height in bytes.
    ceiling : int
        Bytes; the capacity, or the height of a known packing.

    Returns
    -------
    MixedIntegerModel or None
        None if bounds alone prove that there is no such packing.
    """
    count = len(problem.size)
    unit = height_unit(problem, pairs)
    grid = coarsest_grid(problem, (pairs.low, pairs.high))
    # An offset whose alignment divides the grid's unit gets there by itself.
    step = np.where(grid.step > 1, grid.step * (grid.unit // unit), 1)
    size, top = problem.size // unit, ceiling // unit
    first, last = _offset_range(problem, unit, step, top)
    if (first > last).any():
        return None
    rows = Rows()
    for v in range(count):
        rows.variable(
            f"offset_{v}", first[v] / step[v], last[v] / step[v], integer=bool(step[v] > 1)
        )
    minimise = problem.capacity is None
    rows.variable("height", -(-bound // unit), top, cost=float(minimise))
    for v in range(count):
        rows.add(f"top_{v}", [(v, float(step[v])), (count, -1.0)], upper=-float(size[v]))
    parts: list[tuple[int, int, int]] = []
    flipped = _largest_pair(problem, pairs) if can_be_flipped(problem) else -1
    for pair in range(len(pairs.first)):
        u, v = int(pairs.first[pair]), int(pairs.second[pair])
        span = slice(int(pairs.start[pair]), int(pairs.start[pair + 1]))
        window = int(first[v] - last[u]), int(last[v] - first[u])
        sides = _possible_sides(
            (pairs.low[span] // unit).tolist(), (pairs.high[span] // unit).tolist(), window
        )
        if pair == flipped:
            sides = sides[-1:]
        if not sides:
            return None
        parts += _add_pair(rows, (pair, u, v), step, sides, window)
    return MixedIntegerModel(
        program=rows.program(),
        unit=unit,
        step=step,
        part=np.array(parts, dtype=np.int64).reshape(-1, 3),
        flipped=flipped,
    )


def _offset_range(
    problem: OffsetProblem, unit: int, step: NDArray[np.int64], top: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowest and highest offset of each buffer in units."""
    first = np.zeros(len(step), dtype=np.int64)
    last = (top - problem.size // unit) // step * step
    if problem.fixed is not None:
        pinned = problem.fixed >= 0
        first[pinned] = problem.fixed[pinned] // unit
        last[pinned] = np.minimum(last, problem.fixed // unit)[pinned]
    return first, last


def _largest_pair(problem: OffsetProblem, pairs: Pairs) -> int:
    """Return the pair with the most bytes, -1 without pairs."""
    if not len(pairs.first):
        return -1
    return int((problem.size[pairs.first] + problem.size[pairs.second]).argmax())


def _possible_sides(
    low: list[int], high: list[int], window: tuple[int, int]
) -> list[tuple[int, int, int]]:
    """Return (intervals below, least, greatest difference) of each side that bounds allow."""
    least = [window[0], *(max(end, window[0]) for end in high)]
    greatest = [*(min(end, window[1]) for end in low), window[1]]
    return [(side, a, b) for side, (a, b) in enumerate(zip(least, greatest, strict=True)) if a <= b]


def _add_pair(
    rows: Rows,
    names: tuple[int, int, int],
    step: NDArray[np.int64],
    sides: list[tuple[int, int, int]],
    window: tuple[int, int],
) -> list[tuple[int, int, int]]:
    """Demand that the difference is on one of these sides; return what the binaries mean."""
    pair, u, v = names
    difference = [(v, float(step[v])), (u, -float(step[u]))]
    if len(sides) == 1:
        _, least, greatest = sides[0]
        if least > window[0]:
            rows.add(f"above_{u}_{v}", difference, lower=least)
        if greatest < window[1]:
            rows.add(f"below_{u}_{v}", difference, upper=greatest)
        return []
    if len(sides) == 2:
        (below, a, b), (above, c, d) = sides
        column = rows.binary(f"z_{u}_{v}")
        rows.add(f"above_{u}_{v}", [*difference, (column, float(a - c))], lower=a)
        rows.add(f"below_{u}_{v}", [*difference, (column, float(b - d))], upper=b)
        return [(pair, below, -1 - column), (pair, above, column)]
    columns = [rows.binary(f"part_{u}_{v}_{side}") for side, _, _ in sides]
    rows.add(f"one_{u}_{v}", [(column, 1.0) for column in columns], 1.0, 1.0)
    rows.add(
        f"above_{u}_{v}",
        [*difference, *((c, -float(a)) for c, (_, a, _) in zip(columns, sides, strict=True))],
        lower=0.0,
    )
    rows.add(
        f"below_{u}_{v}",
        [*difference, *((c, -float(b)) for c, (_, _, b) in zip(columns, sides, strict=True))],
        upper=0.0,
    )
    return [(pair, side, column) for (side, _, _), column in zip(sides, columns, strict=True)]


def point_of(
    problem: OffsetProblem, pairs: Pairs, model: MixedIntegerModel, offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the model's variables for a legal packing in bytes, as a start for the solver."""
    height = int((offsets + problem.size).max(initial=0))
    if model.flipped >= 0 and (
        offsets[pairs.second[model.flipped]] < offsets[pairs.first[model.flipped]]
    ):
        offsets = height - problem.size - offsets
    count = len(model.step)
    point = np.zeros(len(model.program.cost))
    point[:count] = offsets / model.unit / model.step
    point[count] = height / model.unit
    sides = nearest_sides(pairs, offsets)
    for pair, side, column in model.part.tolist():
        if column >= 0:
            point[column] = float(sides[pair] == side)
    return point


def sides_chosen(
    pairs: Pairs, model: MixedIntegerModel, point: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the sides that a solution's binaries choose, else those nearest to its offsets."""
    count = len(model.step)
    sides = nearest_sides(pairs, point[:count] * model.step * model.unit)
    for pair, side, column in model.part.tolist():
        value = point[column] if column >= 0 else 1.0 - point[-1 - column]
        if value > 0.5:
            sides[pair] = side
    return sides
