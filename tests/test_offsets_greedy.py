"""Greedy offset assignment, the lower bound and the validation of problems."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.problem import OffsetProblem, OffsetSolution, Status
from solvers.offsets import ExactOffsets, GreedyOffsets, lower_bound, pack
from solvers.protocol import Deadline

GREEDY = GreedyOffsets()


def problem_of(rows, capacity=None):
    """Rows of (lower, upper, size) or (lower, upper, size, alignment)."""
    table = np.array([(*row, 1)[:4] for row in rows], dtype=np.int64).reshape(-1, 4)
    return OffsetProblem(*(np.ascontiguousarray(column) for column in table.T), capacity=capacity)


def rows_of(problem):
    return list(
        zip(
            problem.lower.tolist(),
            problem.upper.tolist(),
            problem.size.tolist(),
            problem.alignment.tolist(),
            strict=True,
        )
    )


def offences(problem, solution):
    """Everything wrong with a packing, found the plain way."""
    rows = rows_of(problem)
    offsets = solution.offsets.tolist()
    found = []
    for i, (lower, upper, size, alignment) in enumerate(rows):
        if offsets[i] < 0 or offsets[i] % alignment:
            found.append(("offset", i))
        for j in range(i):
            alive_together = lower < rows[j][1] and rows[j][0] < upper
            share_bytes = offsets[i] < offsets[j] + rows[j][2] and offsets[j] < offsets[i] + size
            if alive_together and share_bytes:
                found.append(("overlap", j, i))
    if solution.height != max((o + r[2] for o, r in zip(offsets, rows, strict=True)), default=0):
        found.append(("height", solution.height))
    return found


def generated(buffers, seed, alignment=64):
    """Many short lifetimes, a few long ones, sizes over three orders of magnitude."""
    random = np.random.default_rng(seed)
    lower = random.integers(0, buffers, buffers)
    long_lived = random.random(buffers) < 0.02
    span = np.where(
        long_lived, random.integers(1, buffers // 10, buffers), random.integers(1, 60, buffers)
    )
    size = (2 ** (random.random(buffers) * 10 + 6)).astype(np.int64)
    return OffsetProblem(lower, lower + span, size, np.full(buffers, alignment))


buffer_rows = st.lists(
    st.tuples(
        st.integers(-5, 12), st.integers(1, 9), st.integers(1, 40), st.sampled_from([1, 2, 3, 4, 8])
    ).map(lambda r: (r[0], r[0] + r[1], r[2], r[3])),
    max_size=14,
)


@given(buffer_rows)
@settings(max_examples=150, deadline=None)
def test_packings_are_legal_and_not_below_the_bound(rows):
    problem = problem_of(rows)
    outcome = GREEDY.solve(problem, deadline=Deadline(10))
    assert offences(problem, outcome.solution) == []
    assert outcome.lower_bound == lower_bound(problem) <= outcome.solution.height
    proven = outcome.solution.height == outcome.lower_bound
    assert outcome.status is (Status.OPTIMAL if proven else Status.FEASIBLE)


@given(buffer_rows)
@settings(max_examples=100, deadline=None)
def test_bound_without_alignment_is_the_maximum_of_live_bytes(rows):
    rows = [row[:3] for row in rows]
    live = [sum(s for lo, up, s in rows if lo <= t < up) for t in range(-5, 25)]
    assert lower_bound(problem_of(rows)) == max(live)


def test_bound_pads_all_but_the_topmost_buffer():
    assert lower_bound(problem_of([(0, 2, 100, 64)])) == 100
    assert lower_bound(problem_of([(0, 2, 100, 64), (1, 3, 60, 64)])) == 64 + 100
    # 48 and 32 have the common divisor 16: 40 counts as 48, 33 as 48, and the larger padding goes.
    assert lower_bound(problem_of([(0, 2, 40, 48), (1, 3, 33, 32)])) == 48 + 33
    # Buffers that are never alive together do not spoil each other's divisor.
    assert lower_bound(problem_of([(0, 1, 1, 2), (0, 1, 1, 2), (1, 2, 1, 1)])) == 2 + 1


def test_no_buffers_need_no_bytes():
    outcome = GREEDY.solve(problem_of([]), deadline=Deadline(1))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == 0
    assert outcome.solution.offsets.tolist() == []


def test_buffers_that_are_never_alive_together_share_bytes():
    problem = problem_of([(0, 1, 10), (1, 2, 30), (2, 3, 20)])
    outcome = GREEDY.solve(problem, deadline=Deadline(1))
    assert outcome.solution.height == 30
    assert outcome.statistics["components"] == 3


def test_capacity_is_a_proof_of_infeasibility_only_below_the_bound():
    rows = [(0, 2, 10), (1, 3, 10)]
    fits = GREEDY.solve(problem_of(rows, capacity=20), deadline=Deadline(1))
    assert fits.solution is not None
    too_small = GREEDY.solve(problem_of(rows, capacity=19), deadline=Deadline(1))
    assert too_small.status is Status.INFEASIBLE
    assert too_small.solution is None
    assert too_small.lower_bound == 20


def test_a_packing_above_the_capacity_is_unknown_and_its_height_reported():
    problem = generated(300, seed=1)
    lowest = GREEDY.solve(problem, deadline=Deadline(10)).solution.height
    bound = lower_bound(problem)
    assert bound < lowest
    tight = OffsetProblem(problem.lower, problem.upper, problem.size, problem.alignment, bound)
    outcome = GREEDY.solve(tight, deadline=Deadline(10))
    assert outcome.status is Status.UNKNOWN
    assert outcome.solution is None
    assert outcome.statistics["lowest_height"] == lowest


def test_an_incumbent_is_never_made_worse():
    problem = generated(300, seed=1)
    incumbent = pack(problem, Deadline(60)).solution
    assert incumbent.height < GREEDY.solve(problem, deadline=Deadline(60)).solution.height
    outcome = GREEDY.solve(problem, deadline=Deadline(60), incumbent=incumbent)
    assert offences(problem, outcome.solution) == []
    assert outcome.solution.height <= incumbent.height
    assert outcome.statistics["order"] == "incumbent"


def test_an_illegal_incumbent_does_not_lead_to_an_illegal_packing():
    problem = problem_of([(0, 3, 4), (2, 5, 4)])
    incumbent = OffsetSolution(np.array([0, 0]), 4)
    outcome = GREEDY.solve(problem, deadline=Deadline(1), incumbent=incumbent)
    assert offences(problem, outcome.solution) == []


@pytest.mark.parametrize("alignments", [[1], [64], [1, 2, 4, 64], [5, 7]], ids=str)
def test_the_packing_at_hand_when_stopped_is_legal_for_every_alignment(alignments):
    random = np.random.default_rng(len(alignments))
    for seed in range(20):
        problem = generated(60, seed)
        alignment = random.choice(alignments, 60)
        problem = OffsetProblem(problem.lower, problem.upper, problem.size, alignment)
        outcome = GREEDY.solve(problem, deadline=Deadline(0))
        assert offences(problem, outcome.solution) == []


@pytest.mark.parametrize("stop", ["expired", "cancelled"])
@pytest.mark.parametrize("solver", [GREEDY, ExactOffsets()])
def test_a_stopped_run_still_hands_back_a_legal_packing(stop, solver):
    problem = generated(400, seed=2)
    deadline = Deadline(0 if stop == "expired" else 60)
    if stop == "cancelled":
        deadline.cancel.set()
    outcome = solver.solve(problem, deadline=deadline)
    assert offences(problem, outcome.solution) == []


def test_cancelling_from_another_thread_ends_a_long_run():
    problem = generated(60_000, seed=3)
    deadline = Deadline(3600)
    timer = threading.Timer(0.2, deadline.cancel.set)
    timer.start()
    before_s = time.thread_time()
    outcome = GREEDY.solve(problem, deadline=deadline)
    timer.join()
    assert time.thread_time() - before_s < 60
    assert outcome.solution is not None


def test_same_problem_gives_the_same_packing():
    problem = generated(500, seed=4)
    first, second = (GREEDY.solve(problem, deadline=Deadline(60)) for _ in range(2))
    assert first.solution.offsets.tolist() == second.solution.offsets.tolist()
    assert first.statistics["order"] == second.statistics["order"]


def test_sixty_thousand_buffers_are_packed_close_to_the_bound():
    problem = generated(60_000, seed=5)
    outcome = GREEDY.solve(problem, deadline=Deadline(120))
    assert outcome.solution.height <= 1.05 * outcome.lower_bound
    # Legal, by a sweep: two buffers alive together are adjacent in address order at some time.
    starts = np.argsort(problem.lower, kind="stable")
    alive: list[tuple[int, int, int]] = []
    for v in starts[:3000].tolist():
        lower, upper = int(problem.lower[v]), int(problem.upper[v])
        begin = int(outcome.solution.offsets[v])
        end = begin + int(problem.size[v])
        alive = [other for other in alive if other[0] > lower]
        assert all(end <= other[1] or other[2] <= begin for other in alive)
        alive.append((upper, begin, end))


def test_huge_sizes_and_times_do_not_overflow():
    problem = problem_of(
        [(-(2**61), 2**61, 2**60), (0, 1, 2**60), (-1, 2, 2**59), (1, 3, 2**58, 2**20)]
    )
    outcome = GREEDY.solve(problem, deadline=Deadline(1))
    assert offences(problem, outcome.solution) == []
    assert outcome.solution.height == 2**61 + 2**59


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": np.array([1])}, "one length"),
        ({"size": np.array([4, 0])}, r"buffer 1: size 0 is not positive"),
        ({"size": np.array([4, -7])}, r"buffer 1: size -7"),
        ({"size": np.array([1.5, 2.0])}, "size must hold integers, not float64"),
        ({"size": np.array([[1, 2]])}, "size must have one dimension, not 2"),
        ({"size": np.array([2**61, 2**61])}, "62 bits"),
        ({"size": np.array([2**62, 2**63], dtype=np.uint64)}, "too large for 62 bits"),
        ({"upper": np.array([2, 1])}, r"buffer 1: the lifetime \[1, 1\) is empty"),
        ({"upper": np.array([2, 2**62])}, r"buffer 1: upper = 4,611,686"),
        ({"alignment": np.array([0, 1])}, r"buffer 0: alignment 0 is not positive"),
        ({"alignment": np.array([2**61, 2**61])}, "62 bits"),
        ({"capacity": -1}, "capacity -1 is negative"),
    ],
)
@pytest.mark.parametrize("solver", [GREEDY, ExactOffsets()])
def test_malformed_problems_are_refused_with_the_offending_numbers(change, message, solver):
    arrays = {
        "lower": np.array([0, 1]),
        "upper": np.array([2, 3]),
        "size": np.array([4, 5]),
        "alignment": np.array([1, 1]),
    }
    with pytest.raises(ValueError, match=message):
        solver.solve(OffsetProblem(**{**arrays, **change}), deadline=Deadline(1))


def test_an_incumbent_of_another_length_is_refused():
    with pytest.raises(ValueError, match="1 offsets for 2 buffers"):
        GREEDY.solve(
            problem_of([(0, 1, 1), (0, 1, 1)]),
            deadline=Deadline(1),
            incumbent=OffsetSolution(np.array([0]), 1),
        )
