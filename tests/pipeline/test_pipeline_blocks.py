"""V placements: ZB-V, building blocks and the search among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.pipelining.problem import PipelineObjective, StageCosts
from planner.pipelining.simulator import bubble_rate, simulate_pipeline
from solvers.pipeline.block_search import block_schedules, v_blocks
from solvers.pipeline.blocks import VSlots, v_block
from solvers.pipeline.constructors.catalogue import InapplicableError
from solvers.pipeline.constructors.v_half import v_half, v_half_block
from solvers.pipeline.constructors.v_min import v_min, v_min_block
from solvers.pipeline.constructors.zb_v import zb_v
from solvers.pipeline.ranked_order import OrderPolicy, RankedOrders

from .chunked_pipelines import equal_pipeline, peak, run, unequal_pipelines
from .constructions import NO_HURRY, construct

V_ONLY = (("v", 2),)

# Table 8 of "Zero Bubble Pipeline Parallelism" (arXiv 2401.10241): p, m, microseconds of F, B, W
# and communication per chunk, hidden size, heads, and the bubble rate of ZB-V.
TABLE_8 = (
    (16, 48, (14407, 14380, 9676, 1610), 4096, 32, 0.0697),
    (16, 64, (14412, 14393, 9688, 1621), 4096, 32, 0.0533),
    (16, 128, (14316, 14306, 9639, 1619), 4096, 32, 0.0274),
    (24, 72, (6763, 6969, 5251, 755), 5120, 40, 0.0638),
    (24, 96, (6783, 6984, 5259, 758), 5120, 40, 0.0483),
    (24, 192, (6785, 6990, 5260, 770), 5120, 40, 0.0250),
    (32, 96, (9458, 9748, 7288, 879), 6144, 48, 0.0593),
    (32, 128, (9469, 9744, 7306, 892), 6144, 48, 0.0451),
    (32, 256, (9447, 9644, 7193, 887), 6144, 48, 0.0236),
)


def idle(problem, schedule) -> int:
    return simulate_pipeline(problem, schedule).longest_stage - problem.ideal_ticks


@pytest.mark.parametrize(("devices", "microbatches"), [(1, 3), (4, 8), (8, 24), (16, 48)])
def test_zb_v_has_no_bubble_at_equal_costs(devices: int, microbatches: int) -> None:
    problem = equal_pipeline(devices, microbatches)
    schedule = zb_v(problem, NO_HURRY)
    assert idle(problem, schedule) == 0
    assert peak(problem, schedule) == 2 * devices


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row,
            id=f"p{row[0]}m{row[1]}",
            marks=[pytest.mark.slow] if row[1] > 3 * row[0] else [],
        )
        for row in TABLE_8
    ],
)
def test_zb_v_has_at_most_the_published_bubble_in_the_memory_of_1f1b(row) -> None:
    devices, microbatches, (forward, backward, weight, hop), hidden, heads, published = row
    size = 34 * hidden + 5 * heads * 1024
    costs = StageCosts(forward, backward, weight, size, 32 * hidden, hop)
    problem = equal_pipeline(devices, microbatches, costs=costs, limit=2 * devices * size)
    timeline = run(problem, zb_v(problem, NO_HURRY))
    assert round(bubble_rate(problem, timeline.longest_stage), 4) <= published


@pytest.mark.parametrize(
    ("build", "devices", "microbatches", "rate", "most"),
    [
        (v_min, 4, 8, 0.1864, 4),
        (v_min, 8, 24, 0.1579, 8),
        (v_min, 16, 48, 0.1700, 12),
        (v_half, 4, 8, 0.0943, 6),
        (v_half, 8, 24, 0.1056, 10),
        (v_half, 16, 48, 0.1246, 18),
    ],
)
def test_published_blocks_have_their_bubbles(build, devices, microbatches, rate, most) -> None:
    problem = equal_pipeline(devices, microbatches)
    schedule = build(problem)
    assert round(bubble_rate(problem, run(problem, schedule).longest_stage), 4) == rate
    assert peak(problem, schedule) == most


@pytest.mark.parametrize(
    "devices",
    [
        *range(2, 14),
        *(pytest.param(devices, marks=pytest.mark.slow) for devices in range(14, 34)),
    ],
)
def test_published_blocks_hold_what_their_formulas_say(devices: int) -> None:
    problem = equal_pipeline(devices, 2 * devices)
    for build, block, most in (
        (v_min, v_min_block(devices), (devices + 4) // 3),
        (v_half, v_half_block(devices), (devices + 2) // 2),
    ):
        assert block.is_feasible
        assert peak(problem, build(problem)) == 2 * most
        sizes = [1] * (2 * devices)
        assert max(block.peaks(sizes)) == 2 * most
        for device, held in enumerate(block.peaks(sizes)):
            assert held <= block.copies[device] + block.copies[2 * devices - 1 - device]


def test_a_block_tells_when_passes_share_a_slot() -> None:
    assert not v_block(VSlots([0, 1], [6, 3], [7, 8], [12, 11])).is_feasible
    assert not v_block(VSlots([0, 1], [2, 1], [4, 5], [7, 6])).is_feasible


@pytest.mark.parametrize("devices", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("period", [6, 8])
def test_every_block_of_the_search_is_feasible(devices: int, period: int) -> None:
    blocks = v_blocks(devices, period)
    assert blocks
    assert all(block.is_feasible for block in blocks)


# Idle ticks: the greatest known lower bounds at equal costs, which these schedules meet.
@pytest.mark.parametrize(
    ("devices", "microbatches", "limit", "most"),
    [
        (4, 8, 4, 11),
        (4, 8, 6, 5),
        (4, 8, 8, 0),
        (8, 24, 12, 11),
        *(
            pytest.param(*numbers, marks=pytest.mark.slow)
            for numbers in ((4, 8, 5, 8), (4, 8, 7, 3), (8, 24, 8, 23), (8, 24, 10, 17))
        ),
    ],
)
def test_the_search_meets_the_bounds_at_equal_costs(devices, microbatches, limit, most) -> None:
    problem = equal_pipeline(devices, microbatches, limit=limit)
    schedule = block_schedules(problem, NO_HURRY)[0]
    run(problem, schedule)
    assert idle(problem, schedule) <= most


def test_the_search_returns_different_schedules_the_cheapest_first() -> None:
    problem = equal_pipeline(4, 8, costs=StageCosts(50, 52, 35, 10, 7, 2), limit=70)
    found = block_schedules(problem, NO_HURRY, most=5)
    costs = [run(problem, schedule).longest_stage for schedule in found]
    assert len(found) == 5
    assert costs == sorted(costs)
    assert len({schedule.passes for schedule in found}) > 1


def test_the_search_is_for_v_placements() -> None:
    assert block_schedules(equal_pipeline(3, 4, "looped"), NO_HURRY) == []


@given(unequal_pipelines(V_ONLY), st.sampled_from(["zb-v", "v-blocks"]))
@settings(deadline=None, max_examples=8)
def test_any_costs_get_a_legal_schedule_wherever_one_microbatch_fits(problem, name) -> None:
    run(problem, construct(name, problem))


@given(unequal_pipelines(V_ONLY), st.sampled_from(["v-min", "v-half"]))
@settings(deadline=None, max_examples=60)
def test_published_blocks_keep_the_limits_or_say_what_they_need(problem, name) -> None:
    run(
        replace(problem, limits=(None,) * problem.devices),
        construct(name, replace(problem, limits=(None,) * problem.devices)),
    )
    try:
        run(problem, construct(name, problem))
    except InapplicableError as error:
        assert " B on device " in str(error)


@given(unequal_pipelines(), st.integers(0, 2**32 - 1), st.integers(0, 40), st.booleans())
@settings(deadline=None, max_examples=60)
def test_orders_of_any_ranks_are_legal_and_cost_what_the_simulator_says(
    problem, seed, reach, lazy
) -> None:
    generator = np.random.default_rng(seed)
    steps = generator.integers(0, 20, (3, len(problem.stages), problem.microbatches))
    orders = RankedOrders(problem)
    order = orders.order(
        np.cumsum(steps, axis=2),
        OrderPolicy(reach, reach, reach, lazy_weights=lazy, weight_delay=reach),
        NO_HURRY,
    )
    assert order is not None
    timeline = run(problem, orders.schedule("ranked", order))
    assert timeline.longest_stage == order.longest_stage
    assert timeline.makespan == order.makespan
    whole = RankedOrders(replace(problem, objective=PipelineObjective.MAKESPAN))
    assert whole.cost(order) == timeline.makespan


def test_no_order_where_a_microbatch_does_not_fit() -> None:
    problem = equal_pipeline(2, 3, limit=1)
    with pytest.raises(InapplicableError):
        zb_v(problem, NO_HURRY)
    assert block_schedules(problem, NO_HURRY) == []
