"""Gaps, windows, separations and overlaps in the offset solvers, against trying all offsets."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.problem import OffsetProblem, OffsetSolution, PairRule, Status, Uses
from solvers.offsets import ExactOffsets, GreedyOffsets, lower_bound, pack
from solvers.protocol import Deadline

from .brute_force import lowest_height, offences, rectangles

TIMES = 6


def int64s(values):
    return np.array(values, dtype=np.int64)


def uses_of(rows):
    """Rows of (buffer, lower, upper, begin, end)."""
    buffer, *columns = zip(*rows, strict=True)
    return Uses(np.array(buffer, dtype=np.int32), *map(int64s, columns))


def problem_of(rows, uses=None, rules=(), fixed=None):
    """Rows of (lower, upper, size, alignment)."""
    columns = map(int64s, zip(*rows, strict=True))
    return OffsetProblem(
        *columns,
        fixed=None if fixed is None else int64s(fixed),
        uses=None if uses is None else uses_of(uses),
        pair_rules=tuple(rules),
    )


def separation(problem, first, second):
    """No byte in common, at whatever times."""
    sizes = problem.size.tolist()
    return PairRule(first, second, ((-sizes[second], sizes[first]),), 0)


def overlap(problem, output, source, extent):
    """The last ``extent`` bytes of the output may lie on the first ones of its source."""
    sizes = problem.size.tolist()
    forbidden = ((-sizes[source], sizes[output] - extent),)
    return PairRule(output, source, forbidden, min(extent, sizes[source]))


def most_shared(problem, first, second, forbidden, reach):
    """The most bytes that both use at one time, at differences that are not forbidden."""
    uses = rectangles(problem)
    most = 0
    for difference in range(-reach, reach + 1):
        if any(low < difference < high for low, high in forbidden):
            continue
        for time in range(2 * TIMES):
            bytes_of = [
                {
                    b
                    for lower, upper, *span in uses[v]
                    if lower <= time < upper
                    for b in range(*span)
                }
                for v in (first, second)
            ]
            most = max(most, len(bytes_of[0] & {b + difference for b in bytes_of[1]}))
    return most


def highest_of_interest(problem):
    reach = sum(
        max((abs(end) for interval in rule.forbidden for end in interval), default=0)
        for rule in problem.pair_rules
    )
    fixed = 0 if problem.fixed is None else max(0, *problem.fixed.tolist())
    return int(problem.size.sum() + problem.alignment.sum()) + reach + fixed


@st.composite
def constrained_problems(draw, odd):
    """With ``odd`` also windows that others fit between, and arbitrary rules."""
    buffers = draw(st.integers(1, 6))
    alignments = st.sampled_from(draw(st.sampled_from([[1], [2], [1, 2], [2, 3], [4]])))
    rows, uses, fixed = [], [], []
    for v in range(buffers):
        lower = draw(st.integers(0, TIMES - 1))
        upper = draw(st.integers(lower + 1, TIMES))
        size = draw(st.integers(1, 6))
        rows.append((lower, upper, size, draw(alignments)))
        fixed.append(draw(st.integers(0, 6)) * rows[v][3] if draw(st.integers(0, 5)) == 0 else -1)
        cuts = sorted(draw(st.sets(st.integers(lower + 1, upper), max_size=2)) - {upper})
        pieces = list(itertools.pairwise([lower, *cuts, upper]))
        whole = draw(st.integers(0, len(pieces) - 1))
        for k, piece in enumerate(pieces):
            begin = draw(st.integers(0, size - 1)) if odd and k != whole else 0
            end = draw(st.integers(begin + 1, size)) if odd and k != whole else size
            if k == whole or draw(st.booleans()):
                uses.append((v, *piece, begin, end))
    problem = problem_of(rows, uses, fixed=fixed if draw(st.booleans()) else None)
    rules = {}
    for _ in range(draw(st.integers(0, 3)) if buffers > 1 else 0):
        first, second = draw(st.permutations(range(buffers)))[:2]
        kind = draw(st.sampled_from(["separation", "overlap", "any"]))
        if kind == "separation":
            rule = separation(problem, first, second)
        elif kind == "overlap":
            rule = overlap(problem, first, second, draw(st.integers(0, rows[first][2] - 1)))
        elif odd:
            ends = sorted(draw(st.sets(st.integers(-7, 7), max_size=4)))
            forbidden = tuple(zip(ends[::2], ends[1::2], strict=False))
            shared = most_shared(problem, first, second, forbidden, 14)
            rule = PairRule(first, second, forbidden, shared)
        else:
            continue
        rules[frozenset((first, second))] = rule
    return replace(problem, pair_rules=tuple(rules.values()))


def assert_nothing_wrong(problem):
    """Return the outcome of the exact solver and the lowest height, or None if nothing is legal."""
    height = lowest_height(problem, highest_of_interest(problem))
    greedy = GreedyOffsets().solve(problem, deadline=Deadline(30))
    exact = pack(problem, Deadline(30))
    if height is None:
        assert greedy.status is exact.status is Status.INFEASIBLE
        return None
    assert offences(problem, greedy.solution) == []
    assert offences(problem, exact.solution) == []
    assert exact.solution.height <= greedy.solution.height
    assert lower_bound(problem) <= exact.lower_bound <= height <= exact.solution.height
    too_small = pack(replace(problem, capacity=height - 1), Deadline(30))
    assert too_small.solution is None
    assert pack(replace(problem, capacity=height), Deadline(30)).status is not Status.INFEASIBLE
    return exact, height, too_small


@given(constrained_problems(odd=False))
@settings(max_examples=150, deadline=None)
def test_gaps_pins_separations_and_overlaps_are_solved_with_proof(problem):
    if (found := assert_nothing_wrong(problem)) is not None:
        exact, height, too_small = found
        assert exact.status is Status.OPTIMAL
        assert exact.solution.height == height
        assert too_small.status is Status.INFEASIBLE


@given(constrained_problems(odd=True))
@settings(max_examples=150, deadline=None)
def test_windows_and_odd_rules_lead_to_no_wrong_claim(problem):
    assert_nothing_wrong(problem)


def test_explicit_uses_of_everything_change_nothing():
    random = np.random.default_rng(0)
    lower = random.integers(0, 20, 40)
    upper = lower + random.integers(1, 8, 40)
    size = random.integers(1, 50, 40)
    plain = OffsetProblem(lower, upper, size, np.ones(40, dtype=np.int64))
    everything = Uses(np.arange(40, dtype=np.int32), lower, upper, np.zeros(40, int), size)
    first, second = pack(plain, Deadline(30)), pack(replace(plain, uses=everything), Deadline(30))
    assert first.solution.offsets.tolist() == second.solution.offsets.tolist()
    for figure in ("nodes", "searches", "order"):
        assert first.statistics[figure] == second.statistics[figure]


def test_a_buffer_that_lives_in_a_gap_needs_no_bytes_of_its_own():
    rows = [(0, 6, 8, 1), (2, 4, 8, 1)]
    assert pack(problem_of(rows), Deadline(9)).solution.height == 16
    gap = [(0, 0, 2, 0, 8), (0, 4, 6, 0, 8), (1, 2, 4, 0, 8)]
    outcome = pack(problem_of(rows, gap), Deadline(9))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == 8


@pytest.mark.parametrize("reverse", [False, True])
def test_what_lies_below_a_window_is_found_with_proof(reverse):
    # Bytes [6, 8) of the first stay in use during its gap; the others fit below, not above.
    rows = [(0, 6, 8, 1), (2, 4, 3, 1), (2, 4, 3, 1), (4, 6, 2, 1), (0, 2, 1, 1)]
    uses = [(0, 0, 2, 0, 8), (0, 2, 4, 6, 8), (0, 4, 6, 0, 8)]
    uses += [(v, *rows[v][:2], 0, rows[v][2]) for v in range(1, 5)]
    if reverse:
        rows.reverse()
        uses = sorted((4 - v, *rest) for v, *rest in uses)
    outcome = pack(problem_of(rows, uses), Deadline(9))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == 10
    assert outcome.lower_bound == 10


def test_separated_buffers_share_no_byte_at_any_time():
    problem = problem_of([(0, 1, 4, 1), (9, 10, 4, 1), (5, 6, 8, 1)])
    assert pack(problem, Deadline(9)).solution.height == 8
    apart = replace(problem, pair_rules=(separation(problem, 0, 1), separation(problem, 1, 2)))
    outcome = pack(apart, Deadline(9))
    assert outcome.statistics["components"] == 1
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == 12


def test_separated_parts_are_searched_together():
    # Two tight blocks; the separations between them leave only few of each one's packings.
    block = [(0, 3, 4), (1, 3, 3), (0, 1, 3), (3, 5, 5), (4, 6, 2), (3, 4, 2)]
    rows = [(lo + t, up + t, size, 1) for t in (0, 10) for lo, up, size in block]
    problem = problem_of(rows)
    rules = tuple(separation(problem, v, v + 6) for v in (0, 3, 4))
    problem = replace(problem, pair_rules=rules)
    height = lowest_height(problem, 40)
    outcome = pack(problem, Deadline(30))
    assert offences(problem, outcome.solution) == []
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == height > lower_bound(problem)


@pytest.mark.parametrize("extent", [0, 1, 5, 6])
def test_an_output_runs_over_the_head_of_its_input(extent):
    problem = problem_of([(0, 2, 10, 1), (1, 3, 6, 1)])
    problem = replace(problem, pair_rules=(overlap(problem, 1, 0, extent),))
    outcome = pack(problem, Deadline(9))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == 16 - extent
    assert offences(problem, outcome.solution) == []


def test_a_chain_of_outputs_in_place_is_as_high_as_its_largest():
    rows = [(t, t + 2, 12 - t % 3, 1) for t in range(12)]
    problem = problem_of(rows)
    rules = tuple(overlap(problem, t + 1, t, rows[t + 1][2]) for t in range(11))
    outcome = pack(replace(problem, pair_rules=rules), Deadline(9))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == 12
    backwards = [(-upper, -lower, *rest) for lower, upper, *rest in rows]
    outcome = pack(replace(problem_of(backwards), pair_rules=rules), Deadline(9))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == 12


def test_overlaps_in_a_circle_are_solved_with_proof():
    rows = [(1, 4, 2, 1), (2, 5, 2, 1), (2, 5, 3, 1)]
    rules = (
        PairRule(1, 2, ((-3, 0),), 2),
        PairRule(2, 0, ((-2, 1),), 2),
        PairRule(0, 1, ((-2, 1),), 1),
    )
    found = assert_nothing_wrong(problem_of(rows, rules=rules))
    assert found is not None
    exact, height, too_small = found
    assert exact.status is Status.OPTIMAL
    assert exact.solution.height == height == 4
    assert too_small.status is Status.INFEASIBLE


def test_an_incumbent_between_the_bytes_of_another_buffer_is_kept():
    # During the gap of the first only bytes [0, 2) and [6, 8) are in use: two members of a group.
    rows = [(0, 4, 8, 1), (1, 3, 4, 1), (1, 3, 4, 1)]
    uses = [(0, 0, 1, 0, 8), (0, 1, 3, 0, 2), (0, 1, 3, 6, 8), (0, 3, 4, 0, 8)]
    uses += [(1, 1, 3, 0, 4), (2, 1, 3, 0, 4)]
    problem = problem_of(rows, uses)
    incumbent = OffsetSolution(int64s([0, 2, 8]), 12)
    assert offences(problem, incumbent) == []
    for solver in (GreedyOffsets(), ExactOffsets()):
        outcome = solver.solve(problem, deadline=Deadline(9), incumbent=incumbent)
        assert outcome.solution.height == 12 == outcome.lower_bound


@pytest.mark.parametrize(
    ("window", "height"), [((3, 8), 12), ((4, 8), 8), ((5, 8), 8), ((0, 4), 8), ((0, 5), 12)]
)
def test_windows_need_not_end_at_multiples_of_the_alignment(window, height):
    rows = [(0, 3, 8, 4), (1, 2, 4, 4)]
    uses = [(0, 0, 1, 0, 8), (0, 1, 2, *window), (0, 2, 3, 0, 8), (1, 1, 2, 0, 4)]
    outcome = pack(problem_of(rows, uses), Deadline(9))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == height


def test_fixed_offsets_that_a_rule_forbids_are_named():
    problem = problem_of([(0, 1, 4, 1), (5, 6, 4, 1), (8, 9, 1, 1)], fixed=[0, 3, 0])
    assert pack(problem, Deadline(9)).status is Status.OPTIMAL
    apart = replace(problem, pair_rules=(separation(problem, 1, 0),))
    outcome = pack(apart, Deadline(9))
    assert outcome.status is Status.INFEASIBLE
    assert outcome.statistics["clash"] == (0, 1)
    together = replace(problem_of([(0, 2, 4, 1), (1, 3, 4, 1)], fixed=[4, 2]))
    assert pack(together, Deadline(9)).status is Status.INFEASIBLE
    together = replace(together, pair_rules=(overlap(together, 1, 0, 2),))
    assert pack(together, Deadline(9)).status is Status.OPTIMAL


def many_buffers(count, seed):
    """Half of them with a gap, half of the gaps with a window; a tenth fixed where they fit."""
    random = np.random.default_rng(seed)
    lower = random.integers(0, count, count)
    upper = lower + random.integers(3, 60, count)
    size = 64 * random.integers(1, 100, count)
    uses = []
    for v in range(count):
        lo, up = int(lower[v]), int(upper[v])
        first, second = lo + (up - lo) // 3, up - (up - lo) // 3
        kind = random.integers(4)
        if kind < 2:
            uses.append((v, lo, up, 0, size[v]))
            continue
        uses.append((v, lo, first, 0, size[v]))
        if kind == 3:
            uses.append((v, first, second, 0, (size[v] + 1) // 2))
        uses.append((v, second, up, 0, size[v]))
    problem = problem_of(zip(lower, upper, size, np.full(count, 64), strict=True), uses)
    packed = GreedyOffsets().solve(problem, deadline=Deadline(60)).solution
    return replace(problem, fixed=np.where(random.random(count) < 0.1, packed.offsets, -1))


def test_thousands_of_buffers_with_gaps_are_packed_legally():
    problem = many_buffers(4_000, seed=1)
    outcome = GreedyOffsets().solve(problem, deadline=Deadline(60))
    offsets = outcome.solution.offsets
    assert ((problem.fixed < 0) | (offsets == problem.fixed)).all()
    assert outcome.solution.height == (offsets + problem.size).max()
    buffer, lower, upper, begin, end = problem.uses
    begin, end = offsets[buffer] + begin, offsets[buffer] + end
    order = np.argsort(lower, kind="stable")
    alive = []
    for k in order.tolist():
        alive = [other for other in alive if upper[other] > lower[k]]
        assert all(end[k] <= begin[o] or end[o] <= begin[k] for o in alive)
        alive.append(k)


def test_permissions_for_very_many_pairs_may_go_unused_but_nothing_is_illegal():
    pairs = 1500
    rows = [(t, t + 3, 8, 1) for t in range(2 * pairs)]
    problem = problem_of(rows)
    rules = tuple(overlap(problem, 2 * k + 1, 2 * k, 4) for k in range(pairs))
    problem = replace(problem, pair_rules=rules)
    solution = GreedyOffsets().solve(problem, deadline=Deadline(60)).solution
    offsets = solution.offsets.tolist()
    for u in range(2 * pairs - 2):
        for v in (u + 1, u + 2):
            free = 4 if u % 2 == 0 and v == u + 1 else 8
            assert offsets[u] >= offsets[v] + free or offsets[v] >= offsets[u] + 8


MALFORMED_USES = [
    ([(0, 0, 1, 0, 4)], "buffer 1 has no use"),
    ([(1, 0, 1, 0, 4), (0, 0, 1, 0, 4)], "use 1 of buffer 0 follows one of 1"),
    ([(0, 0, 1, 0, 4), (2, 0, 1, 0, 4)], "use 1: there is no buffer 2"),
    ([(0, 1, 1, 0, 4), (1, 0, 1, 0, 4)], r"use 0: the times \[1, 1\)"),
    ([(0, 0, 1, 0, 4), (1, 0, 9, 0, 4)], r"use 1: the times \[0, 9\) are empty or not inside"),
    (
        [(0, 0, 1, 0, 5), (1, 0, 1, 0, 4)],
        r"use 0: the bytes \[0, 5\) are empty or not inside the 4",
    ),
    ([(0, 0, 1, 0, 4), (1, 0, 1, -1, 4)], r"use 1: the bytes \[-1, 4\)"),
]


@pytest.mark.parametrize(("uses", "message"), MALFORMED_USES)
def test_malformed_uses_are_refused(uses, message):
    with pytest.raises(ValueError, match=message):
        pack(problem_of([(0, 2, 4, 1), (0, 2, 4, 1)], uses), Deadline(1))


MALFORMED_RULES = [
    ([(0, 2, (), 0)], "pair rule 0: there is no buffer 2"),
    ([(-1, 0, (), 0)], "pair rule 0: there is no buffer -1"),
    ([(1, 1, (), 0)], "pair rule 0 names buffer 1 twice"),
    ([(0, 1, (), 0), (1, 0, (), 0)], "pair rule 1 is the second for buffers 1 and 0"),
    ([(0, 1, ((3, 3),), 0)], r"pair rule 0: the interval \(3, 3\)"),
    ([(0, 1, ((0, 3), (2, 4)), 0)], r"pair rule 0: the interval \(2, 4\)"),
    ([(0, 1, ((0, 2**62),), 0)], "62 bits"),
    ([(0, 1, ((-(2**62) + 1, 2**62 - 1),), 0)], "62 bits"),
    ([(0, 1, (), -1)], "pair rule 0: -1 shared bytes"),
]


@pytest.mark.parametrize(("rules", "message"), MALFORMED_RULES)
def test_malformed_pair_rules_are_refused(rules, message):
    rules = [PairRule(*rule) for rule in rules]
    with pytest.raises(ValueError, match=message):
        pack(problem_of([(0, 2, 4, 1), (0, 2, 4, 1)], rules=rules), Deadline(1))


def test_distances_near_the_limit_of_62_bits_do_not_overflow():
    big = 2**59
    problem = problem_of([(0, 1, big, 1), (1, 2, big, 1), (2, 3, big, 1), (3, 4, big, 1)])
    far = tuple(PairRule(v, v + 1, ((-big, big),), 0) for v in range(3))
    problem = replace(problem, pair_rules=far)
    outcome = pack(problem, Deadline(5))
    assert offences(problem, outcome.solution) == []
    assert outcome.solution.height == 2 * big
