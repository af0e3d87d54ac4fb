"""Traffic of an order by rules of thumb, against exhaustive search and a plain simulation."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from planner.graph import RaggedArray
from solvers import _native
from solvers.joint.eviction import traffic_of_order
from solvers.joint.model import native_model

from .brute_force import least_traffic, random_problem, rows

if TYPE_CHECKING:
    from planner.joint_problem import JointProblem

Rule = Literal["furthest-use", "copies-first", "smallest-cover", "fewest-uses", "least-price"]
RULES: tuple[Rule, ...] = (
    "furthest-use",
    "copies-first",
    "smallest-cover",
    "fewest-uses",
    "least-price",
)
VARIANTS = [(False, 1), (False, 4), (True, 1), (True, 4)]


def random_order(problem: JointProblem, seed: int) -> list[int]:
    rng = random.Random(seed)
    predecessors = rows(problem.predecessors)
    left, order = set(range(problem.operators)), []
    while left:
        ready = sorted(v for v in left if left.isdisjoint(predecessors[v]))
        order.append(rng.choice(ready))
        left.remove(order[-1])
    return order


def in_this_order(problem: JointProblem, order: list[int]) -> JointProblem:
    """Leave no other order."""
    before: list[list[int]] = [[] for _ in order]
    for v, after in pairwise(order):
        before[after] = [v]
    return replace(problem, predecessors=RaggedArray.from_rows(before))


def simulated(problem: JointProblem, order: list[int]) -> int | None:
    """Run the order; where bytes are missing, what is needed last leaves, as late as possible."""
    size, rounded = problem.size.tolist(), problem.ordering().size.tolist()
    starters, users, writers = map(rows, (problem.starters, problem.users, problem.writers))
    in_place = rows(problem.in_place)
    counted = [s for s in range(len(size)) if size[s] and users[s]]
    last = len(order) - 1
    needed: list[set[int]] = [{s for s in counted if v in users[s]} for v in order]
    needed[0] |= {s for s in counted if not starters[s]}
    needed[last] |= {s for s in counted if problem.kept[s]}
    resident: set[int] = {s for s in counted if not starters[s]}
    seen, copied = set(resident), {s for s in counted if problem.has_copy[s]}
    traffic = 0
    for step, v in enumerate(order):
        done = set(order[:step])
        born = needed[step] - seen
        missing = needed[step] - resident - born
        overwritten = [
            rounded[s]
            for s in in_place[v]
            if s in seen and done | {v} >= set(users[s]) and not problem.kept[s]
        ]
        grows = sum(rounded[s] for s in born)
        grows -= min(grows, max(overwritten, default=0))
        bytes_ = sum(rounded[s] for s in resident | missing) + grows

        def next_use(s: int, after: int = step) -> int:
            return next(t for t in range(after, len(order)) if s in needed[t])

        evictable = [
            s
            for s in resident - needed[step]
            if not 0 < len(done & set(writers[s])) < len(writers[s])
        ]
        for s in sorted(evictable, key=next_use, reverse=True):
            if bytes_ <= problem.capacity:
                break
            bytes_ -= rounded[s]
            resident.remove(s)
            traffic += 0 if s in copied else size[s]
            copied.add(s)
        if bytes_ > problem.capacity:
            return None
        traffic += sum(size[s] for s in missing)
        seen |= born
        resident |= needed[step]
        alive = {s for s in resident if problem.kept[s] or not done | {v} >= set(users[s])}
        resident &= alive
    return traffic


@pytest.mark.parametrize(("everything", "alignment"), VARIANTS)
def test_traffic_is_that_of_a_residency_that_fits(everything: bool, alignment: int) -> None:
    equal = moved = 0
    for seed in range(60):
        problem = random_problem(seed, 6, alignment=alignment, everything=everything)
        order = random_order(problem, seed)
        optimum = least_traffic(in_this_order(problem, order))
        found = traffic_of_order(problem, order)
        assert (found is None) == (optimum is None), f"seed {seed}"
        if found is None or optimum is None:
            continue
        assert found >= optimum, f"seed {seed}"
        moved += optimum > 0
        equal += optimum > 0 and found == optimum
    assert moved >= 10
    assert equal >= 0.9 * moved, f"{equal} of {moved} orders"


@pytest.mark.parametrize(("everything", "alignment"), VARIANTS)
def test_no_worse_than_furthest_next_use_step_by_step(everything: bool, alignment: int) -> None:
    for seed in range(200):
        problem = random_problem(seed, 12, alignment=alignment, everything=everything)
        order = random_order(problem, seed)
        plain, found = simulated(problem, order), traffic_of_order(problem, order)
        assert (plain is None) == (found is None), f"seed {seed}"
        if plain is not None and found is not None:
            assert found <= plain, f"seed {seed}"


def test_no_single_rule_beats_the_best_of_all() -> None:
    best = [0] * len(RULES)
    for seed in range(200):
        problem = random_problem(seed, 12)
        model, order = native_model(problem), np.array(random_order(problem, seed), dtype=np.int32)
        together = traffic_of_order(model, order)
        assert together is not None
        for i, rule in enumerate(RULES):
            traffic = _native.order_traffic(model, order, rule)
            assert traffic is not None
            assert together <= traffic
            best[i] += traffic == together
    # Each one is there for a reason, and none for all.
    assert all(0 < count < 200 for count in best), best


def test_what_is_no_order_is_refused() -> None:
    problem = random_problem(3, 5)
    for order in ([0, 1, 2, 3], [4, 3, 2, 1, 0], [0, 0, 1, 2, 3], [0, 1, 2, 3, 5]):
        with pytest.raises(ValueError, match="order: not every operator once"):
            traffic_of_order(problem, order)


def test_operands_that_do_not_fit_give_no_traffic() -> None:
    problem = replace(random_problem(0, 5), capacity=0)
    assert traffic_of_order(problem, range(5)) is None
