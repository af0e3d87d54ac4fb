"""Programs solved by HiGHS through ortools.math_opt, one time slice after the other."""

from __future__ import annotations

import datetime
import importlib.util
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from solvers.cp_sat import LARGEST_SEED
from solvers.milp.program import Answer
from solvers.protocol import Availability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from solvers.milp.program import Program
    from solvers.protocol import Deadline

# MathOpt's HiGHS cannot be interrupted. It starts with this limit, and each later one doubles,
# so a cancelled solve ends after at most about the time it has already taken.
FIRST_LIMIT_S = 1.0
# HiGHS looks at the clock now and then only.
OVERRUN_S = 0.1


def ortools_available() -> Availability:
    """Return whether ortools can be loaded."""
    if importlib.util.find_spec("ortools") is None:
        return Availability(False, "needs ortools: pip install ortools")
    if "highspy" in sys.modules and "ortools" not in sys.modules:
        return Availability(
            False, "highspy is loaded, and ortools cannot be loaded into the same process"
        )
    return Availability(True)


class HighsProgram:
    """A program as MathOpt holds it, to be solved more than once."""

    def __init__(self, program: Program) -> None:
        """Hand the program over.

        Raises
        ------
        ImportError
            If ortools cannot be loaded.
        """
        from ortools.math_opt.python import mathopt

        self._mathopt = mathopt
        self._model = mathopt.Model()
        self._columns = [
            self._model.add_variable(lb=lower, ub=upper, is_integer=integer)
            for lower, upper, integer in zip(
                program.lower.tolist(), program.upper.tolist(), program.integer.tolist(),
                strict=True,
            )
        ]  # fmt: skip
        rows = [
            self._model.add_linear_constraint(lb=lower, ub=upper)
            for lower, upper in zip(
                program.row_lower.tolist(), program.row_upper.tolist(), strict=True
            )
        ]
        for row, column, value in zip(
            program.row.tolist(), program.column.tolist(), program.value.tolist(), strict=True
        ):
            rows[row].set_coefficient(self._columns[column], value)
        self._model.minimize(
            mathopt.fast_sum(
                [
                    cost * column
                    for cost, column in zip(program.cost.tolist(), self._columns, strict=True)
                    if cost
                ]
            )
        )

    def solve(
        self, limit_s: float, *, start: NDArray[np.float64] | None = None, seed: int = 0
    ) -> Answer:
        """Solve for so many seconds, from a feasible point if there is one."""
        mathopt = self._mathopt
        started_s = time.thread_time()
        hints = []
        if start is not None:
            values = dict(zip(self._columns, start.tolist(), strict=True))
            hints.append(mathopt.SolutionHint(variable_values=values))
        result = mathopt.solve(
            self._model,
            mathopt.SolverType.HIGHS,
            params=mathopt.SolveParameters(
                time_limit=datetime.timedelta(seconds=limit_s),
                relative_gap_tolerance=0.0,
                random_seed=seed & LARGEST_SEED,
            ),
            model_params=mathopt.ModelSolveParameters(solution_hints=hints),
        )
        reason = result.termination.reason
        point = None
        if result.has_primal_feasible_solution():
            found = result.variable_values()
            point = np.array([found[column] for column in self._columns], dtype=np.float64)
        return Answer(
            values=point,
            optimal=reason == mathopt.TerminationReason.OPTIMAL,
            infeasible=reason == mathopt.TerminationReason.INFEASIBLE,
            bound=result.dual_bound(),
            statistics={"cpu_s": time.thread_time() - started_s},
        )


def solve_by_highs(program: Program, *, deadline: Deadline, seed: int = 0) -> Answer:
    """Solve in time slices until proven or the deadline; each starts from the best so far.

    Statistics: ``cpu_s``, ``runs``, or why it ``stopped``.
    """
    started_s = time.thread_time()
    best: NDArray[np.float64] | None = None
    bound = -np.inf
    optimal = infeasible = False
    statistics: dict[str, Any] = {"runs": 0, "solver": "HiGHS"}
    limit_s = FIRST_LIMIT_S
    try:
        model = HighsProgram(program)
        while not optimal and not infeasible:
            limit = min(limit_s, deadline.remaining_s() - OVERRUN_S)
            if limit <= 0:
                statistics["stopped"] = "stopped at the deadline"
                break
            answer = model.solve(limit, start=best, seed=seed)
            statistics["runs"] += 1
            bound = max(bound, answer.bound)
            optimal, infeasible = answer.optimal, answer.infeasible
            if answer.values is not None and (
                best is None or program.cost @ answer.values <= program.cost @ best
            ):
                best = answer.values
            limit_s *= 2
    except ImportError as error:
        statistics["stopped"] = f"ortools cannot be loaded: {error}"
    statistics["cpu_s"] = time.thread_time() - started_s
    return Answer(best, optimal, infeasible, float(bound), statistics)
