"""The exact order against brute force, its proofs, its limits, and what it does with bad input."""

from __future__ import annotations

import itertools
import random
import threading
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.graph import RaggedArray
from planner.problem import OrderProblem, OrderSolution, Status
from solvers.order.exact import ExactOrder
from solvers.order.heuristics import LIST_ORDERS
from solvers.order.peak import peak_of
from solvers.protocol import Deadline

ABLATIONS = [
    ExactOrder(dominance=dominance, decompose=decompose)
    for dominance, decompose in itertools.product((True, False), repeat=2)
]


def problem_of(
    predecessors: list[list[int]],
    storages: list[tuple[int, list[int], list[int]]],
    kept: tuple[int, ...] = (),
    in_place: dict[int, list[int]] | None = None,
) -> OrderProblem:
    """Storages are (size, starters, users); starters are added to the users."""
    n = len(predecessors)
    return OrderProblem(
        operators=n,
        size=np.array([size for size, _, _ in storages], dtype=np.int64),
        predecessors=RaggedArray.from_rows(predecessors),
        starters=RaggedArray.from_rows([starters for _, starters, _ in storages]),
        users=RaggedArray.from_rows([sorted({*a, *b}) for _, a, b in storages]),
        kept=np.array([s in kept for s in range(len(storages))], dtype=bool),
        in_place=RaggedArray.from_rows([(in_place or {}).get(v, []) for v in range(n)]),
    )


def solve(problem: OrderProblem, solver: ExactOrder | None = None, seconds: float = 60.0, **given):
    return (solver or ExactOrder()).solve(problem, deadline=Deadline(seconds), **given)


class Features(NamedTuple):
    in_place: bool
    late_inputs: bool
    shared: bool


def random_problem(rng: random.Random, most: int, features: Features) -> OrderProblem:
    """A DAG of operators with one or two outputs, graph inputs, some outputs kept."""
    n = rng.randint(1, most)
    sizes = [rng.choice([0, 1, 1, 2, 3, 4, 5, 8]) for _ in range(rng.randint(0, 2))]
    producers: list[int | None] = [None] * len(sizes)
    readers: list[list[int]] = [[] for _ in sizes]
    in_place: dict[int, list[int]] = {}
    predecessors: list[list[int]] = []
    for v in range(n):
        recent = rng.random() < 0.5
        pool = range(max(0, len(sizes) - 4), len(sizes)) if recent else range(len(sizes))
        operands = rng.sample(pool, min(len(pool), rng.choice([0, 1, 1, 2, 2, 3])))
        for a in operands:
            readers[a].append(v)
        before = {producers[a] for a in operands} - {None}
        if v and rng.random() < 0.1:
            before.add(rng.randrange(v))
        predecessors.append(sorted(before))  # pyright: ignore[reportArgumentType]
        elementwise = bool(operands) and rng.random() < 0.6
        sizes.append(sizes[rng.choice(operands)] if elementwise else rng.randint(0, 8))
        producers.append(v)
        readers.append([])
        if elementwise and features.in_place:
            in_place[v] = [a for a in operands if sizes[a] == sizes[-1]]
        elif rng.random() < 0.2:
            sizes.append(rng.randint(1, 4))
            producers.append(v)
            readers.append([])
    storages = []
    for size, producer, users in zip(sizes, producers, readers, strict=True):
        if producer is not None:
            storages.append((size, [producer], users))
        elif features.late_inputs:
            storages.append((size, users, users))
        else:
            storages.append((size, [], users))
    made = [s for s, producer in enumerate(producers) if producer is not None]
    if features.shared and len(made) > 1:
        # A zero-copy Concat: several producers fill one storage, none of it is written in place.
        parts = rng.sample(made, rng.randint(2, min(3, len(made))))
        starters = sorted({producers[s] for s in parts})  # pyright: ignore[reportArgumentType]
        storages.append(
            (sum(sizes[s] for s in parts), starters, [v for s in parts for v in readers[s]])
        )
        for s in parts:
            storages[s] = (0, storages[s][1], storages[s][2])
        blocked = {v for v, options in in_place.items() if producers.index(v) in parts}
        in_place = {
            v: [s for s in options if s not in parts]
            for v, options in in_place.items()
            if v not in blocked
        }
    kept = tuple(s for s in range(len(storages)) if rng.random() < 0.1)
    return problem_of(predecessors, storages, kept, in_place)


def optimum(problem: OrderProblem) -> int:
    """Smallest peak by dynamic programming over all sets of finished operators, as bit masks."""
    n = problem.operators

    def mask(values: np.ndarray) -> int:
        return sum(1 << int(v) for v in values)

    storages = [
        (int(b), mask(problem.starters.row(s)), mask(problem.users.row(s)), bool(problem.kept[s]))
        for s, b in enumerate(problem.size)
    ]
    predecessors = [mask(problem.predecessors.row(v)) for v in range(n)]

    def live(begun: int, ran: int) -> int:
        return sum(
            b
            for b, starters, users, kept in storages
            if (not starters or starters & begun) and (kept or users & ~ran)
        )

    @cache
    def peak_from(ran: int) -> int:
        best = None
        for v in range(n):
            if ran >> v & 1 or predecessors[v] & ~ran:
                continue
            gain = 0
            for s in problem.in_place.row(v):
                b, _, users, kept = storages[s]
                if not kept and not users & ~ran & ~(1 << v):
                    gain = max(gain, b)
            peak = max(live(ran | 1 << v, ran) - gain, peak_from(ran | 1 << v))
            best = peak if best is None else min(best, peak)
        return 0 if best is None else best

    return max(live(0, 0), peak_from(0))


def smallest_block_peak(problem: OrderProblem) -> int:
    """Smallest peak over all orders times all in-place choices, on explicit blocks of memory.

    Storages with at most one starter only. Shares no formula with the solvers.
    """
    n = problem.operators
    size = problem.size.tolist()
    starters = [problem.starters.row(s).tolist() for s in range(len(size))]
    users = [problem.users.row(s).tolist() for s in range(len(size))]
    best = sum(size) + 1

    def in_use(blocks: dict[int, int], begun: set[int], ran: set[int]) -> int:
        live = {
            s
            for s in range(len(size))
            if (not starters[s] or begun & set(starters[s]))
            and (problem.kept[s] or set(users[s]) - ran)
        }
        return sum(size[block] for block in {blocks.get(s, s) for s in live})

    def run(ran: set[int], blocks: dict[int, int], peak: int) -> None:
        nonlocal best
        if peak >= best:
            return
        if len(ran) == n:
            best = peak
            return
        for v in set(range(n)) - ran:
            if set(problem.predecessors.row(v).tolist()) - ran:
                continue
            choices: list[dict[int, int]] = [{}]
            outputs = [s for s in range(len(size)) if starters[s] == [v]]
            for s in problem.in_place.row(v).tolist():
                if set(users[s]) - ran <= {v} and not problem.kept[s]:
                    choices.append({outputs[0]: blocks.get(s, s)})
            for choice in choices:
                chosen = blocks | choice
                run(ran | {v}, chosen, max(peak, in_use(chosen, ran | {v}, ran)))

    run(set(), {}, in_use({}, set(), set()))
    return best


@pytest.mark.parametrize("features", [Features(*f) for f in itertools.product((0, 1), repeat=3)])
def test_is_optimal_on_random_graphs_with_and_without_each_rule(features: Features) -> None:
    rng = random.Random(20 + sum(f << i for i, f in enumerate(features)))
    for _ in range(60):
        problem = random_problem(rng, 10, features)
        best = optimum(problem)
        for solver in ABLATIONS:
            outcome = solve(problem, solver)
            assert outcome.solution is not None
            assert (outcome.status, outcome.lower_bound) == (Status.OPTIMAL, best)
            assert outcome.solution.peak_bytes == best
            assert peak_of(problem, outcome.solution.order) == best
            assert outcome.statistics["footprint_bound"] <= outcome.statistics["cut_bound"] <= best


def test_in_place_on_explicit_blocks_of_memory() -> None:
    rng = random.Random(5)
    helped = 0
    for _ in range(120):
        problem = random_problem(rng, 6, Features(in_place=True, late_inputs=False, shared=False))
        outcome = solve(problem)
        assert outcome.lower_bound == smallest_block_peak(problem)
        without = replace(problem, in_place=RaggedArray.from_rows([[]] * problem.operators))
        helped += outcome.lower_bound < optimum(without)
    assert helped > 10


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_bound_never_exceeds_the_peak_whatever_the_limits(
    rng: random.Random, dominance: bool
) -> None:
    problem = random_problem(rng, 9, Features(True, rng.random() < 0.5, rng.random() < 0.5))
    best = optimum(problem)
    starved = solve(problem, ExactOrder(dominance=dominance, memory_bytes=0))
    late = solve(problem, ExactOrder(dominance=dominance), seconds=0.0)
    for outcome in (starved, late):
        assert outcome.solution is not None
        assert outcome.lower_bound is not None
        assert outcome.lower_bound <= best <= outcome.solution.peak_bytes
        assert peak_of(problem, outcome.solution.order) == outcome.solution.peak_bytes
        assert (outcome.status is Status.OPTIMAL) == (
            outcome.lower_bound == outcome.solution.peak_bytes
        )


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_never_worse_than_the_incumbent_or_any_list_order(rng: random.Random) -> None:
    problem = random_problem(rng, 30, Features(True, False, True))
    known = LIST_ORDERS[0].solve(problem, deadline=Deadline(1.0)).solution
    for solver in LIST_ORDERS:
        outcome = solver.solve(problem, deadline=Deadline(1.0), incumbent=known)
        assert outcome.solution is not None
        exact = solve(problem, ExactOrder(memory_bytes=0), incumbent=outcome.solution)
        assert exact.solution is not None
        assert exact.solution.peak_bytes <= outcome.solution.peak_bytes


def two_layer_branches(count: int, rng: random.Random) -> OrderProblem:
    """Many chains up and down between one source and one sink: no order is obviously good."""
    predecessors: list[list[int]] = [[]]
    storages: list[tuple[int, list[int], list[int]]] = []
    ends = []
    for _ in range(count):
        previous = 0
        storages.append((rng.randint(1, 50), [0], [len(predecessors)]))
        for _ in range(4):
            v = len(predecessors)
            predecessors.append([previous])
            storages.append((rng.randint(1, 50), [v], [v + 1]))
            previous = v
        storages[-1] = (storages[-1][0], storages[-1][1], [])
        ends.append((previous, len(storages) - 1))
    sink = len(predecessors)
    predecessors.append([v for v, _ in ends])
    for v, s in ends:
        storages[s] = (storages[s][0], [v], [sink])
    return problem_of(predecessors, storages)


def test_same_input_and_seed_give_the_same_order() -> None:
    problem = two_layer_branches(12, random.Random(1))
    first, second = (solve(problem, seed=3).solution for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.order.tolist() == second.order.tolist()


def test_an_interrupted_search_hands_over_to_the_beam_and_keeps_its_bound() -> None:
    problem = two_layer_branches(14, random.Random(2))
    full = solve(problem)
    starved = solve(problem, ExactOrder(memory_bytes=40_000))
    assert full.status is Status.OPTIMAL
    assert starved.solution is not None
    assert full.solution is not None
    assert starved.statistics["beams"] > 0
    assert starved.lower_bound <= full.lower_bound
    assert starved.solution.peak_bytes >= full.solution.peak_bytes
    best_list = min(
        s.solve(problem, deadline=Deadline(1.0)).solution.peak_bytes for s in LIST_ORDERS
    )
    assert starved.solution.peak_bytes <= best_list


def test_a_cancelled_deadline_stops_at_once_with_an_order_and_a_bound() -> None:
    problem = two_layer_branches(40, random.Random(3))
    deadline = Deadline(600.0)
    timer = threading.Timer(0.2, deadline.cancel.set)
    timer.start()
    outcome = ExactOrder(dominance=False).solve(problem, deadline=deadline)
    timer.cancel()
    assert outcome.solution is not None
    assert peak_of(problem, outcome.solution.order) == outcome.solution.peak_bytes
    assert outcome.lower_bound >= outcome.statistics["footprint_bound"]


def test_no_operators() -> None:
    outcome = solve(problem_of([], [(7, [], []), (5, [], [])], kept=(0,)))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution is not None
    assert len(outcome.solution.order) == 0
    assert outcome.solution.peak_bytes == 7


def test_one_operator_with_workspace_and_unused_storages() -> None:
    problem = problem_of([[]], [(3, [], [0]), (4, [0], []), (100, [], []), (5, [0], [])], kept=(3,))
    outcome = solve(problem)
    assert (outcome.status, outcome.lower_bound) == (Status.OPTIMAL, 12)


def test_sizes_that_add_up_to_2_to_the_62_do_not_overflow() -> None:
    quarter = 2**60
    problem = problem_of(
        [[], [], [0], [1], [2, 3]],
        [(quarter, [v], users) for v, users in enumerate([[2], [3], [4], [4]])] + [(5, [4], [])],
    )
    with pytest.raises(ValueError, match=r"2\*\*62"):
        solve(problem)
    problem.size[-1] = 0
    outcome = solve(problem)
    assert (outcome.status, outcome.lower_bound) == (Status.OPTIMAL, 3 * quarter)
    assert optimum(problem) == 3 * quarter


def test_needs_that_add_up_beyond_64_bits_do_not_overflow() -> None:
    # Every operator reads all results before it, so that a tree would hold each many times over.
    # The sanitizers see an overflow; the order alone might not show it.
    n = 12
    problem = problem_of(
        [list(range(v)) for v in range(n)],
        [(2**58, [v], list(range(v + 1, n))) for v in range(n)],
    )
    outcome = solve(problem)
    assert (outcome.status, outcome.lower_bound) == (Status.OPTIMAL, n * 2**58)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_takes_any_integer_as_seed(seed: int) -> None:
    problem = two_layer_branches(6, random.Random(4))
    assert solve(problem, seed=seed).status is Status.OPTIMAL


def test_a_kept_operand_is_not_overwritten() -> None:
    problem = problem_of([[], [0]], [(8, [0], [1]), (8, [1], [])], in_place={1: [0]})
    assert solve(problem).lower_bound == 8
    assert solve(replace(problem, kept=np.array([True, False]))).lower_bound == 16


CHAIN = problem_of([[], [0]], [(8, [0], [1]), (8, [1], [])])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (replace(CHAIN, size=np.array([8, -1])), "negative"),
        (replace(CHAIN, size=np.array([8])), "kept"),
        (replace(CHAIN, operators=3), "predecessors: 3 offsets given, 4 expected"),
        (replace(CHAIN, operators=-1), "operators"),
        (replace(CHAIN, predecessors=RaggedArray.from_rows([[1], []])), "default order"),
        (replace(CHAIN, predecessors=RaggedArray.from_rows([[], [1]])), "default order"),
        (replace(CHAIN, predecessors=RaggedArray.from_rows([[], [2]])), r"2 is not in \[0, 2\)"),
        (replace(CHAIN, users=RaggedArray.from_rows([[0, -1], [1]])), "-1 is not in"),
        (replace(CHAIN, users=RaggedArray.from_rows([[1], [1]])), "starter that is no user"),
        (replace(CHAIN, in_place=RaggedArray.from_rows([[1], []])), "no user of it"),
        (
            replace(CHAIN, users=RaggedArray(np.array([0, 2, 1]), CHAIN.users.values)),
            "offsets fall",
        ),
        (replace(CHAIN, users=RaggedArray(np.array([1, 2, 3]), CHAIN.users.values)), "not 0"),
        (replace(CHAIN, users=RaggedArray(np.array([0, 2, 9]), CHAIN.users.values)), "is 9, but 3"),
    ],
)
def test_malformed_problems_are_refused_with_a_reason(broken: OrderProblem, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve(broken)


@pytest.mark.parametrize("order", [[1, 0], [0], [0, 0], [0, 1, 2], [0, 7]])
def test_an_incumbent_that_is_no_order_is_refused(order: list[int]) -> None:
    with pytest.raises(ValueError, match="each after its predecessors"):
        solve(CHAIN, incumbent=OrderSolution(np.array(order, dtype=np.int32), 16))
