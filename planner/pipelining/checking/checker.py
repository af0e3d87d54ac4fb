"""Is a pipeline timeline legal? Written the plain way: raw times against the rules, one by one.

The rules are those of `planner.pipelining.problem` and `planner.pipelining.schedule`. No code is
shared with the simulator, the precedence graph and the memory profiles, which the solvers use.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from planner.pipelining.checking.deadlock_rules import deadlock_violations
from planner.pipelining.checking.memory_rules import memory_violations
from planner.pipelining.checking.pass_rules import pass_violations, placed_passes
from planner.pipelining.checking.stream_rules import copy_violations, unit_violations
from planner.pipelining.checking.violation import PipelineViolation, PipelineViolationKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.simulator import PipelineTimeline

_LISTED = 1_000


def check_pipeline(problem: PipelineProblem, timeline: PipelineTimeline) -> list[PipelineViolation]:
    """Find the offences of a timeline against its problem.

    Returns
    -------
    list of PipelineViolation
        Empty for a legal timeline; the first 1,000 otherwise. If lists are missing or passes do
        not exist, nothing else is looked at.
    """
    entries = list(_entry_violations(problem, timeline))
    if entries:
        return entries[:_LISTED]
    return list(islice(_violations(problem, timeline), _LISTED))


def _violations(
    problem: PipelineProblem, timeline: PipelineTimeline
) -> Iterator[PipelineViolation]:
    placed = placed_passes(problem, timeline)
    yield from pass_violations(problem, timeline, placed)
    yield from copy_violations(problem, timeline, placed)
    yield from unit_violations(problem, timeline)
    yield from deadlock_violations(problem, timeline.schedule)
    yield from memory_violations(problem, timeline)


def _entry_violations(
    problem: PipelineProblem, timeline: PipelineTimeline
) -> Iterator[PipelineViolation]:
    """Look at what everything else relies on: the lists, and that what they name exists."""
    kind = PipelineViolationKind.ENTRIES
    schedule = timeline.schedule
    if schedule.device_of != problem.device_of:
        yield PipelineViolation(
            kind,
            f"the schedule puts the stages on devices {_shown(schedule.device_of)}, the problem on "
            f"{_shown(problem.device_of)}",
        )
        return
    for name, items, spans in (
        ("passes", schedule.passes, timeline.passes),
        ("copies", schedule.copies, timeline.copies),
        ("units", schedule.units, timeline.gathers),
        ("units", schedule.units, timeline.reductions),
    ):
        may_lack = name != "passes"
        if not (may_lack and not items) and len(items) != problem.devices:
            yield PipelineViolation(
                kind, f"{name} of {len(items):,} devices; there are {problem.devices:,}"
            )
            continue
        if len(spans) != problem.devices:
            yield PipelineViolation(
                kind, f"times of {name} of {len(spans):,} devices; there are {problem.devices:,}"
            )
            continue
        for device, times in enumerate(spans):
            own = items[device] if items else ()
            if len(own) != len(times):
                yield PipelineViolation(
                    kind, f"device {device}: {len(times):,} times for {len(own):,} {name}", device
                )
    if schedule.copies and any(schedule.copies) and problem.offloading is None:
        yield PipelineViolation(kind, "the schedule copies to a host that the problem has not")
    if schedule.units and any(schedule.units) and problem.sharding is None:
        yield PipelineViolation(kind, "the schedule gathers weights that are not sharded")
    stages, microbatches = len(problem.stages), problem.microbatches
    for device, items in enumerate(schedule.copies):
        passes = len(schedule.passes[device]) if device < len(schedule.passes) else 0
        for copy in items:
            if not (0 <= copy.stage < stages and 0 <= copy.microbatch < microbatches):
                yield PipelineViolation(
                    kind, f"device {device}: there is no {copy.stage}.{copy.microbatch} to copy"
                )
            elif not (-1 <= copy.after < passes and 0 <= copy.before <= passes):
                yield PipelineViolation(
                    kind,
                    f"device {device}: {copy.kind} {copy.stage}.{copy.microbatch} is tied to "
                    f"passes {copy.after:,} and {copy.before:,} of {passes:,}",
                    device,
                )
    for device, units in enumerate(schedule.units):
        passes = len(schedule.passes[device]) if device < len(schedule.passes) else 0
        for unit in units:
            known = 0 <= unit.stage < stages
            if not known or not -1 <= unit.after < unit.first <= unit.last < passes:
                yield PipelineViolation(
                    kind,
                    f"device {device}: a unit of stage {unit.stage} gathers at pass {unit.after:,} "
                    f"for passes {unit.first:,} to {unit.last:,} of {passes:,}",
                    device,
                )


def _shown(devices: tuple[int, ...]) -> str:
    text = ", ".join(map(str, devices[:12]))
    return f"{text}, ... ({len(devices):,} stages)" if len(devices) > 12 else text
