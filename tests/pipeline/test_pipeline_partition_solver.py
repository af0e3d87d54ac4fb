"""Operators in a row are cut into the best stages: against brute force, and against chance."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.pipelining.partitioning.partition_problem import OperatorBytes, PartitionProblem
from planner.pipelining.partitioning.training_costs import Held
from planner.pipelining.placements import linear_placement, looped_placement, v_placement
from solvers.pipeline.partition import best_partition


def problem_of(
    rng: np.random.Generator,
    operators: int,
    device_of: tuple[int, ...],
    *,
    speeds: bool = False,
    capacity: int | None = None,
    largest: int = 9,
) -> PartitionProblem:
    devices = max(device_of) + 1
    work = rng.integers(0, largest + 1, size=operators)
    factors = rng.integers(1, 4, size=devices) if speeds else np.ones(devices, dtype=np.int64)
    loads = np.concatenate(([0], np.cumsum(work)))[None, :] * factors[:, None]
    ends = np.zeros(1, dtype=np.int64)
    crossing = np.concatenate((ends, rng.integers(1, 5, size=operators - 1), ends))

    def row() -> tuple[Held, ...]:
        keys = rng.choice(6, size=int(rng.integers(0, 3)), replace=False)
        return tuple(Held(int(key), int(key) % 3 + 1) for key in keys)

    return PartitionProblem(
        loads.astype(np.int64),
        (crossing * rng.integers(0, 3)).astype(np.int64),
        crossing.astype(np.int64),
        tuple(OperatorBytes(row(), row(), row()) for _ in range(operators)),
        device_of,
        tuple(int(count) for count in rng.integers(1, 4, size=len(device_of))),
        (capacity,) * devices,
    )


def all_partitions(problem: PartitionProblem) -> list[tuple[int, ...]]:
    count = len(problem.operators)
    inner = combinations(range(1, count), problem.stages - 1)
    return [cuts for middle in inner if problem.fits(cuts := (0, *middle, count))]


def sent_bytes(problem: PartitionProblem, cuts: tuple[int, ...]) -> int:
    return int(problem.crossing_bytes[list(cuts)].sum())


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 9),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([None, 6, 9, 14, 20]),
)
def test_one_stage_per_device_is_best_in_load_then_in_bytes(
    seed: int, operators: int, devices: int, speeds: bool, capacity: int | None
) -> None:
    problem = problem_of(
        np.random.default_rng(seed),
        operators,
        linear_placement(devices),
        speeds=speeds,
        capacity=capacity,
    )
    possible = all_partitions(problem)
    found = best_partition(problem)
    if not possible:
        assert found is None
        return
    assert found is not None
    best = min((problem.largest_load(cuts), sent_bytes(problem, cuts)) for cuts in possible)
    assert (problem.largest_load(found), sent_bytes(problem, found)) == best
    assert found in possible


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(4, 9),
    st.integers(2, 4),
    st.booleans(),
    st.sampled_from([None, None, 8, 14, 20, 30]),
)
def test_paired_stages_have_the_least_device_load(
    seed: int, operators: int, devices: int, speeds: bool, capacity: int | None
) -> None:
    problem = problem_of(
        np.random.default_rng(seed),
        operators,
        v_placement(devices),
        speeds=speeds,
        capacity=capacity,
    )
    possible = all_partitions(problem)
    found = best_partition(problem)
    if not possible:
        assert found is None
        return
    assert found is not None
    assert found in possible
    assert problem.largest_load(found) == min(map(problem.largest_load, possible))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 9), st.sampled_from([None, 14, 20, 30]))
def test_looped_stages_are_legal_and_least_without_a_limit(
    seed: int, operators: int, capacity: int | None
) -> None:
    problem = problem_of(
        np.random.default_rng(seed), operators, looped_placement(2, 2), capacity=capacity
    )
    possible = all_partitions(problem)
    found = best_partition(problem)
    if found is None:
        assert capacity is not None or not possible
        return
    assert found in possible
    if capacity is None:
        assert problem.largest_load(found) == min(map(problem.largest_load, possible))


@pytest.mark.parametrize("placement", [linear_placement(8), looped_placement(4, 2), v_placement(4)])
def test_no_random_partition_is_better(placement: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    problem = problem_of(rng, 300, placement, largest=1000)
    found = best_partition(problem)
    assert found is not None
    least = problem.largest_load(found)
    for _ in range(300):
        middle = np.sort(rng.choice(np.arange(1, 300), size=7, replace=False))
        cuts = (0, *(int(cut) for cut in middle), 300)
        assert problem.largest_load(cuts) >= least


def test_a_thousand_operators_come_close_to_the_ideal() -> None:
    problem = problem_of(np.random.default_rng(2), 1000, linear_placement(8), largest=10_000)
    found = best_partition(problem)
    assert found is not None
    ideal = problem.loads[0, -1] / 8
    assert problem.largest_load(found) <= 1.01 * ideal


def test_more_stages_than_operators_have_no_partition() -> None:
    problem = problem_of(np.random.default_rng(3), 3, linear_placement(4))
    assert best_partition(problem) is None
