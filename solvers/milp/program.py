"""A mixed-integer program in plain arrays, and its rows and columns as they are added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class Program(NamedTuple):
    """Minimise ``cost @ x`` with ``row_lower <= A x <= row_upper`` and ``lower <= x <= upper``.

    Attributes
    ----------
    names : tuple of str
        Of the columns.
    cost, lower, upper : float64 arrays of shape [columns]
    integer : bool array of shape [columns]
    row_names : tuple of str
    row, column : int64 arrays of shape [entries]
    value : float64 array of shape [entries]
        Entries of A, rows ascending.
    row_lower, row_upper : float64 arrays of shape [rows]
        Infinite where there is no limit.
    """

    names: tuple[str, ...]
    cost: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    integer: NDArray[np.bool_]
    row_names: tuple[str, ...]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.float64]
    row_lower: NDArray[np.float64]
    row_upper: NDArray[np.float64]


class Answer(NamedTuple):
    """What a back end says of a program, in floating point.

    Attributes
    ----------
    values : float64 array of shape [columns] or None
        The best point found.
    optimal, infeasible : bool
        Whether that is claimed as proven.
    bound : float
        Claimed lower bound on the cost; minus infinity if there is none.
    statistics : dict
        ``cpu_s``; and why it ``stopped`` early, if it did.
    """

    values: NDArray[np.float64] | None
    optimal: bool
    infeasible: bool
    bound: float
    statistics: dict[str, Any]


class Rows:
    """Columns and rows as they are added."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._cost: list[float] = []
        self._lower: list[float] = []
        self._upper: list[float] = []
        self._integer: list[bool] = []
        self._row_names: list[str] = []
        self._row: list[int] = []
        self._column: list[int] = []
        self._value: list[float] = []
        self._row_lower: list[float] = []
        self._row_upper: list[float] = []

    def variable(
        self, name: str, lower: float, upper: float, *, integer: bool = False, cost: float = 0.0
    ) -> int:
        """Add a column and return its number."""
        self._names.append(name)
        self._cost.append(cost)
        self._lower.append(lower)
        self._upper.append(upper)
        self._integer.append(integer)
        return len(self._names) - 1

    def binary(self, name: str, cost: float = 0.0) -> int:
        """Add a column of 0 or 1 and return its number."""
        return self.variable(name, 0.0, 1.0, integer=True, cost=cost)

    def charge(self, column: int, cost: float) -> None:
        """Set the cost of a column."""
        self._cost[column] = cost

    def add(
        self,
        name: str,
        terms: Iterable[tuple[int, float]],
        lower: float = -np.inf,
        upper: float = np.inf,
    ) -> None:
        """Add a row; no column may stand in two of its terms."""
        row = len(self._row_names)
        for column, value in terms:
            if value:
                self._row.append(row)
                self._column.append(column)
                self._value.append(value)
        self._row_names.append(name)
        self._row_lower.append(lower)
        self._row_upper.append(upper)

    def program(self) -> Program:
        """Return all of it as arrays."""
        return Program(
            names=tuple(self._names),
            cost=np.array(self._cost, dtype=np.float64),
            lower=np.array(self._lower, dtype=np.float64),
            upper=np.array(self._upper, dtype=np.float64),
            integer=np.array(self._integer, dtype=bool),
            row_names=tuple(self._row_names),
            row=np.array(self._row, dtype=np.int64),
            column=np.array(self._column, dtype=np.int64),
            value=np.array(self._value, dtype=np.float64),
            row_lower=np.array(self._row_lower, dtype=np.float64),
            row_upper=np.array(self._row_upper, dtype=np.float64),
        )
