"""The parts of the solvers: buffers of in-place chains, conflicts, capacity rows."""

from __future__ import annotations

import pytest

from planner.problem import Status
from solvers.protocol import Deadline
from solvers.replacement import capacity_rows
from solvers.replacement.conflicts import find_conflicts
from solvers.replacement.demand import Demand
from solvers.replacement.episodes import Stay, episodes_to_buffers, stays_between
from solvers.replacement.gaps import GapModel, find_gaps

from .problems import FRAGMENTED, fragmented_problem, network, problem_of
from .reference import exhaustive_pack


def test_an_in_place_chain_is_one_buffer_and_counts_once() -> None:
    problem = problem_of(
        [[0, 1], [1, 2], [2, 4], [3]], [3, 3, 3, 5], 8, merged=[(1, 1, 0), (2, 2, 1)]
    )
    demand = Demand.of(problem)
    assert demand.footprint == [3, 3, 3, 5, 3]
    stays = [Stay(0, 0, 2), Stay(1, 1, 3), Stay(2, 2, 5), Stay(3, 3, 4)]
    buffers = episodes_to_buffers(demand, stays)
    assert buffers.of_stay == (0, 0, 0, 1)
    assert buffers.problem.lower.tolist() == [0, 3]
    assert buffers.problem.upper.tolist() == [5, 4]
    assert buffers.problem.size.tolist() == [3, 5]
    parted = episodes_to_buffers(demand, [Stay(0, 0, 2), Stay(1, 1, 2), Stay(1, 2, 3), stays[2]])
    assert parted.of_stay == (0, 0, 1, 1)


@pytest.mark.parametrize("case", FRAGMENTED)
def test_conflicts_cannot_be_placed_and_contain_no_bystander(case) -> None:
    demand = Demand.of(fragmented_problem(*case, idle=False))
    conflicts = find_conflicts(demand, stays_between(demand, set()), exhaustive_pack, Deadline(60))
    assert conflicts

    def placeable(stays: list[Stay]) -> bool:
        problem = episodes_to_buffers(demand, stays).problem
        return exhaustive_pack(problem, Deadline(60)).status is not Status.INFEASIBLE

    for conflict in conflicts:
        assert not placeable(conflict)
        for i in range(len(conflict)):
            assert placeable(conflict[:i] + conflict[i + 1 :])


def test_both_forms_of_capacity_rows_give_the_same_value(monkeypatch) -> None:
    for seed in range(5):
        problem = network(seed, 80)
        demand = Demand.of(problem)
        model = GapModel(demand, find_gaps(demand))
        dense = model.solve(Deadline(60))
        with monkeypatch.context() as patch:
            patch.setattr(capacity_rows, "MOST_DENSE_TERMS", 0)
            sparse = GapModel(demand, find_gaps(demand)).solve(Deadline(60))
        assert dense.selection is not None and sparse.selection is not None
        assert dense.selection.traffic_bytes == sparse.selection.traffic_bytes == dense.bound
        assert sparse.bound == dense.bound > 0
