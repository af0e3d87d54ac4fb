"""Rows of a MIP that demand what each step lacks from the gaps around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from solvers.replacement.gaps import Gap

# Above this many coefficients the capacity rows are written as running sums. On nets of 1,000
# operators dense rows solve 20 times faster, on training graphs with long gaps 10 times slower.
MOST_DENSE_TERMS = 100_000


def add_capacity_rows(
    model: Any,
    gaps: Sequence[Gap],
    variables: Sequence[Any],
    units: Sequence[int],
    missing: np.ndarray,
) -> None:
    """Require, for each step, that variables times units over the gaps around it reach a number.

    Parameters
    ----------
    model : mathopt.Model
    variables, units : sequences of shape [gaps]
    missing : int array of shape [steps]
    """
    starting: dict[int, list[int]] = {}
    ending: dict[int, list[int]] = {}
    for i, gap in enumerate(gaps):
        starting.setdefault(gap.before + 1, []).append(i)
        ending.setdefault(gap.after, []).append(i)
    if _terms(gaps, missing) > MOST_DENSE_TERMS:
        _add_running_sums(model, variables, units, missing.tolist(), starting, ending)
    else:
        _add_dense_rows(model, gaps, variables, units, missing.tolist(), starting)


def _terms(gaps: Sequence[Gap], missing: np.ndarray) -> int:
    """Number of gaps around the steps that lack something, summed over the steps."""
    before = np.concatenate([[0], np.cumsum(missing > 0)])
    return sum(int(before[gap.after] - before[gap.before + 1]) for gap in gaps)


def _add_dense_rows(
    model: Any,
    gaps: Sequence[Gap],
    variables: Sequence[Any],
    units: Sequence[int],
    missing: Sequence[int],
    starting: Mapping[int, list[int]],
) -> None:
    """One row per overfull step and set of gaps around it: the tightest relaxation."""
    active: list[int] = []
    largest: dict[tuple[int, ...], int] = {}
    for step, lacking in enumerate(missing):
        active = [i for i in active if gaps[i].after > step]
        active += starting.get(step, ())
        if lacking > 0:
            key = tuple(active)
            largest[key] = max(largest.get(key, 0), lacking)
    for key, lacking in largest.items():
        row = model.add_linear_constraint(lb=lacking)
        for i in key:
            # A gap that covers the deficit alone counts no more than that.
            row.set_coefficient(variables[i], min(units[i], lacking))


def _add_running_sums(
    model: Any,
    variables: Sequence[Any],
    units: Sequence[int],
    missing: Sequence[int],
    starting: Mapping[int, list[int]],
    ending: Mapping[int, list[int]],
) -> None:
    """What is dropped at each step as a variable: a few terms per gap instead of one per step."""
    total = None
    for step, lacking in enumerate(missing):
        begins, ends = starting.get(step, ()), ending.get(step, ())
        if begins or ends:
            row = model.add_linear_constraint(lb=0.0, ub=0.0)
            for i in begins:
                row.set_coefficient(variables[i], units[i])
            for i in ends:
                row.set_coefficient(variables[i], -units[i])
            if total is not None:
                row.set_coefficient(total, 1.0)
            total = model.add_variable(lb=0.0)
            row.set_coefficient(total, -1.0)
        if total is not None and lacking > total.lower_bound:
            total.lower_bound = lacking
