"""Times and memory of pipeline schedules, against hand computation and brute force."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from planner.errors import InvalidPlanError, UsageError
from planner.pipelining.delayed_starts import best_timeline, cost_ticks, delay_first_passes
from planner.pipelining.memory import device_memory, host_memory
from planner.pipelining.placements import linear_placement, placement, v_placement
from planner.pipelining.problem import (
    Offloading,
    PipelineObjective,
    PipelineProblem,
    ShardedParameters,
    StageCosts,
    VocabularyLayer,
)
from planner.pipelining.schedule import (
    Copy,
    CopyKind,
    Pass,
    PassKind,
    PipelineSchedule,
    WeightUnit,
)
from planner.pipelining.simulator import Span, bubble_rate, simulate_pipeline

F, B, W, D, S, T = PassKind


def problem(stages, microbatches, *, device_of=None, **others) -> PipelineProblem:
    device_of = device_of or linear_placement(len(stages))
    limits = (None,) * (max(device_of) + 1)
    return PipelineProblem(tuple(stages), device_of, microbatches, limits, **others)


def schedule(of: PipelineProblem, *words: str, **others) -> PipelineSchedule:
    """Words such as ``"F0.0 B0.0"``: kind, stage, microbatch."""
    passes = tuple(
        tuple(Pass(PassKind(cell[0]), *map(int, cell[1:].split("."))) for cell in word.split())
        for word in words
    )
    return PipelineSchedule("by hand", of.device_of, passes, **others)


def spans(*pairs: tuple[int, int]) -> tuple[Span, ...]:
    return tuple(Span(*pair) for pair in pairs)


def test_a_pass_starts_when_its_device_is_free_and_its_inputs_have_arrived():
    two = problem([StageCosts(3, 2, 1, 8, 4, 5), StageCosts(4, 6, 2, 8, 4)], 1)
    timeline = simulate_pipeline(two, schedule(two, "F0.0 B0.0 W0.0", "F1.0 B1.0 W1.0"))
    assert timeline.passes[0] == spans((0, 3), (23, 25), (25, 26))
    assert timeline.passes[1] == spans((8, 12), (12, 18), (18, 20))
    assert timeline.stage_ticks == (26, 12)
    assert timeline.longest_stage == timeline.makespan == 26
    assert bubble_rate(two, 26) == (26 - 12) / 26


def test_no_communication_at_the_turn_of_a_v():
    costs = [StageCosts(1, 1, 1, 1, 1, 10)] * 4
    v = problem(costs, 1, device_of=v_placement(2))
    timeline = simulate_pipeline(
        v, schedule(v, "F0.0 F3.0 B3.0 B0.0 W3.0 W0.0", "F1.0 F2.0 B2.0 B1.0 W2.0 W1.0")
    )
    assert timeline.passes[1][:2] == spans((11, 12), (12, 13))
    assert timeline.passes[0][1] == Span(23, 24)


def test_memory_is_taken_at_the_start_of_forward_and_given_back_at_two_ends():
    one = problem([StageCosts(2, 3, 4, 10, 6)], 2)
    timeline = simulate_pipeline(one, schedule(one, "F0.0 F0.1 B0.0 W0.0 B0.1 W0.1"))
    (profile,) = device_memory(one, timeline)
    assert profile.ticks == (0, 2, 7, 11, 14, 18)
    assert profile.held == (10, 20, 16, 10, 6, 0)
    (kept,) = device_memory(one, timeline, keep_until_weight=True)
    assert kept.held == (10, 20, 20, 10, 10, 0)
    assert kept.peak == 20


def test_a_fused_backward_sends_its_gradient_when_all_of_it_ends():
    two = problem([StageCosts(1, 1, 1, 1, 1), StageCosts(1, 2, 3, 1, 1)], 1)
    timeline = simulate_pipeline(two, schedule(two, "F0.0 D0.0", "F1.0 D1.0"))
    assert timeline.passes[0][1] == Span(7, 9)


def test_offloaded_activations_leave_the_device_and_come_back_before_the_backward_pass():
    moving = Offloading((4,), (5,))
    one = problem([StageCosts(2, 3, 1, 10, 6)], 2, offloading=moving)
    copies = ((Copy(CopyKind.OFFLOAD, 0, 0, -1, 3), Copy(CopyKind.RELOAD, 0, 0, 3, 4)),)
    timeline = simulate_pipeline(one, schedule(one, "F0.0 F0.1 B0.1 W0.1 B0.0 W0.0", copies=copies))
    # W 0.1 waits for the offload, the reload for W 0.1, and B 0.0 for the reload.
    assert timeline.copies[0] == spans((2, 6), (7, 12))
    assert timeline.passes[0][3:5] == spans((7, 8), (12, 15))
    (profile,) = device_memory(one, timeline)
    assert dict(zip(*profile, strict=True))[6] == 10
    assert dict(zip(*profile, strict=True))[7] == 6 + 10
    (host,) = host_memory(one, timeline)
    assert host == ((2, 12), (10, 0))


def test_a_single_copy_stream_moves_one_thing_at_a_time():
    for streams in (2, 1):
        one = problem([StageCosts(2, 1, 0, 10, 0)], 2, offloading=Offloading((4,), (1,), streams))
        copies = (
            (
                Copy(CopyKind.OFFLOAD, 0, 0, 0, 4),
                Copy(CopyKind.OFFLOAD, 0, 1, 0, 4),
                Copy(CopyKind.RELOAD, 0, 0, 0, 3),
                Copy(CopyKind.RELOAD, 0, 1, 0, 2),
            ),
        )
        timeline = simulate_pipeline(one, schedule(one, "F0.0 F0.1 B0.1 B0.0", copies=copies))
        assert timeline.copies[0][0] == Span(2, 6)
        assert timeline.copies[0][2].start == (6 if streams == 2 else 10)
        (host,) = host_memory(one, timeline)
        assert host.peak == 20
        assert host.held[-1] == 0


def test_one_barrier_frees_the_backward_pass_and_two_make_it_wait_for_t():
    for barriers in (1, 2):
        layer = VocabularyLayer(2, 3, 1, 4, barriers, 7)
        two = problem([StageCosts(1, 1, 1, 1, 1)] * 2, 1, vocabulary=layer)
        first, second = (
            ("F0.0 S0.0 T0.0 B0.0 W0.0", "F1.0 S1.0 T1.0 B1.0 W1.0")
            if barriers == 2
            else ("F0.0 S0.0 B0.0 W0.0 T0.0", "F1.0 S1.0 B1.0 W1.0 T1.0")
        )
        timeline = simulate_pipeline(two, schedule(two, first, second))
        # F1 ends at 2; S on device 1 at 2..4, on device 0 a broadcast later at 3..5.
        assert timeline.passes[0][1] == Span(3, 5)
        assert timeline.passes[1][1] == Span(2, 4)
        backward = timeline.passes[1][3 if barriers == 2 else 2]
        assert backward.start == (9 if barriers == 1 else 9 + 3 + 4)
        assert max(profile.peak for profile in device_memory(two, timeline)) == 8


def test_weights_are_gathered_before_their_unit_and_their_gradient_reduced_after_it():
    sharded = ShardedParameters((4,), (6,), (100,), (1000,))
    one = problem([StageCosts(2, 3, 1, 10, 6)], 2, sharding=sharded)
    units = ((WeightUnit(0, -1, 0, 1, False), WeightUnit(0, 1, 2, 5, True)),)
    timeline = simulate_pipeline(one, schedule(one, "F0.0 F0.1 B0.0 W0.0 B0.1 W0.1", units=units))
    assert timeline.gathers[0] == spans((0, 4), (6, 10))
    assert timeline.passes[0][0] == Span(4, 6)
    assert timeline.passes[0][2].start == 10
    assert timeline.reductions[0] == (None, Span(18, 24))
    assert timeline.makespan == 24
    (profile,) = device_memory(one, timeline)
    # Until tick 8 both units' weights are there; the second's gradient joins at its first pass.
    assert dict(zip(*profile, strict=True))[6] == 220
    assert dict(zip(*profile, strict=True))[10] == 1120


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("B0.0 F0.0 W0.0", "F1.0 B1.0 W1.0"), "deadlock: .*B 0.0.*waits for.*F 0.0"),
        (("F0.0 B0.0 W0.0", "B1.0 W1.0"), "waits for F 1.0, which is missing|B 1.0 waits for F"),
        (("F0.0 B0.0", "F1.0 F1.0 B1.0"), "F 1.0 is there twice"),
    ],
)
def test_an_order_that_cannot_run_is_refused_by_name(words, reason):
    two = problem([StageCosts(1, 1, 1, 1, 1)] * 2, 1)
    with pytest.raises(InvalidPlanError, match=reason):
        simulate_pipeline(two, schedule(two, *words))


def test_a_circle_across_devices_names_both():
    two = problem([StageCosts(1, 1, 1, 1, 1)] * 2, 2)
    with pytest.raises(InvalidPlanError, match="deadlock") as caught:
        simulate_pipeline(
            two,
            schedule(two, "F0.0 B0.0 F0.1 B0.1 W0.0 W0.1", "F1.0 F1.1 B1.0 B1.1 W1.0 W1.1"),
        )
    assert "device 0" in str(caught.value)
    assert "device 1" in str(caught.value)


def least_longest_stage(of: PipelineProblem, order: PipelineSchedule) -> int:
    """By trying every target: releases to a fixpoint, which diverges below the least."""
    plain = simulate_pipeline(of, order)
    for target in range(plain.longest_stage + 1):
        releases = [0] * of.devices
        for _ in range(of.devices + 2):
            timeline = simulate_pipeline(of, order, releases)
            later = [
                max(release, passes[-1].end - target)
                for release, passes in zip(releases, timeline.passes, strict=True)
            ]
            if later == releases:
                break
            releases = later
        if timeline.longest_stage <= target:
            return target
    raise AssertionError


@pytest.mark.parametrize("seed", range(60))
def test_delayed_starts_reach_the_least_longest_stage(seed):
    chance = random.Random(seed)
    devices, count = chance.randint(1, 3), chance.randint(1, 3)
    stages = [
        StageCosts(*(chance.randint(0, 6) for _ in range(3)), 2, 1, chance.randint(0, 3))
        for _ in range(devices)
    ]
    of = problem(stages, count)
    words = []
    for stage in range(devices):
        order = [Pass(F, stage, j) for j in range(count)]
        for kind in (B, W):
            for j in range(count):
                after = order.index(Pass(F if kind is B else B, stage, j)) + 1
                if kind is B and j:
                    after = max(after, order.index(Pass(B, stage, j - 1)) + 1)
                order.insert(chance.randint(after, len(order)), Pass(kind, stage, j))
        words.append(tuple(order))
    try:
        delayed = delay_first_passes(of, PipelineSchedule("by chance", of.device_of, tuple(words)))
    except InvalidPlanError:
        return
    plain = simulate_pipeline(of, delayed.schedule)
    assert delayed.longest_stage == least_longest_stage(of, delayed.schedule)
    assert delayed.longest_stage <= plain.longest_stage
    assert cost_ticks(of, best_timeline(of, delayed.schedule)) == delayed.longest_stage


def test_the_objective_says_which_ticks_count():
    of = problem([StageCosts(1, 1, 1, 1, 1)] * 2, 1, objective=PipelineObjective.MAKESPAN)
    timeline = best_timeline(of, schedule(of, "F0.0 B0.0 W0.0", "F1.0 B1.0 W1.0"))
    assert cost_ticks(of, timeline) == timeline.makespan == 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"microbatches": 0}, "0 microbatches"),
        ({"stages": ()}, "at least one stage"),
        ({"device_of": (0, 0)}, "each of the 2 devices"),
        ({"stages": (StageCosts(-1, 1, 1, 1, 1),) * 2}, "stage 0: .*negative"),
        ({"stages": (StageCosts(1, 1, 1, 1, 2),) * 2}, "stage 0: .*keeps 2 of 1"),
        ({"limits": (None, -4)}, "device 1: .*-4 B"),
        ({"microbatches": 10**9}, "more than"),
    ],
)
def test_nonsense_is_refused_with_the_numbers(change, reason):
    arguments = {
        "stages": (StageCosts(1, 1, 1, 1, 1),) * 2,
        "device_of": (0, 1),
        "microbatches": 1,
        "limits": (None, None),
        "tick_s": Fraction(1),
    }
    with pytest.raises(UsageError, match=reason):
        PipelineProblem(**{**arguments, **change})


def test_a_placement_that_is_not_for_so_many_chunks_is_refused():
    with pytest.raises(UsageError, match="v for 2"):
        placement("v", 4, 3)
