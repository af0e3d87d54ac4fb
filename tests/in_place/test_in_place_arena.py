"""Arenas of plans whose overwrites are left to the offset solver."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import pytest

import planner
from frontends.bare_graph import bare_graph
from planner.graph import InPlaceOption
from planner.liveness import storage_lifetimes
from planner.problem import Objective, PlanningProblem
from planner.target import Link, Memory, Target
from planner.testing.graphs import random_graph
from solvers.contenders.assemble import assemble
from solvers.contenders.fixed_order import (
    fix_order,
    greedy_pack,
    leave_overwrites_open,
    place_whole_lives,
)
from solvers.contenders.in_place import InPlaceChoice, possible_overwrites
from solvers.contenders.whole_lives import lowest_placement
from solvers.offsets import pack
from solvers.protocol import Deadline

from .full_memory import full_memory_graph, with_overwrites

BYTES = Target("bytes", (Memory("ram"),))


def problem_of(graph, target=BYTES):
    return PlanningProblem(graph, target, Objective.PEAK)


def small_graph(sizes, rows, elementwise):
    return with_overwrites(bare_graph("small", sizes, rows), elementwise)


def placements_of(problem, order, packer=pack):
    """The arena of each choice, and of the choice left open."""
    youngest = fix_order(problem, order, InPlaceChoice.YOUNGEST)
    fixed = {choice: fix_order(problem, order, choice) for choice in InPlaceChoice}
    arenas = {
        choice: place_whole_lives(each, packer, Deadline(10.0)).height_bytes
        for choice, each in fixed.items()
    }
    left_open = leave_overwrites_open(problem, youngest)
    return arenas, left_open, place_whole_lives(left_open, packer, Deadline(10.0))


def lowest_arena(problem, order):
    """Try all offsets of all storages: overwriting and overwritten at one address, or apart."""
    graph = problem.graph
    lives = storage_lifetimes(graph, order)
    pairs = {
        frozenset((pair.output, pair.input)) for pair in possible_overwrites(graph, order, lives)
    }
    start, end = lives.start.tolist(), lives.end.tolist()
    size = [storage.size_bytes for storage in graph.storages]
    storages = sorted(
        (s for s in range(len(size)) if size[s] and end[s] > start[s]), key=lambda s: start[s]
    )

    def fits(height, offsets):
        if len(offsets) == len(storages):
            return True
        s = storages[len(offsets)]
        for offset in range(height - size[s] + 1):
            if all(
                start[s] >= end[t]
                or offset >= below + size[t]
                or below >= offset + size[s]
                or (offset == below and frozenset((s, t)) in pairs)
                for t, below in offsets
            ) and fits(height, [*offsets, (s, offset)]):
                return True
        return False

    height = max(sum(size[s] for s in storages if s == t) for t in storages)
    while not fits(height, []):
        height += 1
    return height


@pytest.mark.parametrize("seed", range(25))
def test_the_arena_is_the_lowest_over_all_overwrites_and_all_offsets(seed: int) -> None:
    rng = random.Random(seed)
    graph = full_memory_graph(rng, rng.randint(4, 7), rng.randint(5, 8), rng.randint(2, 4))
    problem, order = problem_of(graph), range(len(graph.operators))
    arenas, _, placement = placements_of(problem, order)
    assert placement.height_bytes == lowest_arena(problem, order)
    assert placement.height_bytes <= min(arenas.values())


@pytest.mark.parametrize(
    "packer", [greedy_pack, partial(pack, call_limit=100_000)], ids=["greedy", "exact"]
)
@pytest.mark.parametrize("seed", range(12))
def test_the_overwrites_written_down_are_those_that_the_addresses_make(seed, packer) -> None:
    rng = random.Random(seed)
    graph = full_memory_graph(rng, 40, 60, 9)
    problem, order = problem_of(graph), range(len(graph.operators))
    _, left_open, placement = placements_of(problem, order, packer)
    offset = {episode.storage: episode.offset for episode in placement.episodes}
    assert set(placement.in_place) == {
        pair for pair in left_open.optional if offset[pair.input] == offset[pair.output]
    }
    plan = assemble(
        problem,
        order,
        placement.in_place,
        placement.episodes,
        contender="test",
        deadline=Deadline(1.0),
    )
    assert planner.check(graph, BYTES, plan) == []
    assert plan.metrics.arena_bytes["ram"] == placement.height_bytes
    if packer is pack:
        assert placement.height_bytes == 60


@pytest.mark.parametrize("alignment", [1, 64])
@pytest.mark.parametrize("seed", range(30))
def test_plans_of_graphs_with_everything_are_legal_with_overwrites_left_open(
    seed: int, alignment: int
) -> None:
    graph = random_graph(seed, operators=12)
    target = Target("aligned", (Memory("ram", alignment_bytes=alignment),))
    problem, order = problem_of(graph, target), range(len(graph.operators))
    arenas, _, placement = placements_of(problem, order)
    assert placement.height_bytes <= min(arenas.values())
    plan = assemble(
        problem,
        order,
        placement.in_place,
        placement.episodes,
        contender="test",
        deadline=Deadline(1.0),
    )
    assert planner.check(graph, target, plan) == []


def test_both_dying_operands_are_offered_and_one_is_overwritten() -> None:
    rows = [([0], [1]), ([0], [2]), ([1, 2], [3]), ([3], [4])]
    graph = small_graph([0, 4, 4, 4, 1], rows, {2})
    problem = problem_of(graph)
    _, left_open, placement = placements_of(problem, range(4))
    assert [(pair.output, pair.input) for pair in left_open.optional] == [(3, 1), (3, 2)]
    assert placement.height_bytes == 8
    assert len(placement.in_place) == 1


def test_of_two_results_one_may_be_written_in_place() -> None:
    # The checker allows an operator one overwrite.
    rows = [([0], [1]), ([0], [2]), ([1, 2], [3, 4]), ([3, 4], [5])]
    graph = small_graph([0, 4, 4, 4, 4, 1], rows, set())
    nodes = list(graph.operators)
    options = tuple(InPlaceOption(o, i) for o in (3, 4) for i in (1, 2))
    nodes[2] = replace(nodes[2], in_place=options)
    graph = replace(graph, operators=tuple(nodes))
    problem = problem_of(graph)
    _, left_open, placement = placements_of(problem, range(4))
    assert len({pair.output for pair in left_open.optional}) == 1
    assert len(placement.in_place) == 1
    assert planner.plan(graph, target=BYTES).plan.metrics.arena_bytes["ram"] == 12


def test_the_best_placement_so_far_is_where_the_open_choice_starts() -> None:
    rng = random.Random(3)
    graph = full_memory_graph(rng, 60, 100, 12)
    problem, order = problem_of(graph), range(len(graph.operators))
    youngest = fix_order(problem, order, InPlaceChoice.YOUNGEST)
    known = place_whole_lives(youngest, pack, Deadline(10.0))
    left_open = leave_overwrites_open(problem, youngest)
    again = place_whole_lives(left_open, greedy_pack, Deadline(10.0), known)
    assert again.height_bytes <= known.height_bytes


def test_a_memory_of_the_peak_holds_the_model_without_spills() -> None:
    rng = random.Random(8)
    graph = full_memory_graph(rng, 60, 1_000, 20)
    target = Target(
        "full",
        (Memory("ram", 1_000), Memory("far")),
        (Link("ram", "far", 1e9), Link("far", "ram", 1e9)),
    )
    result = planner.plan(graph, target=target, time_limit=20.0)
    assert result.plan.metrics.traffic_bytes == 0
    assert result.plan.metrics.arena_bytes["ram"] == 1_000
    assert planner.check(graph, target, result.plan) == []


def test_without_overwrites_nothing_is_left_open() -> None:
    graph = full_memory_graph(random.Random(2), 20, 40, 6)
    problem = replace(problem_of(graph), in_place=False)
    fixed = fix_order(problem, range(len(graph.operators)), InPlaceChoice.YOUNGEST)
    assert leave_overwrites_open(problem, fixed) == fixed


@pytest.mark.slow
def test_a_choice_left_open_fills_a_memory_of_hundreds_of_overwrites() -> None:
    # Only the required overwrites, or none, have been seen to end far above.
    rng = random.Random(11)
    graph = full_memory_graph(rng, 200, 1_000, 35)
    problem, order = problem_of(graph), range(len(graph.operators))
    youngest = fix_order(problem, order, InPlaceChoice.YOUNGEST)
    placed = lowest_placement(
        problem, [leave_overwrites_open(problem, youngest)], pack, Deadline(60.0)
    )
    assert placed is not None
    assert placed.placement.height_bytes == 1_000
