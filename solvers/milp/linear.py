"""Linear programs that grow by rows, and lower bounds on them that rounding cannot spoil."""

from __future__ import annotations

import datetime
import math
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from solvers.milp.program import Program
    from solvers.protocol import Deadline

_POLL_S = 0.02
_ROUNDING = float(np.finfo(np.float64).eps)


class LinearAnswer(NamedTuple):
    """What the simplex method says, in floating point.

    Attributes
    ----------
    values : float64 array of shape [columns] or None
        An optimal point.
    bound : float
        Of the whole program; holds whatever the solver got wrong. Minus infinity if there is none.
    prices : float64 array of shape [rows] or None
        What the cost rises by, for each unit that a row's limits are raised by.
    """

    values: NDArray[np.float64] | None
    bound: float
    prices: NDArray[np.float64] | None = None


def _balanced(
    program: Program, widths: NDArray[np.float64], factor: float
) -> tuple[Program, NDArray[np.float64]]:
    """Return the program with rows, columns and cost multiplied by powers of two, and the rows'.

    Columns are divided by their widths, and the largest entry of each row is then in [1, 2).
    Nothing is rounded by it.
    """
    value = program.value * widths[program.column]
    largest = np.zeros(len(program.row_lower))
    np.maximum.at(largest, program.row, np.abs(value))
    exponents = 1 - np.frexp(np.where(largest > 0, largest, 1.0))[1]
    balanced = program._replace(
        cost=program.cost * widths * factor,
        lower=program.lower / widths,
        upper=program.upper / widths,
        value=np.ldexp(value, exponents[program.row]),
        row_lower=np.ldexp(program.row_lower, exponents),
        row_upper=np.ldexp(program.row_upper, exponents),
    )
    return balanced, np.ldexp(1.0, exponents)


class GrowingProgram:
    """The continuous relaxation of a program in GLOP, warm from one solve to the next."""

    def __init__(self, program: Program) -> None:
        """Hand the program over; all of its columns need finite limits.

        Raises
        ------
        ImportError
            If ortools cannot be loaded.
        """
        from ortools.math_opt.python import mathopt

        self._mathopt = mathopt
        limits = np.maximum(np.abs(program.lower), np.abs(program.upper))
        self._widths = np.exp2(np.frexp(np.maximum(limits, 1.0))[1] - 1)
        largest = float(np.abs(program.cost * self._widths).max(initial=1.0))
        # Costs of at most a thousand suit the solver's tolerances.
        self._factor = 2.0 ** (10 - math.frexp(largest)[1])
        program, row_factor = _balanced(program, self._widths, self._factor)
        self._program = program
        self._row_factor: list[float] = row_factor.tolist()
        self._model = mathopt.Model()
        self._columns = [
            self._model.add_variable(lb=lower, ub=upper)
            for lower, upper in zip(program.lower.tolist(), program.upper.tolist(), strict=True)
        ]
        self._rows = []
        self._row_lower, self._row_upper = [], []
        self._row: list[int] = program.row.tolist()
        self._column: list[int] = program.column.tolist()
        self._value: list[float] = program.value.tolist()
        for lower, upper in zip(
            program.row_lower.tolist(), program.row_upper.tolist(), strict=True
        ):
            self._new_row(lower, upper)
        for row, column, value in zip(self._row, self._column, self._value, strict=True):
            self._rows[row].set_coefficient(self._columns[column], value)
        self._model.minimize(
            mathopt.fast_sum(
                [
                    cost * column
                    for cost, column in zip(program.cost.tolist(), self._columns, strict=True)
                    if cost
                ]
            )
        )
        self._solver = mathopt.IncrementalSolver(self._model, mathopt.SolverType.GLOP)

    def _new_row(self, lower: float, upper: float) -> None:
        self._rows.append(self._model.add_linear_constraint(lb=lower, ub=upper))
        self._row_lower.append(lower)
        self._row_upper.append(upper)

    def add(
        self, terms: Mapping[int, float], lower: float = -np.inf, upper: float = np.inf
    ) -> None:
        """Add a row."""
        scaled = {column: entry * self._widths[column] for column, entry in terms.items()}
        factor = 2.0 ** (1 - math.frexp(max(map(abs, scaled.values()), default=1.0))[1])
        self._new_row(lower * factor, upper * factor)
        self._row_factor.append(factor)
        for column, entry in scaled.items():
            value = entry * factor
            self._row.append(len(self._rows) - 1)
            self._column.append(column)
            self._value.append(value)
            self._rows[-1].set_coefficient(self._columns[column], value)

    def solve(self, deadline: Deadline, *, dual: bool = False) -> LinearAnswer:
        """Solve, in a thread that is watched, until optimal or the deadline.

        Parameters
        ----------
        deadline : Deadline
        dual : bool
            By the dual simplex method, which has a bound at any time.
        """
        from ortools.util.python.solve_interrupter import SolveInterrupter

        mathopt = self._mathopt
        limit = datetime.timedelta(seconds=deadline.remaining_s())
        interrupter = SolveInterrupter()
        results: list[Any] = []
        errors: list[Exception] = []

        def search() -> None:
            try:
                parameters = mathopt.SolveParameters(
                    time_limit=limit,
                    lp_algorithm=mathopt.LPAlgorithm.DUAL_SIMPLEX if dual else None,
                )
                results.append(self._solver.solve(params=parameters, interrupter=interrupter))
            except Exception as error:  # raised again by the thread that waits
                errors.append(error)

        thread = threading.Thread(target=search, name="glop", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_POLL_S)
                if deadline.expired():
                    interrupter.interrupt()
        finally:
            interrupter.interrupt()
            thread.join()
        if errors:
            raise errors[0]
        result = results[0]
        values = None
        if result.termination.reason == mathopt.TerminationReason.OPTIMAL:
            found = result.variable_values()
            values = np.array([found[column] for column in self._columns]) * self._widths
        bound, unscaled = -np.inf, None
        if result.solutions and result.solutions[0].dual_solution is not None:
            prices = result.solutions[0].dual_solution.dual_values
            scaled = np.array([prices[row] for row in self._rows])
            bound = self.bound_by(scaled)
            unscaled = scaled * np.array(self._row_factor) / self._factor
        return LinearAnswer(values, bound, unscaled)

    def bound_by(self, prices: NDArray[np.float64]) -> float:
        """Return what these prices of the rows prove, less all that rounding may have added.

        By duality every vector of prices gives a bound: each row costs at least its price times
        the limit that the price's sign names, each column at least its reduced cost times one of
        its limits. The error of the sums is at most so many roundings of their absolute values
        (Neumaier and Shcherbina, "Safe bounds in linear and mixed-integer linear programming",
        2004).
        """
        program = self._program
        limits = np.where(prices > 0, self._row_lower, self._row_upper)
        prices = np.where(np.isfinite(limits), prices, 0.0)
        of_rows = prices * np.where(prices != 0, limits, 0.0)
        columns, entries = len(program.cost), len(self._row)
        products = np.array(self._value) * prices[self._row]
        reduced = program.cost - np.bincount(self._column, products, minlength=columns)
        sizes = np.abs(program.cost) + np.bincount(
            self._column, np.abs(products), minlength=columns
        )
        widest = np.maximum(np.abs(program.lower), np.abs(program.upper))
        of_columns = np.where(reduced > 0, reduced * program.lower, reduced * program.upper)
        value = float(of_rows.sum() + of_columns.sum())
        most = float(np.abs(of_rows).sum() + (sizes * widest).sum())
        error = 4 * (entries + columns + len(of_rows)) * _ROUNDING * most
        return (value - error) / self._factor
