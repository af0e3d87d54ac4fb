"""Bounds of linear programs hold for any prices, and meet the optimum for the right ones."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from solvers.milp.linear import GrowingProgram
from solvers.milp.program import Rows
from solvers.protocol import Deadline


def least_of_binaries(rows: Rows) -> float:
    program = rows.program()
    best = np.inf
    for point in product((0.0, 1.0), repeat=len(program.cost)):
        values = np.array(point)
        left = np.bincount(
            program.row, program.value * values[program.column], minlength=len(program.row_lower)
        )
        if (left >= program.row_lower).all() and (left <= program.row_upper).all():
            best = min(best, float(program.cost @ values))
    return best


def random_rows(rng: random.Random, scale: int) -> Rows:
    rows = Rows()
    columns = [rows.binary("", rng.randint(-9, 9) * scale) for _ in range(6)]
    for _ in range(4):
        terms = [(column, rng.randint(-5, 5) * scale) for column in columns]
        limit = rng.randint(0, 6) * scale
        rows.add("", terms, *rng.choice(((-np.inf, limit), (-limit, np.inf), (-limit, limit))))
    return rows


@pytest.mark.parametrize("scale", [1, 1 << 38])
def test_any_prices_give_a_bound(scale: int) -> None:
    rng = random.Random(scale)
    for _ in range(30):
        rows = random_rows(rng, scale)
        linear = GrowingProgram(rows.program())
        least = least_of_binaries(rows)
        for _ in range(20):
            assert linear.bound_by(np.array([rng.gauss(0, 100) for _ in range(4)])) <= least


@pytest.mark.parametrize("scale", [1, 1 << 38])
def test_the_solver_s_prices_meet_the_cost_of_its_point(scale: int) -> None:
    rng = random.Random(scale)
    for _ in range(30):
        rows = random_rows(rng, scale)
        program = rows.program()
        linear = GrowingProgram(program)
        answer = linear.solve(Deadline(10.0))
        assert answer.values is not None
        assert answer.bound <= least_of_binaries(rows)
        assert answer.bound == pytest.approx(program.cost @ answer.values, abs=1e-6 * scale)
        terms = dict.fromkeys(range(6), 1)
        linear.add(terms, upper=2.0)
        rows.add("", terms.items(), upper=2.0)
        assert (
            answer.bound - 1e-6 * scale
            <= linear.solve(Deadline(10.0)).bound
            <= least_of_binaries(rows)
        )


def test_a_column_of_many_ticks_beside_binaries_is_no_trouble() -> None:
    rows = Rows()
    binary = rows.binary("")
    ticks = rows.variable("", 0, 1 << 40, integer=True, cost=1)
    rows.add("", [(ticks, 1), (binary, 1 << 39)], lower=1 << 40)
    answer = GrowingProgram(rows.program()).solve(Deadline(10.0))
    assert answer.values is not None
    assert answer.bound == pytest.approx(float(1 << 39))
