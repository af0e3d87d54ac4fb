"""Values of the design tables' graphs in default order."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from planner.problem import ReplacementProblem, Status
from solvers.replacement.belady import Belady
from solvers.replacement.benders import GapSelection

from .problems import footprint, problem_of
from .reference import solved


def graph_of_table(name: str) -> ReplacementProblem:
    """Read one of the design tables' graphs in default order, at its smallest capacity."""
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("needs PLANNER_DATA: the graphs of the design tables are not in the project")
    numbers = iter(map(int, Path(folder, "graphs", f"{name}.txt").read_text().split()))
    steps, tensors = next(numbers), next(numbers)
    size = [next(numbers) for _ in range(tensors)]
    uses: list[set[int]] = [set() for _ in size]
    has_copy = [True] * tensors
    for step in range(steps):
        for produced in (False, True):
            for _ in range(next(numbers)):
                tensor = next(numbers)
                uses[tensor].add(step)
                has_copy[tensor] &= not produced
    problem = problem_of([sorted(row) for row in uses], size, 0, has_copy=has_copy)
    return replace(problem, capacity=footprint(problem))


@pytest.mark.parametrize(
    ("name", "traffic"),
    [
        ("densenet121_unf", 2_609_152),
        ("nasnet_im", 2_195_200),
        ("pnas_im", 2_872_576),
        ("darts_im", 1_894_144),
        ("amoebanet_im", 1_856_512),
        ("randwire2", 1_406_496),
    ],
)
def test_optimum_of_published_graphs_in_default_order_is_reproduced(
    name: str, traffic: int
) -> None:
    outcome = solved(GapSelection(), graph_of_table(name))
    assert outcome.solution is not None
    assert (outcome.status, outcome.solution.traffic_bytes) == (Status.OPTIMAL, traffic)


def test_furthest_next_use_finds_the_published_values() -> None:
    for name, traffic in (("densenet121_unf", 2_609_152), ("randwire2", 1_712_256)):
        solution = solved(Belady(), graph_of_table(name)).solution
        assert solution is not None
        assert solution.traffic_bytes == traffic
