"""Random pipeline schedules: legal ones, and the same passes in orders that may be anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from planner.pipelining.problem import PipelineProblem, StageCosts
from planner.pipelining.schedule import Copy, CopyKind, Pass, PassKind, PipelineSchedule

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

FORWARD, BACKWARD, WEIGHT, FUSED, _, _ = PassKind


def unit_problem(
    device_of: Sequence[int], microbatches: int, activation_bytes: int = 0, kept_bytes: int = 0
) -> PipelineProblem:
    """Return a problem in which every pass takes one tick."""
    return PipelineProblem(
        stages=(StageCosts(1, 1, 1, activation_bytes, kept_bytes),) * len(device_of),
        device_of=tuple(device_of),
        microbatches=microbatches,
        limits=(None,) * (1 + max(device_of)),
    )


def passes_of(stage: int, microbatch: int, fused: bool) -> tuple[Pass, ...]:
    """Return what a stage does for a microbatch, in order."""
    kinds = (FORWARD, FUSED) if fused else (FORWARD, BACKWARD, WEIGHT)
    return tuple(Pass(kind, stage, microbatch) for kind in kinds)


def legal_schedule(
    chance: random.Random, device_of: Sequence[int], microbatches: int, fused: float = 0.3
) -> PipelineSchedule:
    """Run passes that are ready, any of them, until all have run."""
    last = len(device_of) - 1
    left = {
        (stage, microbatch): list(passes_of(stage, microbatch, chance.random() < fused))
        for stage in range(last + 1)
        for microbatch in range(microbatches)
    }
    done: set[tuple[str, int, int]] = set()
    rows: list[list[Pass]] = [[] for _ in range(1 + max(device_of))]

    def is_ready(item: Pass) -> bool:
        kind, stage, microbatch = item
        if kind is WEIGHT:
            return True
        if kind is FORWARD:
            return not stage or ("F", stage - 1, microbatch) in done
        return stage == last or ("gradient", stage + 1, microbatch) in done

    while left:
        key, item = chance.choice([(k, own[0]) for k, own in left.items() if is_ready(own[0])])
        rows[device_of[item.stage]].append(item)
        done.add(("gradient" if item.kind in (BACKWARD, FUSED) else item.kind, *item[1:]))
        del left[key][0]
        if not left[key]:
            del left[key]
    return PipelineSchedule("random", tuple(device_of), tuple(map(tuple, rows)))


def with_copies(chance: random.Random, schedule: PipelineSchedule) -> PipelineSchedule:
    """Offload some microbatches, at random times that keep them off the device for a while."""
    copies: list[tuple[Copy, ...]] = []
    for row in schedule.passes:
        mine: list[Copy] = []
        for index, (kind, stage, microbatch) in enumerate(row):
            if kind is not FORWARD or chance.random() < 0.5:
                continue
            key = stage, microbatch
            back = next(i for i, item in enumerate(row) if item.kind in "BD" and item[1:] == key)
            if back - index < 2:
                continue
            leaves = chance.randrange(index + 1, back)
            returns = chance.randrange(leaves, back)
            until = chance.randrange(leaves + 1, len(row) + 1)
            mine.append(Copy(CopyKind.OFFLOAD, *key, leaves, until))
            mine.append(Copy(CopyKind.RELOAD, *key, returns, back))
        # A stream takes them in the order in which they may start.
        copies.append(tuple(sorted(mine, key=lambda copy: (copy.after, copy.kind))))
    return PipelineSchedule("random", schedule.device_of, schedule.passes, tuple(copies))


@st.composite
def placements(draw: st.DrawFn, most_devices: int = 3, most_stages: int = 5) -> tuple[int, ...]:
    """Stages on devices, each device with at least one."""
    devices = draw(st.integers(1, most_devices))
    more = draw(st.lists(st.integers(0, devices - 1), max_size=most_stages - devices))
    return tuple(draw(st.permutations([*range(devices), *more])))


@st.composite
def schedules(draw: st.DrawFn, most_microbatches: int = 4) -> tuple[PipelineSchedule, int]:
    """Draw a legal schedule and its microbatches."""
    microbatches = draw(st.integers(1, most_microbatches))
    device_of = draw(placements())
    chance = draw(st.randoms(use_true_random=False))
    return legal_schedule(chance, device_of, microbatches), microbatches


@st.composite
def disordered(draw: st.DrawFn) -> tuple[PipelineSchedule, int]:
    """Draw the passes of a schedule in orders that each rank alone could run."""
    schedule, microbatches = draw(schedules())
    chance = draw(st.randoms(use_true_random=False))
    rows = []
    for row in schedule.passes:
        chains: dict[tuple[int, int], list[Pass]] = {}
        for item in row:
            chains.setdefault(item[1:], []).append(item)
        ends = [key for key, own in chains.items() for _ in own]
        chance.shuffle(ends)
        rows.append(tuple(chains[key].pop(0) for key in ends))
    return PipelineSchedule("disordered", schedule.device_of, tuple(rows)), microbatches
