"""As many kept hints as possible within a height, by CP-SAT, for small problems."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from solvers.cp_sat import LARGEST_SUM, add_one_of, new_solver, solve_until
from solvers.offsets.pairs import conflicting_pairs, count_overlaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from planner.problem import OffsetProblem, OffsetSolution
    from solvers.packing.hints import Wish
    from solvers.protocol import Deadline

_MOST_PAIRS = 5_000


def keep_most(
    problem: OffsetProblem,
    wished: Sequence[Wish],
    start: OffsetSolution,
    deadline: Deadline,
    seed: int,
) -> NDArray[np.int64] | None:
    """Return offsets within the capacity that keep most hints; None if nothing was found.

    Parameters
    ----------
    problem : OffsetProblem
        With a capacity.
    start : OffsetSolution
        Within the capacity.
    """
    assert problem.capacity is not None, "hints are kept below a height"
    if count_overlaps(problem) > _MOST_PAIRS or problem.capacity > LARGEST_SUM:
        return None
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        return None
    model = cp_model.CpModel()
    offsets = []
    for row, (size, alignment) in enumerate(
        zip(problem.size.tolist(), problem.alignment.tolist(), strict=True)
    ):
        if problem.fixed is not None and problem.fixed[row] >= 0:
            offsets.append(model.new_constant(int(problem.fixed[row])))
            continue
        steps = model.new_int_var(0, (problem.capacity - size) // alignment, "")
        model.add_hint(steps, int(start.offsets[row]) // alignment)
        offsets.append(alignment * steps)
    pairs = conflicting_pairs(problem)
    for pair, (u, v) in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        span = slice(int(pairs.start[pair]), int(pairs.start[pair + 1]))
        low, high = pairs.low[span].tolist(), pairs.high[span].tolist()
        parts = zip([-problem.capacity, *high], [*low, problem.capacity], strict=True)
        add_one_of(model, offsets[v] - offsets[u], parts)
    kept = []
    for wish in wished:
        keeps = model.new_bool_var("")
        model.add(offsets[wish.row] == wish.offset).only_enforce_if(keeps)
        model.add_hint(keeps, bool(start.offsets[wish.row] == wish.offset))
        kept.append(wish.buffers * keeps)
    model.maximize(sum(kept))
    solver = new_solver(seed)
    status = solve_until(solver, model, deadline).status
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    return np.array([solver.value(offset) for offset in offsets], dtype=np.int64)
