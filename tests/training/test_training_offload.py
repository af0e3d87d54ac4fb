"""Offloads meet the budget, and stall no longer than the best of all ways to offload."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations, permutations, product
from typing import TYPE_CHECKING

import pytest

from planner.testing.training_problems import chain_problem, random_problem, transformer_problem
from planner.training.checker import check_training
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.problem import HostLink
from planner.training.schedule import Offload, TrainingSchedule, recompute_ps
from planner.training.simulator import simulate_training
from solvers.protocol import Deadline
from solvers.training.offload import mixed_plan, offload_plan

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem

LINK = HostLink(10**6, 1e12, 1e12)


def boundary_saved(problem: TrainingProblem) -> TrainingSchedule:
    return just_in_time(problem, problem.boundary.tolist())


def every_trip(problem: TrainingProblem, schedule: TrainingSchedule) -> list[list[Offload | None]]:
    """Return, per saved storage, all times at which it can go to the host, and staying."""
    middle = len(schedule.forward)
    choices: list[list[Offload | None]] = []
    for storage in schedule.saved:
        choices.append([None])
        for copied, fetched in product(range(middle), range(len(schedule.backward))):
            trip = Offload(storage, copied, copied, fetched)
            if not check_training(problem, replace(schedule, offloads=(trip,))):
                choices[-1] += [trip._replace(freed_after=f) for f in range(copied, middle + 1)]
    return choices


def least_stall(problem: TrainingProblem, schedule: TrainingSchedule, budget: int) -> int | None:
    """Return the least stall of all sets of offloads, times and orders; None if none fits."""
    live = memory_profile(problem, schedule).live_bytes
    assert problem.host is not None
    best = None
    for trips in product(*every_trip(problem, schedule)):
        offloads = tuple(trip for trip in trips if trip is not None)
        held = live.copy()
        moved = 0
        for storage, _, freed, fetched in offloads:
            held[freed + 1 : len(schedule.forward) + 1 + fetched] -= problem.size_bytes[storage]
            moved += int(problem.size_bytes[storage])
        if held.max() > budget or moved > problem.host.capacity_bytes:
            continue
        for order in permutations(offloads):
            stall = simulate_training(problem, replace(schedule, offloads=order)).stall_ps
            best = stall if best is None else min(best, stall)
    return best


def small(seed: int) -> tuple[TrainingProblem, TrainingSchedule, int]:
    """Return a step with up to three saved storages, and a budget below its peak."""
    chance = random.Random(seed)
    rate = chance.choice((5e11, 1e12, 2e12))
    setup = chance.choice((0, 1e-12))
    host = HostLink(chance.choice((10**6, 8)), rate, rate, setup)
    if chance.random() < 0.5:
        problem = random_problem(chance, 3, 3)
    else:
        layers = chance.choice((2, 3))
        sizes = [chance.choice((1, 2, 4, 8)) for _ in range(layers)]
        problem = chain_problem(sizes, [chance.randint(0, 5) for _ in range(layers)])
    problem = replace(problem, host=host)
    schedule = boundary_saved(problem)
    peak = memory_profile(problem, schedule).peak_bytes
    return problem, schedule, peak - chance.randint(1, 6)


@pytest.mark.parametrize("seed", range(40))
def test_small_steps_stall_no_longer_than_the_best_of_all_ways_to_offload(seed: int) -> None:
    problem, schedule, budget = small(seed)
    planned = offload_plan(problem, schedule, budget, deadline=Deadline(60))
    best = least_stall(problem, schedule, budget)
    if planned is None:
        assert best is None
        return
    assert check_training(problem, planned, budget) == []
    assert simulate_training(problem, planned).stall_ps == best


@pytest.mark.parametrize("seed", range(10))
def test_offloads_keep_what_the_budget_does_not_demand_and_meet_it_where_all_of_them_do(
    seed: int,
) -> None:
    chance = random.Random(seed)
    problem = replace(random_problem(chance, 12, 10), host=LINK)
    schedule = boundary_saved(problem)
    peak = memory_profile(problem, schedule).peak_bytes
    assert offload_plan(problem, schedule, peak, deadline=Deadline(60)) == schedule
    least = min(
        budget
        for budget in range(peak + 1)
        if offload_plan(problem, schedule, budget, deadline=Deadline(0)) is not None
    )
    stalls = []
    for budget in range(least, peak + 1):
        planned = offload_plan(problem, schedule, budget, deadline=Deadline(60))
        assert planned is not None
        assert check_training(problem, planned, budget) == []
        stalls.append(simulate_training(problem, planned).stall_ps)
    assert stalls[-1] == 0


def test_without_a_host_nothing_is_offloaded() -> None:
    problem = chain_problem([8] * 4, [4] * 4)
    schedule = boundary_saved(problem)
    peak = memory_profile(problem, schedule).peak_bytes
    assert offload_plan(problem, schedule, peak - 1, deadline=Deadline(60)) is None
    assert mixed_plan(problem, [schedule], peak - 1, deadline=Deadline(60)) is None
    assert mixed_plan(problem, [], peak, deadline=Deadline(60)) is None


def test_the_host_is_filled_to_its_capacity_and_no_further() -> None:
    problem = replace(chain_problem([8] * 6, [4] * 6), host=LINK)
    schedule = boundary_saved(problem)
    peak = memory_profile(problem, schedule).peak_bytes
    for layers in range(3):
        small_host = replace(problem, host=LINK._replace(capacity_bytes=8 * layers + 7))
        for freed in range(3):
            budget = peak - 8 * freed
            planned = offload_plan(small_host, schedule, budget, deadline=Deadline(60))
            assert (planned is None) == (freed > layers)
            if planned is not None:
                assert check_training(small_host, planned, budget) == []


def test_a_fast_link_hides_offloads_that_a_slow_one_cannot() -> None:
    problem = transformer_problem(3)
    schedule = boundary_saved(problem)
    budget = memory_profile(problem, schedule).peak_bytes * 6 // 10
    stalls = []
    for rate in (1e9, 1e8, 1e7):
        linked = replace(problem, host=HostLink(10**12, rate, rate, 1e-5))
        planned = offload_plan(linked, schedule, budget, deadline=Deadline(60))
        assert planned is not None
        assert check_training(linked, planned, budget) == []
        stalls.append(simulate_training(linked, planned).stall_ps)
    assert stalls[0] == 0 < stalls[1] < stalls[2]


def test_the_mix_is_never_slower_than_recomputing_or_offloading_alone() -> None:
    problem = replace(transformer_problem(2), host=HostLink(10**12, 5e7, 5e7, 1e-5))
    kept, nothing = boundary_saved(problem), just_in_time(problem, ())
    half = just_in_time(problem, problem.boundary.tolist()[::2])
    budget = memory_profile(problem, half).peak_bytes
    offloaded = offload_plan(problem, kept, budget, deadline=Deadline(60))
    assert offloaded is not None
    mixed = mixed_plan(problem, [kept, half, nothing], budget, deadline=Deadline(60))
    assert mixed is not None
    assert check_training(problem, mixed, budget) == []
    extra = recompute_ps(problem, mixed) + simulate_training(problem, mixed).stall_ps
    assert extra < simulate_training(problem, offloaded).stall_ps
    assert extra < recompute_ps(problem, half)
    assert mixed == mixed_plan(problem, [kept, half, nothing], budget, deadline=Deadline(60))


def test_an_expired_deadline_still_gives_a_plan_that_fits() -> None:
    problem = replace(transformer_problem(2), host=HostLink(10**12, 5e7, 5e7))
    schedule = boundary_saved(problem)
    budget = memory_profile(problem, schedule).peak_bytes * 7 // 10
    for planned in (
        offload_plan(problem, schedule, budget, deadline=Deadline(0)),
        mixed_plan(problem, [schedule], budget, deadline=Deadline(0)),
        mixed_plan(problem, [just_in_time(problem, ()), schedule], budget, deadline=Deadline(0)),
    ):
        assert planned is not None
        assert check_training(problem, planned, budget) == []


@pytest.mark.parametrize("seed", [0, 1, 5, 8, 95, 105])
def test_the_mix_of_small_steps_is_the_best_of_all_saved_sets(seed: int) -> None:
    chance = random.Random(seed)
    rate = chance.choice((5e11, 1e12, 3e12))
    if chance.random() < 0.6:
        problem = random_problem(chance, 5, 5)
    else:
        sizes = [chance.choice((1, 2, 4, 8)) for _ in range(5)]
        problem = chain_problem(sizes, [chance.randint(1, 6) for _ in range(5)])
    problem = replace(problem, host=HostLink(10**6, rate, rate))
    written = [problem.writes.row(o).tolist() for o in problem.forward_operators.tolist()]
    results = sorted(set().union(*written).difference(problem.forward_outputs.tolist()))
    schedules = {
        just_in_time(problem, chosen)
        for count in range(len(results) + 1)
        for chosen in combinations(results[:7], count)
    }
    peaks = [memory_profile(problem, schedule).peak_bytes for schedule in schedules]
    budget = chance.randint(int(min(peaks) * 0.8), max(peaks) - 1)

    def extra(schedule: TrainingSchedule) -> int:
        assert check_training(problem, schedule, budget) == []
        return recompute_ps(problem, schedule) + simulate_training(problem, schedule).stall_ps

    planned = [offload_plan(problem, s, budget, deadline=Deadline(60)) for s in schedules]
    best = min((extra(plan) for plan in planned if plan is not None), default=None)
    seeds = [boundary_saved(problem), just_in_time(problem, ())]
    mixed = mixed_plan(problem, seeds, budget, deadline=Deadline(60))
    assert (mixed is None) == (best is None)
    if mixed is not None and best is not None:
        assert extra(mixed) <= best
