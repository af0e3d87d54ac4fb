"""Solver ``mathopt``: the big-M model through ortools.math_opt, solved by HiGHS."""

from __future__ import annotations

import datetime
import importlib.util
import sys
import time
from typing import TYPE_CHECKING, Any

from planner.problem import Outcome, Status
from solvers.cp_sat import LARGEST_SEED
from solvers.offsets.big_m import point_of
from solvers.offsets.incumbent import Incumbent
from solvers.offsets.mip import model_below, take_answer, too_large
from solvers.offsets.pairs import conflicting_pairs
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from planner.problem import OffsetProblem, OffsetSolution
    from solvers import SharedBest
    from solvers.offsets.big_m import MixedIntegerModel
    from solvers.protocol import Deadline

MOST_PAIRS = 20_000
# MathOpt's HiGHS cannot be interrupted. It starts with this limit, and each later one doubles,
# so a cancelled solve ends after at most about the time it has already taken.
FIRST_LIMIT_S = 1.0
# HiGHS looks at the clock now and then only.
OVERRUN_S = 0.1


class MathOptOffsets:
    """The big-M mixed-integer program of MEMO (arXiv 2407.12117), solved by HiGHS.

    Solutions and proofs count as for `solvers.offsets.mip.PulpOffsets`.
    """

    name = "mathopt"

    def available(self) -> Availability:
        """Needs ortools."""
        return ortools_available()

    def unsupported(self, problem: OffsetProblem) -> str:
        """Say why the problem is too large, or nothing."""
        return too_large(problem, MOST_PAIRS)

    def solve(
        self,
        problem: OffsetProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: OffsetSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
        shared: SharedBest | None = None,
    ) -> Outcome[OffsetSolution]:
        """Solve, or hand back the best by the deadline."""
        started_s = time.thread_time()
        reason = self.unsupported(problem)
        if reason:
            return Outcome(Status.UNKNOWN, None, statistics={"stopped": reason})
        pairs = conflicting_pairs(problem)
        best = Incumbent(self.name, problem, pairs, shared, on_progress)
        best.begin(incumbent, deadline)
        statistics: dict[str, Any] = {"runs": 0}
        limit_s = FIRST_LIMIT_S
        while not best.is_settled() and not deadline.expired():
            model, reason = model_below(problem, pairs, best)
            if model is None:
                statistics["stopped"] = reason
                break
            start = None
            if problem.capacity is None and best.offsets is not None:
                start = point_of(problem, pairs, model, best.offsets)
            limit = min(limit_s, deadline.remaining_s() - OVERRUN_S)
            if limit <= 0:
                break
            try:
                values, optimal, infeasible = _solve(model, start, limit, seed)
            except ImportError as error:
                statistics["stopped"] = f"ortools cannot be loaded: {error}"
                break
            take_answer(
                problem, pairs, model, best, values=values, optimal=optimal, infeasible=infeasible
            )
            statistics["runs"] += 1
            statistics["binaries"] = model.binaries
            if optimal or infeasible:
                break
            best.exchange()
            limit_s *= 2
        return best.outcome(cpu_s=time.thread_time() - started_s, **statistics)


def ortools_available() -> Availability:
    """Return whether ortools can be loaded."""
    if importlib.util.find_spec("ortools") is None:
        return Availability(False, "needs ortools: pip install ortools")
    if "highspy" in sys.modules and "ortools" not in sys.modules:
        return Availability(
            False, "highspy is loaded, and ortools cannot be loaded into the same process"
        )
    return Availability(True)


def _solve(
    model: MixedIntegerModel, start: NDArray | None, limit_s: float, seed: int
) -> tuple[list[float] | None, bool, bool]:
    """Return the values of the columns, whether proven optimal, and whether proven infeasible."""
    from ortools.math_opt.python import mathopt

    program = mathopt.Model()
    columns = [
        program.add_variable(lb=lower, ub=upper, is_integer=integer)
        for lower, upper, integer in zip(
            model.lower.tolist(), model.upper.tolist(), model.integer.tolist(), strict=True
        )
    ]
    rows = [
        program.add_linear_constraint(lb=lower, ub=upper)
        for lower, upper in zip(model.row_lower.tolist(), model.row_upper.tolist(), strict=True)
    ]
    for row, column, value in zip(
        model.row.tolist(), model.column.tolist(), model.value.tolist(), strict=True
    ):
        rows[row].set_coefficient(columns[column], value)
    program.minimize(
        mathopt.fast_sum(
            [cost * column for cost, column in zip(model.cost, columns, strict=True) if cost]
        )
    )
    hints = []
    if start is not None:
        values = dict(zip(columns, start.tolist(), strict=True))
        hints.append(mathopt.SolutionHint(variable_values=values))
    result = mathopt.solve(
        program,
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
        point = [found[column] for column in columns]
    return (
        point,
        reason == mathopt.TerminationReason.OPTIMAL,
        reason == mathopt.TerminationReason.INFEASIBLE,
    )
