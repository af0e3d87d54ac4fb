"""The checker accepts what is legal, counts the bytes of it, and refuses what was tampered with."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.testing.training_problems import (
    StepBuilder,
    chain_problem,
    random_problem,
    transformer_problem,
)
from planner.training.checker import check_training
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.problem import HostLink
from planner.training.schedule import Offload, TrainingSchedule
from planner.training.violation import TrainingViolationKind as Kind

from .random_schedules import HOST, is_legal, random_schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.training.problem import TrainingProblem


def assert_bytes_agree(problem: TrainingProblem, schedule: TrainingSchedule) -> None:
    peak = memory_profile(problem, schedule).peak_bytes
    assert check_training(problem, schedule, peak) == []
    [violation] = check_training(problem, schedule, peak - 1)
    assert violation.kind is Kind.BUDGET
    assert f"holds {peak:,} bytes, 1 above the budget of {peak - 1:,}" in violation.message
    assert violation.step == memory_profile(problem, schedule).peak_step


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 14), st.integers(1, 10))
def test_random_schedules_are_legal_and_their_peak_is_that_of_the_memory_profile(
    seed: int, forward: int, backward: int
) -> None:
    chance = random.Random(seed)
    problem = replace(random_problem(chance, forward, backward), host=HOST)
    assert_bytes_agree(problem, random_schedule(chance, problem))


def test_schedules_of_a_transformer_are_legal_and_their_peak_is_that_of_the_memory_profile() -> (
    None
):
    chance = random.Random(7)
    problem = replace(transformer_problem(2), host=HostLink(10**10, 1e10, 1e10))
    boundary = problem.boundary.tolist()
    for share in (0.0, 0.3, 0.7, 1.0):
        kept = chance.sample(boundary, int(share * len(boundary)))
        assert_bytes_agree(problem, just_in_time(problem, kept))
        assert_bytes_agree(problem, random_schedule(chance, problem))


def corrupted(
    chance: random.Random, schedule: TrainingSchedule, operators: int
) -> TrainingSchedule:
    """Tamper with a half or the saved storages in one place."""
    part = chance.choice(("forward", "backward", "saved"))
    items = list(getattr(schedule, part))
    position = chance.randrange(len(items) + 1)
    match chance.choice(("drop", "repeat", "swap", "other", "new", "half")):
        case "drop" if position < len(items):
            del items[position]
        case "repeat" if items:
            items.insert(position, chance.choice(items))
        case "swap" if len(items) > 1:
            a, b = chance.sample(range(len(items)), 2)
            items[a], items[b] = items[b], items[a]
        case "other" if position < len(items):
            items[position] = chance.randrange(operators)
        case "half" if part != "saved" and position < len(items):
            moved = items.pop(position)
            target = "backward" if part == "forward" else "forward"
            into = list(getattr(schedule, target))
            into.insert(chance.randint(0, len(into)), moved)
            schedule = replace(schedule, **{target: tuple(into)})
        case _:
            items.insert(position, chance.randrange(operators))
    return replace(schedule, **{part: tuple(items)})


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 10), st.integers(1, 8))
def test_a_corrupted_schedule_is_refused_exactly_if_something_is_read_that_is_not_there(
    seed: int, forward: int, backward: int
) -> None:
    chance = random.Random(seed)
    problem = random_problem(chance, forward, backward, fixed=0.3)
    schedule = random_schedule(chance, problem)
    assert is_legal(problem, schedule)
    for _ in range(chance.choice((1, 1, 2))):
        schedule = corrupted(chance, schedule, len(problem.operator_names))
    assert (check_training(problem, schedule) == []) == is_legal(problem, schedule)
    if is_legal(problem, schedule):
        assert_bytes_agree(problem, schedule)


def chain() -> tuple[TrainingProblem, TrainingSchedule]:
    """Return a chain of four with its first three results saved and the second on the host."""
    problem = replace(chain_problem([8, 8, 8, 8], [1, 1, 1, 1]), host=HostLink(8, 1e12, 1e12))
    schedule = just_in_time(problem, problem.boundary.tolist())
    assert schedule == TrainingSchedule((0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 2))
    schedule = replace(schedule, offloads=(Offload(1, 2, 3, 0),))
    assert check_training(problem, schedule) == []
    return problem, schedule


def offload(**change: Any) -> Callable[[TrainingSchedule], TrainingSchedule]:
    def changed(schedule: TrainingSchedule) -> TrainingSchedule:
        return replace(schedule, offloads=(schedule.offloads[0]._replace(**change),))

    return changed


def part(**change: object) -> Callable[[TrainingSchedule], TrainingSchedule]:
    return lambda schedule: replace(schedule, **change)


@pytest.mark.parametrize(
    ("tamper", "kind", "text"),
    [
        (part(forward=(0, 1, 2)), Kind.HALF, '"forward3" has to run in the forward half'),
        (part(forward=(0, 1, 2, 3, 4)), Kind.HALF, '"backward3" depends on a tangent'),
        (part(forward=(1, 0, 2, 3)), Kind.NOT_LIVE, 'step 0: "forward1" reads "forward0"'),
        (part(backward=(4, 5, 6)), Kind.HALF, '"backward0" is a backward operator and never runs'),
        (part(backward=(4, 4, 5, 6, 7)), Kind.REPEATED, "ran at step 5 already"),
        (part(backward=(5, 4, 6, 7)), Kind.ORDER, '"backward3" (operator 4) runs after'),
        (part(backward=(4, 5, 6)), Kind.GRADIENT, '"backward0" is not there when the step ends'),
        (part(saved=(0, 1)), Kind.NOT_LIVE, '"forward2", which is neither saved nor computed'),
        (part(saved=(0, 1, 2, 3)), Kind.SAVED, '"forward3" is a forward output'),
        (part(saved=(0, 1, 2, 4)), Kind.SAVED, "no result of a forward operator"),
        (part(saved=(0, 1, 2, 5)), Kind.SAVED, "no result of a forward operator"),
        (part(saved=(0, 2, 1)), Kind.SAVED, "1 stands after 2"),
        (part(saved=(0, 1, 1, 2)), Kind.SAVED, "1 stands after 1"),
        (part(forward=[0, 1, 2, 3]), Kind.TYPE, "the forward half: a list"),
        (part(forward=(0, 1.0, 2, 3)), Kind.TYPE, "operator 1.0 at position 1 is a float"),
        (part(forward=(0, True, 2, 3)), Kind.TYPE, "operator True at position 1 is a bool"),
        (part(forward=(0, np.int32(1), 2, 3)), Kind.TYPE, "int32"),
        (part(backward=(4, 5, 6, 8)), Kind.UNKNOWN, "no operator 8 (position 3); there are 8"),
        (part(backward=(4, 5, 6, -1)), Kind.UNKNOWN, "no operator -1"),
        (part(saved=(0, 1, 99)), Kind.UNKNOWN, "no storage 99"),
        (part(offloads=[]), Kind.TYPE, "the offloads are a list"),
        (part(offloads=(3,)), Kind.TYPE, "offload 0 is 3"),
        (part(offloads=((1, 2, 3),)), Kind.TYPE, "offload 0 is (1, 2, 3)"),
        (offload(storage=77), Kind.UNKNOWN, "no storage 77"),
        (offload(freed_after=2.5), Kind.TYPE, "2.5"),
        (offload(storage=3), Kind.OFFLOAD, "is not saved"),
        (offload(copied_after=1), Kind.OFFLOAD, "is written or read at step 2"),
        (offload(copied_after=-1), Kind.OFFLOAD, "after step -1"),
        (offload(copied_after=4), Kind.OFFLOAD, "after step 4 of the forward half"),
        (offload(freed_after=1), Kind.OFFLOAD, "freed after step 1, before it is copied"),
        (offload(freed_after=5), Kind.OFFLOAD, "freed after step 5 of a forward half of 4"),
        (offload(fetched_before=-1), Kind.OFFLOAD, "fetched before step -1"),
        (offload(fetched_before=2), Kind.OFFLOAD, "after step 1 has read it"),
        (offload(fetched_before=4), Kind.OFFLOAD, "before step 4 of the backward half, which has"),
        (part(offloads=(Offload(1, 2, 3, 0),) * 2), Kind.OFFLOAD, "twice"),
        (
            part(offloads=(Offload(0, 1, 3, 0), Offload(1, 2, 3, 0))),
            Kind.HOST,
            "16 bytes are on the host when the halves meet, and it holds 8",
        ),
    ],
)
def test_each_rule_is_named_with_its_numbers(
    tamper: Callable[[TrainingSchedule], TrainingSchedule], kind: Kind, text: str
) -> None:
    problem, schedule = chain()
    found = check_training(problem, tamper(schedule))
    assert any(v.kind is kind and text in v.message for v in found), found


def test_operators_that_cannot_be_recomputed_run_once_and_in_order() -> None:
    step = StepBuilder()
    a = step.operator("dropout1", [], [4], recomputable=False)
    b = step.operator("dropout2", [], [4], recomputable=False)
    flow = step.tangent(4)
    gradient = step.operator("backward", [flow, *a, *b], [4], backward=True)
    problem = step.problem(b, gradient)
    schedule = TrainingSchedule((0, 1), (2,), (0,))
    assert check_training(problem, schedule) == []
    for forward, backward, kind in (
        ((1, 0), (2,), Kind.ORDER),
        ((0, 1, 0), (2,), Kind.REPEATED),
        ((0, 1), (0, 2), Kind.REPEATED),
        ((1,), (0, 2), Kind.HALF),
    ):
        found = check_training(problem, TrainingSchedule(forward, backward, (0,)))
        assert kind in {violation.kind for violation in found}, found


def test_a_saved_storage_that_the_backward_half_computes_again_first_is_not_offloaded() -> None:
    problem, schedule = chain()
    again = replace(schedule, backward=(4, 1, 5, 6, 7))
    [violation] = check_training(problem, again)
    assert violation.kind is Kind.OFFLOAD
    assert "where nothing reads it" in violation.message


def test_an_offload_needs_a_host() -> None:
    problem, schedule = chain()
    [violation] = check_training(replace(problem, host=None), schedule)
    assert violation.kind is Kind.HOST


def test_a_read_before_the_copy_back_is_refused_and_one_of_an_offloaded_gradient_is_not() -> None:
    step = StepBuilder()
    scale = step.operator("scale", [], [4])
    loss = step.operator("loss", list(scale), [4])
    gradient = step.operator("backward", [step.tangent(4)], [4], backward=True)
    problem = replace(step.problem(loss, [*gradient, *scale]), host=HOST)
    schedule = TrainingSchedule((0, 1), (2,), scale, (Offload(0, 1, 1, 0),))
    assert check_training(problem, schedule) == []
    late = replace(schedule, offloads=(Offload(0, 1, 1, 1),))
    assert [v.kind for v in check_training(problem, late)] == [Kind.OFFLOAD]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_offloads_at_other_times_are_legal_exactly_between_their_last_and_first_use(
    seed: int,
) -> None:
    chance = random.Random(seed)
    problem = replace(random_problem(chance, 8, 6), host=HOST)
    schedule = random_schedule(chance, problem)
    if not schedule.offloads:
        return
    moved = list(schedule.offloads)
    position = chance.randrange(len(moved))
    field = chance.choice(("copied_after", "freed_after", "fetched_before"))
    value = getattr(moved[position], field) + chance.choice((-3, -2, -1, 1, 2, 3))
    moved[position] = moved[position]._replace(**{field: value})
    changed = replace(schedule, offloads=tuple(moved))
    storage, copied, freed, fetched = moved[position]

    def last_use() -> int:
        touched = [
            step
            for step, o in enumerate(schedule.forward)
            if storage in problem.reads.row(o) or storage in problem.writes.row(o)
        ]
        return touched[-1]

    reads = [step for step, o in enumerate(schedule.backward) if storage in problem.reads.row(o)]
    first = reads[0] if reads else len(schedule.backward) - 1
    legal = last_use() <= copied < len(schedule.forward)
    legal = legal and copied <= freed <= len(schedule.forward) and 0 <= fetched <= first
    assert (check_training(problem, changed) == []) == legal
    if legal:
        assert_bytes_agree(problem, changed)


def test_offloaded_bytes_are_free_after_freed_after_and_taken_again_at_fetched_before() -> None:
    problem, schedule = chain()
    kept = memory_profile(problem, replace(schedule, offloads=())).live_bytes
    for freed in range(2, 5):
        for fetched in range(2):
            moved = replace(schedule, offloads=(Offload(1, 2, freed, fetched),))
            away = range(freed + 1, 5 + fetched)
            expected = [int(b) - 8 * (step in away) for step, b in enumerate(kept)]
            assert memory_profile(problem, moved).live_bytes.tolist() == expected
            assert_bytes_agree(problem, moved)
