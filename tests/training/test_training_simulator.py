"""Times of a training step: hand-made timelines, and a replay that goes tick by tick."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InvalidPlanError, UsageError
from planner.target import Link, Memory, Target
from planner.target_file import read_target
from planner.testing.training_problems import chain_problem, random_problem
from planner.training.host import host_link
from planner.training.problem import HostLink, TrainingProblem
from planner.training.schedule import Offload, TrainingSchedule, step_ps
from planner.training.simulator import Span, TrainingTimeline, simulate_training

from .random_schedules import random_schedule

# Of one byte a picosecond.
LINK = HostLink(10**6, 1e12, 1e12)


def chain(host: HostLink | None = LINK) -> tuple[TrainingProblem, TrainingSchedule]:
    """Return four layers of 8 bytes, 4 ps forward and 8 ps backward each."""
    problem = replace(chain_problem([8] * 4, [4] * 4), host=host)
    return problem, TrainingSchedule((0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 2))


def test_without_offloads_the_step_takes_the_sum_of_its_operators() -> None:
    problem, schedule = chain()
    timeline = simulate_training(problem, schedule)
    assert timeline.makespan_ps == step_ps(problem, schedule) == 48
    assert timeline.stall_ps == timeline.host_peak_bytes == 0
    assert timeline.forward[1] == Span(4, 8)
    assert timeline.backward[0] == Span(16, 24)


def test_copies_hide_behind_the_computation() -> None:
    problem, schedule = chain()
    moved = replace(schedule, offloads=(Offload(0, 1, 4, 1),))
    timeline = simulate_training(problem, moved)
    assert timeline.to_host == (Span(8, 16),)
    assert timeline.to_device == (Span(24, 32),)
    assert timeline.host_bytes == ((8, 8), (32, 0))
    assert (timeline.makespan_ps, timeline.stall_ps) == (48, 0)


def test_the_computation_waits_where_bytes_are_freed_and_where_they_are_read() -> None:
    problem, schedule = chain()
    moved = replace(schedule, offloads=(Offload(0, 1, 2, 2),))
    timeline = simulate_training(problem, moved)
    # Copied over [8, 16); step 3 waits from 12 to 16. Fetched before step 2 of the backward half,
    # at 36, which reads it at once.
    assert timeline.forward[3] == Span(16, 20)
    assert timeline.to_device == (Span(36, 44),)
    assert timeline.backward[2] == Span(44, 52)
    assert (timeline.makespan_ps, timeline.stall_ps) == (60, 12)


def test_copies_run_in_the_order_of_issue_and_together_in_the_order_given() -> None:
    problem, schedule = chain()
    first, second = Offload(0, 2, 4, 0), Offload(1, 2, 4, 0)
    timeline = simulate_training(problem, replace(schedule, offloads=(second, first)))
    assert timeline.to_host == (Span(12, 20), Span(20, 28))
    assert timeline.to_device == (Span(28, 36), Span(36, 44))
    assert timeline.host_peak_bytes == 16


def test_setup_counts_for_every_copy() -> None:
    problem, schedule = chain(LINK._replace(setup_s=3e-12, to_device_bytes_per_s=2e12))
    timeline = simulate_training(problem, replace(schedule, offloads=(Offload(0, 1, 4, 0),)))
    assert timeline.to_host == (Span(8, 19),)
    assert timeline.to_device == (Span(19, 26),)


def test_offloads_without_a_host_or_reader_are_refused() -> None:
    problem, schedule = chain(None)
    moved = replace(schedule, offloads=(Offload(0, 1, 4, 0),))
    with pytest.raises(InvalidPlanError, match="a host that the problem does not have"):
        simulate_training(problem, moved)
    lost = replace(moved, backward=(4,))
    with pytest.raises(InvalidPlanError, match='"forward0" goes to the host'):
        simulate_training(replace(problem, host=LINK), lost)


def ticked(problem: TrainingProblem, schedule: TrainingSchedule) -> tuple[int, int]:
    """Return makespan and stall of a clock that advances by one picosecond at a time."""
    host = problem.host
    assert host is not None
    steps = [*schedule.forward, *schedule.backward]
    middle = len(schedule.forward)
    offloads = range(len(schedule.offloads))
    queues: dict[str, list[int]] = {"out": [], "back": []}
    left: dict[str, int] = {"out": 0, "back": 0}
    done: dict[str, set[int]] = {"out": set(), "back": set()}
    issued: dict[str, set[int]] = {"out": set(), "back": set()}
    reads = []
    for offload in schedule.offloads:
        readers = [
            middle + j
            for j, o in enumerate(schedule.backward)
            if offload.storage in problem.reads.row(o)
        ]
        reads.append(min(readers, default=len(steps)))
    now = stall = index = running = 0
    while True:
        progress = True
        while progress:
            progress = False
            if not running:
                for i in sorted(offloads, key=lambda i: schedule.offloads[i].copied_after):
                    if index > schedule.offloads[i].copied_after and i not in issued["out"]:
                        issued["out"].add(i)
                        queues["out"].append(i)
                # Copies back are issued once the waits of the forward half are over.
                over = len(done["out"]) == len(offloads)
                for i in sorted(offloads, key=lambda i: schedule.offloads[i].fetched_before):
                    due = index >= middle + schedule.offloads[i].fetched_before
                    if over and due and i not in issued["back"]:
                        issued["back"].add(i)
                        queues["back"].append(i)
            for stream, duration in (("out", host.to_host_ps), ("back", host.to_device_ps)):
                while queues[stream] and not left[stream]:
                    size = int(problem.size_bytes[schedule.offloads[queues[stream][0]].storage])
                    left[stream] = duration(size)
                    if left[stream]:
                        break
                    done[stream].add(queues[stream].pop(0))
                    progress = True
            if not progress and not running:
                waits = any(
                    (
                        index > min(schedule.offloads[i].freed_after, middle - 1)
                        and i not in done["out"]
                    )
                    or (index >= reads[i] and i not in done["back"])
                    for i in offloads
                )
                if not waits and index == len(steps):
                    return now, stall
                if not waits:
                    running = int(problem.duration_ps[steps[index]])
                    if not running:
                        index += 1
                        progress = True
        now += 1
        stall += not running
        if running:
            running -= 1
            index += not running
        for stream in left:
            if left[stream]:
                left[stream] -= 1
                if not left[stream]:
                    done[stream].add(queues[stream].pop(0))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_times_are_those_of_a_clock_that_ticks(seed: int) -> None:
    chance = random.Random(seed)
    rates = chance.choice((5e11, 1e12, 4e12)), chance.choice((5e11, 1e12, 4e12))
    host = HostLink(10**6, *rates, setup_s=chance.choice((0, 2e-12)))
    problem = replace(random_problem(chance, chance.randint(1, 10), 8), host=host)
    schedule = random_schedule(chance, problem)
    timeline = simulate_training(problem, schedule)
    assert (timeline.makespan_ps, timeline.stall_ps) == ticked(problem, schedule)
    assert timeline.makespan_ps - timeline.stall_ps == step_ps(problem, schedule)
    assert_streams(timeline)
    sizes = problem.size_bytes
    total = sum(int(sizes[offload.storage]) for offload in schedule.offloads)
    assert timeline.host_peak_bytes == total


def assert_streams(timeline: TrainingTimeline) -> None:
    """Each stream does one thing at a time, and a copy back follows its copy out."""
    for stream in ((*timeline.forward, *timeline.backward), timeline.to_host, timeline.to_device):
        ordered = sorted(stream)
        assert all(a.end <= b.start for a, b in pairwise(ordered))
    for out, back in zip(timeline.to_host, timeline.to_device, strict=True):
        assert out.end <= back.start


def test_the_host_is_the_memory_behind_the_nearest_one() -> None:
    link = host_link(read_target("gpu-80g"), 64 * 10**9)
    assert link == HostLink(64 * 10**9, 32e9, 32e9, 10e-6)
    assert host_link(read_target("gpu-80g"), 10**15) == HostLink(10**12, 32e9, 32e9, 10e-6)


def test_no_host_where_copies_go_only_one_way_or_nothing_may_be_used() -> None:
    memories = (Memory("near"), Memory("far"))
    one_way = Target("t", memories, (Link("near", "far", 1e9),))
    both = replace(one_way, links=(*one_way.links, Link("far", "near", 2e9, 1e-6)))
    assert host_link(one_way, 100) is None
    assert host_link(both, 0) is None
    assert host_link(both, 100) == HostLink(100, 1e9, 2e9, 1e-6)
    with pytest.raises(UsageError, match="-1"):
        host_link(both, -1)
