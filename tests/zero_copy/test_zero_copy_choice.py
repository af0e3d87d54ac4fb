"""The choice of the operators that do without a copy, against all choices there are."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from frontends.onnx.variants import load_variants
from planner.errors import DoesNotFitError
from planner.portfolio import race
from planner.problem import Objective, PlanningProblem
from planner.scoreboard import rank
from planner.target import Link, Memory, Target
from planner.testing import assert_legal
from planner.zero_copy import race_sharing
from solvers.contenders.orders import order_problem
from solvers.order.exact import ExactOrder
from solvers.order.peak import peak_of
from solvers.protocol import Deadline
from solvers.sharing import choice
from solvers.sharing.bound import needed_bytes_problem
from solvers.sharing.choice import SharingSearch

from .chopped_models import chopped_models, dense_block, early_part, late_join

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.graph import Graph
    from planner.sharing import Lowerings

SECONDS = 60.0
HERE = Target("here", (Memory("ram", 1 << 30, alignment_bytes=1),))


def _problem(graph: Graph, *, in_place: bool = True) -> PlanningProblem:
    return PlanningProblem(graph, HERE, Objective.PEAK, in_place)


def _least_peak(graph: Graph, *, in_place: bool = True) -> int:
    ordering = order_problem(_problem(graph, in_place=in_place))
    outcome = ExactOrder().solve(ordering, deadline=Deadline(SECONDS))
    assert outcome.status == "optimal" and outcome.solution is not None
    return outcome.solution.peak_bytes


def _all_choices(lowerings: Lowerings) -> Iterator[Graph]:
    names = [candidate.name for candidate in lowerings.candidates]
    for size in range(len(names) + 1):
        for subset in combinations(names, size):
            yield lowerings.graph(subset)


def _searched(lowerings: Lowerings) -> SharingSearch:
    search = SharingSearch(lowerings, _problem)
    search.run(deadline=Deadline(SECONDS), seed=0)
    return search


@settings(max_examples=100, deadline=None)
@given(made=chopped_models(), in_place=st.booleans(), resident=st.booleans())
def test_no_choice_and_no_order_needs_less_than_the_bytes_needed(made, in_place, resident):
    lowerings = load_variants(made)
    assume(1 <= len(lowerings.candidates) <= 6)
    needed = needed_bytes_problem(
        lowerings.graph(()),
        lowerings.candidates,
        in_place=in_place,
        inputs_resident=resident,
        outputs_resident=resident,
    )
    assert needed is not None
    bound = ExactOrder().solve(needed, deadline=Deadline(SECONDS)).lower_bound
    outside = Target(
        "outside",
        (Memory("ram", 1 << 30, alignment_bytes=1), Memory("far", 1 << 30, alignment_bytes=1)),
        io_memory="ram" if resident else "far",
    )
    for graph in _all_choices(lowerings):
        problem = PlanningProblem(graph, outside, Objective.PEAK, in_place)
        outcome = ExactOrder().solve(order_problem(problem), deadline=Deadline(SECONDS))
        assert bound is not None and outcome.solution is not None
        assert bound <= outcome.solution.peak_bytes


@settings(max_examples=60, deadline=None)
@given(made=chopped_models(most_nodes=8), data=st.data())
def test_in_every_order_the_bytes_needed_are_no_more_than_those_live(made, data):
    lowerings = load_variants(made)
    names = [candidate.name for candidate in lowerings.candidates]
    assume(names)
    graph = lowerings.graph(data.draw(st.sets(st.sampled_from(names))))
    plain = {"in_place": False, "inputs_resident": True, "outputs_resident": True}
    needed = needed_bytes_problem(lowerings.graph(()), lowerings.candidates, **plain)
    assert needed is not None
    ordering = order_problem(_problem(graph, in_place=False))
    order: list[int] = []
    while len(order) < ordering.operators:
        free = [
            operator
            for operator in range(ordering.operators)
            if operator not in order
            and set(ordering.predecessors.row(operator).tolist()) <= {*order}
        ]
        order.append(data.draw(st.sampled_from(free)))
    assert peak_of(needed, order) <= peak_of(ordering, order)


@settings(max_examples=60, deadline=None)
@given(made=chopped_models())
def test_of_few_candidates_the_best_choice_is_found(made):
    lowerings = load_variants(made)
    assume(1 <= len(lowerings.candidates) <= 5)
    search = _searched(lowerings)
    least = min(_least_peak(graph) for graph in _all_choices(lowerings))
    assert _least_peak(search.graph) == least
    assert search.peak_bound_bytes <= least
    assert search.copying_bound_bytes <= _least_peak(lowerings.graph(()))


@settings(max_examples=40, deadline=None)
@given(made=chopped_models())
def test_of_many_candidates_the_choice_is_no_worse_than_the_obvious_ones(made):
    lowerings = load_variants(made)
    candidates = lowerings.candidates
    assume(candidates)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "_ALL_SUBSETS", 0)
        chosen = _least_peak(_searched(lowerings).graph)
    for obvious in (
        [],
        [c.name for c in candidates],
        [c.name for c in candidates if c.joins],
        [c.name for c in candidates if not c.joins],
    ):
        assert chosen <= _least_peak(lowerings.graph(obvious))


def test_a_join_that_would_live_too_long_copies():
    search = _searched(load_variants(early_part()))
    assert search.graph.model.zero_copy is False


def test_where_the_join_is_the_peak_it_shares():
    lowerings = load_variants(late_join())
    search = _searched(lowerings)
    assert search.graph.model.zero_copy == ("joined", "p")
    assert _least_peak(search.graph) < _least_peak(lowerings.graph(()))


def test_a_dense_block_exists_once():
    lowerings = load_variants(dense_block(layers=8, rows=4))
    search = _searched(lowerings)
    assert search.graph.model.zero_copy == tuple(sorted(c.name for c in lowerings.candidates))
    # The features, and what the last layers make beside them.
    assert _least_peak(search.graph) < 0.75 * _least_peak(lowerings.graph(()))


def test_equal_searches_make_equal_choices():
    made = dense_block(layers=9, rows=3)
    assert _searched(load_variants(made)).graph == _searched(load_variants(made)).graph


@settings(max_examples=25, deadline=None)
@given(made=chopped_models(), capacity=st.sampled_from([None, 0.6, 0.8]), data=st.data())
def test_a_plan_is_no_worse_than_the_one_in_which_everybody_copies(made, capacity, data):
    lowerings = load_variants(made)
    copying = lowerings.graph(())
    peak = _least_peak(copying)
    limit = None if capacity is None else max(1, int(capacity * peak))
    memories = (Memory("ram", limit, alignment_bytes=1), Memory("far", 1 << 30, alignment_bytes=1))
    links = (Link("ram", "far", 1e9), Link("far", "ram", 1e9))
    target = Target("two", memories, links, io_memory="far")
    objective = data.draw(st.sampled_from([Objective.PEAK, Objective.TRAFFIC]))

    def problem_of(graph: Graph) -> PlanningProblem:
        return PlanningProblem(graph, target, objective)

    try:
        plain = race(problem_of(copying), time_limit_s=SECONDS).plan
    except DoesNotFitError:
        assume(False)
    sharing = race_sharing(lowerings, problem_of, time_limit_s=SECONDS)
    plan = sharing.outcome.plan
    assert rank(plan, objective)[:2] <= rank(plain, objective)[:2]
    assert_legal(sharing.problem.graph, target, plan)
