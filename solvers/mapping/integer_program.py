"""A mapping program in CP-SAT, and what windows of copies its solutions overfill."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from solvers.cp_sat import new_solver, solve_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from solvers.mapping.relaxation import Relaxation
    from solvers.protocol import Deadline

# CP-SAT is several times faster if the cost has no more bits than this.
_BITS = 24


class IntegerAnswer(NamedTuple):
    """What CP-SAT says of a mapping program.

    Attributes
    ----------
    values : float64 array of shape [columns] or None
        The best point found.
    bound : int or None
        Lower bound on the ticks of any mapping of the relaxation; None if no point was found.
    proven : bool
        No point costs less by a whole `quantum` of ticks.
    """

    values: NDArray[np.float64] | None
    bound: int | None
    proven: bool


def quantum(ticks: int) -> int:
    """Ticks by which the cost of programs of so many ticks may be rounded."""
    return 1 << max(0, ticks.bit_length() - _BITS)


class IntegerProgram:
    """The program of a relaxation in CP-SAT; rows can be added between two searches."""

    def __init__(self, relaxation: Relaxation, ticks: int) -> None:
        """Build the model, with the cost rounded down to multiples of ``ticks``.

        All columns are at least 0, so the cost of a point is at least what the model says.

        Raises
        ------
        ImportError
            If ortools cannot be loaded.
        """
        from ortools.sat.python import cp_model

        self._cp_model = cp_model
        self._base = relaxation.base
        self._ticks = ticks
        self._model = cp_model.CpModel()
        program = relaxation.rows.program()
        limits = zip(program.lower.astype(int).tolist(), program.upper.astype(int).tolist(),
                     strict=True)  # fmt: skip
        self._columns = [self._model.new_int_var(lower, upper, "") for lower, upper in limits]
        entries: list[dict[int, int]] = [{} for _ in program.row_lower]
        for row, column, value in zip(
            program.row.tolist(), program.column.tolist(), program.value.tolist(), strict=True
        ):
            entries[row][column] = int(value)
        for terms, lower, upper in zip(
            entries, program.row_lower.tolist(), program.row_upper.tolist(), strict=True
        ):
            self.add(terms, lower, upper)
        costs = [int(cost) // ticks for cost in program.cost.tolist()]
        self._model.minimize(cp_model.LinearExpr.weighted_sum(self._columns, costs))

    def add(
        self, terms: Mapping[int, int], lower: float = -math.inf, upper: float = math.inf
    ) -> None:
        """Add a row."""
        columns = [self._columns[column] for column in terms]
        expression = self._cp_model.LinearExpr.weighted_sum(columns, list(terms.values()))
        if lower == upper:
            self._model.add(expression == int(lower))
        elif math.isinf(lower):
            self._model.add(expression <= int(upper))
        elif math.isinf(upper):
            self._model.add(expression >= int(lower))
        else:
            self._model.add_linear_constraint(expression, int(lower), int(upper))

    def add_most(self, terms: Mapping[int, int], limit: int) -> None:
        """Add a row with an upper limit."""
        self.add(terms, upper=limit)

    def hint(self, values: Iterable[tuple[int, int]]) -> None:
        """Suggest values of some columns, in place of all earlier ones."""
        self._model.clear_hints()
        for column, value in values:
            self._model.add_hint(self._columns[column], value)

    def solve(self, deadline: Deadline, seed: int = 0) -> IntegerAnswer:
        """Search until proven or the deadline."""
        cp_model = self._cp_model
        solver: Any = new_solver(seed)
        solver.parameters.linearization_level = 2
        search = solve_until(solver, self._model, deadline)
        # Before the first point CP-SAT says 0, which is no bound.
        values = bound = None
        if search.status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            values = np.array([solver.value(column) for column in self._columns], np.float64)
            bound = math.ceil(solver.best_objective_bound - 0.5) * self._ticks + self._base
        return IntegerAnswer(values, bound, search.status == cp_model.OPTIMAL)
