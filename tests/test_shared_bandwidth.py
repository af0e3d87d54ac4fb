"""Copies and operators share the time of farther memories; the most urgent copy goes first."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import simulator
from planner.copy_engines import Copy, copy_engine
from planner.cost import memory_seconds
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.metrics import far_operands
from planner.plans import (
    Metrics,
    Placement,
    Plan,
    Provenance,
    Transfer,
    TransferKind,
    part_of,
    planned_storages,
)
from planner.problem import Objective, PlanningProblem
from planner.simulator import measure, simulate
from planner.target import Compute, Link, Memory, Target
from planner.target_file import read_target
from planner.testing import assert_legal, naive_plan, random_graph
from solvers.mapping.program import mapping_program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.copy_engines import Finished

RATE = 100.0  # bytes per second of the slow memory and of both links
NEAR = Memory("near", 10**9, 1, 1e15, 1e15)
SLOW = Memory("slow", 10**9, 1, RATE, RATE)
OUT, BACK = Link("near", "slow", RATE), Link("slow", "near", RATE)
TARGET = Target("toy", (NEAR, SLOW), (OUT, BACK), Compute({"default": 1.0}, 1.0), io_memory="near")
SPILL, RELOAD = TransferKind.SPILL, TransferKind.RELOAD


class Row(NamedTuple):
    """An operator that computes for ``macs`` seconds and reads that much of the slow memory."""

    macs: int
    direct_bytes: int = 0


class Job(NamedTuple):
    """A copy of that many bytes, out of the nearest memory or into it, between two boundaries."""

    size: int
    start: int
    end: int
    inwards: bool = False


def program(rows: Sequence[Row], jobs: Sequence[Job], target: Target = TARGET) -> tuple:
    """One operator a row, each with a constant in the slow memory; a storage of its own per job.

    Only the simulator looks at it: operands are resident, so that placements say nothing of times.
    """
    storages = [Storage("x", 1, StorageKind.INPUT)]
    storages += [
        Storage(f"w{i}", row.direct_bytes, StorageKind.CONSTANT) for i, row in enumerate(rows)
    ]
    storages += [Storage(f"t{i}", 1, is_output=i == len(rows) - 1) for i in range(len(rows))]
    storages += [Storage(f"job{i}", job.size, StorageKind.INPUT) for i, job in enumerate(jobs)]
    tensors = [
        Tensor(s.name, (s.size_bytes,), "int8", i, 0, s.size_bytes) for i, s in enumerate(storages)
    ]
    operators = [
        Operator(
            f"op{i}",
            "Layer",
            (1 + i, i + len(rows) if i else 0),
            (1 + len(rows) + i,),
            macs=row.macs,
        )
        for i, row in enumerate(rows)
    ]
    graph = Graph(ModelReference("rows"), tuple(operators), tuple(tensors), tuple(storages))
    first = 1 + 2 * len(rows)
    transfers = tuple(
        Transfer(first + i, "slow", "near", job.start, job.end, RELOAD)
        if job.inwards
        else Transfer(first + i, "near", "slow", job.start, job.end, SPILL)
        for i, job in enumerate(jobs)
    )
    plan = Plan(
        graph.model,
        target,
        tuple(range(len(rows))),
        planned_storages(graph),
        (),
        transfers,
        (),
        Metrics({}, {}, 0, 0),
        Provenance("hand", "feasible", "latency"),
    )
    return graph, target, plan


def timed(rows: Sequence[Row], *jobs: Job, target: Target = TARGET):
    return simulate(*program(rows, jobs, target))


def about(*intervals: tuple[float, float]) -> list:
    return [pytest.approx(interval) for interval in intervals]


def any_order(target: Target, setup_s: float = 0.0) -> Target:
    return replace(
        target, links=tuple(replace(li, fifo=False, setup_s=setup_s) for li in target.links)
    )


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


# What planning relies on


def fits(rooms: Sequence[float], jobs: Sequence[Job]) -> bool:
    """Whether some schedule finishes all: no range of rows has to do more than it has room for."""
    steps = range(len(rooms) + 1)
    return all(
        sum(job.size / RATE for job in jobs if first <= job.start and job.end <= last)
        <= sum(rooms[first:last]) + 1e-9
        for first in steps
        for last in steps[first:]
    )


@st.composite
def contended(draw: st.DrawFn) -> tuple[list[Row], list[Job]]:
    """Rows and copies that may fit or not."""
    count = draw(st.integers(1, 6))
    rows = [Row(draw(st.integers(1, 5)), 100 * draw(st.integers(0, 5))) for _ in range(count)]
    jobs = []
    for _ in range(draw(st.integers(0, 7))):
        start = draw(st.integers(0, count - 1))
        end = draw(st.integers(start + 1, count))
        jobs.append(Job(100 * draw(st.integers(1, 6)), start, end, draw(st.booleans())))
    return rows, jobs


def room(row: Row) -> float:
    return max(float(row.macs), row.direct_bytes / RATE) - row.direct_bytes / RATE


@given(contended())
@settings(max_examples=300, deadline=None)
def test_nothing_stalls_exactly_where_some_schedule_of_the_copies_fits(case):
    rows, jobs = case
    timeline = timed(rows, *jobs, target=any_order(TARGET))
    stalls = timeline.stall_s > 1e-6 * timeline.latency_s
    assert stalls is not fits([room(row) for row in rows], jobs)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[Row], list[Job], int]:
    """Rows, copies that share their room by some schedule, set-ups included, and the set-up.

    Times in hundredths of a second, so that one of them moves one byte.
    """
    count = draw(st.integers(1, 8))
    setup = draw(st.integers(0, 60))
    rows = [Row(draw(st.integers(1, 6)), draw(st.integers(0, 700))) for _ in range(count)]
    left = [round(100 * room(row)) for row in rows]
    jobs = []
    for _ in range(draw(st.integers(0, 12))):
        start = draw(st.integers(0, count - 1))
        end = draw(st.integers(start + 1, count))
        work = 0
        for row in range(start, end):
            spent = draw(st.sampled_from([0, left[row] // 3, left[row]]))
            left[row] -= spent
            work += spent
        if work > setup:
            jobs.append(Job(work - setup, start, end, draw(st.booleans())))
    return rows, draw(st.permutations(jobs)), setup


@given(schedules(), st.sampled_from([(1.0, 1.0), (1.0, 0.5), (0.25, 0.5)]))
@settings(max_examples=300, deadline=None)
def test_copies_that_fit_with_their_setups_in_the_memorys_time_never_stall(case, speeds):
    rows, jobs, setup = case
    # Engines slower than the memory count as if they kept it busy for as long.
    links = tuple(
        replace(link, fifo=False, setup_s=setup / 100, bandwidth=RATE * speed)
        for link, speed in zip((OUT, BACK), speeds, strict=True)
    )
    slower = [job._replace(size=int(job.size * speeds[job.inwards])) for job in jobs]
    timeline = timed(rows, *slower, target=replace(TARGET, links=links))
    assert timeline.latency_s == pytest.approx(timeline.compute_s, rel=1e-6)


def weighted_chain(arithmetic: int) -> Graph:
    """x -> op0 -> a, (a, w) -> op1 -> b, b -> op2 -> y."""
    sizes = {"x": 100, "w": 200, "a": 50, "b": 50, "y": 10}
    storages = [
        Storage(
            name, size, StorageKind.INPUT if name in "xw" else StorageKind.ACTIVATION, name == "y"
        )
        for name, size in sizes.items()
    ]
    tensors = [
        Tensor(s.name, (s.size_bytes,), "int8", i, 0, s.size_bytes) for i, s in enumerate(storages)
    ]
    operators = (
        Operator("op0", "Layer", (0,), (2,), macs=arithmetic),
        Operator("op1", "Layer", (2, 1), (3,), macs=1),
        Operator("op2", "Layer", (3,), (4,), macs=1),
    )
    return Graph(ModelReference("chain"), operators, tuple(tensors), tuple(storages))


MAPPED = replace(
    any_order(TARGET, setup_s=0.5),
    memories=(Memory("near", 1000, 1, 10 * RATE, 10 * RATE), SLOW),
    operands_resident=False,
    io_memory="slow",
    constant_memory="slow",
)


@pytest.mark.parametrize(("arithmetic", "stall_s"), [(6, 0.0), (4, 0.0), (3, 1 / 3)])
def test_mapping_problem_and_simulator_agree_on_the_latency_of_a_plan_that_fits(
    arithmetic, stall_s
):
    graph = weighted_chain(arithmetic)
    # The weight is prefetched beside op0, which reads its operand from the slow memory for a
    # second; a and b are made and used in the fast one.
    placements = (
        Placement(0, "slow", 0, 0, 1),
        Placement(1, "near", 0, 0, 2),
        Placement(1, "slow", 100, 0, 2),
        Placement(2, "near", 200, 0, 2),
        Placement(3, "near", 250, 1, 3),
        Placement(4, "slow", 300, 2, 3),
    )
    plan = Plan(
        graph.model,
        MAPPED,
        (0, 1, 2),
        planned_storages(graph),
        placements,
        (Transfer(1, "slow", "near", 0, 1, TransferKind.FETCH),),
        (),
        Metrics({}, {}, 0, 0),
        Provenance("hand", "feasible", "latency"),
    )
    plan = replace(plan, metrics=measure(graph, plan))
    assert_legal(graph, MAPPED, plan)
    mapped = mapping_program(PlanningProblem(graph, MAPPED, Objective.LATENCY), (0, 1, 2))
    problem, served_slow = mapped.problem, {mapped.storages.index(0)}
    fast = np.array([buffer not in served_slow for buffer in problem.access_buffer.tolist()])
    timeline = simulate(graph, MAPPED, plan)
    assert timeline.compute_s == pytest.approx(problem.latency(fast) * problem.tick_s, rel=1e-9)
    assert timeline.stall_s == pytest.approx(stall_s, abs=1e-9)
    copy_in, room_of_rows = problem.copy_in[mapped.storages.index(1)], problem.room(fast)
    assert (copy_in <= room_of_rows[0]) == (stall_s == 0)
