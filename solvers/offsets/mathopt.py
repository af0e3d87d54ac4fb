"""Solver ``mathopt``: the big-M model through ortools.math_opt, solved by HiGHS."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from planner.problem import Outcome, Status
from solvers.milp.highs import FIRST_LIMIT_S, OVERRUN_S, HighsProgram, ortools_available
from solvers.offsets.big_m import point_of
from solvers.offsets.incumbent import Incumbent
from solvers.offsets.mip import model_below, take_answer, too_large
from solvers.offsets.pairs import conflicting_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import OffsetProblem, OffsetSolution
    from solvers import SharedBest
    from solvers.protocol import Availability, Deadline

MOST_PAIRS = 20_000


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
                answer = HighsProgram(model.program).solve(limit, start=start, seed=seed)
            except ImportError as error:
                statistics["stopped"] = f"ortools cannot be loaded: {error}"
                break
            take_answer(problem, pairs, model, best, answer)
            statistics["runs"] += 1
            statistics["binaries"] = model.binaries
            if answer.optimal or answer.infeasible:
                break
            best.exchange()
            limit_s *= 2
        return best.outcome(cpu_s=time.thread_time() - started_s, **statistics)
