"""Several memories: the fewest displaced bytes, bounds and proofs, against trying every choice."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

import planner
from planner.errors import DoesNotFitError
from planner.packing.problem import Buffer, Colocation, MemorySpace, PackingProblem, Separation
from planner.packing.race import race
from planner.problem import Outcome, Status
from solvers.packing import fits, membership
from solvers.packing.groups import group_buffers
from solvers.packing.loads import Loads
from solvers.packing.membership import MembershipSearch, possible_groups
from solvers.packing.membership_model import MembershipModel
from solvers.packing.spreading import displaced_bytes, fewest_displaced
from solvers.protocol import Deadline

from .oracle import Judge, fewest_displaced_bytes, places_of

if TYPE_CHECKING:
    from planner.packing.result import PackResult


def random_problem(seed: int) -> PackingProblem:
    """Up to 6 buffers and 3 memories, most of them too small."""
    rng = random.Random(seed)
    memories = tuple(
        MemorySpace(
            f"m{i}",
            rng.randint(3, 12) if i < 2 or rng.random() < 0.3 else None,
            rng.choice((1, 1, 2)),
        )
        for i in range(rng.randint(2, 3))
    )
    buffers = []
    for index in range(rng.randint(3, 6)):
        lower = rng.randint(0, 5)
        allowed: tuple[str, ...] = ()
        if rng.random() < 0.5:
            names = [memory.name for memory in memories]
            allowed = tuple(rng.sample(names, rng.randint(1, len(names))))
        size, alignment = rng.randint(1, 6), rng.choice((1, 1, 2, 3))
        fixed = 2 * alignment * rng.randint(0, 1) if rng.random() < 0.1 else None
        upper = rng.randint(lower + 1, 6)
        buffers.append(
            Buffer(f"b{index}", lower, upper, size, alignment, offset=fixed, memories=allowed)
        )
    return PackingProblem(tuple(buffers), memories)


def judged(problem: PackingProblem, **options: object) -> PackResult:
    """A race whose packing is legal, whose numbers add up, and in which nobody failed."""
    result = race(problem, **options)  # type: ignore[arg-type]
    assert [report for report in result.solvers if report.status == "failed"] == []
    if result.packing is not None:
        assert Judge(problem).legal(places_of(result.packing))
        assert result.displaced_bytes == sum(
            buffer.size
            for index, buffer in enumerate(problem.buffers)
            if problem.allowed_memories(index)[0] != result.packing.memory[index]
        )
    assert result.displaced_lower_bound_bytes <= result.displaced_bytes
    return result


def test_the_displaced_bytes_are_those_of_trying_every_choice() -> None:
    impossible = displaced = 0
    for seed in range(150):
        problem = random_problem(seed)
        truth = fewest_displaced_bytes(problem)
        result = judged(problem)
        if truth is None:
            assert result.packing is None and result.status is Status.INFEASIBLE, seed
            impossible += 1
            continue
        assert (result.displaced_bytes, result.status) == (truth, Status.OPTIMAL), seed
        assert result.displaced_lower_bound_bytes == truth
        displaced += truth > 0
    assert impossible > 10 and displaced > 20


def test_large_sizes_prove_no_more_than_trying_every_choice() -> None:
    """The presolve of OR-Tools 9.15 proves a bound too high for seed 95."""
    for seed in range(90, 100):
        rng = random.Random(seed)
        buffers = []
        for index in range(8):
            lower = rng.randrange(3)
            upper, size = rng.randint(lower + 1, 3), rng.randint(1, 2**45)
            names = ("a", "b") if index % 3 else ("b", "a")
            buffers.append(Buffer(f"b{index}", lower, upper, size, memories=names))
        capacity = sum(buffer.size for buffer in buffers) // 3
        memories = (MemorySpace("a", capacity), MemorySpace("b", capacity))
        problem = PackingProblem(tuple(buffers), memories)
        groups = group_buffers(problem)
        loads = Loads(problem, groups)
        answer = MembershipModel(problem, groups, loads).solve(Deadline(30))
        possible = [
            displaced_bytes(groups, choice)
            for choice in itertools.product((0, 1), repeat=len(groups))
            if all(
                (loads.total([g for g, m in enumerate(choice) if m == memory]) <= capacity).all()
                for memory in (0, 1)
            )
        ]
        assert answer.impossible is (not possible), seed
        assert not possible or answer.bound == min(possible), seed


def test_more_bytes_than_cp_sat_can_count_are_not_proven() -> None:
    buffers = tuple(Buffer(f"b{i}", 0, 2, 2**52 + 5**i) for i in range(8))
    memories = (MemorySpace("a", 2**54), MemorySpace("b"))
    result = race(PackingProblem(buffers, memories))
    assert result.status is Status.FEASIBLE
    assert "too many bytes" in report_note(result, "membership")


def report_note(result: PackResult, name: str) -> str:
    return next(report.note for report in result.solvers if report.name == name)


def test_the_bound_before_any_search_is_a_bound() -> None:
    """Also where groups of several buffers prefer different memories."""
    met = 0
    for seed in range(150):
        problem = random_problem(seed)
        names = [buffer.name for buffer in problem.buffers]
        pair = Colocation(names[0], names[1], random.Random(seed).randint(-3, 3))
        free = tuple(b._replace(offset=None, alignment=1, memories=()) for b in problem.buffers[:2])
        problem = PackingProblem(
            (*free, *problem.buffers[2:]),
            tuple(memory._replace(alignment=1) for memory in problem.memories),
            (pair,),
        )
        truth = fewest_displaced_bytes(problem)
        groups, fault = possible_groups(problem, group_buffers(problem))
        if truth is None or fault:
            continue
        bound = fewest_displaced(problem, groups, Loads(problem, groups))
        assert bound <= truth, seed
        met += bound == truth > 0
        assert judged(problem).displaced_bytes == truth
    assert met > 10


def test_fragmentation_costs_more_than_bytes_in_use_say() -> None:
    """Seven bytes are in use at most, every packing takes eight: a cut has to tell the model."""
    problem = _fragmented()
    groups = group_buffers(problem)
    loads = Loads(problem, groups)
    assert fewest_displaced(problem, groups, loads) == 0
    answer = MembershipModel(problem, groups, loads).solve(Deadline(10))
    assert answer.choice is not None and answer.bound == 0
    result = judged(problem)
    assert result.status is Status.OPTIMAL
    assert result.displaced_bytes == fewest_displaced_bytes(problem) > 0


def _fragmented() -> PackingProblem:
    rows = [(1, 3, 4), (5, 7, 3), (6, 7, 4), (3, 6, 3), (2, 6, 1), (1, 2, 3), (2, 4, 1)]
    buffers = tuple(Buffer(f"b{i}", *row) for i, row in enumerate(rows))
    return PackingProblem(buffers, (MemorySpace("sram", 7), MemorySpace("dram")))


def test_separations_hold_within_a_memory_only() -> None:
    buffers = (Buffer("a", 0, 1, 8), Buffer("b", 2, 3, 8))
    memories = (MemorySpace("sram", 8), MemorySpace("dram", 8))
    assert judged(PackingProblem(buffers, memories)).displaced_bytes == 0
    apart = PackingProblem(buffers, memories, separations=(Separation("a", "b"),))
    assert judged(apart).displaced_bytes == 8


def test_a_group_goes_where_it_displaces_least() -> None:
    memories = (MemorySpace("sram", 64), MemorySpace("dram", 64))
    buffers = (
        Buffer("small", 0, 1, 8, memories=("sram", "dram")),
        Buffer("large", 0, 1, 32, memories=("dram", "sram")),
    )
    result = judged(PackingProblem(buffers, memories, (Colocation("small", "large"),)))
    assert result.packing is not None and result.packing.memory.tolist() == [1, 1]
    assert (result.displaced_bytes, result.status) == (8, Status.OPTIMAL)


def test_memories_without_a_choice_are_independent_and_proven() -> None:
    memories = (MemorySpace("sram", 16), MemorySpace("dram"))
    buffers = (
        Buffer("a", 0, 2, 16, memories=("sram",)),
        Buffer("b", 0, 2, 8, memories=("dram",)),
        Buffer("c", 1, 2, 8, memories=("dram",)),
    )
    result = judged(PackingProblem(buffers, memories))
    assert result.status is Status.OPTIMAL and result.displaced_bytes == 0
    assert [use.height_bytes for use in result.memories] == [16, 16]
    more = (*buffers, Buffer("d", 1, 2, 1, memories=("sram",)))
    assert judged(PackingProblem(more, memories)).status is Status.INFEASIBLE


def test_a_memory_without_capacity_is_packed_as_low_as_possible() -> None:
    memories = (MemorySpace("sram", 4), MemorySpace("dram"))
    buffers = tuple(Buffer(f"b{i}", i, i + 2, 8 * (1 + i % 3)) for i in range(12))
    result = judged(PackingProblem(buffers, memories))
    assert result.memories[1].height_bytes == result.memories[1].lower_bound_bytes == 40


def test_what_fits_into_no_memory_is_named() -> None:
    memories = [MemorySpace("sram", 16), MemorySpace("tcm", 8)]
    with pytest.raises(
        DoesNotFitError, match=r"'a' take.* 20 bytes; there are sram 16, tcm 8"
    ) as e:
        planner.pack([Buffer("a", 0, 1, 20)], memories=memories)
    assert e.value.proven


def test_an_undecided_packer_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choices it cannot pack are given up one by one; what remains is legal, and not optimal."""
    problem = _fragmented()
    decide = fits.pack

    def undecided(*arguments: object) -> Outcome:
        outcome = decide(*arguments)  # type: ignore[arg-type]
        if outcome.status is Status.INFEASIBLE:
            return Outcome(Status.UNKNOWN, None)
        return outcome

    monkeypatch.setattr(fits, "pack", undecided)
    result = judged(problem)
    assert result.status is Status.FEASIBLE
    assert result.displaced_lower_bound_bytes == 0 < result.displaced_bytes


def test_the_choice_does_without_ortools(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("no module named ortools")

    monkeypatch.setattr(membership, "MembershipModel", missing)
    problem = _fragmented()
    result = judged(problem)
    assert result.packing is not None and result.status is Status.FEASIBLE
    report = next(report for report in result.solvers if report.name == "membership")
    assert "ortools" in report.note


def test_hundreds_of_buffers_keep_to_both_capacities() -> None:
    rng = np.random.default_rng(7)
    lower = rng.integers(0, 200, 400)
    buffers = tuple(
        Buffer(f"b{i}", int(begin), int(begin + rng.integers(1, 30)), int(rng.integers(1, 64)))
        for i, begin in enumerate(lower)
    )
    unlimited = planner.pack(buffers).memories[0].live_bytes
    memories = (MemorySpace("sram", unlimited // 2), MemorySpace("dram", unlimited * 3 // 4))
    problem = PackingProblem(buffers, memories)
    groups = group_buffers(problem)
    search = MembershipSearch(problem, groups)
    search.run(Deadline(2))
    assert search.best is not None
    assert 0 < search.bound <= search.best.displaced <= 1.5 * search.bound
