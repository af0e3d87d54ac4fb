"""A bound on recomputation in the staged grid: Checkmate's relaxation, safe from rounding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from solvers.milp.linear import GrowingProgram
from solvers.training.checkmate_model import checkmate_model
from solvers.training.stages import grid_entries

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem
    from solvers.protocol import Deadline
    from solvers.training.stages import StagedGrid

MOST_ENTRIES = 30_000
"""Operators and operands of all stages beyond which no program is built."""


def relaxed_bound(
    problem: TrainingProblem, grid: StagedGrid, budget_bytes: int, *, deadline: Deadline
) -> int:
    """Return picoseconds of recomputation that no schedule in the grid can do without.

    However often it runs an operator. 0 where the grid is too large or the time too short.

    Raises
    ------
    ImportError
        If ortools cannot be loaded.
    """
    if grid_entries(grid) > MOST_ENTRIES or deadline.expired():
        return 0
    model = checkmate_model(problem, grid, budget_bytes, deadline=deadline)
    if model is None:
        return 0
    bound = GrowingProgram(model.program).solve(deadline).bound
    if not math.isfinite(bound):
        return 0
    return max(0, math.ceil(bound) * model.ps_unit - grid.paid_ps)
