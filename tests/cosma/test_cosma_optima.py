"""COSMA's program against exhaustive search, gap selection and the exact minimum-peak order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from planner.graph import RaggedArray
from planner.joint_problem import JointProblem
from planner.problem import Status
from solvers.cosma.backends import Backend
from solvers.cosma.least_traffic import with_addresses
from solvers.cosma.program_solution import read_schedule, solve_program
from solvers.cosma.schedule import replacement_on
from solvers.cosma.solvers import CosmaFixed, CosmaJoint, CosmaPeak
from solvers.cosma.windows import Windows
from solvers.order.exact import ExactOrder
from solvers.protocol import Deadline
from solvers.replacement.benders import GapSelection

from ..joint.brute_force import least_traffic, random_problem, smallest_capacity  # noqa: TID252
from ..replacement import problems as fixed_orders  # noqa: TID252
from .address_search import least_traffic_with_addresses

if TYPE_CHECKING:
    from planner.problem import ReplacementSolution


def without_overwriting(problem: JointProblem) -> JointProblem:
    return replace(problem, in_place=RaggedArray.from_rows([[]] * problem.operators))


def instance(seed: int, operators: int, *, above: int) -> JointProblem:
    """A random graph at so many units above its largest operator."""
    problem = without_overwriting(
        random_problem(seed, operators, alignment=1 + seed % 2, everything=seed % 3 == 0)
    )
    capacity = -(-smallest_capacity(problem) // problem.alignment) * problem.alignment
    return replace(problem, capacity=capacity + above * problem.alignment)


def assert_agreement(seeds: range, backend: Backend) -> int:
    """Compare the program without addresses with brute force; return how many optima are not 0."""
    positive = 0
    for seed in seeds:
        for above in (0, 1, 3):
            problem = instance(seed, 4 + seed % 3, above=above)
            expected = least_traffic(problem)
            outcome = CosmaJoint(backend.value).solve(problem, deadline=Deadline(60))
            if expected is None:
                assert outcome.status is Status.INFEASIBLE
                continue
            assert outcome.status is Status.OPTIMAL
            assert outcome.solution is not None
            assert outcome.solution.traffic_bytes == outcome.lower_bound == expected
            positive += expected > 0
    return positive


def test_the_program_agrees_with_brute_force_on_all_orders() -> None:
    # 210 instances
    assert assert_agreement(range(70), Backend.MATHOPT) > 30


def test_pulp_agrees_too() -> None:
    assert assert_agreement(range(3), Backend.PULP) > 0


@pytest.mark.slow
def test_many_more_instances_agree() -> None:
    assert assert_agreement(range(70, 400), Backend.MATHOPT) > 150


def tiny(seed: int) -> JointProblem:
    """Four operators, sizes of 1 to 3, so little room that addresses matter at times."""
    problem = without_overwriting(random_problem(seed, 4))
    problem = replace(problem, size=1 + problem.size % 3)
    return replace(problem, capacity=smallest_capacity(problem))


def assert_addresses_agree(seeds: range) -> int:
    """Compare with the search over memory maps; return how many optima are not 0."""
    positive = 0
    for seed in seeds:
        problem = tiny(seed)
        expected = least_traffic_with_addresses(problem)
        solved = solve_program(
            problem, Windows.of(problem), Backend.MATHOPT, addresses=True,
            deadline=Deadline(60), seed=0,
        )  # fmt: skip
        schedule = read_schedule(problem, solved, addresses=True)
        if expected is None:
            assert solved.infeasible
            continue
        assert solved.optimal
        assert schedule is not None and schedule.offsets is not None
        assert schedule.traffic_bytes == solved.lower_bound == expected
        positive += expected > 0
    return positive


def test_addresses_agree_with_a_search_over_memory_maps() -> None:
    assert assert_addresses_agree(range(25)) > 4


@pytest.mark.slow
def test_addresses_of_more_instances_agree() -> None:
    assert assert_addresses_agree(range(25, 150)) > 15


def assert_placed(problem, solution: ReplacementSolution) -> None:
    """Every use is met, nothing overlaps, everything lies within the capacity."""
    room = [-(-int(size) // problem.alignment) * problem.alignment for size in problem.size]
    for storage in range(len(problem.size)):
        steps = {
            t for e in solution.episodes if e.storage == storage for t in range(e.start, e.end)
        }
        assert set(problem.uses.row(storage).tolist()) <= steps
    for i, a in enumerate(solution.episodes):
        assert a.offset >= 0 and a.offset + room[a.storage] <= problem.capacity
        assert a.offset % problem.alignment == 0
        for b in solution.episodes[:i]:
            if a.start < b.end and b.start < a.end:
                assert a.offset + room[a.storage] <= b.offset or (
                    b.offset + room[b.storage] <= a.offset
                )


@pytest.mark.parametrize("seed", range(30))
def test_a_fixed_schedule_agrees_with_gap_selection(seed: int) -> None:
    problem = replace(fixed_orders.random_problem(seed, hostile=seed % 2 == 1), merged=())
    problem = replace(problem, capacity=fixed_orders.footprint(problem))
    expected = GapSelection().solve(problem, deadline=Deadline(60)).solution
    outcome = CosmaFixed().solve(problem, deadline=Deadline(60))
    assert expected is not None and outcome.solution is not None
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.traffic_bytes == expected.traffic_bytes
    assert_placed(problem, outcome.solution)


# Where no placement exists without a move. COSMA moves a tensor only once it has a copy, which
# takes a step of absence, so it may need more bytes than gap selection.
FRAGMENTED = [(0, 1), (1, 1), (2, 1), (3, 2), (5, 2), (6, 4)]


@pytest.mark.parametrize(("index", "optimum"), FRAGMENTED)
def test_addresses_cost_what_the_bytes_alone_do_not(index: int, optimum: int) -> None:
    problem = fixed_orders.fragmented_problem(*fixed_orders.FRAGMENTED[index], idle=False)
    outcome = CosmaFixed().solve(problem, deadline=Deadline(60))
    assert outcome.solution is not None
    assert outcome.solution.traffic_bytes == optimum
    assert outcome.lower_bound == 0 and outcome.status is Status.FEASIBLE
    assert outcome.statistics["method"] == "whole with addresses"
    assert_placed(problem, outcome.solution)
    moves = GapSelection().solve(problem, deadline=Deadline(60)).solution
    assert moves is not None and moves.traffic_bytes <= optimum


def test_a_program_without_solution_leaves_a_plan_that_moves() -> None:
    problem = fixed_orders.fragmented_problem(*fixed_orders.FRAGMENTED[4], idle=False)
    outcome = CosmaFixed().solve(problem, deadline=Deadline(60))
    assert outcome.solution is not None and outcome.status is Status.FEASIBLE
    assert "no solution" in outcome.statistics["stopped"]
    assert_placed(problem, outcome.solution)


@pytest.mark.parametrize("backend", ["mathopt", "pulp"])
def test_the_smallest_peak_is_that_of_the_exact_order(backend: str) -> None:
    for seed in range(40 if backend == "mathopt" else 2):
        problem = instance(seed, 6, above=0).ordering()
        expected = ExactOrder().solve(problem, deadline=Deadline(60))
        outcome = CosmaPeak(backend).solve(problem, deadline=Deadline(60))
        assert expected.status is outcome.status is Status.OPTIMAL
        assert expected.solution is not None and outcome.solution is not None
        peak = expected.solution.peak_bytes
        assert outcome.solution.peak_bytes == outcome.lower_bound == peak


def test_weights_are_fetched_at_their_only_use_and_compulsory() -> None:
    # A chain of three operators with a weight of 4 bytes each; the last one also reads the first.
    size = [2, 3, 2, 4, 4, 4]
    users = [[0], [0, 1, 2], [1, 2], [0], [1], [2]]
    starters = [[0], [0], [1], [0], [1], [2]]
    copies = [True, False, False, True, True, True]
    problem = JointProblem(
        operators=3,
        capacity=9,
        alignment=1,
        size=np.array(size, dtype=np.int64),
        has_copy=np.array(copies),
        kept=np.zeros(6, dtype=bool),
        predecessors=RaggedArray.from_rows([[], [0], [0, 1]]),
        starters=RaggedArray.from_rows(starters),
        users=RaggedArray.from_rows(users),
        writers=RaggedArray.from_rows([[], [0], [1], [], [], []]),
        in_place=RaggedArray.from_rows([[]] * 3),
    )
    result = with_addresses(problem, Backend.MATHOPT, deadline=Deadline(60))
    assert result.solution is not None
    assert result.solution.traffic_bytes == result.lower_bound == least_traffic(problem) == 0
    tight = replace(problem, capacity=8)
    assert with_addresses(tight, Backend.MATHOPT, deadline=Deadline(60)).infeasible


def test_overwriting_is_left_out_and_nothing_is_proven_with_it() -> None:
    problem = random_problem(3, 5, everything=True)
    overwriting = replace(problem, in_place=RaggedArray.from_rows([[0]] + [[]] * 4))
    outcome = CosmaJoint().solve(overwriting, deadline=Deadline(60))
    assert outcome.status in (Status.FEASIBLE, Status.UNKNOWN)
    assert not outcome.lower_bound
    merged = replace(fixed_orders.problem_of([[0, 1], [1, 2]], [1, 1], 2), merged=((1, 1, 0),))
    stopped = CosmaFixed().solve(merged, deadline=Deadline(60))
    assert stopped.status is Status.UNKNOWN and "in-place" in stopped.statistics["stopped"]


def test_results_hold_on_the_order_they_come_with() -> None:
    for seed in range(12):
        problem = instance(seed, 6, above=0)
        result = with_addresses(problem, Backend.MATHOPT, deadline=Deadline(60), seed=seed)
        if result.infeasible:
            continue
        assert result.solution is not None
        replacement = replacement_on(problem, result.order)
        assert_placed(replacement, result.solution)
        best = GapSelection().solve(replacement, deadline=Deadline(60)).solution
        assert best is not None
        assert result.lower_bound <= best.traffic_bytes <= result.solution.traffic_bytes
