"""The pair bound: a linear program about two devices at once, for any placement."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.pipelining.problem import PipelineObjective
from solvers.milp.linear import GrowingProgram
from solvers.milp.program import Program
from solvers.pipeline.bounds.certificate import PRECISION_BITS, PairCertificate, verify
from solvers.pipeline.bounds.grid import grid_around
from solvers.pipeline.bounds.pair_rows import Question, WholeProgram, pass_types, whole_program
from solvers.pipeline.bounds.paths import path

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


def prove(
    problem: PipelineProblem, question: Question, deadline: Deadline
) -> PairCertificate | None:
    """Solve a question's program; None if the deadline came first."""
    whole = whole_program(problem, question)
    if deadline.expired():
        return None
    answer = GrowingProgram(as_program(whole)).solve(deadline, dual=True)
    if answer.prices is None:
        return None
    scale = float(1 << PRECISION_BITS)
    multipliers = tuple(
        (row, int(-price * scale))
        for row, price in enumerate(answer.prices.tolist())
        if -price * scale >= 1
    )
    return PairCertificate(question, multipliers)


class PairBound(NamedTuple):
    """Least ticks, and their proof: None if the bound is the one that it began from."""

    ticks: int
    certificate: PairCertificate | None


def pair_bound(
    problem: PipelineProblem,
    objective: PipelineObjective,
    base: int,
    *,
    deadline: Deadline,
    enough: int | None = None,
) -> PairBound:
    """Return the best bound of several pairs of devices, first on coarse grids and then on finer.

    Parameters
    ----------
    problem : PipelineProblem
    objective : PipelineObjective
    base : int
        A proven bound.
    deadline : Deadline
    enough : int or None
        What is known to be possible: a bound that reaches it ends the search.
    """
    best = PairBound(base, None)
    favourite = None
    for rung, devices in _rungs(problem, objective):
        if deadline.expired() or best.ticks < 1 or (enough is not None and best.ticks >= enough):
            break
        pair = devices if devices is not None else favourite
        if pair is None:
            continue
        certificate = prove(
            problem, _question(problem, objective, pair, best.ticks, rung), deadline
        )
        if certificate is None:
            continue
        ticks = verify(certificate, problem)
        if ticks > best.ticks:
            best, favourite = PairBound(ticks, certificate), pair
    return best


class _Rung(NamedTuple):
    """How fine a grid is: passes per cell, and trips through the pipeline with such cells."""

    passes: int
    trips: int


_COARSE, _FINER, _FINEST = _Rung(2, 1), _Rung(1, 1), _Rung(1, 3)


def _rungs(
    problem: PipelineProblem, objective: PipelineObjective
) -> list[tuple[_Rung, tuple[int, ...] | None]]:
    """Return grids and pairs in the order to try; None stands for the best pair so far."""
    ends = (problem.device_of[0], problem.devices - 1)
    if ends[0] == ends[1]:
        ends = (ends[0], 0)
    busiest = max(range(problem.devices), key=problem.busy_ticks)
    middle = problem.devices // 2
    pairs = [
        ends,
        (ends[0], busiest),
        (ends[0], middle),
        (busiest, ends[1]),
        (middle, ends[1]),
    ]
    if objective is PipelineObjective.MAKESPAN:
        pairs = [pair for pair in pairs if pair[0] == ends[0]]
    order: list[tuple[int, ...]] = []
    for one, other in pairs:
        devices = (one,) if one == other else (one, other)
        if devices not in order:
            order.append(devices)
    coarse = [(_COARSE, devices) for devices in order]
    return [*coarse, (_FINER, None), (_FINEST, None)]


def _question(
    problem: PipelineProblem,
    objective: PipelineObjective,
    devices: tuple[int, ...],
    base: int,
    rung: _Rung,
) -> Question:
    ways, anchor = path(problem), devices[0]
    origin = problem.stages_of[anchor][0]
    passes = 3 * len(problem.stages_of[anchor]) * problem.microbatches
    trip = ways.backward[origin] - ways.forward[origin] + problem.stages[origin].backward
    types = pass_types(problem, devices, objective)
    grid = grid_around(
        base,
        from_start=[kind.start for kind in types],
        from_end=[kind.need for kind in types if kind.need is not None],
        step=max(1, rung.passes * problem.busy_ticks(anchor) // passes),
        even=rung.trips * trip,
    )
    return Question(devices, objective, grid)
