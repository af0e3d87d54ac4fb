"""Copies that fit the time which operators leave of a memory never stall: planning relies on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.plans import (
    Metrics,
    Placement,
    Plan,
    Provenance,
    Transfer,
    TransferKind,
    planned_storages,
)
from planner.problem import Objective, PlanningProblem
from planner.simulator import measure, simulate
from planner.target import Memory
from planner.testing import assert_legal
from solvers.mapping.program import mapping_program

from .row_programs import BACK, OUT, RATE, SLOW, TARGET, Job, Row, any_order, timed

if TYPE_CHECKING:
    from collections.abc import Sequence


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


@pytest.mark.parametrize("fifo", [True, False])
def test_copy_that_fits_to_the_byte_is_not_put_off_by_rounding(fifo):
    target = TARGET if fifo else any_order(TARGET)
    for macs in range(2, 30):
        rows = [Row(macs, 100 + 7 * i) for i in range(macs)]
        fitting = Job(round(sum(RATE * room(row) for row in rows)), 0, macs + 1)
        # After these rows comes one that leaves copies nothing.
        timeline = timed([*rows, Row(1, 9000), Row(1)], fitting, target=target)
        assert timeline.transfers[0].end_s == pytest.approx(timeline.steps[macs - 1].end_s)


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
    # In the simulator the set-up runs in the row as well.
    needed = problem.copy_in[mapped.storages.index(1)] + problem.setup_in
    assert (needed <= problem.room(fast)[0]) == (stall_s == 0)
