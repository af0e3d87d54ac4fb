"""Climbs and decisions of the exact order, on graphs that look like training steps."""

from __future__ import annotations

import itertools
import random
from functools import cache

import numpy as np
import pytest

from planner.graph import RaggedArray
from planner.problem import OrderProblem, Status
from solvers.order.exact import ExactOrder
from solvers.order.peak import peak_of
from solvers.protocol import Deadline

ABLATIONS = [
    ExactOrder(dominance=dominance, climbs=climbs)
    for dominance, climbs in itertools.product((True, False), repeat=2)
]


class Builder:
    """Collects operators and the storages that they write and read."""

    def __init__(self) -> None:
        self.predecessors: list[list[int]] = []
        self.sizes: list[int] = []
        self.starters: list[list[int]] = []
        self.users: list[set[int]] = []
        self.kept: set[int] = set()
        self.in_place: dict[int, list[int]] = {}

    def storage(self, size: int, starters: list[int]) -> int:
        self.sizes.append(size)
        self.starters.append(starters)
        self.users.append(set(starters))
        return len(self.sizes) - 1

    def operator(self, operands: list[int], size: int, overwritable: tuple[int, ...] = ()) -> int:
        v = len(self.predecessors)
        self.predecessors.append(sorted({p for s in operands for p in self.starters[s]}))
        for s in operands:
            self.users[s].add(v)
        self.in_place[v] = [s for s in overwritable if self.sizes[s] == size]
        return self.storage(size, [v])

    def share(self, parts: list[int]) -> None:
        """One storage takes the place of several, as in a Concat without a copy."""
        starters = sorted({p for s in parts for p in self.starters[s]})
        whole = self.storage(sum(self.sizes[s] for s in parts), starters)
        for s in parts:
            self.users[whole] |= self.users[s]
            self.sizes[s] = 0
        for v, options in self.in_place.items():
            writes_a_part = any(self.starters[s] == [v] for s in parts)
            self.in_place[v] = [s for s in options if s not in parts and not writes_a_part]

    def fetch_late(self) -> None:
        for s, starters in enumerate(self.starters):
            if not starters:
                self.starters[s] = sorted(self.users[s])

    def problem(self) -> OrderProblem:
        n = len(self.predecessors)
        return OrderProblem(
            operators=n,
            size=np.array(self.sizes, dtype=np.int64),
            predecessors=RaggedArray.from_rows(self.predecessors),
            starters=RaggedArray.from_rows(self.starters),
            users=RaggedArray.from_rows([sorted(users) for users in self.users]),
            kept=np.array([s in self.kept for s in range(len(self.sizes))], dtype=bool),
            in_place=RaggedArray.from_rows([self.in_place[v] for v in range(n)]),
        )


def training_step(rng: random.Random, most: int) -> OrderProblem:
    """A backbone forward and back, and a branch to the update of each weight.

    Each branch rises before it comes down: it unfolds a saved activation, makes the gradient, and
    updates moments and weight, in place where sizes allow.
    """

    def likely(probability: float) -> bool:
        return rng.random() < probability

    b = Builder()
    activation = b.storage(rng.randint(0, 3), [])
    saved: list[tuple[int, int]] = []
    for _ in range(rng.randint(1, 3)):
        weight = b.storage(rng.randint(1, 6), [])
        overwritable = (activation,) if likely(0.3) else ()
        activation = b.operator([activation, weight], rng.randint(1, 4), overwritable)
        saved.append((activation, weight))
    gradient = activation
    while saved and len(b.predecessors) < most:
        activation, weight = saved.pop()
        operands = [gradient, activation, weight][: rng.randint(2, 3)]
        next_gradient = b.operator(operands, rng.randint(1, 4))
        unfolded = activation if likely(0.7) else gradient
        for _ in range(rng.randint(0, 2)):
            overwritable = (unfolded,) if likely(0.3) else ()
            unfolded = b.operator([unfolded], rng.randint(1, 9), overwritable)
        size = b.sizes[weight]
        update = b.operator([unfolded, gradient], size if likely(0.7) else rng.randint(0, 5))
        if likely(0.7):
            moment = b.storage(size, [])
            moment = b.operator([moment], size, (moment,) if likely(0.3) else ())
            if likely(0.6):
                scaled = b.operator([update], b.sizes[update], (update,))
                operands = [moment, update, scaled]
            else:
                operands = [moment, update]
            update = b.operator(operands, b.sizes[update], tuple(operands))
        updated = b.operator([weight, update], size, (update,))
        if likely(0.8):
            b.kept.add(updated)
        gradient = next_gradient
    if likely(0.2):
        made = [s for s, starters in enumerate(b.starters) if starters]
        b.share(rng.sample(made, 2))
    if likely(0.3):
        b.fetch_late()
    return b.problem()


def chains_that_share(rng: random.Random) -> OrderProblem:
    """A few chains that read the same inputs, some of them joined at their ends."""
    b = Builder()
    inputs = [b.storage(rng.randint(1, 9), []) for _ in range(rng.randint(1, 3))]
    ends: list[int] = []
    for _ in range(rng.randint(2, 3)):
        made: list[int] = []
        for _ in range(rng.randint(1, 3)):
            shared = [s for s in inputs if rng.random() < 0.4]
            made = [b.operator(made + shared, rng.randint(0, 9), (*made, *shared))]
        ends += made
    if rng.random() < 0.6:
        joined = rng.sample(ends, 2)
        ends.append(b.operator(joined, rng.randint(0, 9), tuple(joined)))
    b.kept |= {s for s in ends if rng.random() < 0.4}
    if rng.random() < 0.5:
        b.fetch_late()
    return b.problem()


def smallest_peak(problem: OrderProblem) -> int:
    """Over all orders, by trying every operator at every set of finished ones."""
    n = problem.operators
    everything = frozenset(range(n))
    predecessors = [set(problem.predecessors.row(v).tolist()) for v in range(n)]
    storages = [
        (
            int(problem.size[s]),
            set(problem.starters.row(s).tolist()),
            set(problem.users.row(s).tolist()),
            bool(problem.kept[s]),
        )
        for s in range(len(problem.size))
    ]

    def live(begun: frozenset[int], ran: frozenset[int]) -> int:
        return sum(
            size
            for size, starters, users, kept in storages
            if (not starters or starters & begun) and (kept or users - ran)
        )

    @cache
    def peak_from(ran: frozenset[int]) -> int:
        peaks = [0] if ran == everything else []
        for v in everything - ran:
            if predecessors[v] - ran:
                continue
            overwritten = [0]
            for s in problem.in_place.row(v).tolist():
                size, _, users, kept = storages[s]
                if not kept and users <= ran | {v}:
                    overwritten.append(size)
            transient = live(ran | {v}, ran) - max(overwritten)
            peaks.append(max(transient, peak_from(ran | {v})))
        return min(peaks)

    return max(live(frozenset(), frozenset()), peak_from(frozenset()))


@pytest.mark.parametrize("seed", range(4))
def test_is_optimal_with_and_without_each_rule(seed: int) -> None:
    rng = random.Random(seed)
    for round_number in range(240):
        problem = chains_that_share(rng) if round_number % 4 else training_step(rng, 10)
        best = smallest_peak(problem)
        for solver in ABLATIONS:
            outcome = solver.solve(problem, deadline=Deadline(60.0))
            assert outcome.solution is not None
            assert (outcome.status, outcome.lower_bound) == (Status.OPTIMAL, best)
            assert peak_of(problem, outcome.solution.order) == outcome.solution.peak_bytes == best


def parallel_chains(rng: random.Random, count: int, length: int) -> tuple[OrderProblem, int]:
    """Chains with nothing in common but the room they take, and their smallest peak."""
    b = Builder()
    chains = [[rng.randint(1, 50) for _ in range(length)] for _ in range(count)]
    for chain in chains:
        made: list[int] = []
        for size in chain:
            made = [b.operator(made, size)]
        b.kept.add(made[0])

    def live(position: tuple[int, ...]) -> int:
        return sum(chain[i - 1] for chain, i in zip(chains, position, strict=True) if i)

    smallest = {(0,) * count: 0}
    for position in itertools.product(range(length + 1), repeat=count):
        if not any(position):
            continue
        ways = []
        for k, i in enumerate(position):
            if i:
                before = (*position[:k], i - 1, *position[k + 1 :])
                ways.append(max(smallest[before], live(before) + chains[k][i - 1]))
        smallest[position] = min(ways)
    return b.problem(), smallest[(length,) * count]


@pytest.mark.parametrize("solver", ABLATIONS)
def test_decisions_finish_what_the_search_through_all_levels_does_not(solver: ExactOrder) -> None:
    rng = random.Random(7)
    decisions = 0
    for _ in range(4):
        problem, best = parallel_chains(rng, 6, 4)
        outcome = solver.solve(problem, deadline=Deadline(60.0))
        assert outcome.solution is not None
        assert (outcome.status, outcome.lower_bound) == (Status.OPTIMAL, best)
        assert peak_of(problem, outcome.solution.order) == best
        decisions += outcome.statistics["decisions"]
    # The rules leave so little to search that decisions may not be needed.
    assert decisions > 0 or solver.dominance or solver.climbs


def test_climbs_leave_out_states() -> None:
    rng = random.Random(3)
    states = {True: 0, False: 0}
    for _ in range(40):
        problem = training_step(rng, 60)
        for climbs in states:
            outcome = ExactOrder(climbs=climbs).solve(problem, deadline=Deadline(60.0))
            states[climbs] += outcome.statistics["states"]
    assert states[True] < 0.9 * states[False]
