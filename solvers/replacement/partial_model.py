"""How much of each storage leaves in each gap, as a MIP (HiGHS).

The amounts are integers, multiples of the alignment; the rows are those of `gaps.py`. What is
written of a storage is the largest of its amounts (`parts.py`). The exact form of the model, in
bytes and without rounding, is a relaxation of every plan with partial spills: at each step the
bytes that are there need at most the capacity, each byte absent in a gap is read back for it, and
each that is ever absent has been written.
"""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.replacement.capacity_rows import add_capacity_rows
from solvers.replacement.gaps import BOUND_TOLERANCE, FIRST_LIMIT_S
from solvers.replacement.parts import overfull_bytes, parts_traffic, trimmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from solvers.protocol import Deadline
    from solvers.replacement.demand import Demand
    from solvers.replacement.gaps import Gap


class PartialAnswer(NamedTuple):
    """Bytes kept per (storage, use before the gap), None without a solution, and a bound."""

    kept: dict[tuple[int, int], int] | None
    bound: int


def choose_parts(
    demand: Demand, gaps: Sequence[Gap], deadline: Deadline, fraction: float = 1.0
) -> PartialAnswer:
    """Choose what leaves in each gap with the least traffic by capacity alone.

    The bound holds for every plan, moves included, if ``fraction`` is 1.
    """
    limits = demand.limits(fraction)
    model = _Model(
        demand,
        gaps,
        unit=demand.alignment,
        size=demand.rounded,
        padding=[r - s for r, s in zip(demand.rounded, demand.size, strict=True)],
        missing=overfull_bytes(demand, gaps, {}, limits),
    )
    amounts, bound = model.solve(deadline)
    if demand.alignment > 1:
        bound = _bound_in_bytes(demand, gaps, deadline)
    if amounts is None:
        return PartialAnswer(None, bound)
    kept = {
        (gap.storage, gap.before): demand.rounded[gap.storage] - amount
        for gap, amount in zip(gaps, amounts, strict=True)
        if amount > 0
    }
    if (overfull_bytes(demand, gaps, kept, limits) > 0).any():
        return PartialAnswer(None, bound)
    if fraction == 1.0:
        fuller = trimmed(demand, gaps, kept)
        if parts_traffic(demand, fuller) < parts_traffic(demand, kept):
            kept = fuller
    return PartialAnswer(kept, bound)


def _bound_in_bytes(demand: Demand, gaps: Sequence[Gap], deadline: Deadline) -> int:
    """Bound on plans that may drop any bytes: sizes as they are, amounts in bytes."""
    live = np.zeros(demand.steps + 1, dtype=np.int64)
    for gap in gaps:
        live[gap.before + 1] += demand.size[gap.storage]
        live[gap.after] -= demand.size[gap.storage]
    footprint = [sum(demand.size[storage] for storage in row) for row in demand.owners]
    missing = np.cumsum(live[:-1]) + np.array(footprint, dtype=np.int64)
    missing -= demand.exact_capacity
    model = _Model(
        demand, gaps, unit=1, size=demand.size, padding=[0] * len(demand.size), missing=missing
    )
    return model.solve(deadline)[1]


class _Model:
    """Amounts ``unit * k`` per gap with ``k`` an integer, at most all of the storage.

    ``padding`` are bytes of a storage's last unit that do not count for traffic: whoever leaves at
    all takes them along for nothing. That is convex, so a continuous variable expresses it.
    """

    def __init__(
        self,
        demand: Demand,
        gaps: Sequence[Gap],
        *,
        unit: int,
        size: Sequence[int],
        padding: Sequence[int],
        missing: np.ndarray,
    ) -> None:
        from ortools.math_opt.python import mathopt

        self._mathopt = mathopt
        self._model = mathopt.Model()
        self._unit = unit
        self._size = [size[gap.storage] // unit for gap in gaps]
        self._value_unit = max(1, math.gcd(unit, *demand.size)) if gaps else 1
        self._leaving = [self._model.add_integer_variable(lb=0, ub=most) for most in self._size]
        written: dict[int, mathopt.Variable] = {}
        costs = []
        for gap, leaving in zip(gaps, self._leaving, strict=True):
            # All costs are in units, so that bytes in the millions do no harm.
            read = 1.0 * leaving
            if padding[gap.storage]:
                any_ = self._model.add_variable(lb=0.0, ub=1.0)
                self._model.add_linear_constraint(any_ <= leaving)
                read = read - padding[gap.storage] / unit * any_
            costs.append(read)
            if not demand.has_copy[gap.storage]:
                if gap.storage not in written:
                    written[gap.storage] = self._model.add_variable(lb=0.0)
                    costs.append(1.0 * written[gap.storage])
                self._model.add_linear_constraint(written[gap.storage] >= read)
        self._model.minimize(mathopt.fast_sum(costs))
        add_capacity_rows(self._model, gaps, self._leaving, [1] * len(gaps), -(-missing // unit))

    def solve(self, deadline: Deadline) -> tuple[list[int] | None, int]:
        """Amounts in bytes, None without a solution, and a bound on the traffic in bytes."""
        mathopt = self._mathopt
        limit_s, bound = FIRST_LIMIT_S, 0
        hint = []
        amounts: list[int] | None = None
        while not deadline.expired():
            limit = min(limit_s, deadline.remaining_s())
            result = mathopt.solve(
                self._model,
                mathopt.SolverType.HIGHS,
                params=mathopt.SolveParameters(
                    time_limit=datetime.timedelta(seconds=limit), relative_gap_tolerance=0.0
                ),
                model_params=mathopt.ModelSolveParameters(solution_hints=hint),
            )
            bound = max(bound, self._bytes_bound(result.dual_bound()))
            if result.has_primal_feasible_solution():
                values = result.variable_values()
                hint = [mathopt.SolutionHint(variable_values=values)]
                amounts = [round(values[leaving]) * self._unit for leaving in self._leaving]
            reason = result.termination.reason
            if reason in (mathopt.TerminationReason.OPTIMAL, mathopt.TerminationReason.INFEASIBLE):
                break
            limit_s *= 2
        return amounts, bound

    def _bytes_bound(self, bound: float) -> int:
        """Round a floating point bound up to a value that traffic can have."""
        if not math.isfinite(bound) or bound <= 0.0:
            return 0
        exact = bound * self._unit / self._value_unit
        return math.ceil(exact - max(1e-6, BOUND_TOLERANCE * exact)) * self._value_unit
