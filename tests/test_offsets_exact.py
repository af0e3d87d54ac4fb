"""The exact offset search against brute force, other solvers and its own symmetries."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.problem import OffsetProblem, Status
from solvers.offsets import ExactOffsets, GreedyOffsets, lower_bound, pack
from solvers.protocol import Deadline


def problem_of(rows, capacity=None):
    """Rows of (lower, upper, size, alignment)."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return OffsetProblem(*(np.ascontiguousarray(column) for column in table.T), capacity=capacity)


def rows_from(text):
    """Read "lower-upper:size ..."; alignment 1."""
    rows = []
    for word in text.split():
        lifetime, size = word.split(":")
        lower, upper = lifetime.split("-")
        rows.append((int(lower), int(upper), int(size), 1))
    return rows


def conflict(a, b):
    return a[0] < b[1] and b[0] < a[1]


def is_legal(rows, solution):
    """Plain pairwise check, of the height as well."""
    offsets = solution.offsets.tolist()
    for (i, a), (j, b) in itertools.combinations(enumerate(rows), 2):
        if conflict(a, b) and offsets[i] < offsets[j] + b[2] and offsets[j] < offsets[i] + a[2]:
            return False
    return (
        all(o >= 0 and o % row[3] == 0 for o, row in zip(offsets, rows, strict=True))
        and max(o + row[2] for o, row in zip(offsets, rows, strict=True)) == solution.height
    )


def lowest_height_of_stackings(rows):
    """Try all orders; each buffer goes on top of what is already there, in ascending offsets."""
    best = math.inf
    offsets = [None] * len(rows)

    def place_next(placed, height, last):
        nonlocal best
        if height >= best:
            return
        if placed == len(rows):
            best = height
            return
        for v, row in enumerate(rows):
            if offsets[v] is not None:
                continue
            below = [
                offsets[w] + other[2]
                for w, other in enumerate(rows)
                if offsets[w] is not None and conflict(row, other)
            ]
            offset = -(-max(below, default=0) // row[3]) * row[3]
            if offset >= last:
                offsets[v] = offset
                place_next(placed + 1, max(height, offset + row[2]), offset)
                offsets[v] = None

    place_next(0, 0, 0)
    return best


def lowest_height_of_all_placements(rows):
    """Try every integer offset of every buffer."""
    highest = sum(row[2] + row[3] for row in rows)
    best = math.inf
    choices = [range(0, highest, row[3]) for row in rows]
    for offsets in itertools.product(*choices):
        height = max(o + row[2] for o, row in zip(offsets, rows, strict=True))
        if height < best and all(
            not conflict(a, b) or x + a[2] <= y or y + b[2] <= x
            for (x, a), (y, b) in itertools.combinations(zip(offsets, rows, strict=True), 2)
        ):
            best = height
    return best


def tight_rows(seed, alignments, buffers=8, scale=1):
    """Buffers cut from a block, so that little or nothing is left over in any section."""
    rng = random.Random(seed)
    sections = rng.randint(3, 6)
    free = [rng.randint(4, 13) * scale + rng.randint(0, scale - 1)] * sections
    rows = []
    for _ in range(rng.randint(buffers - 3, buffers)):
        lower = rng.randrange(sections)
        upper = rng.randint(lower + 1, sections)
        room = min(free[lower:upper])
        if room > 0:
            size = rng.randint(1, room)
            rows.append((lower, upper, size, rng.choice(alignments)))
            for t in range(lower, upper):
                free[t] -= size
    return rows


def optimum(rows):
    """Height of the proven optimum, its packing checked."""
    outcome = pack(problem_of(rows), Deadline(60))
    assert outcome.status is Status.OPTIMAL
    assert outcome.lower_bound == outcome.solution.height
    assert is_legal(rows, outcome.solution)
    return outcome.solution.height


def assert_fits_exactly_from(rows, height):
    fits = pack(problem_of(rows, capacity=height), Deadline(60))
    assert is_legal(rows, fits.solution)
    assert fits.solution.height <= height
    too_small = pack(problem_of(rows, capacity=height - 1), Deadline(60))
    assert too_small.status is Status.INFEASIBLE
    assert too_small.solution is None
    assert too_small.lower_bound >= height


ALIGNMENTS = [[1], [3], [64], [1, 2, 4], [2, 3, 4, 6], [8, 12], [5, 7]]


@pytest.mark.parametrize("alignments", ALIGNMENTS, ids=str)
def test_minimise_and_fit_agree_with_all_stackings(alignments):
    above_the_bound = 0
    for seed in range(120):
        rows = tight_rows(seed, alignments)
        height = lowest_height_of_stackings(rows)
        assert optimum(rows) == height
        assert_fits_exactly_from(rows, height)
        above_the_bound += height > lower_bound(problem_of(rows))
    # Where buffers are aligned differently the bound alone would not pass this test.
    assert above_the_bound > 20 or len(alignments) == 1


@pytest.mark.parametrize("scale", [10**4, 10**9, 10**15])
def test_sizes_that_need_64_bits_agree_with_all_stackings(scale):
    for seed in range(60):
        rows = tight_rows(seed, [1], scale=scale)
        height = lowest_height_of_stackings(rows)
        assert optimum(rows) == height
        assert_fits_exactly_from(rows, height)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 2, 3])
        ).map(lambda r: (r[0], r[0] + r[1], r[2], r[3])),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_no_placement_at_any_offset_is_lower(rows):
    assert optimum(rows) == lowest_height_of_all_placements(rows)


# Section totals all equal the first number, the optimum is the second.
ABOVE_MAX_LIVE = [
    (13, 14, "2-5:7 4-5:6 0-1:2 2-4:2 2-3:2 1-4:1 0-3:1 0-1:10 1-2:11 3-4:3"),
    (5, 6, "6-7:3 3-5:1 3-7:2 1-3:3 0-4:1 2-6:1 4-5:1 0-1:4 1-2:1 5-6:2"),
    (16, 19, "4-5:9 3-5:1 1-5:3 1-2:10 2-6:3 2-4:2 0-4:3 2-4:3 0-1:13 2-3:2 3-4:1 5-6:13"),
    (16, 17, "2-3:5 4-5:8 2-5:6 2-4:1 1-4:2 1-4:1 0-3:1 0-1:15 1-2:12 3-4:6 4-5:2"),
    (14, 15, "0-6:5 3-6:1 1-6:4 3-8:2 1-7:2 7-8:3 0-1:9 1-2:3 2-3:3 6-7:10 7-8:9"),
    (7, 8, "2-3:1 1-5:1 3-6:2 4-5:3 2-5:1 1-4:1 0-2:2 0-1:5 1-2:3 2-3:3 3-4:2 5-6:5"),
    (
        17,
        20,
        "2-7:3 2-3:6 1-5:6 2-5:1 4-8:3 2-8:1 0-1:17 1-2:11 3-4:6 4-5:3 5-6:10 6-7:10 7-8:13",
    ),
    (18, 19, "3-7:4 2-4:5 0-4:2 5-7:3 5-7:10 1-5:6 3-4:1 1-3:5 0-1:16 1-2:5 4-5:8 5-6:1 6-7:1"),
]


def fits_by_constraint_programming(rows, capacity):
    from ortools.sat.python import cp_model

    if any(size > capacity for _, _, size, _ in rows):
        return False
    model = cp_model.CpModel()
    times, addresses = [], []
    for lower, upper, size, alignment in rows:
        multiple = model.new_int_var(0, (capacity - size) // alignment, "")
        times.append(model.new_fixed_size_interval_var(lower, upper - lower, ""))
        offset = alignment * multiple
        addresses.append(model.new_interval_var(offset, size, offset + size, ""))
    model.add_no_overlap_2d(times, addresses)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    assert status in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.INFEASIBLE)
    return status != cp_model.INFEASIBLE


@pytest.mark.parametrize(("live", "height", "text"), ABOVE_MAX_LIVE)
def test_optima_above_max_live_are_proven(live, height, text):
    rows = rows_from(text)
    assert lower_bound(problem_of(rows)) == live
    assert optimum(rows) == height
    assert_fits_exactly_from(rows, height)
    assert fits_by_constraint_programming(rows, height)
    assert not fits_by_constraint_programming(rows, height - 1)


@pytest.mark.parametrize("seed", range(12))
def test_larger_tight_instances_agree_with_constraint_programming(seed):
    alignments = ALIGNMENTS[seed % len(ALIGNMENTS)]
    rows = tight_rows(1000 + seed, alignments, buffers=12)
    height = optimum(rows)
    assert fits_by_constraint_programming(rows, height)
    assert not fits_by_constraint_programming(rows, height - 1)


@pytest.mark.parametrize(("live", "height", "text"), ABOVE_MAX_LIVE[:4])
def test_disguises_do_not_change_the_optimum(live, height, text):
    rows = rows_from(text)
    shuffled = random.Random(live).sample(rows, len(rows))
    assert optimum(shuffled) == height
    assert optimum([(-upper, -lower, size, a) for lower, upper, size, a in rows]) == height
    assert optimum([(7 * lo + 100, 7 * up + 100, s, a) for lo, up, s, a in rows]) == height
    assert optimum([(lo, up, 3 * s, a) for lo, up, s, a in shuffled]) == 3 * height
    assert optimum([(lo, up, 64 * s, 64) for lo, up, s, _ in rows]) == 64 * height


def test_buffers_that_can_only_rest_on_each_other_end_the_branch_at_once():
    # Raised one by one, two such buffers climb by their own few bytes up to the capacity.
    rows = rows_from(
        "6-7:113349567 6-7:50434628 1-4:118567730 1-6:84893760 2-7:45796966 "
        "3-4:22693481 6-7:30962255 4-7:2 4-5:72162353 1-5:2 3-5:10473286 2-7:1 "
        "1-2:36735003 0-1:300000001 1-2:59803506 2-3:50741542 3-4:17574775 "
        "4-5:86673631 5-6:169309272 6-7:59456582"
    )
    height = optimum(rows)
    assert fits_by_constraint_programming(rows, height)
    assert not fits_by_constraint_programming(rows, height - 1)


def test_parts_that_never_meet_are_packed_apart():
    parts = [rows_from(text) for _, _, text in ABOVE_MAX_LIVE[:4]]
    shifted = [
        (lower + 100 * i, upper + 100 * i, size, alignment)
        for i, rows in enumerate(parts)
        for lower, upper, size, alignment in rows
    ]
    outcome = pack(problem_of(shifted), Deadline(60))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == 19
    assert outcome.statistics["components"] == 4
    assert is_legal(shifted, outcome.solution)
    assert_fits_exactly_from(shifted, 19)


def test_the_search_never_ends_above_greedy():
    for seed in range(30):
        rows = tight_rows(seed, [1, 2, 4], buffers=14)
        greedy = GreedyOffsets().solve(problem_of(rows), deadline=Deadline(60))
        assert optimum(rows) <= greedy.solution.height


def test_thousands_of_nested_decisions_do_not_exhaust_the_stack():
    rng = random.Random(1)
    rows = [(i, i + rng.randint(1, 50), rng.randint(1, 10**6), 1) for i in range(6000)]
    greedy = GreedyOffsets().solve(problem_of(rows), deadline=Deadline(60))
    assert greedy.status is Status.FEASIBLE
    outcome = pack(problem_of(rows), Deadline(60))
    assert outcome.statistics["components"] == 1
    assert outcome.statistics["nodes"] >= len(rows)
    assert outcome.solution.height <= greedy.solution.height


def test_hard_instances_out_of_time_claim_no_proof():
    rng = random.Random(2)
    rows = []
    for _ in range(200):
        lower = rng.randrange(60)
        rows.append((lower, lower + rng.randint(1, 20), rng.randint(1000, 9999), 1))
    bound = lower_bound(problem_of(rows))
    outcome = pack(problem_of(rows, capacity=bound), Deadline(0.05))
    if outcome.status is Status.UNKNOWN:
        assert outcome.solution is None
        assert outcome.statistics["lowest_height"] > bound
    else:
        assert is_legal(rows, outcome.solution)
        assert outcome.solution.height == bound


def test_same_problem_gives_the_same_packing():
    rows = tight_rows(5, [2, 3], buffers=14)
    solver = ExactOffsets()
    first, second = (
        solver.solve(problem_of(rows), deadline=Deadline(60), seed=seed) for seed in (0, 0)
    )
    assert first.solution.offsets.tolist() == second.solution.offsets.tolist()
    assert first.statistics["nodes"] == second.statistics["nodes"]


def test_an_incumbent_at_the_bound_needs_no_search():
    rows = rows_from("0-4:5 1-3:2 3-6:2 0-2:3 2-5:3 4-6:5")
    best = pack(problem_of(rows), Deadline(60)).solution
    outcome = ExactOffsets().solve(problem_of(rows), deadline=Deadline(60), incumbent=best)
    assert outcome.solution.height == best.height
    assert outcome.statistics["nodes"] == 0


def test_solvers_are_always_available():
    for solver in (ExactOffsets(), GreedyOffsets()):
        assert solver.available().available
    assert [ExactOffsets().name, GreedyOffsets().name] == ["exact", "greedy"]
