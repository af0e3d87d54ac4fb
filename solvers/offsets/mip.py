"""Solver ``mip``: MEMO's big-M model through PuLP, with whatever solver the user has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from planner.errors import UsageError
from planner.problem import Outcome, Status
from solvers.milp.pulp_process import lp_text, pulp_available, solve_by_pulp
from solvers.offsets.big_m import (
    MOST_UNITS,
    TRUSTED_UNITS,
    big_m_model,
    height_unit,
    point_of,
    sides_chosen,
)
from solvers.offsets.incumbent import NO_HEIGHT, Incumbent, smallest_height
from solvers.offsets.pairs import conflicting_pairs, count_overlaps, least_offsets

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from planner.problem import OffsetProblem, OffsetSolution
    from solvers import SharedBest
    from solvers.milp.program import Answer
    from solvers.offsets.big_m import MixedIntegerModel
    from solvers.offsets.pairs import Pairs
    from solvers.protocol import Availability, Deadline

MOST_PAIRS = 20_000


class PulpOffsets:
    """The big-M mixed-integer program of MEMO (arXiv 2407.12117), solved through PuLP.

    `solvers.milp.pulp_process.solve_by_pulp` says with which solver.

    What it returns is rounded to the sides that its binaries choose and packed anew in exact
    integers. A proof counts only if the solver ended before its time limit and the heights are at
    most 2**20 units, the greatest common divisor of all sizes and alignments.
    """

    name = "mip"

    def available(self) -> Availability:
        """Needs pulp."""
        return pulp_available()

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
        """Solve, or hand back the best by the deadline. The seed is not used.

        Raises
        ------
        UsageError
            If ``PLANNER_PULP_SOLVER`` names a solver that is not there.
        """
        reason = self.unsupported(problem)
        if reason:
            return Outcome(Status.UNKNOWN, None, statistics={"stopped": reason})
        pairs = conflicting_pairs(problem)
        best = Incumbent(self.name, problem, pairs, shared, on_progress)
        best.begin(incumbent, deadline)
        if best.is_settled() or deadline.expired():
            return best.outcome(cpu_s=0.0)
        model, reason = model_below(problem, pairs, best)
        if model is None:
            return best.outcome(cpu_s=0.0, stopped=reason)
        start = None
        if problem.capacity is None and best.offsets is not None:
            start = point_of(problem, pairs, model, best.offsets)

        def settled() -> bool:
            best.exchange()
            return best.is_settled()

        answer = solve_by_pulp(
            model.program, _program_name(model), deadline=deadline, start=start, stop=settled
        )
        take_answer(problem, pairs, model, best, answer)
        return best.outcome(binaries=model.binaries, **answer.statistics)


def too_large(problem: OffsetProblem, most_pairs: int) -> str:
    """Say why a problem is too large for a big-M model, or nothing."""
    overlaps = count_overlaps(problem)
    if overlaps > most_pairs:
        return f"up to {overlaps:,} pairs of buffers conflict; the model takes {most_pairs:,}"
    return too_high(problem, conflicting_pairs(problem), smallest_height(problem))


def too_high(problem: OffsetProblem, pairs: Pairs, height: int) -> str:
    """Say why a model up to a height is beyond floating point, or nothing."""
    unit = height_unit(problem, pairs)
    if height // unit > MOST_UNITS:
        return (
            f"its height is {height // unit:,} units of {unit:,} bytes or more; in floating point "
            f"a model of at most {MOST_UNITS:,} units is sound"
        )
    return ""


def model_below(
    problem: OffsetProblem, pairs: Pairs, best: Incumbent
) -> tuple[MixedIntegerModel | None, str]:
    """Build the model up to the capacity or the best height.

    Returns
    -------
    MixedIntegerModel or None
        None if the bounds alone prove that there is no such packing, or if it cannot be built.
    str
        Why it cannot be built, or nothing.
    """
    ceiling = best.height if problem.capacity is None else problem.capacity
    if ceiling == NO_HEIGHT:
        return None, "no packing is known to start from"
    if reason := too_high(problem, pairs, ceiling):
        return None, reason
    model = big_m_model(problem, pairs, bound=best.bound, ceiling=ceiling)
    if model is None:
        best.offer_bound(ceiling + 1)
    return model, ""


def take_answer(
    problem: OffsetProblem,
    pairs: Pairs,
    model: MixedIntegerModel,
    best: Incumbent,
    answer: Answer,
) -> None:
    """Take what a floating point solver says: its packing made exact, its proof if trusted."""
    height = len(model.step)
    trusted = model.program.upper[height] <= TRUSTED_UNITS
    if answer.values is not None:
        sides = sides_chosen(pairs, model, answer.values)
        offsets = least_offsets(problem, pairs, sides, NO_HEIGHT)
        if offsets is not None:
            best.offer(offsets)
        if answer.optimal and trusted and problem.capacity is None:
            # A quarter of a unit is far more than the solver's tolerances, see TRUSTED_UNITS.
            best.offer_bound(int(np.ceil(answer.values[height] - 0.25)) * model.unit)
    if answer.infeasible and trusted and problem.capacity is not None:
        best.offer_bound(problem.capacity + 1)


def write_lp(problem: OffsetProblem, path: str | os.PathLike[str]) -> None:
    """Write the big-M model as an LP file. Its variables count units of bytes, see its first line.

    Raises
    ------
    UsageError
        If the problem is too large, or has no packing within its capacity or fixed offsets.
    OSError
        If the file cannot be written.
    """
    from solvers.protocol import Deadline

    reason = too_large(problem, MOST_PAIRS)
    if reason:
        raise UsageError(f"no LP file was written: {reason}.")
    pairs = conflicting_pairs(problem)
    best = Incumbent("mip", problem, pairs, None, None)
    deadline = Deadline(60.0)
    best.begin(None, deadline)
    model, reason = model_below(problem, pairs, best)
    if model is None:
        reason = reason or "the bounds alone rule out every packing"
        raise UsageError(f"no LP file was written: {reason}.")
    text = lp_text(model.program, _program_name(model), deadline)
    if text is None:
        raise UsageError("no LP file was written: it took more than a minute.")
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_bytes(text)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _program_name(model: MixedIntegerModel) -> str:
    return f"offsets_in_units_of_{model.unit}_bytes"
