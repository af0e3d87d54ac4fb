"""The pair bound: a linear program about two devices at once, for any placement."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from planner.pipelining.problem import PipelineObjective
from solvers.milp.linear import GrowingProgram
from solvers.milp.program import Program
from solvers.pipeline.bounds.certificate import PRECISION_BITS, PairCertificate, verify
from solvers.pipeline.bounds.grid import Grid, even_and_growing
from solvers.pipeline.bounds.pair_rows import Question, WholeProgram, whole_program

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from solvers.protocol import Deadline


def as_program(whole: WholeProgram) -> Program:
    """Return a program in floating point."""
    row, column, value = [], [], []
    for index, (terms, _) in enumerate(whole.rows):
        for where, coefficient in terms.items():
            row.append(index)
            column.append(where)
            value.append(float(coefficient))
    columns = len(whole.lower)
    cost = np.zeros(columns)
    cost[0] = 1
    return Program(
        names=(),
        cost=cost,
        lower=np.array(whole.lower, dtype=np.float64),
        upper=np.array(whole.upper, dtype=np.float64),
        integer=np.zeros(columns, dtype=bool),
        row_names=(),
        row=np.array(row, dtype=np.int64),
        column=np.array(column, dtype=np.int64),
        value=np.array(value, dtype=np.float64),
        row_lower=np.full(len(whole.rows), -np.inf),
        row_upper=np.array([most for _, most in whole.rows], dtype=np.float64),
    )


def prove(problem: PipelineProblem, question: Question, deadline: Deadline) -> PairCertificate | None:
    """Solve a question's program; None if the deadline came first."""
    whole = whole_program(problem, question)
    answer = GrowingProgram(as_program(whole)).solve(deadline)
    if answer.prices is None:
        return None
    scale = float(1 << PRECISION_BITS)
    multipliers = tuple(
        (row, int(-price * scale))
        for row, price in enumerate(answer.prices.tolist())
        if price < 0 and -price * scale >= 1
    )
    return PairCertificate(question, multipliers)
