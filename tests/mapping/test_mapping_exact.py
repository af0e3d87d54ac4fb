"""The bound never exceeds the optimum by brute force; CP-SAT and its neighbourhoods reach it."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from planner.mapping_problem import MappingProblem, MappingSolution, Residency
from planner.mapping_replay import InvalidMappingError, replay
from planner.problem import Status
from planner.registry import SOLVERS
from planner.testing.mapping_brute_force import least_latency
from planner.testing.mapping_problems import random_mapping_problem
from solvers.mapping import rows
from solvers.mapping.bound import MappingBound, linear_bound
from solvers.mapping.cp import CpMapping
from solvers.mapping.decoders import StaticDecodes
from solvers.mapping.integer_program import IntegerProgram, quantum
from solvers.mapping.lns import MappingNeighbourhood
from solvers.mapping.placing import conflict, decoded, packed
from solvers.mapping.relaxation import Grid, Relaxation, values_of
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECONDS = 60.0
MOST_ACCESSES = 7
# What the names of the fields that are measured in ticks begin with.
TICKS = ("copy_", "setup_", "fast", "slow", "arithmetic", "overhead", "other_")


def tiny_problems(seeds: Sequence[int]) -> Iterator[tuple[int, MappingProblem]]:
    for seed in seeds:
        problem = random_mapping_problem(seed, buffers=4, rows=7)
        if problem.accesses <= MOST_ACCESSES:
            yield seed, problem


def by_replay_alone(problem: MappingProblem) -> int:
    """The least latency over all sets of at most one residency a buffer, any steps and offsets."""
    options: list[list[Residency | None]] = []
    for buffer in range(problem.buffers):
        count = len(problem.accesses_of.row(buffer))
        alone: list[Residency | None] = [None]
        for numbers in product(
            range(count),
            range(count),
            range(problem.rows),
            range(problem.rows + 1),
            range(0, problem.capacity, problem.alignment),
        ):
            residency = Residency(buffer, *numbers)
            try:
                replay(problem, (residency,))
            except InvalidMappingError:
                continue
            alone.append(residency)
        options.append(alone)
    best = problem.all_slow
    for chosen in product(*options):
        try:
            best = min(best, replay(problem, [r for r in chosen if r is not None]))
        except InvalidMappingError:
            continue
    return best


def test_brute_force_agrees_with_the_replay_of_everything() -> None:
    checked = 0
    for seed in range(60):
        problem = random_mapping_problem(seed, buffers=2, rows=4, accesses=2)
        if problem.capacity > 4 * problem.alignment:
            continue
        best = least_latency(problem)
        assert replay(problem, best.residencies) == best.latency <= by_replay_alone(problem), seed
        if all(len(problem.accesses_of.row(buffer)) < 2 for buffer in range(problem.buffers)):
            assert best.latency == by_replay_alone(problem), seed
        checked += 1
    assert checked > 10


@pytest.mark.parametrize("most_of_hull", [1, 6])
def test_cp_sat_proves_what_brute_force_finds(
    most_of_hull: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With rows described by all sets of their accesses, and by a binary each."""
    monkeypatch.setattr(rows, "MOST_OF_HULL", most_of_hull)
    proven = 0
    for seed, problem in tiny_problems(range(most_of_hull * 1000, most_of_hull * 1000 + 200)):
        best = least_latency(problem)
        outcome = CpMapping().solve(problem, deadline=Deadline(SECONDS), seed=seed)
        assert outcome.solution is not None
        assert outcome.solution.latency == best.latency == outcome.lower_bound, seed
        assert outcome.status is Status.OPTIMAL, seed
        assert replay(problem, outcome.solution.residencies) == best.latency, seed
        proven += problem.all_fast < best.latency < problem.all_slow
    assert proven > 30


@pytest.mark.slow
@pytest.mark.parametrize("first", range(10_000, 13_000, 250))
def test_cp_sat_proves_what_brute_force_finds_on_thousands(first: int) -> None:
    for seed, problem in tiny_problems(range(first, first + 250)):
        best = least_latency(problem)
        outcome = CpMapping().solve(problem, deadline=Deadline(SECONDS), seed=seed)
        assert outcome.solution is not None
        assert outcome.solution.latency == best.latency == outcome.lower_bound, seed
        bound = MappingBound().solve(problem, deadline=Deadline(SECONDS)).lower_bound
        assert bound is not None
        assert bound <= best.latency, seed


@pytest.mark.parametrize("grid", [Grid.EXACT, Grid.COARSE])
def test_no_bound_exceeds_the_optimum(grid: Grid) -> None:
    for seed, problem in tiny_problems(range(60)):
        best = least_latency(problem).latency
        linear = linear_bound(Relaxation(problem, grid), Deadline(SECONDS))
        assert linear.closed
        assert linear.ticks <= best, seed
        assert problem.floor <= best, seed
        whole = MappingBound().solve(problem, deadline=Deadline(SECONDS)).lower_bound
        assert whole is not None
        assert linear.ticks <= whole <= best, seed


def test_no_bound_exceeds_what_neighbourhoods_find_on_larger_programs() -> None:
    for seed in range(6):
        problem = random_mapping_problem(seed, buffers=30, rows=40, accesses=4)
        found = MappingNeighbourhood().solve(problem, deadline=Deadline(0.5), seed=seed).solution
        bound = MappingBound().solve(problem, deadline=Deadline(0.5)).lower_bound
        assert found is not None
        assert bound is not None
        assert replay(problem, found.residencies) == found.latency
        assert bound <= found.latency, seed


def test_neighbourhoods_reach_the_optimum_of_tiny_programs_and_end() -> None:
    reached = total = 0
    for seed, problem in tiny_problems(range(100, 160)):
        outcome = MappingNeighbourhood().solve(problem, deadline=Deadline(SECONDS), seed=seed)
        assert outcome.solution is not None
        assert replay(problem, outcome.solution.residencies) == outcome.solution.latency
        reached += outcome.solution.latency == least_latency(problem).latency
        total += 1
    assert reached >= 0.95 * total


@pytest.mark.parametrize("name", ["cp", "lns"])
def test_never_worse_than_the_incumbent(name: str) -> None:
    problem = random_mapping_problem(7, buffers=30, rows=40, accesses=4)
    incumbent = StaticDecodes().solve(problem, deadline=Deadline(SECONDS)).solution
    assert incumbent is not None
    assert incumbent.latency < problem.all_slow
    solver = SOLVERS["mapping"][name].load()
    assert solver.available().available
    for seconds in (0.0, 0.5):
        outcome = solver.solve(problem, deadline=Deadline(seconds), incumbent=incumbent)
        assert outcome.solution.latency <= incumbent.latency
        assert outcome.lower_bound is None or outcome.lower_bound <= outcome.solution.latency


@pytest.mark.parametrize("name", ["bound", "cp", "lns"])
def test_a_cancelled_solver_hands_back_what_it_has(name: str) -> None:
    problem = random_mapping_problem(3, buffers=30, rows=40, accesses=4)
    deadline = Deadline(1e6)
    deadline.cancel.set()
    outcome = SOLVERS["mapping"][name].load().solve(problem, deadline=deadline)
    assert outcome.solution is None or outcome.solution.latency == problem.all_slow
    assert outcome.lower_bound is None or outcome.lower_bound <= problem.all_fast


def test_the_bound_hands_back_an_incumbent_and_says_when_it_is_optimal() -> None:
    problem = random_mapping_problem(11, buffers=4, rows=7)
    best = least_latency(problem)
    outcome = MappingBound().solve(problem, deadline=Deadline(SECONDS), incumbent=best)
    assert outcome.solution == best
    assert outcome.status is Status.OPTIMAL
    worse = MappingSolution((), problem.all_slow)
    assert worse.latency > best.latency
    outcome = MappingBound().solve(problem, deadline=Deadline(SECONDS), incumbent=worse)
    assert outcome.status is Status.FEASIBLE


def test_an_interrupted_search_without_a_point_bounds_nothing() -> None:
    """CP-SAT then reports 0, which would be the latency of nothing fast."""
    problem = random_mapping_problem(3, buffers=30, rows=40, accesses=4)
    program = IntegerProgram(Relaxation(problem), 1)
    answer = program.solve(Deadline(0.0))
    assert answer.bound is None
    assert not answer.proven


def test_rounding_of_costs_only_lowers_the_bound() -> None:
    for seed, problem in tiny_problems(range(30)):
        ticks = [field.name for field in fields(problem) if field.name.startswith(TICKS)]
        large = replace(problem, **{name: getattr(problem, name) * 1_000_003 for name in ticks})
        best = least_latency(problem).latency * 1_000_003
        bound = MappingBound().solve(large, deadline=Deadline(SECONDS)).lower_bound
        assert bound is not None
        assert bound <= best, seed
        assert best - bound <= quantum(large.all_slow) * large.accesses * 64
        outcome = CpMapping().solve(large, deadline=Deadline(SECONDS))
        assert outcome.status is Status.OPTIMAL, seed
        assert outcome.lower_bound == best, seed


def test_a_mapping_is_a_point_of_the_program_and_is_read_back_from_it() -> None:
    for seed, problem in tiny_problems(range(40)):
        best = least_latency(problem)
        relaxation = Relaxation(problem)
        program = relaxation.rows.program()
        point = values_of(relaxation, best.residencies)
        values = np.array([point[column] for column in range(len(program.cost))], dtype=float)
        left = np.bincount(
            program.row, program.value * values[program.column], minlength=len(program.row_lower)
        )
        assert (left >= program.row_lower).all(), seed
        assert (left <= program.row_upper).all(), seed
        assert relaxation.base + program.cost @ values == best.latency, seed
        assert relaxation.excess(values).max(initial=0.0) <= 0.0, seed
        for start, end in product(range(problem.rows), range(problem.rows + 1)):
            if start < end:
                terms, limit = relaxation.window_row(start, end)
                assert sum(value * values[column] for column, value in terms.items()) <= limit
        read = [proposal.shortest for proposal in decoded(relaxation, values)]
        assert read == [residency._replace(offset=0) for residency in best.residencies], seed


# (size, written in row, read in row): at most 4 units at every step, but no offsets for them.
FRAGMENTING = [(2, 4, 5), (1, 3, 4), (1, 2, 4), (2, 5, 6), (2, 1, 2), (1, 2, 3), (2, 0, 1)]


def fragmenting() -> MappingProblem:
    """Intermediates in a memory of 4 units that fit by capacity but at no offsets."""
    boxes = FRAGMENTING
    table = sorted(
        [(begin, buffer, True) for buffer, (_, begin, _) in enumerate(boxes)]
        + [(end, buffer, False) for buffer, (_, _, end) in enumerate(boxes)]
    )
    steps = max(end for _, _, end in boxes) + 1
    nothing = np.zeros(steps, dtype=np.int64)
    return MappingProblem(
        tick_s=1.0,
        capacity=4,
        alignment=1,
        size=np.array([size for size, _, _ in boxes]),
        has_copy=np.zeros(len(boxes), dtype=bool),
        copy_in=np.full(len(boxes), 1000),
        copy_out=np.full(len(boxes), 1000),
        access_row=np.array([row for row, _, _ in table], dtype=np.int32),
        access_buffer=np.array([buffer for _, buffer, _ in table], dtype=np.int32),
        writes=np.array([writes for _, _, writes in table]),
        fast=np.zeros(len(table), dtype=np.int64),
        slow=np.full(len(table), 5),
        arithmetic=nothing,
        overhead=nothing,
        other_fast=nothing,
        other_slow=nothing,
        touches_fast=nothing > 0,
        touches_slow=nothing > 0,
    )


def test_a_proof_takes_offsets_into_account() -> None:
    problem = fragmenting()
    whole = [
        Residency(buffer, 0, 1, begin, end + 1, 0)
        for buffer, (_, begin, end) in enumerate(FRAGMENTING)
    ]
    assert packed(problem, whole, Deadline(SECONDS))[1] is Status.INFEASIBLE
    assert set(conflict(problem, whole, Deadline(SECONDS))) <= set(whole)
    relaxed = MappingBound().solve(problem, deadline=Deadline(SECONDS)).lower_bound
    assert relaxed == problem.all_fast
    outcome = CpMapping().solve(problem, deadline=Deadline(SECONDS))
    assert outcome.status is Status.OPTIMAL
    assert outcome.statistics["conflicts"] > 0
    assert outcome.lower_bound == problem.all_fast + 10
