"""Large instances: the skyline and the repair behind the greedy portfolio and the exact solver."""

from __future__ import annotations

import bisect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from planner.problem import OffsetProblem, OffsetSolution, Status
from solvers.offsets import ExactOffsets, GreedyOffsets
from solvers.protocol import Deadline

GREEDY, EXACT = GreedyOffsets(), ExactOffsets()


def problem_of(lower, span, size, alignment=1):
    return OffsetProblem(lower, lower + span, size, np.full(len(lower), alignment))


def short_and_long(random, n, short, share):
    """Short lifetimes and a share of long ones, up to a tenth of the horizon."""
    is_long = random.random(n) < share
    return np.where(is_long, random.integers(1, n // 10, n), random.integers(1, short, n))


def logarithmic(random, n, lowest, decades):
    return (lowest * 10 ** (random.random(n) * decades)).astype(np.int64)


def log_sizes(random, n):
    span = short_and_long(random, n, 60, 0.02)
    return problem_of(random.integers(0, n, n), span, logarithmic(random, n, 64, 3), 64)


def even_sizes(random, n):
    span = short_and_long(random, n, 60, 0.05)
    return problem_of(random.integers(0, n, n), span, random.integers(1, 10**6, n))


def powers_of_two(random, n):
    span = short_and_long(random, n, 60, 0.02)
    return problem_of(random.integers(0, n, n), span, 2 ** random.choice([8, 12, 16, 18], n), 64)


def heavy_tail(random, n):
    size = (256 * (1 + random.pareto(1.3, n))).astype(np.int64)
    return problem_of(random.integers(0, n, n), short_and_long(random, n, 60, 0.03), size)


def many_at_few_times(random, n):
    span = random.integers(1, 20, n)
    return problem_of(random.integers(0, n // 30, n), span, logarithmic(random, n, 100, 3), 64)


def forward_and_backward(random, n):
    """Activations that live from a forward step to its backward step, and temporaries."""
    kept = random.random(n) < 0.5
    lower = np.sort(random.integers(0, n, n))
    span = np.where(kept, 2 * n - 2 * lower, random.integers(1, 30, n))
    return problem_of(lower, np.maximum(span, 1), 2 ** random.integers(9, 20, n), 512)


FAMILIES = [
    log_sizes,
    even_sizes,
    powers_of_two,
    heavy_tail,
    many_at_few_times,
    forward_and_backward,
]


def is_legal(problem, solution):
    """By a sweep: who is alive lies in disjoint bytes."""
    begin = solution.offsets
    end = begin + problem.size
    if (begin < 0).any() or (begin % problem.alignment).any():
        return False
    events = np.concatenate([problem.upper * 2, problem.lower * 2 + 1])
    alive_begin, alive_end = [], []
    for event in np.argsort(events, kind="stable").tolist():
        n = len(begin)
        v = event % n
        at = bisect.bisect_left(alive_begin, begin[v])
        if event < n:
            del alive_begin[at], alive_end[at]
            continue
        if at < len(alive_begin) and alive_begin[at] < end[v]:
            return False
        if at > 0 and alive_end[at - 1] > begin[v]:
            return False
        alive_begin.insert(at, begin[v])
        alive_end.insert(at, end[v])
    return solution.height == end.max()


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_packings_of_large_instances_are_legal_and_close_to_the_bound(family):
    problem = family(np.random.default_rng(7), 6000)
    outcome = GREEDY.solve(problem, deadline=Deadline(60))
    assert is_legal(problem, outcome.solution)
    assert outcome.solution.height <= 1.02 * outcome.lower_bound


def test_repair_brings_large_packings_below_what_the_orders_reach():
    problem = even_sizes(np.random.default_rng(1), 6000)
    outcome = GREEDY.solve(problem, deadline=Deadline(60))
    assert "repaired" in outcome.statistics["order"]


def test_large_instances_are_packed_the_same_way_each_time():
    problem = even_sizes(np.random.default_rng(2), 5000)
    first, second = (GREEDY.solve(problem, deadline=Deadline(60)) for _ in range(2))
    assert first.solution.offsets.tolist() == second.solution.offsets.tolist()


def test_the_exact_solver_goes_on_where_the_orders_end():
    problem = many_at_few_times(np.random.default_rng(3), 12_000)
    greedy = GREEDY.solve(problem, deadline=Deadline(60))
    exact = EXACT.solve(problem, deadline=Deadline(3))
    assert is_legal(problem, exact.solution)
    assert exact.solution.height <= greedy.solution.height
    assert (exact.status is Status.OPTIMAL) == (exact.solution.height == exact.lower_bound)


def test_a_large_instance_whose_bound_is_met_is_proven_optimal():
    problem = powers_of_two(np.random.default_rng(4), 12_000)
    outcome = EXACT.solve(problem, deadline=Deadline(60))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == outcome.lower_bound


def test_a_capacity_within_reach_ends_the_work_on_a_large_instance():
    problem = even_sizes(np.random.default_rng(5), 12_000)
    capacity = int(1.1 * GREEDY.solve(problem, deadline=Deadline(0)).lower_bound)
    fitting = OffsetProblem(problem.lower, problem.upper, problem.size, problem.alignment, capacity)
    outcome = EXACT.solve(fitting, deadline=Deadline(60))
    assert is_legal(problem, outcome.solution)
    assert outcome.solution.height <= capacity


def test_an_incumbent_of_a_large_instance_is_improved_on_not_lost():
    problem = even_sizes(np.random.default_rng(6), 6000)
    start = GREEDY.solve(problem, deadline=Deadline(60)).solution
    again = EXACT.solve(problem, deadline=Deadline(0.5), incumbent=start)
    assert is_legal(problem, again.solution)
    assert again.solution.height <= start.height


def test_thousands_alive_at_once_are_packed_even_at_an_expired_deadline():
    random = np.random.default_rng(8)
    ends = np.sort(random.integers(0, 20_000, (20_000, 2)), axis=1)
    size = logarithmic(random, 20_000, 8, 3)
    problem = problem_of(ends[:, 0], ends[:, 1] - ends[:, 0] + 1, size)
    for seconds in (0, 0.3):
        outcome = EXACT.solve(problem, deadline=Deadline(seconds))
        assert is_legal(problem, outcome.solution)


def test_large_sizes_do_not_overflow():
    random = np.random.default_rng(9)
    n = 3000
    problem = problem_of(
        random.integers(0, n, n), random.integers(1, 50, n), random.integers(2**48, 2**50, n)
    )
    outcome = GREEDY.solve(problem, deadline=Deadline(20))
    assert is_legal(problem, outcome.solution)
    assert isinstance(outcome.solution, OffsetSolution)


# Not ru_maxrss: a process inherits that from the one that started it.
MEASURED = """
import re, sys
from pathlib import Path
import numpy as np
sys.path[:0] = sys.argv[2].split(":")
from test_offsets_large import FAMILIES, GREEDY, Deadline
family = {f.__name__: f for f in FAMILIES}[sys.argv[1]]
problem = family(np.random.default_rng(0), 60_000)
outcome = GREEDY.solve(problem, deadline=Deadline(120))
assert outcome.solution.height <= 1.02 * outcome.lower_bound, outcome.statistics
peak_kib = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
assert peak_kib <= 250 * 1024, peak_kib
"""


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_sixty_thousand_buffers_are_within_two_percent_and_250_megabytes(family):
    if sys.platform != "linux":
        pytest.skip("the peak of resident bytes is read from /proc")
    here = Path(__file__).parent
    subprocess.run(
        [sys.executable, "-c", MEASURED, family.__name__, f"{here}:{here.parent}"],
        check=True,
        timeout=300,
    )
