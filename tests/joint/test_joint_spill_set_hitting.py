"""Minimum hitting sets with levels and weights against enumeration."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from solvers.joint.hitting_set import Cut, minimum_hitting_set
from solvers.protocol import Deadline


def random_cuts(rng: random.Random, elements: int) -> list[Cut]:
    cuts = []
    for _ in range(rng.randint(1, 7)):
        chosen = rng.sample(range(elements), rng.randint(1, min(4, elements)))
        weights = [rng.choice((1, 1, 2, 3)) for _ in chosen]
        demand = rng.randint(1, sum(weights)) if rng.random() < 0.5 else 1
        cuts.append(
            Cut(
                demand,
                [
                    (element, rng.choice((0, 0, 1, 2)), min(weight, demand))
                    for element, weight in zip(chosen, weights, strict=True)
                ],
            )
        )
        if sum(weight for _, _, weight in cuts[-1].members) < demand:
            cuts.pop()
    return cuts


def is_met(cut: Cut, levels: tuple[int, ...]) -> bool:
    return sum(w for element, level, w in cut.members if levels[element] > level) >= cut.demand


def cost_of(levels: tuple[int, ...], first: list[int], more: list[int]) -> int:
    return sum(
        0 if level == 0 else first[e] + (level - 1) * more[e] for e, level in enumerate(levels)
    )


@pytest.mark.parametrize("max_nodes", [100_000, 1])
def test_agrees_with_enumeration(max_nodes: int) -> None:
    """With one node the branch and bound gives up, and CP-SAT has to close the gap."""
    for seed in range(300 if max_nodes > 1 else 25):
        rng = random.Random(seed)
        elements = rng.randint(1, 5)
        cuts = random_cuts(rng, elements)
        first = [rng.choice((0, 2, 4, 6, 7)) for _ in range(elements)]
        more = [rng.choice((0, 1, 2, 3)) for _ in range(elements)]
        least = min(
            cost_of(levels, first, more)
            for levels in itertools.product(range(4), repeat=elements)
            if all(is_met(cut, levels) for cut in cuts)
        )
        found = minimum_hitting_set(
            np.array(first, dtype=np.int64),
            np.array(more, dtype=np.int64),
            cuts,
            deadline=Deadline(60),
            max_nodes=max_nodes,
        )
        levels = tuple(found.levels.tolist())
        assert all(is_met(cut, levels) for cut in cuts)
        assert found.cost == cost_of(levels, first, more) == least
        assert found.bound == least


def test_an_early_stop_leaves_a_valid_bound() -> None:
    for seed in range(200):
        rng = random.Random(seed)
        cuts = random_cuts(rng, 5)
        first = [rng.randint(1, 9) for _ in range(5)]
        costs = np.array(first, dtype=np.int64)
        deadline = Deadline(60)
        optimum = minimum_hitting_set(costs, costs, cuts, deadline=deadline)
        stopped = minimum_hitting_set(
            costs, costs, cuts, deadline=deadline, max_nodes=1, thorough=False
        )
        assert stopped.bound <= optimum.cost <= stopped.cost
        assert all(is_met(cut, tuple(stopped.levels.tolist())) for cut in cuts)


def test_without_cuts_nothing_is_needed() -> None:
    costs = np.array([3, 4], dtype=np.int64)
    found = minimum_hitting_set(costs, costs, [], deadline=Deadline(60))
    assert found.levels.tolist() == [0, 0]
    assert found.cost == found.bound == 0


@pytest.mark.parametrize(
    "cut", [Cut(1, []), Cut(2, [(0, 0, 1)]), Cut(1, [(9, 0, 1)]), Cut(1, [(0, -1, 1)])]
)
def test_cuts_that_make_no_sense_are_refused(cut: Cut) -> None:
    costs = np.array([3, 4], dtype=np.int64)
    with pytest.raises(ValueError, match="cut"):
        minimum_hitting_set(costs, costs, [cut], deadline=Deadline(60))
