"""MEMO's two levels: legal, never below the flat optimum, equal to it where nothing is lost."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.problem import OffsetProblem, OffsetSolution, PairRule, Status, Uses
from planner.registry import SOLVERS
from solvers.offsets import ExactOffsets, bilevel, lower_bound
from solvers.offsets.bilevel import BilevelOffsets
from solvers.protocol import Deadline

from .training_traces import training_trace

BILEVEL = BilevelOffsets()


def solve(problem, seconds=3.0, **options):
    return BILEVEL.solve(problem, deadline=Deadline(seconds), **options)


def is_legal(problem, solution):
    """The plain way: every pair."""
    end = solution.offsets + problem.size
    if (solution.offsets < 0).any() or (solution.offsets % problem.alignment).any():
        return False
    if end.max(initial=0) != solution.height:
        return False
    for v in range(len(end)):
        together = (problem.lower[:v] < problem.upper[v]) & (problem.lower[v] < problem.upper[:v])
        overlap = (solution.offsets[:v] < end[v]) & (solution.offsets[v] < end[:v])
        if (together & overlap).any():
            return False
    return True


def without_head(trace):
    return trace._replace(events=[event for event in trace.events if "logits" not in event[1]])


@pytest.mark.parametrize("seed", range(40))
def test_packings_of_training_steps_are_legal_and_priced(seed):
    trace = training_trace(seed, 2 + seed % 9, transients=3 + seed % 8, saved=seed % 4)
    problem = without_head(trace).problem(alignment=(1, 8, 64, 48)[seed % 4])
    outcome = solve(problem)
    solution, statistics = outcome.solution, outcome.statistics
    assert is_legal(problem, solution)
    assert outcome.lower_bound == lower_bound(problem) <= statistics["flat_height"]
    assert statistics["flat_height"] + statistics["price_bytes"] == solution.height
    assert statistics["price_bytes"] >= 0
    assert (outcome.status is Status.OPTIMAL) == (solution.height == outcome.lower_bound)
    assert 2 * (2 + seed % 9) - 1 <= statistics["layers"] <= 2 * (2 + seed % 9)
    transients = sum(
        layers * count
        for layers, count in zip(
            statistics["layers_of_kind"], statistics["transients_of_kind"], strict=True
        )
    )
    assert statistics["level_2_buffers"] == len(problem.size) - transients + statistics["layers"]


@pytest.mark.parametrize("seed", range(30))
def test_two_levels_are_the_flat_optimum_where_nothing_crosses_and_no_hole_can_be_used(seed):
    """Layers one after the other, and buffers that are alive all the time."""
    rng = np.random.default_rng(seed)
    count, layers = int(rng.integers(2, 7)), int(rng.integers(2, 9))
    lower = rng.integers(0, 8, count)
    upper = np.minimum(lower + rng.integers(1, 8, count), 9)
    size = rng.integers(1, 50, count)
    starts = 10 * np.arange(layers)
    persistent = rng.integers(1, 50, 3)
    end = 10 * layers
    problem = OffsetProblem(
        np.concatenate([(starts[:, None] + lower).ravel(), np.zeros(3, dtype=np.int64)]),
        np.concatenate([(starts[:, None] + upper).ravel(), np.full(3, end)]),
        np.concatenate([np.tile(size, layers), persistent]),
        np.ones(layers * count + 3, dtype=np.int64),
    )
    flat = ExactOffsets().solve(problem, deadline=Deadline(20))
    outcome = solve(problem)
    assert flat.status is Status.OPTIMAL
    assert is_legal(problem, outcome.solution)
    assert outcome.solution.height == flat.solution.height
    assert outcome.statistics.get("price_bytes", 0) == 0


def test_a_crossing_buffer_that_fits_a_hole_costs_two_levels_its_size():
    """Each layer needs 10 bytes, in its middle 100; what crosses the borders lives at its ends."""
    layer = [(0, 10, 10), (4, 6, 60), (4, 6, 30)]
    rows = [
        (10 * i + lower, 10 * i + upper, size) for i in range(4) for lower, upper, size in layer
    ]
    rows += [(10 * i + 8, 10 * i + 12, 91 + i) for i in range(3)]
    problem = OffsetProblem(*np.array(rows).T.copy(), np.ones(len(rows), dtype=np.int64))
    outcome = solve(problem)
    assert is_legal(problem, outcome.solution)
    assert outcome.solution.height == 100 + 93
    assert outcome.statistics["flat_height"] == outcome.lower_bound == 10 + 93
    assert outcome.statistics["level_1_proven"] and outcome.statistics["level_2_proven"]
    assert outcome.status is Status.FEASIBLE
    assert outcome.statistics["note"] == (
        "4 layers of 1 kind; two levels 193 B, flat 103 B: 90 B or 87.4 % more"
    )


def test_equal_layers_are_packed_equally():
    problem = training_trace(4, 6).problem(alignment=16)
    kinds = bilevel.find_layers(problem)
    offsets = solve(problem).solution.offsets
    assert len(kinds) == 2
    for kind in kinds:
        inside = offsets[kind.buffers] - offsets[kind.buffers].min(axis=1, keepdims=True)
        assert (inside == inside[0]).all()


def test_blocks_are_aligned_for_all_of_their_buffers():
    trace = training_trace(7, 5)
    problem = trace.problem()
    # Equal in equal layers: by size.
    alignment = np.array([(4, 6, 10)[size % 3] for size in problem.size.tolist()])
    problem = OffsetProblem(problem.lower, problem.upper, problem.size, alignment)
    outcome = solve(problem, 1.0)  # the flat packing for the price takes all there is
    assert outcome.statistics["layers"] == 10
    assert is_legal(problem, outcome.solution)


@pytest.mark.parametrize("seed", range(12))
def test_a_capacity_is_met_or_refused_with_the_truth(seed):
    trace = without_head(training_trace(seed, 5, saved=seed % 4))
    lowest = solve(trace.problem()).solution.height
    fits = solve(trace.problem(capacity=lowest))
    assert fits.status in (Status.FEASIBLE, Status.OPTIMAL)
    assert is_legal(trace.problem(), fits.solution) and fits.solution.height <= lowest
    bound = lower_bound(trace.problem())
    impossible = solve(trace.problem(capacity=bound - 1))
    assert impossible.status is Status.INFEASIBLE and impossible.solution is None
    if lowest > bound:
        tight = solve(trace.problem(capacity=lowest - 1))
        assert tight.status is Status.UNKNOWN and tight.solution is None
        assert tight.statistics["lowest_height"] >= lowest


@pytest.mark.parametrize("rows", [[], [(0, 1, 5)], [(0, 3, 5), (1, 2, 7), (4, 5, 9)]])
def test_without_layers_there_is_one_level_and_it_says_so(rows):
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    problem = OffsetProblem(*table.T.copy(), np.ones(len(rows), dtype=np.int64))
    outcome = solve(problem)
    assert outcome.status is Status.OPTIMAL
    assert is_legal(problem, outcome.solution)
    assert "no repeated layers" in outcome.statistics["note"]


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 4), st.sampled_from([8, 16, 40])).map(
            lambda row: (row[0], row[0] + row[1], row[2])
        ),
        max_size=30,
    )
)
@settings(max_examples=100, deadline=None)
def test_any_lifetimes_are_packed_legally(rows):
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    problem = OffsetProblem(*table.T.copy(), np.full(len(rows), 8))
    outcome = solve(problem, 1.0)
    assert is_legal(problem, outcome.solution)
    assert outcome.solution.height >= outcome.lower_bound


def test_small_kinds_that_greedy_does_not_settle_are_packed_by_the_mip():
    pytest.importorskip("pulp")
    seen = set()
    for seed in range(60):
        problem = training_trace(seed, 4, transients=8).problem()
        statistics = solve(problem, 30.0).statistics
        seen |= set(statistics["level_1_solvers"])
        if "mip" in seen:
            assert statistics["level_1_proven"]
            return
    raise AssertionError(f"no kind came to the MIP, only to {seen}")


def test_without_pulp_the_exact_search_packs_the_kinds(monkeypatch):
    monkeypatch.setattr(bilevel, "_by_mip", lambda *_: None)
    for seed in range(10):
        problem = training_trace(seed, 4, transients=8).problem()
        outcome = solve(problem)
        assert is_legal(problem, outcome.solution)
        assert outcome.statistics["level_1_proven"]
        assert set(outcome.statistics["level_1_solvers"]) <= {"greedy", "exact"}


def test_a_known_flat_packing_counts_in_the_price():
    problem = without_head(training_trace(9, 6)).problem()
    flat = ExactOffsets().solve(problem, deadline=Deadline(20))
    outcome = solve(problem, incumbent=flat.solution)
    assert outcome.statistics["flat_height"] <= flat.solution.height


class Shared:
    """Remembers what is published."""

    def __init__(self, offsets, height):
        self.best, self.height, self.lower_bound = offsets, height, 0

    def offer(self, offsets, height):
        if height < self.height:
            self.best, self.height = offsets, height
            return True
        return False

    def offer_bound(self, bound):
        self.lower_bound = max(self.lower_bound, bound)

    def offsets(self):
        return self.best


def test_the_packing_is_published_and_the_published_one_compared_with():
    problem = without_head(training_trace(9, 6)).problem()
    board = Shared(None, 2**62)
    outcome = solve(problem, shared=board)
    assert board.height == outcome.solution.height
    assert board.lower_bound == outcome.lower_bound
    # Not a height that could be found here: it is seen only if the board is read.
    board = Shared(outcome.solution.offsets, 1)
    assert solve(problem, shared=board).statistics["flat_height"] == 1


def test_only_plain_lifetimes_are_taken():
    columns = [np.array(column) for column in ([0, 1], [2, 3], [8, 8], [1, 1])]
    uses = Uses(*(np.array(column) for column in ([0, 1], [0, 1], [2, 3], [0, 0], [8, 8])))
    plain = OffsetProblem(*columns, fixed=np.array([-1, -1]))
    assert BILEVEL.unsupported(plain) == ""
    for problem in (
        OffsetProblem(*columns, fixed=np.array([-1, 0])),
        OffsetProblem(*columns, uses=uses),
        OffsetProblem(*columns, pair_rules=(PairRule(0, 1, (), 8),)),
    ):
        assert "plain lifetimes only" in BILEVEL.unsupported(problem)
        outcome = solve(problem)
        assert outcome.status is Status.UNKNOWN and outcome.solution is None


@pytest.mark.parametrize("cancelled", [True, False])
def test_an_expired_deadline_still_gives_a_legal_packing_soon(cancelled):
    problem = without_head(training_trace(3, 40, transients=20, saved=6)).problem()
    deadline = Deadline(0.0 if not cancelled else 60.0)
    if cancelled:
        deadline.cancel.set()
    started = time.process_time()
    outcome = BILEVEL.solve(problem, deadline=deadline)
    assert is_legal(problem, outcome.solution)
    # Of CPU, and generous: the point is that it does not go on for the 60 s.
    assert time.process_time() - started < 20


def test_it_is_registered_under_its_name():
    assert SOLVERS["offsets"]["bilevel"].load().name == BILEVEL.name == "bilevel"
    assert BILEVEL.available().available


def test_an_unpackable_alignment_leaves_the_layers_flat():
    """The block's alignment is the least common multiple: here beyond 62 bits."""
    primes = [1_000_003, 1_000_033, 1_000_037, 1_000_039]
    layer = [(0, 3), (1, 4), (2, 5), (3, 6)]
    rows = [
        (10 * i + lo, 10 * i + up, 100, p)
        for i in range(3)
        for (lo, up), p in zip(layer, primes, strict=True)
    ]
    problem = OffsetProblem(*np.array(rows, dtype=np.int64).T.copy())
    outcome = solve(problem, 1.0)
    assert is_legal(problem, outcome.solution)
    assert "no repeated layers" in outcome.statistics["note"]


def test_the_incumbent_is_not_handed_back_as_its_own():
    problem = without_head(training_trace(9, 6)).problem()
    alone = solve(problem).solution
    stacked = OffsetSolution(
        np.cumsum(np.concatenate([[0], problem.size[:-1]])), int(problem.size.sum())
    )
    assert solve(problem, incumbent=stacked).solution.height == alone.height
