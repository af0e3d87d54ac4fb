"""Copies and operators share the time of farther memories; the most urgent copy goes first."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from planner import simulator
from planner.copy_engines import Copy, copy_engine
from planner.cost import memory_seconds
from planner.metrics import far_operands
from planner.plans import part_of
from planner.simulator import simulate
from planner.target import Link, Memory
from planner.target_file import read_target
from planner.testing import naive_plan, random_graph

from .row_programs import BACK, NEAR, OUT, RATE, SLOW, TARGET, Job, Row, any_order, timed

if TYPE_CHECKING:
    from planner.copy_engines import Finished


def about(*intervals: tuple[float, float]) -> list:
    return [pytest.approx(interval) for interval in intervals]


# What operators leave


def test_copy_gets_what_the_operator_leaves_of_the_memory():
    # 25 of 100 bytes a second are the operator's; so 120 bytes take 1.6 seconds.
    timeline = timed([Row(4, 100), Row(1)], Job(120, 0, 1, inwards=True))
    assert list(timeline.transfers) == about((0, 1.6))
    assert timeline.stall_s == 0


def test_copy_that_the_step_leaves_too_little_goes_on_at_full_rate_while_compute_waits():
    # 75 bytes a second for four seconds, then the last 100 bytes in one.
    timeline = timed([Row(4, 100), Row(1)], Job(400, 0, 1))
    assert list(timeline.transfers) == about((0, 5))
    assert timeline.stall_s == pytest.approx(1)


@pytest.mark.parametrize("fifo", [True, False])
def test_step_that_uses_all_of_the_memory_stops_copies_and_they_go_on_after_it(fifo):
    target = TARGET if fifo else any_order(TARGET)
    rows = [Row(1), Row(1, 300), Row(1), Row(1)]
    timeline = timed(rows, Job(150, 0, 3, inwards=True), target=target)
    assert list(timeline.transfers) == about((0, 4.5))
    assert timeline.stall_s == 0


def test_memory_latency_is_the_operators_time_of_the_memory():
    slow = replace(SLOW, latency_s=1.0)
    target = replace(TARGET, memories=(NEAR, slow))
    # One second of latency and one of bytes in four.
    timeline = timed([Row(4, 100)], Job(100, 0, 1, inwards=True), target=target)
    assert list(timeline.transfers) == about((0, 2))


def test_setup_goes_on_while_the_memory_is_busy():
    target = replace(TARGET, links=(OUT, replace(BACK, setup_s=2.0)))
    timeline = timed([Row(3, 300), Row(2)], Job(100, 0, 2, inwards=True), target=target)
    assert list(timeline.transfers) == about((0, 4))


def test_link_slower_than_the_memory_is_not_slowed_by_what_it_could_not_use():
    target = replace(TARGET, links=(OUT, replace(BACK, bandwidth=50.0)))
    timeline = timed([Row(4, 200)], Job(100, 0, 1, inwards=True), target=target)
    assert list(timeline.transfers) == about((0, 2))


def test_memory_without_rates_and_the_nearest_memory_limit_no_copy():
    bare = replace(TARGET, memories=(replace(NEAR, read_bandwidth=1.0), Memory("slow")))
    for link in (OUT, BACK):
        copy = copy_engine(link)
        assert simulator.memory_uses(bare, link) == ()
        copy.hand_over(Copy(1, 0, 0, 100), 0.0)
        copy.advance(0.0, 0.0, 0.0)
        assert simulator.link_rates([copy], [()], {"slow": 1.0}) == [RATE]


def test_copy_between_farther_memories_takes_time_of_both():
    third = Memory("third", 10**9, 1, RATE, 20.0)
    across = Link("slow", "third", RATE)
    target = replace(TARGET, memories=(NEAR, SLOW, third), links=(OUT, BACK, across))
    engines = [copy_engine(link) for link in target.links]
    uses = [simulator.memory_uses(target, link) for link in target.links]
    engines[2].hand_over(Copy(1, 1, 0, 100), 0.0)
    engines[1].hand_over(Copy(1, 2, 1, 100), 0.0)
    # It writes at 20 bytes a second, for which it reads a fifth of the time; the rest is free.
    assert simulator.link_rates(engines, uses, {}) == pytest.approx([0, 80, 20])
    assert simulator.link_rates(engines, uses, {"third": 0.5}) == pytest.approx([0, 90, 10])


# Who goes first


def test_two_directions_share_one_memory_and_the_earlier_end_goes_first():
    rows = [Row(2), Row(2)]
    timeline = timed(rows, Job(100, 0, 2), Job(100, 0, 1, inwards=True))
    assert list(timeline.transfers) == about((0, 2), (0, 1))
    timeline = timed(rows, Job(100, 0, 1, inwards=True), Job(100, 0, 1))
    assert list(timeline.transfers) == about((0, 2), (0, 1))


def test_two_slow_links_run_side_by_side():
    links = (replace(OUT, bandwidth=50.0), replace(BACK, bandwidth=50.0))
    timeline = timed(
        [Row(3)], Job(100, 0, 1), Job(100, 0, 1, inwards=True), target=replace(TARGET, links=links)
    )
    assert list(timeline.transfers) == about((0, 2), (0, 2))


def test_more_urgent_copy_overtakes_unless_the_link_is_first_in_first_out():
    rows = [Row(1), Row(1), Row(2)]
    jobs = (Job(200, 0, 3), Job(100, 1, 2))
    timeline = timed(rows, *jobs, target=any_order(TARGET))
    assert list(timeline.transfers) == about((0, 3), (1, 2))
    assert timeline.stall_s == 0
    timeline = timed(rows, *jobs)
    assert list(timeline.transfers) == about((0, 2), (2, 3))
    assert timeline.stall_s == pytest.approx(1)


def test_copies_with_the_same_end_go_in_the_order_of_the_plan():
    jobs = (Job(100, 0, 1), Job(50, 0, 1), Job(20, 0, 1))
    assert list(timed([Row(2)], *jobs, target=any_order(TARGET)).transfers) == about(
        (0, 1), (1, 1.5), (1.5, 1.7)
    )


def test_setups_run_side_by_side_on_a_link_that_is_not_first_in_first_out():
    jobs = (Job(100, 0, 1), Job(100, 0, 1), Job(0, 0, 1))
    timeline = timed([Row(3)], *jobs, target=any_order(TARGET, setup_s=0.5))
    assert list(timeline.transfers) == about((0.5, 1.5), (1.5, 2.5), (0.5, 0.5))


def test_channels_do_not_limit_a_link_that_is_not_first_in_first_out():
    target = any_order(TARGET, setup_s=0.5)
    wide = replace(target, links=tuple(replace(li, channels=7) for li in target.links))
    jobs = [Job(40 + i, i % 3, 3, inwards=i % 2 == 0) for i in range(9)]
    rows = [Row(1, 30), Row(1, 100), Row(1)]
    assert timed(rows, *jobs, target=wide) == timed(rows, *jobs, target=target)


def test_reload_waits_for_the_spill_whose_bytes_it_may_take():
    timeline = timed(
        [Row(1), Row(1)], Job(100, 1, 1), Job(50, 1, 1, True), target=any_order(TARGET)
    )
    assert list(timeline.transfers) == about((1, 2), (2, 2.5))


# What holds of every run


class Recorded:
    """A copy engine that writes down what its link moves, and when."""

    def __init__(self, link: Link, log: list[tuple[Link, float, float, float]]) -> None:
        self._engine = copy_engine(link)
        self._log = log

    def __getattr__(self, name: str):
        return getattr(self._engine, name)

    def advance(self, now_s: float, elapsed_s: float, rate: float) -> list[Finished]:
        self._log.append((self._engine.link, now_s, elapsed_s, rate))
        return self._engine.advance(now_s, elapsed_s, rate)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("fifo", [True, False])
def test_no_step_moves_more_bytes_than_its_memories_can(monkeypatch, seed, fifo):
    target = read_target(("npu-1m", "tpuv4i", "npu-8m")[seed % 3])
    links = tuple(replace(link, fifo=fifo, channels=1 + seed % 4) for link in target.links)
    target = replace(target, links=links)
    graph = random_graph(seed, operators=12)
    plan = naive_plan(graph, target, seed)
    log: list[tuple[Link, float, float, float]] = []
    monkeypatch.setattr(simulator, "copy_engine", lambda link: Recorded(link, log))
    timeline = simulate(graph, target, plan)
    far = target.memories[1]
    assert far.read_bandwidth
    moved = dict.fromkeys(((link.source, link.destination) for link in links), 0.0)
    used = np.zeros(len(plan.order))
    for link, now_s, elapsed_s, rate in log:
        assert rate <= link.bandwidth
        moved[link.source, link.destination] += elapsed_s * rate
        for step, (start_s, end_s) in enumerate(timeline.steps):
            overlap_s = min(end_s, now_s + elapsed_s) - max(start_s, now_s)
            if overlap_s > 0:
                used[step] += overlap_s * rate / far.read_bandwidth
    for step, direct in enumerate(far_operands(graph, target, plan)):
        own_s = memory_seconds(graph, target, plan.order[step], direct).get(far.name, 0.0)
        lasts_s = timeline.steps[step].end_s - timeline.steps[step].start_s
        assert used[step] + own_s <= lasts_s * (1 + 1e-9) + 1e-15
    for ends, size in timeline.link_bytes.items():
        assert moved[ends] == pytest.approx(size, rel=1e-8)
    for before, after in pairwise(timeline.steps):
        assert after.start_s >= before.end_s
    for transfer, copy in zip(plan.transfers, timeline.transfers, strict=True):
        link = target.link(transfer.source, transfer.destination)
        assert link is not None
        size = part_of(transfer, graph.storages[transfer.storage].size_bytes).size_bytes
        assert copy.end_s - copy.start_s >= size / link.bandwidth * (1 - 1e-8) - 1e-15


def test_plan_with_thousands_of_copies_in_flight_is_simulated_in_linearly_many_events(monkeypatch):
    count = 4_000
    rows = [Row(2, 100)] * count
    jobs = [Job(100, 0, i + 1, inwards=i % 2 == 0) for i in range(count)]
    log: list[tuple[Link, float, float, float]] = []
    monkeypatch.setattr(simulator, "copy_engine", lambda link: Recorded(link, log))
    timeline = timed(rows, *jobs, target=any_order(TARGET, setup_s=0.25))
    assert timeline.stall_s <= 1e-6 * timeline.latency_s + 0.25
    assert len(log) <= 2 * (3 * count + 1)
