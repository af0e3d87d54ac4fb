"""Published offset instances: what has to be solved, and to which height."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from planner.problem import OffsetProblem, Status
from solvers.offsets import lower_bound, pack
from solvers.protocol import Deadline

CAPACITY = 1_048_576


def load(name, capacity=None):
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("PLANNER_DATA is not set: the published offset instances are not tested")
    path = Path(folder) / "offsets" / name
    if not path.exists():
        pytest.skip(f"{path} is missing: this published instance is not tested")
    with path.open() as file:
        rows = [(int(r["lower"]), int(r["upper"]), int(r["size"])) for r in csv.DictReader(file)]
    lower, upper, size = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return OffsetProblem(lower, upper, size, np.ones_like(size), capacity)


def minimalloc(letter, capacity=None):
    return load(f"minimalloc/{letter}.1048576.csv", capacity)


def assert_legal(problem, solution):
    begin, end = solution.offsets, solution.offsets + problem.size
    assert begin.min() >= 0
    assert end.max() == solution.height
    for v in range(len(begin)):
        alive_together = (problem.lower < problem.upper[v]) & (problem.lower[v] < problem.upper)
        share_bytes = (begin < end[v]) & (begin[v] < end)
        assert np.flatnonzero(alive_together & share_bytes).tolist() == [v]


def disguised(problem, capacity=None):
    """Time reversed, buffers shuffled, sizes times three."""
    shuffle = np.random.default_rng(0).permutation(len(problem.size))
    return OffsetProblem(
        -problem.upper[shuffle],
        -problem.lower[shuffle],
        3 * problem.size[shuffle],
        problem.alignment[shuffle],
        capacity,
    )


@pytest.mark.parametrize("letter", "ABCFJ")
def test_minimalloc_instances_fit_their_capacity(letter):
    problem = minimalloc(letter, CAPACITY)
    outcome = pack(problem, Deadline(30))
    assert_legal(problem, outcome.solution)
    assert outcome.solution.height <= CAPACITY
    # A count that no machine changes: the search has not become worse.
    assert outcome.statistics["nodes"] < 10_000


@pytest.mark.parametrize("letter", "ABCFJ")
def test_disguised_minimalloc_instances_fit_their_capacity(letter):
    problem = disguised(minimalloc(letter), 3 * CAPACITY)
    outcome = pack(problem, Deadline(30))
    assert_legal(problem, outcome.solution)
    assert outcome.solution.height <= 3 * CAPACITY


@pytest.mark.parametrize(
    ("letter", "height"), [("A", CAPACITY), ("B", CAPACITY), ("C", 1_039_360), ("F", CAPACITY)]
)
def test_minimalloc_instances_are_minimised_with_proof(letter, height):
    problem = minimalloc(letter)
    outcome = pack(problem, Deadline(30))
    assert_legal(problem, outcome.solution)
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == outcome.lower_bound == height
    assert pack(disguised(problem), Deadline(30)).solution.height == 3 * height


def test_no_capacity_below_the_bound_is_searched():
    outcome = pack(minimalloc("C", 1_039_359), Deadline(30))
    assert outcome.status is Status.INFEASIBLE
    assert outcome.statistics["nodes"] == 0


def test_minimalloc_example_is_packed_at_its_capacity():
    problem = load("minimalloc/input.12.csv", 12)
    outcome = pack(problem, Deadline(30))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == 12


@pytest.mark.parametrize(("name", "height"), [("G_1", 3_030_937_746), ("resnet50", 1_515_472_556)])
def test_idealloc_instances_are_packed_at_their_bound(name, height):
    problem = load(f"idealloc/{name}.csv")
    outcome = pack(problem, Deadline(30))
    assert_legal(problem, outcome.solution)
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == lower_bound(problem) == height
