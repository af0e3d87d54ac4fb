"""What runs on each device, lane by lane: passes, copies, collectives. All pictures draw these."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.pipelining.schedule import CopyKind, PassKind

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.simulator import PipelineTimeline, Span

KIND_NAMES = {
    "F": "forward",
    "B": "gradient of the input",
    "W": "gradient of the weights",
    "D": "both gradients",
    "S": "vocabulary forward",
    "T": "vocabulary backward",
    "O": "offload",
    "R": "reload",
    "G": "gather of weights",
    "C": "reduction of gradients",
}
"""Letters of everything that is drawn; those of passes and copies are those of the schedule."""


class Block(NamedTuple):
    """One thing that takes time.

    Attributes
    ----------
    kind : str
        A letter of `KIND_NAMES`.
    stage : int
        Of S and T the device.
    microbatch : int
        -1 for collectives.
    start, end : int
        Ticks.
    """

    kind: str
    stage: int
    microbatch: int
    start: int
    end: int


class Lane(NamedTuple):
    """What a device does one after the other.

    Attributes
    ----------
    name : str
        ``passes``, ``copies out``, ``copies in``, ``copies`` or ``collectives``.
    blocks : tuple of Block
        By start.
    """

    name: str
    blocks: tuple[Block, ...]


def lanes_of(
    problem: PipelineProblem, timeline: PipelineTimeline
) -> tuple[tuple[Lane, ...], ...]:
    """Return the lanes of each device: the passes first, others only where there are any."""
    return tuple(_lanes(problem, timeline, device) for device in range(problem.devices))


def used_kinds(lanes: tuple[tuple[Lane, ...], ...]) -> list[str]:
    """Return the letters that occur, in the order of `KIND_NAMES`."""
    used = {block.kind for own in lanes for lane in own for block in lane.blocks}
    return [kind for kind in KIND_NAMES if kind in used]


def first_tick(timeline: PipelineTimeline) -> int:
    """Return when the first pass starts; pictures count from there."""
    return min((spans[0].start for spans in timeline.passes if spans), default=0)


def chunk_of(problem: PipelineProblem) -> tuple[int, ...]:
    """Return for each stage which of its device's stages it is."""
    chunks = [0] * len(problem.stages)
    for stages in problem.stages_of:
        for chunk, stage in enumerate(stages):
            chunks[stage] = chunk
    return tuple(chunks)


def _lanes(
    problem: PipelineProblem, timeline: PipelineTimeline, device: int
) -> tuple[Lane, ...]:
    schedule = timeline.schedule
    lanes = [
        Lane(
            "passes",
            tuple(
                _block(item.kind, item.stage, item.microbatch, span)
                for item, span in zip(
                    schedule.passes[device], timeline.passes[device], strict=True
                )
            ),
        )
    ]
    if any(schedule.copies):
        copies = [
            _block(copy.kind, copy.stage, copy.microbatch, span)
            for copy, span in zip(schedule.copies[device], timeline.copies[device], strict=True)
        ]
        copies.sort(key=lambda block: block.start)
        if problem.offloading is not None and problem.offloading.streams == 1:
            lanes.append(Lane("copies", tuple(copies)))
        else:
            for name, kind in (("copies out", CopyKind.OFFLOAD), ("copies in", CopyKind.RELOAD)):
                lanes.append(Lane(name, tuple(b for b in copies if b.kind == kind)))
    if any(schedule.units):
        blocks: list[Block] = []
        for unit, gather, reduction in zip(
            schedule.units[device],
            timeline.gathers[device],
            timeline.reductions[device],
            strict=True,
        ):
            blocks.append(_block("G", unit.stage, -1, gather))
            if reduction is not None:
                blocks.append(_block("C", unit.stage, -1, reduction))
        lanes.append(Lane("collectives", tuple(sorted(blocks, key=lambda block: block.start))))
    return tuple(lanes)


def _block(kind: PassKind | CopyKind | str, stage: int, microbatch: int, span: Span) -> Block:
    return Block(str(kind), stage, microbatch, span.start, span.end)
