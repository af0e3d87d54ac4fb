"""The race for a packing: who crashes, lies or dawdles loses alone; the others share."""

from __future__ import annotations

import re
import signal
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from planner import race_thread
from planner.errors import UsageError
from planner.packing import offset_race
from planner.packing.checker import check_packing
from planner.packing.problem import Buffer, MemorySpace, PackingProblem
from planner.packing.race import race
from planner.problem import OffsetProblem, OffsetSolution, Outcome, Status
from planner.registry import SOLVERS
from solvers.protocol import Availability, Deadline

from .race_problems import ROWS, hard_problem, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.packing.result import PackResult, SolverReport
    from solvers import SharedBest

    Solve = Callable[[OffsetProblem, Deadline, SharedBest], Outcome[OffsetSolution]]


def enter(monkeypatch: pytest.MonkeyPatch, name: str, solve: Solve, unsupported: str = "") -> None:
    """Let a function run as one of the solvers."""

    class Fake:
        def available(self) -> Availability:
            return Availability(True)

        def unsupported(self, problem: OffsetProblem) -> str:
            return unsupported

        def solve(
            self, problem: OffsetProblem, *, deadline: Deadline, shared: SharedBest, **_: Any
        ) -> Outcome[OffsetSolution]:
            return solve(problem, deadline, shared)

    monkeypatch.setitem(SOLVERS["offsets"], name, SimpleNamespace(load=Fake))  # type: ignore[misc]


def report_of(result: PackResult, name: str) -> SolverReport:
    return next(report for report in result.solvers if report.name == name)


def nothing(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
    return Outcome(Status.UNKNOWN, None)


def stacked(problem: OffsetProblem) -> OffsetSolution:
    """All buffers on top of each other: legal, and high."""
    tops = np.cumsum(problem.size)
    return OffsetSolution(tops - problem.size, int(tops[-1]))


def crash(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
    raise ValueError("out of luck")


def all_at_zero(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
    zeros = np.zeros(len(problem.size), dtype=np.int64)
    return Outcome(Status.FEASIBLE, OffsetSolution(zeros, int(problem.size.max())))


def wrong_height(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
    return Outcome(Status.FEASIBLE, stacked(problem)._replace(height=1))


def wrong_bound(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
    return Outcome(Status.UNKNOWN, None, lower_bound=int(problem.size.sum()))


def no_packing(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
    return Outcome(Status.INFEASIBLE, None)


@pytest.mark.parametrize(
    ("solve", "words"),
    [
        (crash, "ValueError: out of luck"),
        (all_at_zero, "illegal packing: .* overlap in memory at times"),
        (wrong_height, "claims height 1 for"),
        (wrong_bound, "no packing is below .*; there is one of"),
        (no_packing, "claims that there is no packing"),
    ],
)
def test_who_crashes_or_lies_loses_alone(
    monkeypatch: pytest.MonkeyPatch, solve: Solve, words: str
) -> None:
    problem = hard_problem()
    greedy = race(problem, solvers=["greedy"])
    enter(monkeypatch, "exact", solve)
    result = race(problem, solvers=["exact"])
    report = report_of(result, "exact")
    assert report.status == "failed"
    assert re.search(words, report.note), report.note
    assert result.status is Status.FEASIBLE and result.solver == "greedy"
    assert result.height_bytes == greedy.height_bytes
    assert result.lower_bound_bytes == greedy.lower_bound_bytes


def test_if_nobody_works_that_is_a_bug_and_not_a_misfit(monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, "greedy", crash)
    with pytest.raises(RuntimeError, match="greedy failed: ValueError: out of luck"):
        race(problem_of(ROWS), solvers=["greedy"])


def test_the_result_is_never_worse_than_greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def high(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        return Outcome(Status.FEASIBLE, stacked(problem))

    enter(monkeypatch, "exact", high)
    problem = hard_problem()
    greedy = race(problem, solvers=["greedy"])
    result = race(problem, solvers=["exact"])
    assert (result.height_bytes, result.solver) == (greedy.height_bytes, "greedy")
    assert report_of(result, "exact").status == "feasible"


def test_exact_and_cp_run_side_by_side_and_see_each_others_packings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    best = race(problem_of(ROWS)).packing
    assert best is not None
    seen: list[int] = []

    def publish(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        shared.offer(best.offset, 8)
        while not deadline.expired():
            time.sleep(0.001)
        return nothing(problem, deadline, shared)

    def watch(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        while shared.height > 8 and not deadline.expired():
            time.sleep(0.001)
        seen.append(shared.height)
        offsets = shared.offsets()
        assert offsets is not None
        return Outcome(Status.OPTIMAL, OffsetSolution(offsets, 8), lower_bound=8)

    _unsettling_greedy(monkeypatch)
    monkeypatch.setattr(offset_race, "_ALONE_S", 0.0)
    enter(monkeypatch, "exact", watch)
    enter(monkeypatch, "cp", publish)
    result = race(problem_of(ROWS), time_limit=60)
    assert seen == [8]
    assert (result.height_bytes, result.status) == (8, Status.OPTIMAL)
    # What one proved has stopped the other, long before the deadline.
    assert report_of(result, "cp").status == "unknown" and result.wall_s < 30


def _unsettling_greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def high(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        return Outcome(Status.FEASIBLE, stacked(problem))

    enter(monkeypatch, "greedy", high)


def test_cp_waits_until_exact_had_its_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        raise AssertionError("started")

    enter(monkeypatch, "cp", started)
    result = race(hard_problem())
    assert result.status is Status.OPTIMAL
    assert report_of(result, "cp").status == "skipped"


def test_a_bound_by_one_and_a_packing_by_another_prove_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = problem_of(ROWS)
    best = race(problem).packing
    assert best is not None

    def bound(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        return Outcome(Status.UNKNOWN, None, lower_bound=8)

    def packing(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        return Outcome(Status.FEASIBLE, OffsetSolution(best.offset, 8))

    _unsettling_greedy(monkeypatch)
    enter(monkeypatch, "mip", bound)
    enter(monkeypatch, "bilevel", packing)
    result = race(problem, solvers=["mip", "bilevel"])
    assert (result.status, result.solver) == (Status.OPTIMAL, "bilevel")


def test_a_packing_below_a_proven_bound_disproves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    best = race(problem_of(ROWS)).packing
    assert best is not None
    side_by_side = threading.Event()

    def wrong(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        assert side_by_side.wait(60)
        return Outcome(Status.UNKNOWN, None, lower_bound=stacked(problem).height)

    def late(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        side_by_side.set()
        while not deadline.expired():  # until the race takes itself for settled
            time.sleep(0.01)
        return Outcome(Status.FEASIBLE, OffsetSolution(best.offset, 8))

    monkeypatch.setattr(offset_race, "_ALONE_S", 0.01)
    _unsettling_greedy(monkeypatch)
    enter(monkeypatch, "exact", wrong)
    enter(monkeypatch, "cp", late)
    result = race(problem_of(ROWS))
    assert (result.status, result.height_bytes) == (Status.FEASIBLE, 8)
    assert result.lower_bound_bytes <= 8


def test_an_interrupt_after_the_race_is_settled_keeps_the_packing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted:
        def available(self) -> Availability:
            signal.raise_signal(signal.SIGINT)
            return Availability(False, "interrupted")

    monkeypatch.setitem(SOLVERS["offsets"], "mip", SimpleNamespace(load=Interrupted))  # type: ignore[misc]
    result = race(problem_of([(0, 2, 4), (1, 3, 4)]), solvers=["mip", "bilevel"])
    assert result.interrupted and result.status is Status.OPTIMAL
    assert report_of(result, "bilevel").status == "skipped"


def test_what_a_solver_published_counts_though_it_never_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    best = race(problem_of(ROWS)).packing
    assert best is not None
    released = threading.Event()

    def dawdle(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        shared.offer(best.offset, 8)
        released.wait(60)
        return nothing(problem, deadline, shared)

    monkeypatch.setattr(race_thread, "_GRACE_S", 0.1)
    _unsettling_greedy(monkeypatch)
    enter(monkeypatch, "exact", dawdle)
    try:
        result = race(problem_of(ROWS), solvers=["exact"], time_limit=0.2)
    finally:
        released.set()
    assert (result.height_bytes, result.solver) == (8, "exact")
    assert report_of(result, "exact").note == "still running at the deadline"


def test_what_is_published_and_illegal_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        shared.offer(np.zeros(len(problem.size), dtype=np.int64), int(problem.size.max()))
        raise ValueError("caught")

    problem = hard_problem()
    greedy = race(problem, solvers=["greedy"])
    enter(monkeypatch, "exact", lie)
    result = race(problem, solvers=["exact"])
    assert (result.height_bytes, result.solver) == (greedy.height_bytes, "greedy")
    assert result.packing is not None and check_packing(problem, result.packing) == []


def test_solvers_say_why_they_do_not_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    _unsettling_greedy(monkeypatch)
    enter(monkeypatch, "mip", nothing, unsupported="there are 7 buffers; it takes 6")
    result = race(problem_of(ROWS), solvers=["mip"])
    assert [(r.name, r.status) for r in result.solvers] == [
        ("greedy", "feasible"),
        ("mip", "skipped"),
    ]
    assert report_of(result, "mip").note == "there are 7 buffers; it takes 6"


def test_named_solvers_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def note(problem: OffsetProblem, deadline: Deadline, shared: SharedBest) -> Outcome:
        given.append(deadline.remaining_s())
        return nothing(problem, deadline, shared)

    _unsettling_greedy(monkeypatch)
    for name in ("mip", "mathopt", "bilevel"):
        enter(monkeypatch, name, note)
    race(problem_of(ROWS), solvers=["bilevel", "mip", "mathopt"], time_limit=90)
    assert [round(seconds, -1) for seconds in given] == [30, 40, 90]


def test_unknown_solvers_are_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no offset solver 'gurobi'\. There are: greedy, exact"):
        race(problem_of(ROWS), solvers=["gurobi"])


def test_a_capacity_ends_the_race_at_once_if_anything_fits() -> None:
    result = race(problem_of(ROWS, capacity=22))
    assert result.status in (Status.FEASIBLE, Status.OPTIMAL)
    assert [report.status for report in result.solvers[1:]] == ["skipped", "skipped"]


def test_a_capacity_below_the_optimum_is_proven_impossible() -> None:
    """Though no more than that is in use at once."""
    result = race(problem_of(ROWS, capacity=7))
    assert (result.packing, result.status) == (None, Status.INFEASIBLE)
    (use,) = result.memories
    assert (use.live_bytes, use.lower_bound_bytes, use.capacity_bytes) == (7, 8, 7)
    assert use.height_bytes >= 8


def test_out_of_time_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, "exact", nothing)
    problem = hard_problem()
    greedy = race(problem, solvers=["greedy"])
    capped = PackingProblem(problem.buffers, (MemorySpace(capacity=greedy.height_bytes - 1),))
    result = race(capped, solvers=["exact"])
    assert (result.packing, result.status) == (None, Status.UNKNOWN)
    assert result.height_bytes == greedy.height_bytes


def test_fixed_buffers_in_each_others_way_are_named() -> None:
    buffers = (Buffer("a", 0, 2, 8, offset=0), Buffer("b", 1, 3, 8, offset=4))
    result = race(PackingProblem(buffers))
    assert (result.packing, result.status) == (None, Status.INFEASIBLE)
    assert result.notes == ("a [0, 8) and b [4, 12) overlap in memory at times [1, 2).",)
    assert {report.status for report in result.solvers} == {"skipped"}


def test_nothing_to_pack_is_packed() -> None:
    result = race(PackingProblem((), (MemorySpace(capacity=0),)))
    assert (result.status, result.height_bytes, result.offsets) == (Status.OPTIMAL, 0, {})


def test_the_same_seed_gives_the_same_packing() -> None:
    problem = hard_problem()
    assert race(problem, seed=3).offsets == race(problem, seed=3).offsets


def test_improvements_are_told() -> None:
    lines: list[str] = []
    result = race(hard_problem(), on_progress=lines.append)
    assert len(lines) >= 2
    assert lines[-1].startswith(f"memory: {result.height_bytes:,} bytes, lower bound ")
