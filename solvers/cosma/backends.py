"""The two ways to have COSMA's integer program solved."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from solvers.milp.highs import ortools_available, solve_by_highs
from solvers.milp.pulp_process import pulp_available, solve_by_pulp

if TYPE_CHECKING:
    from solvers.milp.program import Answer, Program
    from solvers.protocol import Availability, Deadline


class Backend(StrEnum):
    """PuLP with whatever solver it finds, or HiGHS through MathOpt."""

    PULP = "pulp"
    MATHOPT = "mathopt"

    def available(self) -> Availability:
        """Needs pulp, or ortools."""
        return pulp_available() if self is Backend.PULP else ortools_available()

    def solve(self, program: Program, *, deadline: Deadline, seed: int) -> Answer:
        """Solve a program. The seed counts for HiGHS alone."""
        if self is Backend.PULP:
            return solve_by_pulp(program, "cosma", deadline=deadline)
        return solve_by_highs(program, deadline=deadline, seed=seed)
