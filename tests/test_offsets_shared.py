"""The incumbent that racing offset solvers share."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from planner.problem import OffsetProblem, Status
from solvers import SharedBest
from solvers.offsets import ExactOffsets, GreedyOffsets
from solvers.protocol import Deadline

NONE_YET = 2**62


def array(*values):
    return np.array(values, dtype=np.int64)


def problem_of(rows, capacity=None):
    lower, upper, size = (array(*column) for column in zip(*rows, strict=True))
    return OffsetProblem(lower, upper, size, np.ones_like(size), capacity)


# Max-live 16, optimum 19: the bound alone proves nothing.
ABOVE_MAX_LIVE = [
    (4, 5, 9),
    (3, 5, 1),
    (1, 5, 3),
    (1, 2, 10),
    (2, 6, 3),
    (2, 4, 2),
    (0, 4, 2),
    (2, 4, 3),
    (0, 1, 13),
    (2, 3, 2),
    (3, 4, 1),
    (5, 6, 13),
]


def test_only_lower_packings_and_higher_bounds_replace_what_is_there():
    shared = SharedBest()
    assert (shared.height, shared.lower_bound, shared.offsets()) == (NONE_YET, 0, None)
    assert shared.offer(array(0, 7), 9)
    assert not shared.offer(array(2, 0), 9)
    assert shared.offer(array(0, 5), 7)
    assert shared.height == 7
    assert shared.offsets().tolist() == [0, 5]
    shared.offer_bound(5)
    shared.offer_bound(3)
    assert shared.lower_bound == 5


def test_what_is_handed_out_is_a_copy():
    shared = SharedBest()
    offered = array(0, 5)
    shared.offer(offered, 7)
    offered[0] = 99
    shared.offsets()[1] = 99
    assert shared.offsets().tolist() == [0, 5]


def test_packings_of_other_problems_are_refused():
    shared = SharedBest()
    shared.offer(array(0, 5), 7)
    with pytest.raises(ValueError, match="number of offsets"):
        shared.offer(array(0), 1)
    with pytest.raises(ValueError, match="number of offsets"):
        GreedyOffsets().solve(problem_of(ABOVE_MAX_LIVE), deadline=Deadline(60), shared=shared)


def test_of_many_threads_the_lowest_offer_stays():
    shared = SharedBest()

    def offer(first):
        for height in range(2000 - first, 0, -8):
            shared.offer(array(height, height), height)
            shared.offer_bound(2000 - height)

    threads = [threading.Thread(target=offer, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.height == 1
    assert shared.offsets().tolist() == [1, 1]
    assert shared.lower_bound == 1999


@pytest.mark.parametrize("solver", [GreedyOffsets(), ExactOffsets()], ids=lambda s: s.name)
def test_solvers_publish_packing_and_bound(solver):
    shared = SharedBest()
    # Two independent parts: what is published is of the whole.
    rows = ABOVE_MAX_LIVE + [(lower + 9, upper + 9, size) for lower, upper, size in ABOVE_MAX_LIVE]
    outcome = solver.solve(problem_of(rows), deadline=Deadline(60), shared=shared)
    assert shared.height == outcome.solution.height
    assert shared.offsets().tolist() == outcome.solution.offsets.tolist()
    assert shared.lower_bound == outcome.lower_bound


def test_the_search_goes_on_from_what_others_published():
    alone = ExactOffsets().solve(problem_of(ABOVE_MAX_LIVE), deadline=Deadline(60))
    best = alone.solution
    shared = SharedBest()
    shared.offer(best.offsets, best.height)
    shared.offer_bound(best.height)
    outcome = ExactOffsets().solve(problem_of(ABOVE_MAX_LIVE), deadline=Deadline(60), shared=shared)
    assert alone.statistics["searches"] > 0
    assert outcome.status is Status.OPTIMAL
    assert outcome.statistics["searches"] == 0
    assert outcome.solution.height == best.height


def test_the_low_parts_of_a_shared_packing_are_kept():
    parts = ABOVE_MAX_LIVE, [(lower + 9, upper + 9, size) for lower, upper, size in ABOVE_MAX_LIVE]
    best = ExactOffsets().solve(problem_of(parts[0]), deadline=Deadline(60)).solution
    # The first part is at its optimum, the second is one long stack moved up by one byte.
    stack = np.cumsum([0, *(size for _, _, size in parts[1])])
    shared = SharedBest()
    shared.offer(np.concatenate([best.offsets, stack[:-1]]), int(stack[-1]))
    outcome = ExactOffsets().solve(
        problem_of(parts[0] + parts[1]), deadline=Deadline(60), shared=shared
    )
    assert outcome.solution.height == best.height


def test_a_capacity_is_met_by_what_others_published():
    best = ExactOffsets().solve(problem_of(ABOVE_MAX_LIVE), deadline=Deadline(60)).solution
    shared = SharedBest()
    shared.offer(best.offsets, best.height)
    outcome = ExactOffsets().solve(
        problem_of(ABOVE_MAX_LIVE, best.height), deadline=Deadline(60), shared=shared
    )
    assert outcome.solution.offsets.tolist() == best.offsets.tolist()
    assert outcome.statistics["nodes"] == 0


def test_a_capacity_below_a_published_bound_is_not_searched():
    shared = SharedBest()
    shared.offer_bound(19)
    outcome = ExactOffsets().solve(
        problem_of(ABOVE_MAX_LIVE, 18), deadline=Deadline(60), shared=shared
    )
    assert outcome.status is Status.INFEASIBLE
    assert outcome.statistics["searches"] <= 1
