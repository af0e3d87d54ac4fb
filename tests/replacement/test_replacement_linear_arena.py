"""COSMA's baselines: what evicts what, where the arena fails, and that its plans are legal."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontends.bare_graph import bare_graph
from planner.checker import check
from planner.footprint import largest_footprint
from planner.problem import Objective, PlanningProblem, ReplacementProblem, Status
from planner.registry import SOLVERS
from planner.target import Link, Memory, Target
from solvers.contenders.assemble import assemble
from solvers.contenders.fixed_order import fix_order
from solvers.contenders.in_place import InPlaceChoice
from solvers.protocol import Deadline
from solvers.replacement.linear_arena import LinearArena

from .problems import FRAGMENTED, fragmented_problem, network, problem_of, random_problem
from .reference import cheapest_plan, complaints, solved

RULES = ("belady", "greedy")


def traffic(rule: str, problem: ReplacementProblem, *, moving: bool = False) -> int:
    solution = solved(LinearArena(rule, moving=moving), problem).solution
    assert solution is not None
    return solution.traffic_bytes


@pytest.mark.parametrize("rule", RULES)
def test_a_storage_takes_the_smallest_hole_that_fits(rule) -> None:
    # Holes of 4 and of 2 bytes are left when storage 4 comes.
    problem = problem_of([[0], [0, 3], [0], [0, 3], [1, 3]], [4, 1, 2, 1, 2], 8)
    solution = solved(LinearArena(rule), problem).solution
    assert solution is not None
    assert next(e.offset for e in solution.episodes if e.storage == 4) == 5


# Step 1 has room for its 10 bytes, but the 2 that it keeps lie in the middle.
SPLIT = problem_of([[0], [0, 1], [1]], [4, 2, 6], 8)


@pytest.mark.parametrize("rule", RULES)
def test_operands_in_the_way_make_the_arena_fail(rule) -> None:
    outcome = LinearArena(rule).solve(SPLIT, deadline=Deadline(10))
    assert (outcome.status, outcome.solution) == (Status.UNKNOWN, None)
    told = {key: value for key, value in outcome.statistics.items() if key != "cpu_s"}
    assert told == {
        "failure": "fragmentation",
        "step": 1,
        "storage": 2,
        "needed_bytes": 6,
        "free_bytes": 6,
        "largest_hole_bytes": 4,
    }


@pytest.mark.parametrize("rule", RULES)
def test_the_kinder_arena_moves_the_operand_instead(rule) -> None:
    assert cheapest_plan(SPLIT) == 0
    assert traffic(rule, SPLIT, moving=True) == 2 + 2


def test_belady_takes_the_furthest_use_and_greedy_the_fewest_bytes() -> None:
    # Step 1 needs 3 bytes and has 1: storage 0, of 6, is used last, storage 1, of 3, before.
    problem = problem_of([[0, 5], [0, 3], [1]], [6, 3, 3], 10)
    assert traffic("belady", problem) == 6 + 6
    assert traffic("greedy", problem) == 3 + 3


def test_belady_goes_on_until_there_is_a_hole() -> None:
    # The 2 bytes used last lie far from the hole of 3 that has to become one of 5.
    problem = problem_of([[0, 9], [0, 3], [0, 7], [1]], [2, 3, 2, 5], 10)
    assert traffic("belady", problem) == (2 + 2) + (2 + 2)
    assert traffic("greedy", problem) == 2 + 2


@pytest.mark.parametrize("rule", RULES)
def test_a_copy_makes_leaving_cheaper(rule) -> None:
    problem = problem_of([[0, 2], [1]], [4, 5], 8, has_copy=[True, False])
    assert traffic(rule, problem) == 4


def test_greedy_counts_what_has_a_copy_once() -> None:
    # 4 bytes with a copy cost 4, 3 bytes without one cost 6.
    problem = problem_of([[0, 5], [0, 5], [1]], [4, 3, 4], 8, has_copy=[True, False, False])
    assert traffic("greedy", problem) == 4


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_never_better_than_the_optimum_and_kinder_only_where_it_fails(rule, seed: int) -> None:
    problem = random_problem(seed, hostile=seed % 2 == 1)
    strict = LinearArena(rule).solve(problem, deadline=Deadline(10))
    moving = solved(LinearArena(rule, moving=True), problem)
    assert moving.solution is not None
    assert moving.solution.traffic_bytes >= cheapest_plan(problem)
    if strict.solution is None:
        assert strict.statistics["failure"] == "fragmentation"
        assert moving.solution.traffic_bytes > 0, "moves are charged"
    else:
        assert complaints(problem, strict.solution) == []
        assert strict.solution == moving.solution


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("case", FRAGMENTED)
def test_where_no_placement_exists_the_kinder_arena_still_has_a_plan(rule, case) -> None:
    for idle in (False, True):
        solved(LinearArena(rule, moving=True), fragmented_problem(*case, idle=idle, in_place=idle))


def random_graph(seed: int):
    """A chain with skips over several operators, some of two outputs."""
    source = random.Random(seed)
    sizes = [source.randint(1, 60)]
    operands = []
    for _ in range(source.randint(4, 24)):
        read = {len(sizes) - 1, *source.sample(range(len(sizes)), min(len(sizes), 2))}
        made = range(len(sizes), len(sizes) + source.choice((1, 1, 2)))
        sizes += [source.randint(1, 60) for _ in made]
        operands.append((sorted(read), list(made)))
    return bare_graph(f"random {seed}", sizes, operands)


@pytest.mark.parametrize("rule", RULES)
def test_plans_of_graphs_are_legal(rule) -> None:
    fragmented = 0
    for seed in range(40):
        graph = random_graph(seed)
        least = largest_footprint(graph, in_place=False).size_bytes
        target = Target(
            "two",
            (Memory("near", least + 20 * (seed % 2)), Memory("far")),
            (Link("near", "far", 1.0), Link("far", "near", 1.0)),
            io_memory="far",
        )
        problem = PlanningProblem(graph, target, Objective.TRAFFIC, in_place=False)
        order = range(len(graph.operators))
        fixed = fix_order(problem, order, InPlaceChoice.NONE)
        for moving in (False, True):
            solver = LinearArena(rule, moving=moving)
            solution = solver.solve(fixed.replacement, deadline=Deadline(10)).solution
            if solution is None:
                assert not moving
                fragmented += 1
                continue
            plan = assemble(
                problem,
                fixed.order,
                fixed.in_place,
                solution.episodes,
                contender=solver.name,
                deadline=Deadline(10),
            )
            assert check(graph, target, plan) == []
            assert plan.metrics.traffic_bytes == solution.traffic_bytes
    assert 0 < fragmented < 40


@pytest.mark.parametrize("rule", RULES)
def test_too_small_a_capacity_is_infeasible_and_no_time_is_no_failure(rule) -> None:
    solver = SOLVERS["replacement"][f"linear-arena-{rule}"].load()
    assert solver.name == f"linear-arena-{rule}"
    small = problem_of([[0], [0]], [4, 5], 8)
    assert solver.solve(small, deadline=Deadline(10)).status is Status.INFEASIBLE
    late = solver.solve(network(1, 200), deadline=Deadline(0))
    assert (late.status, late.solution) == (Status.UNKNOWN, None)
    assert "failure" not in late.statistics
