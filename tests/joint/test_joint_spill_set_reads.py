"""Storages that are read again and again: how often they are absent is what the traffic is."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from planner.graph import RaggedArray
from planner.joint_problem import JointProblem, JointSolution
from planner.problem import Status
from solvers.joint.hitting_set import minimum_hitting_set
from solvers.joint.spill_set import SpillSet
from solvers.joint.stay_clauses import Clause
from solvers.protocol import Deadline

from .brute_force import least_traffic, random_problem, smallest_capacity

Operation = tuple[list[str], str, int]


def problem_of(operations: list[Operation], spare: int = 0) -> JointProblem:
    """Make a problem of operators (inputs, output, size of the output) at the least capacity."""
    number = {output: v for v, (_, output, _) in enumerate(operations)}
    users = [[v] for v in range(len(operations))]
    predecessors = []
    for v, (inputs, _, _) in enumerate(operations):
        predecessors.append(sorted(number[name] for name in inputs))
        for name in inputs:
            users[number[name]].append(v)
    count = len(operations)
    own = RaggedArray.from_rows([[v] for v in range(count)])
    problem = JointProblem(
        operators=count,
        capacity=0,
        alignment=1,
        size=np.array([size for _, _, size in operations], dtype=np.int64),
        has_copy=np.zeros(count, dtype=bool),
        kept=np.zeros(count, dtype=bool),
        predecessors=RaggedArray.from_rows(predecessors),
        starters=own,
        users=RaggedArray.from_rows(users),
        writers=own,
        in_place=RaggedArray.from_rows([[] for _ in operations]),
    )
    return replace(problem, capacity=smallest_capacity(problem) + spare)


def decoder(layers: int) -> list[Operation]:
    """Layers of a chain that all read the memory, through an operator each that can run early."""
    operations: list[Operation] = [([], "memory", 2), ([], "x0", 2)]
    for i in range(layers):
        operations += [
            (["memory"], f"key{i}", 2),
            ([f"key{i}", f"x{i}"], f"scores{i}", 8),
            ([f"scores{i}"], f"weights{i}", 8),
            ([f"weights{i}", f"x{i}"], f"x{i + 1}", 2),
        ]
    return operations


def readers(seed: int) -> JointProblem:
    """Make a small graph whose memory is read in many places, some of them in any order."""
    rng = random.Random(seed)
    operations: list[Operation] = [([], "memory", rng.randint(1, 3)), ([], "x0", rng.randint(1, 3))]
    for i in range(rng.randint(2, 3)):
        key = "memory"
        if rng.random() < 0.5:
            key = f"key{i}"
            operations.append((["memory"], key, rng.randint(1, 3)))
        operations += [
            ([key, f"x{i}"] if rng.random() < 0.8 else [f"x{i}"], f"y{i}", rng.randint(2, 6)),
            ([f"y{i}"] if rng.random() < 0.7 else [f"y{i}", f"x{i}"], f"z{i}", rng.randint(2, 6)),
            ([f"z{i}"], f"x{i + 1}", rng.randint(1, 3)),
        ]
    return problem_of(operations, rng.choice((0, 0, 1)))


@pytest.mark.parametrize("without_clauses", [-1, 1_000_000])
def test_many_reads_agree_with_brute_force(
    without_clauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solvers.joint.spill_set._ROUNDS_WITHOUT_CLAUSES", without_clauses)
    with_clauses = 0
    for seed in range(500):
        problem = readers(seed)
        outcome = SpillSet().solve(problem, deadline=Deadline(60))
        assert outcome.lower_bound == least_traffic(problem)
        with_clauses += outcome.statistics["clauses"] > 0
    assert with_clauses > 10


def test_each_layer_of_a_decoder_reads_the_memory_again() -> None:
    layers = 9
    outcome = SpillSet().solve(problem_of(decoder(layers), spare=2), deadline=Deadline(60))
    # Next to the scores and x there is no room for it.
    assert outcome.status is Status.OPTIMAL
    assert outcome.lower_bound == 2 * layers


def test_limits_that_do_not_suffice_grow_while_there_is_time() -> None:
    problem = problem_of(decoder(5), spare=2)
    outcome = SpillSet(expansions=1, max_nodes=1).solve(problem, deadline=Deadline(60))
    assert outcome.status is Status.OPTIMAL


def test_bounds_rise_and_solutions_improve_while_it_runs() -> None:
    several = 0
    for seed in range(40):
        problem = random_problem(seed, 6)
        bounds: list[int] = []
        solutions: list[JointSolution] = []
        outcome = SpillSet().solve(
            problem,
            deadline=Deadline(60),
            on_bound=bounds.append,
            on_solution=solutions.append,
        )
        traffic = [solution.traffic_bytes for solution in solutions]
        assert bounds == sorted(set(bounds))
        assert traffic == sorted(set(traffic), reverse=True)
        assert (bounds or [0])[-1] == outcome.lower_bound
        assert outcome.solution is not None
        assert traffic[-1] == outcome.solution.traffic_bytes
        several += len(bounds) > 1 or len(traffic) > 1
    assert several > 0


def test_a_plan_of_others_that_the_bound_reaches_ends_the_run() -> None:
    problem = problem_of(decoder(6), spare=2)
    asked: list[int] = []

    def latest() -> int:
        asked.append(8)
        return 8

    outcome = SpillSet().solve(problem, deadline=Deadline(60), latest=latest)
    assert asked
    assert outcome.status is Status.OPTIMAL
    assert outcome.lower_bound is not None
    assert 8 <= outcome.lower_bound <= 12


def partitions(points: int) -> list[list[int]]:
    """Return, for each way to part the points, the part of each."""
    found = [[0]]
    for _ in range(points - 1):
        found = [[*parts, part] for parts in found for part in range(max(parts) + 2)]
    return found


def test_clauses_agree_with_enumeration() -> None:
    """Two storages with three points each, one of them with more than one clause on it."""
    positive = 0
    for seed in range(60):
        rng = random.Random(seed)
        first = [rng.randint(1, 6) for _ in range(3)]
        more = [rng.randint(1, 3) for _ in range(3)]

        def pairs(rng: random.Random, most: int) -> list[tuple[int, int, int]]:
            chosen = []
            for _ in range(rng.randint(0, most)):
                a, b = sorted(rng.sample(range(3), 2))
                chosen.append((rng.randrange(2), a, b))
            return chosen

        clauses = [
            Clause(pairs(rng, 2), pairs(rng, 1), rng.sample(range(3), rng.randint(0, 1)))
            for _ in range(rng.randint(1, 5))
        ]
        clauses = [clause for clause in clauses if clause.parted]
        if not clauses:
            continue
        least = None
        for parts in itertools.product(partitions(3), repeat=2):
            for levels in itertools.product(range(3), repeat=3):
                met = all(
                    any(parts[s][a] != parts[s][b] for s, a, b in clause.parted)
                    or any(parts[s][a] == parts[s][b] for s, a, b in clause.joined)
                    or any(levels[s] > 0 for s in clause.absent)
                    for clause in clauses
                )
                if not met or any(max(parts[s]) > levels[s] for s in range(2)):
                    continue
                cost = sum(
                    first[s] + (level - 1) * more[s] for s, level in enumerate(levels) if level
                )
                least = cost if least is None else min(least, cost)
        found = minimum_hitting_set(
            np.array(first, dtype=np.int64),
            np.array(more, dtype=np.int64),
            [],
            deadline=Deadline(60),
            clauses=clauses,
            shared_stay=lambda _, a, b: [a, b],
        )
        assert found.cost == found.bound == least
        positive += found.cost > 0
    assert positive > 10
