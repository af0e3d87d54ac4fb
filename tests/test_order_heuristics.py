"""List orders: what each rule does, that its peak is counted right, and that it scales."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.graph import RaggedArray
from planner.problem import OrderProblem, Status
from solvers.order.heuristics import LIST_ORDERS, ListOrder
from solvers.order.peak import peak_of
from solvers.protocol import Deadline


def one_output_each(operands: list[list[int]], sizes: list[int]) -> OrderProblem:
    """Operator v writes storage v and reads the storages of its operands."""
    users = [[v] for v in range(len(operands))]
    for v, row in enumerate(operands):
        for a in row:
            users[a].append(v)
    rows = RaggedArray.from_rows(operands)
    return OrderProblem(
        operators=len(operands),
        size=np.array(sizes, dtype=np.int64),
        predecessors=rows,
        starters=RaggedArray.from_rows([[v] for v in range(len(operands))]),
        users=RaggedArray.from_rows(users),
        kept=np.zeros(len(operands), dtype=bool),
        in_place=RaggedArray.from_rows(
            [[a for a in row if sizes[a] == sizes[v]] for v, row in enumerate(operands)]
        ),
    )


def random_operands(rng: random.Random, n: int) -> list[list[int]]:
    return [sorted(rng.sample(range(v), min(v, rng.choice([0, 1, 1, 2, 3])))) for v in range(n)]


def order_of(name: str, problem: OrderProblem) -> list[int]:
    (solver,) = [solver for solver in LIST_ORDERS if solver.name == name]
    solution = solver.solve(problem, deadline=Deadline(1.0)).solution
    assert solution is not None
    return solution.order.tolist()


# 0 feeds two branches 1-3 and 2-4 that 5 joins; the first grows, the second shrinks.
DIAMOND = one_output_each([[], [0], [0], [1], [2], [3, 4]], [10, 9, 9, 12, 1, 1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default", [0, 1, 2, 3, 4, 5]),
        ("breadth-first", [0, 1, 2, 3, 4, 5]),
        ("depth-first", [0, 1, 3, 2, 4, 5]),
        ("lpmf", [0, 1, 2, 4, 3, 5]),
    ],
)
def test_each_rule_takes_the_operator_it_likes_best(name: str, expected: list[int]) -> None:
    assert order_of(name, DIAMOND) == expected


@settings(max_examples=80, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 30))
def test_every_list_order_is_topological_and_its_peak_is_right(rng: random.Random, n: int) -> None:
    problem = one_output_each(random_operands(rng, n), [rng.randint(0, 6) for _ in range(n)])
    for solver in LIST_ORDERS:
        outcome = solver.solve(problem, deadline=Deadline(1.0))
        assert outcome.solution is not None
        # peak_of refuses orders that are not topological.
        assert peak_of(problem, outcome.solution.order) == outcome.solution.peak_bytes
        assert outcome.lower_bound <= outcome.solution.peak_bytes
        assert outcome.status in (Status.OPTIMAL, Status.FEASIBLE)


def naive_lpmf(problem: OrderProblem) -> list[int]:
    """Look through the whole ready list at every step."""
    n = problem.operators
    users = [set(problem.users.row(s).tolist()) for s in range(n)]
    predecessors = [set(problem.predecessors.row(v).tolist()) for v in range(n)]
    ready_since = [0] * n
    ran: list[int] = []

    def key(v: int) -> tuple[int, int, int]:
        dying = [s for s in range(n) if v in users[s] and users[s] <= {*ran, v}]
        growth = int(problem.size[v]) - sum(int(problem.size[s]) for s in dying)
        return growth, -ready_since[v], v

    while len(ran) < n:
        ran.append(
            min((v for v in range(n) if v not in ran and predecessors[v] <= set(ran)), key=key)
        )
        for v in range(n):
            if ran[-1] in predecessors[v] and predecessors[v] <= set(ran):
                ready_since[v] = len(ran)
    return ran


def test_lpmf_equals_a_look_through_the_whole_ready_list_at_every_step() -> None:
    rng = random.Random(4)
    for _ in range(40):
        n = rng.randint(2, 25)
        problem = one_output_each(random_operands(rng, n), [rng.randint(1, 9) for _ in range(n)])
        assert order_of("lpmf", problem) == naive_lpmf(problem)


def test_list_orders_claim_optimality_only_at_the_bound() -> None:
    chain = one_output_each([[], [0], [1]], [4, 5, 6])
    wasteful = one_output_each([[], [], [0], [1], [2, 3]], [10, 10, 1, 1, 1])
    solver = ListOrder("breadth-first")
    assert solver.solve(chain, deadline=Deadline(1.0)).status is Status.OPTIMAL
    assert solver.solve(wasteful, deadline=Deadline(1.0)).status is Status.FEASIBLE
