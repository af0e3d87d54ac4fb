"""Schedules of every legal shape for tests, and what makes one legal, said without lifetimes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.training.just_in_time import just_in_time
from planner.training.problem import HostLink, TrainingProblem
from planner.training.schedule import Offload, TrainingSchedule

if TYPE_CHECKING:
    import random

HOST = HostLink(10**6, 1e12, 1e12)


def random_schedule(random: random.Random, problem: TrainingProblem) -> TrainingSchedule:
    """Return a legal schedule: any set saved, operators executed again anywhere, any offloads."""
    outputs = set(problem.forward_outputs.tolist())
    results = [
        storage
        for operator in problem.forward_operators.tolist()
        for storage in problem.writes.row(operator).tolist()
        if storage not in outputs
    ]
    forward_operators = problem.forward_operators.tolist()
    schedule = just_in_time(
        problem,
        random.sample(results, random.randint(0, len(results))),
        random.sample(forward_operators, random.randint(0, len(forward_operators))),
    )
    forward = _executed_again(random, problem, schedule.forward, set())
    given = {*schedule.saved, *outputs, *problem.tangents.tolist()}
    backward = _executed_again(random, problem, schedule.backward, given)
    schedule = TrainingSchedule(forward, backward, schedule.saved)
    if problem.host is None:
        return schedule
    return with_random_offloads(random, problem, schedule)


def _executed_again(
    random: random.Random, problem: TrainingProblem, sequence: tuple[int, ...], given: set[int]
) -> tuple[int, ...]:
    made: list[int] = []
    there = set(given)
    for operator in sequence:
        there.update(problem.writes.row(operator).tolist())
        made.append(operator)
        while random.random() < 0.3:
            again = [
                o
                for o in problem.forward_operators.tolist()
                if problem.recomputable[o] and there.issuperset(problem.reads.row(o).tolist())
            ]
            if not again:
                break
            made.append(random.choice(again))
            there.update(problem.writes.row(made[-1]).tolist())
    return tuple(made)


def with_random_offloads(
    random: random.Random, problem: TrainingProblem, schedule: TrainingSchedule
) -> TrainingSchedule:
    """Return the schedule with some of its saved storages by way of the host, at any time."""
    offloads = []
    gradients = problem.gradients.tolist()
    for storage in schedule.saved:
        last = max(
            step
            for step, o in enumerate(schedule.forward)
            if storage in problem.reads.row(o) or storage in problem.writes.row(o)
        )
        used = [
            (step, storage in problem.reads.row(o))
            for step, o in enumerate(schedule.backward)
            if storage in problem.reads.row(o) or storage in problem.writes.row(o)
        ]
        read = used[0] if used else (len(schedule.backward) - 1, storage in gradients)
        if not read[1] or random.random() < 0.4:
            continue
        copied = random.randint(last, len(schedule.forward) - 1)
        freed = random.randint(copied, len(schedule.forward))
        offloads.append(Offload(storage, copied, freed, random.randint(0, read[0])))
    random.shuffle(offloads)
    return TrainingSchedule(schedule.forward, schedule.backward, schedule.saved, tuple(offloads))


def is_legal(problem: TrainingProblem, schedule: TrainingSchedule) -> bool:
    """Whether everything read was computed before: nothing that is still to be read ever dies.

    Says nothing about the times of offloads.
    """
    forward, backward = list(schedule.forward), list(schedule.backward)
    once = [o for o in range(len(problem.reads)) if not problem.recomputable[o]]
    run = [o for o in (*forward, *backward) if o in once]
    turned = [o for o in backward if problem.is_backward[o]]
    if any(problem.is_backward[o] for o in forward) or run != sorted(set(run)):
        return False
    if turned != problem.backward_operators.tolist():
        return False
    if not set(problem.in_forward.nonzero()[0].tolist()) <= set(forward):
        return False
    outputs = set(problem.forward_outputs.tolist())
    there: set[int] = set()
    for half in (forward, backward):
        for operator in half:
            if not there.issuperset(problem.reads.row(operator).tolist()):
                return False
            there.update(problem.writes.row(operator).tolist())
        if half is forward:
            crossing = {*schedule.saved, *outputs}
            if outputs & set(schedule.saved) or list(schedule.saved) != sorted(set(schedule.saved)):
                return False
            if not crossing <= there:
                return False
            there = crossing | set(problem.tangents.tolist())
    return there.issuperset(problem.gradients.tolist())
