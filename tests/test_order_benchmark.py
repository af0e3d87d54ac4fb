"""Time of the ordering kernels on the bare operator graphs. Run with ``-m slow``."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from planner.graph import RaggedArray
from planner.problem import OrderProblem, Status
from solvers.order.exact import ExactOrder
from solvers.order.heuristics import LIST_ORDERS, ListOrder
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = pytest.mark.slow

GRAPHS = ("nasnet_cif", "pnas_cif", "amoebanet_cif", "randwire2", "tr1_googlenet", "tr1_resnet50")


def problem_of(name: str) -> OrderProblem:
    folder = os.environ.get("PLANNER_DATA")
    if folder is None:
        pytest.skip("PLANNER_DATA is not set: the bare operator graphs are not at hand")
    numbers = iter((Path(folder) / "graphs" / f"{name}.txt").read_text().split())
    operators, tensors = int(next(numbers)), int(next(numbers))
    size = np.array([int(next(numbers)) for _ in range(tensors)], dtype=np.int64)
    starters: list[list[int]] = [[] for _ in range(tensors)]
    users: list[list[int]] = [[] for _ in range(tensors)]
    predecessors: list[list[int]] = []
    for v in range(operators):
        read = [int(next(numbers)) for _ in range(int(next(numbers)))]
        written = [int(next(numbers)) for _ in range(int(next(numbers)))]
        predecessors.append(sorted({p for a in read for p in starters[a]}))
        for a in written:
            starters[a].append(v)
        for a in {*read, *written}:
            users[a].append(v)
    return OrderProblem(
        operators=operators,
        size=size,
        predecessors=RaggedArray.from_rows(predecessors),
        starters=RaggedArray.from_rows(starters),
        users=RaggedArray.from_rows(users),
        kept=np.zeros(tensors, dtype=bool),
        in_place=RaggedArray.from_rows([[]] * operators),
    )


@pytest.mark.parametrize("name", GRAPHS)
def test_exact_order(benchmark: BenchmarkFixture, name: str) -> None:
    problem = problem_of(name)
    outcome = benchmark(lambda: ExactOrder().solve(problem, deadline=Deadline(60.0)))
    benchmark.extra_info.update(outcome.statistics)
    assert outcome.status is Status.OPTIMAL


@pytest.mark.parametrize("solver", LIST_ORDERS, ids=lambda solver: solver.name)
def test_list_order_of_twenty_thousand_operators(
    benchmark: BenchmarkFixture, solver: ListOrder
) -> None:
    n = 20_000
    rng = random.Random(1)
    operands = [
        sorted({max(0, v - 1 - int(rng.expovariate(0.1))) for _ in range(2)}) if v else []
        for v in range(n)
    ]
    users = [[v] for v in range(n)]
    for v, row in enumerate(operands):
        for a in row:
            users[a].append(v)
    problem = OrderProblem(
        operators=n,
        size=np.array([rng.randint(1, 1000) for _ in range(n)], dtype=np.int64),
        predecessors=RaggedArray.from_rows(operands),
        starters=RaggedArray.from_rows([[v] for v in range(n)]),
        users=RaggedArray.from_rows(users),
        kept=np.zeros(n, dtype=bool),
        in_place=RaggedArray.from_rows([[]] * n),
    )
    outcome = benchmark(lambda: solver.solve(problem, deadline=Deadline(60.0)))
    assert outcome.solution is not None
