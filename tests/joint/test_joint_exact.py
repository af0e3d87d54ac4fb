"""Exact search over order and residency: optima, bounds, cuts, limits."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from frontends.bare_graph import bare_graph, read_bare_graph
from planner.graph import RaggedArray
from planner.joint_problem import JointProblem, JointSolution
from planner.problem import Objective, PlanningProblem, Status
from planner.target import Link, Memory, Target
from solvers.joint.exact import JointExact
from solvers.protocol import Deadline

from .brute_force import least_traffic, random_problem, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.graph import Graph
    from planner.problem import Outcome


def solved(
    problem: JointProblem,
    solver: JointExact | None = None,
    incumbent: JointSolution | None = None,
) -> Outcome[JointSolution]:
    return (solver or JointExact()).solve(problem, deadline=Deadline(60), incumbent=incumbent)


def traffic_of(problem: JointProblem) -> int | None:
    outcome = solved(problem)
    if outcome.solution is None:
        assert outcome.status is Status.INFEASIBLE
        return None
    assert outcome.status is Status.OPTIMAL
    assert outcome.lower_bound == outcome.solution.traffic_bytes
    return outcome.solution.traffic_bytes


def in_order(problem: JointProblem, order: np.ndarray) -> JointProblem:
    """The same problem with one order left."""
    before = dict(zip(order.tolist()[1:], order.tolist(), strict=False))
    chain = [[before[v]] if v in before else [] for v in range(problem.operators)]
    return replace(problem, predecessors=RaggedArray.from_rows(chain))


def default_order(problem: JointProblem, traffic: int) -> JointSolution:
    return JointSolution(np.arange(problem.operators, dtype=np.int32), traffic)


@cache
def costly_problems() -> list[tuple[JointProblem, int]]:
    """Small problems whose least traffic is not zero, with that."""
    found = []
    for seed in range(250):
        problem = random_problem(seed, 4 + seed % 4, everything=seed % 2 == 1)
        traffic = least_traffic(problem)
        if traffic:
            found.append((problem, traffic))
    assert len(found) > 30
    return found


@pytest.mark.parametrize("alignment", [1, 4])
@pytest.mark.parametrize("everything", [False, True])
def test_small_problems_have_the_traffic_of_brute_force(everything: bool, alignment: int) -> None:
    for seed in range(150):
        problem = random_problem(seed, 4 + seed % 4, everything=everything, alignment=alignment)
        assert traffic_of(problem) == least_traffic(problem), seed


def test_order_handed_back_does_with_the_traffic_claimed() -> None:
    for problem, traffic in costly_problems():
        solution = solved(problem).solution
        assert solution is not None
        order = solution.order
        place = np.argsort(order)
        for v, row in enumerate(rows(problem.predecessors)):
            assert all(place[p] < place[v] for p in row)
        assert least_traffic(in_order(problem, order)) == traffic


def never_absent(problem: JointProblem, storages: Sequence[int]) -> JointProblem:
    """Storages stay from their first to their last writer: let every user write these."""
    users = rows(problem.users)
    writers = [users[s] if s in storages else row for s, row in enumerate(rows(problem.writers))]
    return replace(problem, writers=RaggedArray.from_rows(writers))


def smallest_cut(problem: JointProblem, rng: random.Random) -> list[int] | None:
    """Storages of which one has to be absent at least once, none of them superfluous."""
    starters, users = rows(problem.starters), rows(problem.users)
    cut = [
        s
        for s in range(len(problem.size))
        if starters[s] and len(users[s]) > 1 and not problem.kept[s]
    ]
    if least_traffic(never_absent(problem, cut)) is not None:
        return None
    for s in rng.sample(cut, len(cut)):
        rest = [other for other in cut if other != s]
        if least_traffic(never_absent(problem, rest)) is None:
            cut = rest
    return cut


def test_cuts_do_not_change_the_optimum_and_bound_it_at_once() -> None:
    bounded = 0
    for seed, (problem, traffic) in enumerate(costly_problems()):
        rng = random.Random(seed)
        cuts = [cut for _ in range(3) if (cut := smallest_cut(problem, rng)) is not None]
        if not cuts:
            continue
        outcome = solved(problem, JointExact(cuts=cuts))
        assert outcome.status is Status.OPTIMAL
        assert outcome.lower_bound == traffic
        assert outcome.solution is not None
        assert outcome.solution.traffic_bytes == traffic
        root = outcome.statistics["root_bound"]
        assert 0 < root <= traffic
        bounded += root == traffic
    assert bounded > 10


def test_start_at_any_bound_up_to_the_optimum_gives_the_optimum() -> None:
    for problem, traffic in costly_problems():
        for bound in {1, traffic // 2, traffic - 1, traffic}:
            outcome = solved(problem, JointExact(lower_bound=bound))
            assert outcome.solution is not None
            assert outcome.status is Status.OPTIMAL
            assert (outcome.solution.traffic_bytes, outcome.lower_bound) == (traffic, traffic)


def test_incumbent_is_proven_optimal_or_beaten() -> None:
    for problem, traffic in costly_problems():
        best = default_order(problem, traffic)
        outcome = solved(problem, incumbent=best)
        assert outcome.solution is best
        assert (outcome.status, outcome.lower_bound) == (Status.OPTIMAL, traffic)
        worse = solved(problem, incumbent=default_order(problem, traffic + 1))
        assert worse.solution is not None
        assert (worse.status, worse.solution.traffic_bytes) == (Status.OPTIMAL, traffic)


def test_bound_that_equals_the_incumbent_needs_no_search() -> None:
    problem, traffic = costly_problems()[0]
    outcome = solved(
        problem, JointExact(lower_bound=traffic), incumbent=default_order(problem, traffic)
    )
    assert outcome.status is Status.OPTIMAL
    assert outcome.statistics["states"] == 0


def test_traffic_does_not_rise_with_the_capacity() -> None:
    for seed in range(30):
        problem = random_problem(seed, 12, everything=seed % 3 == 0)
        found = [
            traffic_of(replace(problem, capacity=problem.capacity + i)) for i in range(0, 9, 2)
        ]
        known = [traffic for traffic in found if traffic is not None]
        assert found[: len(found) - len(known)] == [None] * (len(found) - len(known))
        assert known == sorted(known, reverse=True)


def blocks(seed: int, operators: int, count: int) -> Graph:
    """Blocks in series: each begins with what the one before ends with, and nothing else."""
    rng = random.Random(seed)
    sizes = [4]
    operands: list[tuple[list[int], list[int]]] = []
    last = 0
    for _ in range(count):
        available = [last]
        unread: list[int] = []
        for i in range(operators):
            inputs = [last] if i == 0 else rng.sample(available[1:], min(i, rng.randint(1, 2)))
            output = len(sizes)
            sizes.append(rng.randint(1, 9))
            operands.append((inputs, [output]))
            available.append(output)
            unread = [s for s in unread if s not in inputs] + [output]
        last = len(sizes)
        sizes.append(rng.randint(1, 4))
        operands.append((unread, [last]))
    return bare_graph("blocks", sizes, operands)


def scratchpad(capacity: int) -> Target:
    return Target(
        name="scratchpad",
        memories=(
            Memory("near", capacity_bytes=capacity, alignment_bytes=1),
            Memory("far", capacity_bytes=None, alignment_bytes=1),
        ),
        links=(Link("near", "far", 1e9), Link("far", "near", 1e9)),
        io_memory="far",
        constant_memory="far",
    )


def joint_problem(graph: Graph, capacity: int) -> JointProblem:
    target = scratchpad(capacity)
    return JointProblem.of(PlanningProblem(graph, target, Objective.TRAFFIC, in_place=False))


def test_blocks_in_series_are_solved_one_by_one() -> None:
    positive = 0
    for seed in range(30):
        graph = blocks(seed, 4, 2)
        capacity = max(
            sum(graph.storages[s].size_bytes for s in graph.operand_storages.row(v).tolist())
            for v in range(len(graph.operators))
        )
        problem = joint_problem(graph, capacity)
        outcome = solved(problem)
        assert outcome.statistics["parts"] > 1
        assert outcome.solution is not None
        assert outcome.solution.traffic_bytes == least_traffic(problem), seed
        traffic = outcome.solution.traffic_bytes
        positive += traffic > 0
        known = default_order(problem, traffic)
        assert solved(problem, incumbent=known).status is Status.OPTIMAL
        for bound in (traffic, traffic // 2):
            again = solved(problem, JointExact(lower_bound=bound))
            assert again.lower_bound == traffic
    assert positive > 5


def test_operator_that_does_not_fit_is_named() -> None:
    problem = joint_problem(bare_graph("two", [3, 4, 5], [([0], [1]), ([1], [2])]), 8)
    outcome = solved(problem)
    assert (outcome.status, outcome.solution) == (Status.INFEASIBLE, None)
    assert outcome.statistics == {"operator": 1, "operator_bytes": 9, "capacity_bytes": 8}


def test_nothing_to_run_needs_no_traffic() -> None:
    outcome = solved(joint_problem(bare_graph("none", [], []), 0))
    assert outcome.solution is not None
    assert outcome.status is Status.OPTIMAL
    assert (len(outcome.solution.order), outcome.solution.traffic_bytes) == (0, 0)


def test_cancelled_search_stops_before_the_first_state_is_expanded() -> None:
    problem, traffic = costly_problems()[0]
    deadline = Deadline(60)
    deadline.cancel.set()
    known = default_order(problem, traffic + 5)
    outcome = JointExact(lower_bound=1).solve(problem, deadline=deadline, incumbent=known)
    assert outcome.solution is known
    assert (outcome.status, outcome.lower_bound) == (Status.FEASIBLE, 1)
    assert outcome.statistics["expanded"] == 0
    without = JointExact().solve(problem, deadline=deadline)
    assert (without.status, without.solution) == (Status.UNKNOWN, None)


def test_search_out_of_memory_hands_back_a_valid_bound() -> None:
    stopped = 0
    for seed in range(20):
        problem = random_problem(seed, 14)
        optimum = traffic_of(problem)
        assert optimum is not None
        outcome = solved(problem, JointExact(memory_bytes=80_000))
        if not outcome.statistics["out_of_memory"]:
            continue
        stopped += 1
        assert outcome.lower_bound is not None
        assert outcome.lower_bound <= optimum
        if outcome.solution is not None:
            assert outcome.solution.traffic_bytes >= optimum
    assert stopped > 0


def test_equal_problems_give_equal_orders() -> None:
    for seed in range(10):
        problem = random_problem(seed, 14, everything=True)
        first, second = solved(problem).solution, solved(problem).solution
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            assert first.order.tolist() == second.order.tolist()


def test_cut_of_unknown_storages_is_refused() -> None:
    problem, _ = costly_problems()[0]
    with pytest.raises(ValueError, match="cuts"):
        solved(problem, JointExact(cuts=[[len(problem.size)]]))


# KiB at the largest operator and half way from there to the smallest peak.
PUBLISHED = {
    "shufflenet": (36.75, 36.75),
    "densenet121_unf": (2548.0, 1372.0),
    "randwire": (238.875, 119.4375),
    "darts_imc": (735.0, 735.0),
    "nasnet_imc": (735.0, 735.0),
    "amoebanet_imc": (735.0, 735.0),
    "pnas_imc": (918.75, 735.0),
    "darts_im": (1004.5, 784.0),
    "amoebanet_im": (1078.0, 784.0),
    "darts_cif": (1810.0, 640.0),
    "nasnet_cif": (2674.0, 784.0),
    "pnas_cif": (2242.0, 712.0),
}
# Published as open: between 144 and 360, and between 1886.5 and 2107.
CLOSED = [("amoebanet_cif", 1, 144.0), ("pnas_im", 0, 2033.5)]


def published(name: str) -> tuple[Graph, int, int]:
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("needs PLANNER_DATA: the graphs of the design tables are not in the project")
    graphs = Path(folder, "graphs")
    for line in (graphs / "budgets.txt").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == [name]:
            return read_bare_graph(graphs / f"{name}.txt"), int(words[2]), int(words[4])
    raise AssertionError(f"no budget of {name}")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_optima_are_reproduced_without_any_bound(name: str) -> None:
    graph, least, half = published(name)
    for capacity, kilobytes in zip((least, half), PUBLISHED[name], strict=True):
        assert traffic_of(joint_problem(graph, capacity)) == round(kilobytes * 1024)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "which", "kilobytes"), CLOSED)
def test_cases_published_as_open_are_closed(name: str, which: int, kilobytes: float) -> None:
    graph, *capacities = published(name)
    assert traffic_of(joint_problem(graph, capacities[which])) == round(kilobytes * 1024)


def test_long_chain_of_parts_is_solved_by_the_deadline() -> None:
    length = 30_000
    operands = [([i], [i + 1]) for i in range(length)]
    outcome = solved(joint_problem(bare_graph("chain", [1] * (length + 1), operands), 2))
    assert outcome.status is Status.OPTIMAL
    assert outcome.statistics["parts"] == length
