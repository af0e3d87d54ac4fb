"""What the reports read off a plan's placements."""

from __future__ import annotations

import numpy as np
import pytest

from planner.checker import check
from planner.metrics import measure_bytes
from planner.report.occupancy import in_place_inputs, live_at, longest_held, occupancies


@pytest.mark.parametrize("spills", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_live_bytes_agree_with_the_metrics_of_a_legal_plan(make_plan, seed, spills) -> None:
    graph, plan = make_plan(60, seed=seed, spills=spills)
    assert check(graph, plan.target, plan) == []
    metrics = measure_bytes(graph, plan.target, plan)
    for occupancy in occupancies(plan):
        assert occupancy.peak_bytes == metrics.peak_bytes[occupancy.memory.name]
        assert occupancy.arena_bytes == metrics.arena_bytes[occupancy.memory.name]


def test_what_is_live_at_a_step_adds_up_to_the_curve(spilling) -> None:
    plan = spilling.plan
    assert in_place_inputs(plan)
    for occupancy in occupancies(plan):
        sums = [
            sum(entry.counted_bytes for entry in live_at(plan, occupancy, step))
            for step in range(len(plan.order))
        ]
        np.testing.assert_array_equal(sums, occupancy.live_bytes)


def test_the_nearest_memory_is_there_even_when_unused(small) -> None:
    from dataclasses import replace

    (near,) = occupancies(replace(small.plan, placements=(), in_place=()))
    assert (near.peak_bytes, near.arena_bytes) == (0, 0)


def test_longest_held_ranks_by_bytes_times_steps(small) -> None:
    plan = small.plan
    near = occupancies(plan)[0]

    def byte_steps(index: int) -> int:
        p = plan.placements[index]
        return plan.storages[p.storage].size_bytes * (p.end - p.start)

    ranked = [byte_steps(i) for i in longest_held(plan, near, 5)]
    every = sorted((byte_steps(i) for i in range(len(plan.placements))), reverse=True)
    assert ranked == every[:5]
