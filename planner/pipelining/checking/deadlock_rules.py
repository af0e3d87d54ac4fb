"""The checker's rule on orders alone: whatever the times, everything gets its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.pipelining.checking.violation import PipelineViolation, PipelineViolationKind
from planner.pipelining.schedule import CopyKind, PassKind

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule

FORWARD, BACKWARD, WEIGHT, FUSED, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind

# An action, and the actions that come before it.
_Stream = list[tuple[str, "Hashable", list["Hashable"]]]
_NAMED = 4


def deadlock_violations(
    problem: PipelineProblem, schedule: PipelineSchedule
) -> Iterator[PipelineViolation]:
    """Run every stream as far as it goes; what is left waits for ever.

    What waits for a pass that is nowhere is not held against the order.
    """
    streams = [
        stream
        for device in range(problem.devices)
        for stream in _streams(problem, schedule, device)
    ]
    there = {action for stream in streams for _, action, _ in stream}
    done: set[Hashable] = set()
    position = [0] * len(streams)
    waiting: dict[Hashable, list[int]] = {}
    going = list(range(len(streams)))
    while going:
        number = going.pop()
        stream = streams[number]
        while position[number] < len(stream):
            _, action, needed = stream[position[number]]
            missing = next((o for o in needed if o in there and o not in done), None)
            if missing is not None:
                waiting.setdefault(missing, []).append(number)
                break
            done.add(action)
            position[number] += 1
            going += waiting.pop(action, ())
    stuck = [
        f"{stream[at][0]} (waits for {_first_missing(stream[at][2], there, done)})"
        for stream, at in zip(streams, position, strict=True)
        if at < len(stream)
    ]
    if stuck:
        more = f", and {len(stuck) - _NAMED:,} more" if len(stuck) > _NAMED else ""
        yield PipelineViolation(
            PipelineViolationKind.DEADLOCK,
            f"the orders never get beyond {', '.join(stuck[:_NAMED])}{more}",
        )


def _first_missing(needed: list[Hashable], there: set[Hashable], done: set[Hashable]) -> str:
    action = next(other for other in needed if other in there and other not in done)
    assert isinstance(action, tuple), "actions are tuples"
    if action[0] == "gather":
        return f"a gather on device {action[1]}"
    return f"{action[0]} {action[1]}.{action[2]}"


def _streams(
    problem: PipelineProblem, schedule: PipelineSchedule, device: int
) -> Iterator[_Stream]:
    passes = schedule.passes[device]
    compute: _Stream = [
        (
            f"{item.kind} {item.stage}.{item.microbatch} on device {device}",
            tuple(item),
            _needs(problem, schedule, item),
        )
        for item in passes
    ]
    copies = schedule.copies[device] if schedule.copies else ()
    units = schedule.units[device] if schedule.units else ()
    for copy in copies:
        if copy.before < len(passes):
            compute[copy.before][2].append(copy[:3])
    for number, unit in enumerate(units):
        compute[unit.first][2].append(("gather", device, number))
    yield compute
    single = problem.offloading is not None and problem.offloading.streams == 1
    for kinds in [tuple(CopyKind)] if single else [(kind,) for kind in CopyKind]:
        stream: _Stream = []
        for copy in copies:
            if copy.kind not in kinds:
                continue
            before = FORWARD if copy.kind is CopyKind.OFFLOAD else CopyKind.OFFLOAD
            needed: list[Hashable] = [(before, copy.stage, copy.microbatch)]
            if copy.after >= 0:
                needed.append(tuple(passes[copy.after]))
            stream.append(
                (f"{copy.kind} {copy.stage}.{copy.microbatch} on device {device}", copy[:3], needed)
            )
        yield stream
    collectives: list[tuple[int, int, str, Hashable, list[Hashable]]] = []
    for number, unit in enumerate(units):
        started: list[Hashable] = [tuple(passes[unit.after])] if unit.after >= 0 else []
        name = f"of stage {unit.stage} on device {device}"
        collectives.append(
            (unit.after, 1, f"the gather {name}", ("gather", device, number), started)
        )
        if unit.reduces:
            ended: list[Hashable] = [tuple(passes[unit.last])]
            collectives.append(
                (unit.last + 1, 0, f"the reduction {name}", ("reduction", device, number), ended)
            )
    collectives.sort(key=lambda entry: entry[:2])
    yield [entry[2:] for entry in collectives]


def _needs(problem: PipelineProblem, schedule: PipelineSchedule, item: tuple) -> list[Hashable]:
    kind, stage, microbatch = item
    last = len(problem.stages) - 1
    everywhere = range(problem.devices)
    if kind is FORWARD:
        return [(FORWARD, stage - 1, microbatch)]
    if kind is WEIGHT:
        return [(BACKWARD, stage, microbatch)]
    if kind is VOCABULARY_FORWARD:
        return [(FORWARD, last, microbatch)]
    if kind is VOCABULARY_BACKWARD:
        return [(VOCABULARY_FORWARD, device, microbatch) for device in everywhere]
    needed: list[Hashable] = [
        (FORWARD, stage, microbatch),
        (BACKWARD, stage + 1, microbatch),
        (FUSED, stage + 1, microbatch),
        (CopyKind.RELOAD, stage, microbatch),
    ]
    if stage == last and problem.vocabulary is not None:
        after = VOCABULARY_FORWARD if problem.vocabulary.barriers == 1 else VOCABULARY_BACKWARD
        needed += [(after, device, microbatch) for device in everywhere]
    return needed
