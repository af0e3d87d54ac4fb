"""Offloading what a schedule holds beyond the limits, whatever the schedule.

Memory is counted by places in a device's order, not by times: an offload's bytes are free from the
pass on that waits for it, a reload's are taken from the pass on whose start it waits for. What is
legal so is legal whenever the copies happen to run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from planner.pipelining.precedence import vocabulary_layer
from planner.pipelining.schedule import Copy, CopyKind, Pass, PassKind
from planner.pipelining.simulator import simulate_pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.pipelining.problem import Offloading, PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from planner.pipelining.simulator import Span

FORWARD, BACKWARD, WEIGHT, FUSED, VOCABULARY_FORWARD, VOCABULARY_BACKWARD = PassKind


@dataclass(slots=True)
class _Activations:
    """One microbatch's activations of one stage: places and times of what makes and needs them."""

    stage: int
    microbatch: int
    size: int
    made: int
    made_tick: int
    needed: int
    needed_tick: int
    reload_place: int
    free_from: int | None = None


def with_offloading(
    problem: PipelineProblem, schedule: PipelineSchedule
) -> PipelineSchedule | None:
    """Return the schedule with offloads and reloads that keep it within the limits.

    Where a pass or a reload does not fit, the activations needed last leave: those with the longest
    lifespan. Copies run beside the passes where the link is fast enough, and hold them up where it
    is not. Copies that the schedule has already are dropped.

    Returns
    -------
    PipelineSchedule or None
        None without a link to the host, or if memory, there or here, does not suffice.

    Raises
    ------
    planner.errors.InvalidPlanError
        As ``simulate_pipeline``.
    """
    offloading = problem.offloading
    if offloading is None or schedule.units:
        return None
    plain = replace(schedule, copies=())
    timeline = simulate_pipeline(problem, plain)
    copies = []
    for device in range(problem.devices):
        limit = problem.limits[device]
        chosen: list[_Activations] | None = []
        if limit is not None:
            passes, spans = schedule.passes[device], timeline.passes[device]
            # Reloads in time first; as late as can be if they do not fit.
            for in_time in (True, False):
                lives = _lives(problem, offloading, passes, spans, in_time=in_time)
                chosen = _chosen(problem, offloading, passes, spans, lives, limit)
                if chosen is not None:
                    break
        if chosen is None:
            return None
        copies.append(_copies(offloading, chosen, len(schedule.passes[device])))
    return replace(plain, copies=tuple(copies)) if any(copies) else plain


def pass_bytes(problem: PipelineProblem, item: Pass) -> tuple[int, int]:
    """Return what a pass takes when it starts, and what it gives back when it ends."""
    if item.kind in (VOCABULARY_FORWARD, VOCABULARY_BACKWARD):
        size = vocabulary_layer(problem).activation_bytes
        return (size, 0) if item.kind is VOCABULARY_FORWARD else (0, size)
    costs = problem.stages[item.stage]
    if item.kind is FORWARD:
        return costs.activation_bytes, 0
    if item.kind is FUSED:
        return 0, costs.activation_bytes
    if item.kind is BACKWARD:
        return 0, costs.activation_bytes - costs.kept_bytes
    return 0, costs.kept_bytes


def _chosen(
    problem: PipelineProblem,
    offloading: Offloading,
    passes: Sequence[Pass],
    spans: Sequence[Span],
    lives: list[_Activations],
    limit: int,
) -> list[_Activations] | None:
    """Return what one device offloads; None if nothing makes the rest fit."""
    made = {one.made: one for one in lives}
    due: dict[int, list[_Activations]] = {}
    here: list[_Activations] = []
    chosen: list[_Activations] = []
    host = [0] * (len(passes) + 1)
    held = 0
    for place, item in enumerate(passes):
        taken, given_back = pass_bytes(problem, item)
        reloads = due.pop(place, [])
        here = [one for one in here if one.needed > place]
        held += taken + sum(one.size for one in reloads)
        while held > limit:
            tick = spans[place].start
            going = [
                one
                for one in here
                if one.free_from is None
                and one.needed - 1 > place
                and _host_has_room(offloading, host, one)
            ]
            if not going:
                return None
            victim = max(going, key=lambda one: _worth(offloading, one, tick))
            victim.free_from = place
            if victim.reload_place <= place:
                victim.reload_place = victim.needed - 1
            held -= victim.size
            chosen.append(victim)
            due.setdefault(victim.reload_place, []).append(victim)
            for index in range(victim.made, victim.needed + 1):
                host[index] += victim.size
        if place in made:
            here.append(made[place])
        held -= given_back
    return chosen


def _lives(
    problem: PipelineProblem,
    offloading: Offloading,
    passes: Sequence[Pass],
    spans: Sequence[Span],
    *,
    in_time: bool,
) -> list[_Activations]:
    forwards = {
        (item.stage, item.microbatch): place
        for place, item in enumerate(passes)
        if item.kind is FORWARD
    }
    lives = []
    for place, item in enumerate(passes):
        if item.kind not in (BACKWARD, FUSED):
            continue
        made, stage = forwards[item.stage, item.microbatch], item.stage
        latest = spans[place].start - offloading.reload[stage]
        # A reload cannot wait for the start of the pass that waits for the reload.
        reload_place = place - 1
        while in_time and reload_place > made + 1 and spans[reload_place].start > latest:
            reload_place -= 1
        size = problem.stages[stage].activation_bytes
        lives.append(
            _Activations(
                stage,
                item.microbatch,
                size,
                made,
                spans[made].end,
                place,
                spans[place].start,
                reload_place,
            )
        )
    return lives


def _worth(offloading: Offloading, one: _Activations, tick: int) -> tuple[bool, bool, int]:
    """Rather what is out by now and can be back in time, then what is needed last."""
    out = one.made_tick + offloading.offload[one.stage]
    back = max(out, tick) + offloading.reload[one.stage]
    return (back <= one.needed_tick, out <= tick, one.needed_tick)


def _host_has_room(offloading: Offloading, host: list[int], one: _Activations) -> bool:
    if offloading.host_bytes is None:
        return True
    return max(host[one.made : one.needed + 1]) + one.size <= offloading.host_bytes


def _copies(offloading: Offloading, chosen: list[_Activations], passes: int) -> tuple[Copy, ...]:
    placed: list[tuple[int, int, int, Copy]] = []
    for one in chosen:
        free_from = one.free_from if one.free_from is not None else passes
        out = Copy(CopyKind.OFFLOAD, one.stage, one.microbatch, one.made, free_from)
        back = Copy(CopyKind.RELOAD, one.stage, one.microbatch, one.reload_place, one.needed)
        placed.append((one.made + 1, 0, one.made, out))
        placed.append((one.reload_place, 1, one.needed, back))
    placed.sort(key=lambda entry: entry[:3])
    return tuple(copy for *_, copy in placed)
